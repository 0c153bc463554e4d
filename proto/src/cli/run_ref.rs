//! Which run a word on the command line names.
//!
//! `latest`, a whole id, or at least six hex digits from the head or the tail of one. The short ids in tables are
//! tails, because the head of an id is only the time at which it was made.

use std::str::FromStr;

use uuid::Uuid;

use super::CliError;
use super::output::short_id;
use crate::client::{Client, RunFilter};
use crate::id::RunId;
use crate::run::RunSummary;

/// Fewest hex digits that may stand for an id.
const FEWEST_DIGITS: usize = 6;
/// Length of the pages in which runs are looked through.
const PAGE: u32 = 100;
/// How many pages are looked through at most.
const MOST_PAGES: usize = 200;

/// A word that names a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunRef {
    /// The newest run.
    Latest,
    /// This one.
    Id(RunId),
    /// The one whose id begins or ends with these hex digits.
    Digits(String),
}

impl FromStr for RunRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let digits: String = text
            .chars()
            .filter(|c| *c != '-')
            .collect::<String>()
            .to_lowercase();
        if digits.len() >= FEWEST_DIGITS
            && digits.len() <= 32
            && digits.chars().all(|c| c.is_ascii_hexdigit())
        {
            return Ok(Self::Digits(digits));
        }
        Err(format!(
            "a run is `latest`, an id, or at least {FEWEST_DIGITS} hex digits from an id's head or tail"
        ))
    }
}

impl RunRef {
    /// Asks the coordinator which run is meant.
    pub(super) async fn resolve(&self, client: &Client) -> Result<RunId, CliError> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Latest => latest(client).await,
            Self::Digits(digits) => {
                let mut found = Vec::new();
                let mut filter = RunFilter {
                    limit: Some(PAGE),
                    ..RunFilter::default()
                };
                for _ in 0..MOST_PAGES {
                    let page = client.runs(&filter).await?;
                    found.extend(page.runs.into_iter().filter(|run| matches(run.id, digits)));
                    filter.cursor = page.next_cursor;
                    if filter.cursor.is_none() {
                        break;
                    }
                }
                only_one(digits, &found)
            }
        }
    }
}

/// What a new run starts from.
#[derive(Clone, Debug)]
pub(super) enum BaseRef {
    /// The id of a run or of a checkpoint: the coordinator knows which.
    Id(Uuid),
    /// A run, less exactly.
    Run(RunRef),
}

impl FromStr for BaseRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Run),
        }
    }
}

impl BaseRef {
    /// The id to send.
    pub(super) async fn resolve(&self, client: &Client) -> Result<String, CliError> {
        match self {
            Self::Id(id) => Ok(id.to_string()),
            Self::Run(run) => run.resolve(client).await.map(|id| id.to_string()),
        }
    }
}

async fn latest(client: &Client) -> Result<RunId, CliError> {
    let filter = RunFilter {
        limit: Some(1),
        ..RunFilter::default()
    };
    match client.runs(&filter).await?.runs.first() {
        Some(run) => Ok(run.id),
        None => Err(CliError::Usage("there are no runs yet".to_owned())),
    }
}

/// Whether an id begins or ends with these digits.
pub(super) fn matches(run: RunId, digits: &str) -> bool {
    let id = run.0.simple().to_string();
    id.starts_with(digits) || id.ends_with(digits)
}

/// The run that was found, or why there is not exactly one.
pub(super) fn only_one(digits: &str, found: &[RunSummary]) -> Result<RunId, CliError> {
    const SHOWN: usize = 5;
    match found {
        [run] => Ok(run.id),
        [] => Err(CliError::Usage(format!(
            "no run has an id that begins or ends with `{digits}`"
        ))),
        several => {
            let names = several
                .iter()
                .take(SHOWN)
                .map(|run| format!("{} ({})", short_id(run.id), run.name));
            let more = if several.len() > SHOWN { ", …" } else { "" };
            Err(CliError::Usage(format!(
                "`{digits}` stands for {} runs: {}{more}",
                several.len(),
                names.collect::<Vec<_>>().join(", "),
            )))
        }
    }
}
