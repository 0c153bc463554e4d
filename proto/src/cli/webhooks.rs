//! `motif webhooks`: who is told when runs and studies end.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};
use tokio::time::{Instant, sleep};

use super::CliError;
use super::confirm::Confirm;
use super::output::{Output, age, duration, left, right, short_uuid};
use super::problem::by_flags;
use super::word::{self, Kind};
use crate::client::Client;
use crate::id::WebhookId;
use crate::webhook::{
    ChangeWebhook, Delivery, DeliveryList, DeliveryState, NewWebhook, WebhookEvent, WebhookInfo, WebhookList,
};

/// How long a try is waited for; a receiver has ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait between looks at a delivery.
const LOOK: Duration = Duration::from_millis(250);
/// Most characters of an answer in a table.
const LONGEST_ANSWER: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Webhooks {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the webhooks, newest first
    List,
    /// Add a webhook and print the secret that signs its deliveries, which is never shown again
    Add {
        /// Where deliveries go
        url: String,

        /// What is told, such as run.failed; may be repeated
        #[arg(long = "event", required = true, value_delimiter = ',', value_parser = event)]
        events: Vec<WebhookEvent>,

        /// Only what happens in this project; in all of your token's where not given
        #[arg(long)]
        project: Option<String>,
    },
    /// Change where deliveries go and what is told
    Change(Change),
    /// Remove a webhook; what it was still to be told is not told
    Remove {
        /// Its URL, or its id or at least 6 digits of that
        webhook: String,

        #[command(flatten)]
        confirm: Confirm,
    },
    /// Try a webhook, and say what its receiver answered
    Test {
        /// Its URL, or its id or at least 6 digits of that
        webhook: String,
    },
    /// List what a webhook was told within a week, newest first
    Deliveries {
        /// Its URL, or its id or at least 6 digits of that
        webhook: String,

        /// How many to list
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
    },
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args(["url", "events", "on", "off"])))]
struct Change {
    /// Its URL, or its id or at least 6 digits of that
    webhook: String,

    /// Where deliveries go from now on
    #[arg(long)]
    url: Option<String>,

    /// What is told from now on, such as run.failed; may be repeated
    #[arg(long = "event", value_delimiter = ',', value_parser = event)]
    events: Vec<WebhookEvent>,

    /// Tell it again
    #[arg(long)]
    on: bool,

    /// Tell it nothing any more, not even what it was still to be told
    #[arg(long, conflicts_with = "on")]
    off: bool,
}

const WEBHOOKS: Kind = Kind {
    one: "webhook",
    called_by: "URL",
    listed_by: "motif webhooks",
};

/// What was given for each field that the coordinator may find wrong.
const FLAGS: [(&str, &str); 3] = [("/url", "URL"), ("/events", "--event"), ("/project", "--project")];

fn event(word: &str) -> Result<WebhookEvent, String> {
    let known = WebhookEvent::OFFERED.into_iter();
    known.clone().find(|event| event.as_str() == word).ok_or_else(|| {
        let words: Vec<&str> = known.map(WebhookEvent::as_str).collect();
        format!("there is no such event; there are {}", words.join(", "))
    })
}

impl Webhooks {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        match self.what {
            None | Some(What::List) => list(client, out).await,
            Some(What::Add { url, events, project }) => {
                let wanted = NewWebhook { url, events, project };
                add(&wanted, client, out).await
            }
            Some(What::Change(change)) => change.run(client, out).await,
            Some(What::Remove { webhook, confirm }) => remove(&webhook, confirm, client, out).await,
            Some(What::Test { webhook }) => test(&webhook, client, out).await,
            Some(What::Deliveries { webhook, limit }) => deliveries(&webhook, limit, client, out).await,
        }
    }
}

async fn list(client: &Client, out: &Output) -> Result<(), CliError> {
    let webhooks = client.webhooks().await?;
    if out.json {
        return out.json(&WebhookList { webhooks });
    }
    if webhooks.is_empty() {
        return out.text("No webhooks. `motif webhooks add URL --event run.failed` adds one.");
    }
    out.text(&table(out, &webhooks, Utc::now()))
}

