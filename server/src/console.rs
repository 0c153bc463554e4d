//! Commands that work on the database itself: tokens, and who did what.
//!
//! Where a coordinator holds the data directory, they use the private Postgres that it runs: whoever may read that
//! directory owns what is in it. A token revoked here is told to every coordinator.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use motif_proto::access::{NewToken, Scope};
use motif_proto::id::TokenId;
use motif_proto::length;
use serde::Serialize;

use crate::backup::BackupError;
use crate::config::Database;
use crate::domain::access::{Actor, Projects};
use crate::error::{Error, chain};
use crate::serve::{self, StartError};
use crate::signals::Signals;
use crate::store::Store;
use crate::tokens::{self, Refusal};

/// `motif-server token …`.
#[derive(Debug, Args)]
pub struct TokenCommand {
    /// What to do with tokens.
    #[command(subcommand)]
    pub deed: TokenDeed,
    /// Where the database is.
    #[command(flatten)]
    pub database: Database,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenDeed {
    /// Make a token and print its secret, which is never shown again.
    Create(Create),
    /// List the tokens, the newest first.
    List,
    /// Revoke a token.
    Revoke {
        /// Its name or id.
        token: String,
    },
}

/// What the new token is to be.
#[derive(Debug, Args)]
pub struct Create {
    /// What it allows: admin, submit, read or worker; may be repeated.
    #[arg(long, required = true, value_delimiter = ',')]
    pub scope: Vec<Scope>,
    /// What it is for; people tell tokens apart by it.
    #[arg(long)]
    pub name: String,
    /// A project that it is limited to; may be repeated. All projects where not given.
    #[arg(long)]
    pub project: Vec<String>,
    /// How long it lasts, such as 90d, 12h or 2w. For ever where not given.
    #[arg(long, value_parser = length::parse)]
    pub expires: Option<Duration>,
}

/// Why a command did not do what it was asked, as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The database is not there.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A backup was not made, restored or found whole.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It was asked for something that cannot be.
    #[error("{0}")]
    Refused(String),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::Refused(chain(&error))
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(error) => error.into(),
            Refusal::Invalid(problems) => {
                let sentences: Vec<String> = problems
                    .into_iter()
                    .map(|problem| match problem.allowed {
                        Some(allowed) => format!("{} (allowed: {allowed})", problem.detail),
                        None => problem.detail,
                    })
                    .collect();
                Self::Refused(sentences.join("; "))
            }
        }
    }
}

/// Does what the command says.
///
/// # Errors
/// [`CommandError`].
pub async fn token(command: TokenCommand) -> Result<(), CommandError> {
    let connected = serve::attach(&command.database).await?;
    let store = Store::new(connected.pool(), Signals::new());
    let done = match command.deed {
        TokenDeed::Create(wanted) => create(&store, wanted, command.json).await,
        TokenDeed::List => list(&store, command.json).await,
        TokenDeed::Revoke { token } => revoke(&store, &token, command.json).await,
    };
    connected.close().await;
    done
}

async fn create(store: &Store, wanted: Create, json: bool) -> Result<(), CommandError> {
    let wanted = NewToken {
        name: wanted.name,
        scopes: wanted.scope,
        projects: (!wanted.project.is_empty()).then_some(wanted.project),
        expires_at: wanted.expires.map(|length| Utc::now() + length),
    };
    let created = tokens::create(store, wanted, &Actor::console()).await?;
    if json {
        return print_json(&created);
    }
    // The secret alone goes to the standard output, for scripts to take.
    print(&created.secret)?;
    let token = &created.token;
    eprintln!(
        "motif-server: this is token `{}` ({}, {}, {}); it is shown this once",
        token.name,
        token.scopes_in_words(),
        token.projects_in_words(),
        token
            .expires_at
            .map_or_else(|| "never ends".to_owned(), |end| format!("ends {}", day(end))),
    );
    Ok(())
}

async fn list(store: &Store, json: bool) -> Result<(), CommandError> {
    let list = store.list_tokens(&Projects::All).await?;
    if json {
        return print_json(&list);
    }
    if list.tokens.is_empty() {
        return print("No tokens. `motif-server token create --scope admin --name NAME` makes one.");
    }
    let now = Utc::now();
    let mut rows = vec![["NAME", "SCOPES", "PROJECTS", "STATE", "MADE", "USED", "ID"].map(str::to_owned)];
    rows.extend(list.tokens.iter().map(|token| {
        [
            token.name.clone(),
            token.scopes_in_words(),
            token.projects_in_words(),
            token.state_in_words(now),
            day(token.created_at),
            token.last_used_at.map_or_else(|| "never".to_owned(), minute),
            token.id.to_string(),
        ]
    }));
    print(&table(&rows, io::stdout().is_terminal()))
}

async fn revoke(store: &Store, wanted: &str, json: bool) -> Result<(), CommandError> {
    let id = match wanted.parse::<TokenId>() {
        Ok(id) => id,
        Err(_) => {
            let list = store.list_tokens(&Projects::All).await?;
            // A name belongs to one token that is not revoked.
            let named = list
                .tokens
                .into_iter()
                .find(|token| token.name == wanted && token.revoked_at.is_none());
            named
                .map(|token| token.id)
                .ok_or_else(|| CommandError::from(Error::UnknownToken(format!("named `{wanted}`"))))?
        }
    };
    let revoked = store.revoke_token(id, &Actor::console()).await?;
    if json {
        return print_json(&revoked);
    }
    print(&format!("Token `{}` opens nothing any more.", revoked.name))
}

fn day(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d").to_string()
}

fn minute(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M").to_string()
}

/// Rows in columns, the first of them a heading.
fn table<const N: usize>(rows: &[[String; N]], coloured: bool) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let lines = rows.iter().enumerate().map(|(number, row)| {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        let line = cells.join("  ").trim_end().to_owned();
        if coloured && number == 0 {
            format!("\u{1b}[1m{line}\u{1b}[0m")
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    print(&serde_json::to_string_pretty(value).map_err(io::Error::from)?)
}

fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_plain_where_nobody_looks() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows, false), "A     B\nlong  x");
    }
}
