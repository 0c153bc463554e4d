//! `motif audit`: who did what, when, to what.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use comfy_table::Cell;
use serde_json::Value;

use super::CliError;
use super::output::{Output, left};
use super::tokens;
use crate::access::{ActorKind, AuditEntry, AuditList};
use crate::client::{AuditQuery, Client};
use crate::length;

/// Longest page that is asked for at once.
const PAGE: u32 = 500;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only from this time on: a length of time ago such as 2h or 7d, a day such as 2026-11-28, or an instant (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<DateTime<Utc>>,

    /// Only before this time, given as for --since
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<DateTime<Utc>>,

    /// Only these deeds, such as run.cancel
    #[arg(long)]
    action: Option<String>,

    /// Only what was done to this: an id, or a project's name
    #[arg(long, value_name = "ID|NAME")]
    subject: Option<String>,

    /// Only what was done under this name: a token's, `local` or `console`
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    /// Only what the holders of this token did: its name, or its id or at least 6 digits of that
    #[arg(long, value_name = "TOKEN")]
    with_token: Option<String>,

    /// Only what belongs to this project
    #[arg(long)]
    project: Option<String>,

    /// How many entries to list
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Go on where a list ended that gave this cursor
    #[arg(long)]
    cursor: Option<String>,
}

impl Audit {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let list = self.fetch(client).await?;
        if out.json {
            return out.json(&list);
        }
        if list.entries.is_empty() {
            return out.text("Nothing was done that fits.");
        }
        out.text(&table(out, &list.entries))?;
        if list.next_cursor.is_some() {
            let more = self.limit.saturating_mul(5);
            out.text(&format!("There are more: list them with `-n {more}`."))?;
        }
        Ok(())
    }

    /// As many pages as the list needs.
    pub(super) async fn fetch(&self, client: &Client) -> Result<AuditList, CliError> {
        let token = match &self.with_token {
            Some(word) => Some(tokens::find(word, &client.tokens().await?)?.id),
            None => None,
        };
        let mut query = AuditQuery {
            subject: self.subject.clone(),
            action: self.action.clone(),
            token,
            name: self.by.clone(),
            project: self.project.clone(),
            from: self.since,
            to: self.until,
            limit: None,
            cursor: self.cursor.clone(),
        };
        let mut list = AuditList::default();
        loop {
            let listed = u32::try_from(list.entries.len()).unwrap_or(u32::MAX);
            query.limit = Some(self.limit.saturating_sub(listed).min(PAGE));
            let page = client.audit(&query).await?;
            list.entries.extend(page.entries);
            list.next_cursor = page.next_cursor;
            if list.next_cursor.is_none() || list.entries.len() >= self.limit as usize {
                return Ok(list);
            }
            query.cursor.clone_from(&list.next_cursor);
        }
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    read_instant(text, Utc::now())
}

/// Reads a time: so long ago, the beginning of a day, or an instant.
pub(super) fn read_instant(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if let Ok(length) = length::parse(text) {
        return Ok(now - length);
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc())
        .map_err(|_| format!("`{text}` is no time: 2h and 7d (ago), 2026-11-28 and 2026-11-28T09:00:00Z are"))
}

/// The table of entries.
pub(super) fn table(out: &Output, entries: &[AuditEntry]) -> String {
    let rows = entries.iter().map(|entry| {
        vec![
            Cell::new(entry.at.format("%Y-%m-%d %H:%M:%S")),
            Cell::new(who(entry)),
            Cell::new(&entry.action),
            Cell::new(&entry.subject),
            Cell::new(entry.project.as_deref().unwrap_or("-")),
            Cell::new(details(&entry.details)),
        ]
    });
    out.table(
        &[
            left("WHEN (UTC)"),
            left("WHO"),
            left("DID"),
            left("TO"),
            left("PROJECT"),
            left("DETAILS"),
        ],
        rows.collect(),
    )
}

fn who(entry: &AuditEntry) -> String {
    match entry.actor {
        ActorKind::Session => format!("{} (browser)", entry.name),
        ActorKind::Local | ActorKind::Token | ActorKind::Console => entry.name.clone(),
    }
}

/// The details on one line.
fn details(details: &Value) -> String {
    match details {
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        Value::Object(_) | Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