async fn add(wanted: &NewWebhook, client: &Client, out: &Output) -> Result<(), CliError> {
    let created = client
        .create_webhook(wanted)
        .await
        .map_err(|error| by_flags(error, &FLAGS))?;
    if out.json {
        return out.json(&created);
    }
    // The secret alone goes to the standard output, for scripts to take.
    out.text(&created.secret)?;
    eprintln!(
        "This signs the deliveries of {}; it is shown this once.",
        in_words(&created.webhook)
    );
    Ok(())
}

impl Change {
    async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let webhook = find(&self.webhook, &client.webhooks().await?)?.id;
        let change = ChangeWebhook {
            url: self.url,
            events: (!self.events.is_empty()).then_some(self.events),
            active: (self.on || self.off).then_some(self.on),
        };
        let changed = client
            .change_webhook(webhook, &change)
            .await
            .map_err(|error| by_flags(error, &[("/url", "--url"), ("/events", "--event")]))?;
        if out.json {
            return out.json(&changed);
        }
        out.text(&format!("{} was changed", in_words(&changed)))
    }
}

async fn remove(word: &str, confirm: Confirm, client: &Client, out: &Output) -> Result<(), CliError> {
    let webhooks = client.webhooks().await?;
    let webhook = find(word, &webhooks)?;
    let question = format!(
        "Remove {}? What it was still to be told is not told.",
        in_words(webhook)
    );
    if !confirm.agreed(&question)? {
        return Err(CliError::Failed("nothing was removed".to_owned()));
    }
    client.delete_webhook(webhook.id).await?;
    if out.json {
        return out.json(webhook);
    }
    out.text(&format!("removed {}", in_words(webhook)))
}

async fn test(word: &str, client: &Client, out: &Output) -> Result<(), CliError> {
    let webhooks = client.webhooks().await?;
    let webhook = find(word, &webhooks)?;
    let sent = client.test_webhook(webhook.id).await?;
    let delivery = outcome(client, webhook.id, sent).await?;
    if out.json {
        out.json(&delivery)?;
    }
    match (delivery.state, delivery.last_status) {
        (DeliveryState::Delivered, _) if out.json => Ok(()),
        (DeliveryState::Delivered, Some(status)) => {
            out.text(&format!("delivered: {} answered {status}", webhook.url))
        }
        (DeliveryState::Delivered, None) => out.text(&format!("delivered to {}", webhook.url)),
        (DeliveryState::Pending, None) if delivery.attempts == 0 => Err(CliError::Failed(format!(
            "it was not sent within {}; `motif webhooks deliveries {}` tells what becomes of it",
            duration(PATIENCE.as_secs()),
            short_uuid(webhook.id.0)
        ))),
        _ => Err(CliError::Failed(format!(
            "{} did not take it: {}",
            webhook.url,
            answer(&delivery)
        ))),
    }
}

/// The delivery once it was sent, or as it is when patience ends.
async fn outcome(client: &Client, webhook: WebhookId, sent: Delivery) -> Result<Delivery, CliError> {
    let deadline = Instant::now() + PATIENCE;
    let mut delivery = sent;
    while delivery.attempts == 0 && delivery.state == DeliveryState::Pending && Instant::now() < deadline {
        sleep(LOOK).await;
        let all = client.deliveries(webhook).await?;
        delivery = all
            .into_iter()
            .find(|other| other.id == delivery.id)
            .unwrap_or(delivery);
    }
    Ok(delivery)
}

async fn deliveries(word: &str, limit: u8, client: &Client, out: &Output) -> Result<(), CliError> {
    let webhook = find(word, &client.webhooks().await?)?.id;
    let mut deliveries = client.deliveries(webhook).await?;
    deliveries.truncate(limit.into());
    if out.json {
        return out.json(&DeliveryList { deliveries });
    }
    if deliveries.is_empty() {
        return out.text("It was told nothing yet. `motif webhooks test` tries it.");
    }
    out.text(&deliveries_table(out, &deliveries, Utc::now()))
}

