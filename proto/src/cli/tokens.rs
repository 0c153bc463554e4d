//! `motif tokens`: what opens the coordinator, and for whom.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use super::CliError;
use super::confirm::Confirm;
use super::output::{Output, age, day, left, short_uuid};
use super::problem::by_flags;
use super::word::{self, Kind};
use crate::access::{NewToken, Scope, TokenInfo, TokenList};
use crate::client::Client;
use crate::length;

#[derive(Debug, Args)]
pub(super) struct Tokens {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the tokens, newest first
    List,
    /// Make a token and print its secret, which is never shown again
    Create(Create),
    /// Revoke a token: it opens nothing any more, and who signed in with it is signed out
    Revoke {
        /// Its name, or its id or at least 6 digits of that
        #[arg(value_name = "TOKEN")]
        which: String,

        #[command(flatten)]
        confirm: Confirm,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What it is for; people tell tokens apart by it
    #[arg(long)]
    name: String,

    /// What it allows: admin, submit, read or worker; may be repeated
    #[arg(long, required = true, value_delimiter = ',')]
    scope: Vec<Scope>,

    /// A project that it is limited to; may be repeated. All of them where not given
    #[arg(long)]
    project: Vec<String>,

    /// How long it lasts, such as 90d, 12h or 2w. For ever where not given
    #[arg(long, value_name = "LENGTH", value_parser = length::parse)]
    expires: Option<Duration>,
}

const TOKENS: Kind = Kind {
    one: "token",
    called_by: "name",
    listed_by: "motif tokens",
};

/// What was given for each field that the coordinator may find wrong.
const FLAGS: [(&str, &str); 4] = [
    ("/name", "--name"),
    ("/scopes", "--scope"),
    ("/projects", "--project"),
    ("/expires_at", "--expires"),
];

impl Tokens {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        match self.what {
            None | Some(What::List) => list(client, out).await,
            Some(What::Create(wanted)) => wanted.run(client, out).await,
            Some(What::Revoke { which, confirm }) => revoke(&which, confirm, client, out).await,
        }
    }
}

impl Create {
    async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let wanted = NewToken {
            name: self.name,
            scopes: self.scope,
            projects: (!self.project.is_empty()).then_some(self.project),
            expires_at: self.expires.map(|length| Utc::now() + length),
        };
        let created = client
            .create_token(&wanted)
            .await
            .map_err(|error| by_flags(error, &FLAGS))?;
        if out.json {
            return out.json(&created);
        }
        // The secret alone goes to the standard output, for scripts to take.
        out.text(&created.secret)?;
        let token = &created.token;
        let end = token
            .expires_at
            .map_or_else(|| "never ends".to_owned(), |end| format!("ends {}", day(end)));
        eprintln!("This is {}; it {end} and is shown this once.", in_words(token));
        Ok(())
    }
}

async fn list(client: &Client, out: &Output) -> Result<(), CliError> {
    let tokens = client.tokens().await?;
    if out.json {
        return out.json(&TokenList { tokens });
    }
    if tokens.is_empty() {
        return out.text("No tokens. `motif tokens create --name NAME --scope SCOPE` makes one.");
    }
    out.text(&table(out, &tokens, Utc::now()))
}

async fn revoke(word: &str, confirm: Confirm, client: &Client, out: &Output) -> Result<(), CliError> {
    let tokens = client.tokens().await?;
    let token = find(word, &tokens)?;
    let question = format!(
        "Revoke {}? Whoever uses it is refused from then on.",
        in_words(token)
    );
    if !confirm.agreed(&question)? {
        return Err(CliError::Failed("nothing was revoked".to_owned()));
    }
    let revoked = client.revoke_token(token.id).await?;
    if out.json {
        return out.json(&revoked);
    }
    out.text(&format!("token `{}` opens nothing any more", revoked.name))
}

/// The token that a word means. A name belongs to one that is not revoked.
pub(super) fn find<'a>(word: &str, tokens: &'a [TokenInfo]) -> Result<&'a TokenInfo, CliError> {
    let is_named = |token: &&TokenInfo| token.name == word && token.revoked_at.is_none();
    let mut found: Vec<&TokenInfo> = tokens.iter().filter(is_named).collect();
    if found.is_empty() {
        found = tokens
            .iter()
            .filter(|token| word::is_id(word, token.id.0))
            .collect();
    }
    word::only(TOKENS, word, &found, |token| token.id.0)
}

fn in_words(token: &TokenInfo) -> String {
    format!(
        "token `{}` ({}; {})",
        token.name,
        token.scopes_in_words(),
        token.projects_in_words()
    )
}

/// The table of tokens.
pub(super) fn table(out: &Output, tokens: &[TokenInfo], now: DateTime<Utc>) -> String {
    let rows = tokens.iter().map(|token| {
        vec![
            Cell::new(short_uuid(token.id.0)),
            Cell::new(&token.name),
            Cell::new(token.scopes_in_words()),
            Cell::new(token.projects_in_words()),
            state(token, now),
            Cell::new(&token.created_by),
            Cell::new(
                token
                    .last_used_at
                    .map_or_else(|| "never".to_owned(), |used| age(used, now)),
            ),
        ]
    });
    out.table(
        &[
            left("TOKEN"),
            left("NAME"),
            left("SCOPES"),
            left("PROJECTS"),
            left("STATE"),
            left("MADE BY"),
            left("USED"),
        ],
        rows.collect(),
    )
}

fn state(token: &TokenInfo, now: DateTime<Utc>) -> Cell {
    let color = if token.is_valid(now) {
        Color::Green
    } else {
        Color::DarkGrey
    };
    Cell::new(token.state_in_words(now)).fg(color)
}