/// The webhook that a word means.
pub(super) fn find<'a>(word: &str, webhooks: &'a [WebhookInfo]) -> Result<&'a WebhookInfo, CliError> {
    let is_meant = |webhook: &&WebhookInfo| webhook.url == word || word::is_id(word, webhook.id.0);
    let found: Vec<&WebhookInfo> = webhooks.iter().filter(is_meant).collect();
    word::only(WEBHOOKS, word, &found, |webhook| webhook.id.0)
}

fn in_words(webhook: &WebhookInfo) -> String {
    format!(
        "webhook {} to {} ({}; {})",
        short_uuid(webhook.id.0),
        webhook.url,
        events(webhook),
        project(webhook)
    )
}

fn events(webhook: &WebhookInfo) -> String {
    let words: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
    words.join(" ")
}

fn project(webhook: &WebhookInfo) -> &str {
    webhook.project.as_deref().unwrap_or("all projects")
}

/// The table of webhooks.
pub(super) fn table(out: &Output, webhooks: &[WebhookInfo], now: DateTime<Utc>) -> String {
    let rows = webhooks.iter().map(|webhook| {
        vec![
            Cell::new(short_uuid(webhook.id.0)),
            Cell::new(&webhook.url),
            Cell::new(events(webhook)),
            Cell::new(project(webhook)),
            if webhook.active {
                Cell::new("on").fg(Color::Green)
            } else {
                Cell::new("off").fg(Color::DarkGrey)
            },
            Cell::new(&webhook.created_by),
            Cell::new(age(webhook.created_at, now)),
        ]
    });
    out.table(
        &[
            left("WEBHOOK"),
            left("URL"),
            left("EVENTS"),
            left("PROJECT"),
            left("STATE"),
            left("MADE BY"),
            left("MADE"),
        ],
        rows.collect(),
    )
}

/// The table of deliveries.
pub(super) fn deliveries_table(out: &Output, deliveries: &[Delivery], now: DateTime<Utc>) -> String {
    let rows = deliveries.iter().map(|delivery| {
        vec![
            Cell::new(short_uuid(delivery.id.0)),
            Cell::new(delivery.event.as_str()),
            match delivery.state {
                DeliveryState::Pending => Cell::new("pending").fg(Color::Yellow),
                DeliveryState::Delivered => Cell::new("delivered").fg(Color::Green),
                DeliveryState::GivenUp => Cell::new("given up").fg(Color::Red),
            },
            Cell::new(delivery.attempts),
            Cell::new(answer(delivery)),
            Cell::new(age(delivery.created_at, now)),
            Cell::new(next(delivery, now)),
        ]
    });
    out.table(
        &[
            left("DELIVERY"),
            left("EVENT"),
            left("STATE"),
            right("TRIES"),
            left("ANSWER"),
            left("HAPPENED"),
            left("NEXT TRY"),
        ],
        rows.collect(),
    )
}

/// What the receiver answered last, or why it did not, on one line.
fn answer(delivery: &Delivery) -> String {
    let text = delivery.last_answer.as_deref().or(delivery.last_error.as_deref());
    let line = text
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let line = if line.chars().count() > LONGEST_ANSWER {
        line.chars().take(LONGEST_ANSWER - 1).chain(['…']).collect()
    } else {
        line
    };
    match delivery.last_status {
        Some(status) if line.is_empty() => status.to_string(),
        Some(status) => format!("{status} {line}"),
        None if line.is_empty() => "-".to_owned(),
        None => line,
    }
}

fn next(delivery: &Delivery, now: DateTime<Utc>) -> String {
    match delivery.next_attempt_at {
        Some(at) if delivery.state == DeliveryState::Pending => {
            let seconds = u64::try_from((at - now).num_seconds()).unwrap_or(0);
            format!("in {}", duration(seconds))
        }
        _ => "-".to_owned(),
    }
}
