//! Which of some things a word means: by what people call it, or by its id or some digits of that.

use uuid::Uuid;

use super::CliError;

/// Fewest hex digits that may stand for an id.
const FEWEST_DIGITS: usize = 6;

/// How sentences speak of things of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// One of them.
    pub(super) one: &'static str,
    /// What people call them by.
    pub(super) called_by: &'static str,
    /// The command that lists them.
    pub(super) listed_by: &'static str,
}

/// Whether a word is an id, or its beginning or end.
pub(super) fn is_id(word: &str, id: Uuid) -> bool {
    let digits = word.replace('-', "").to_lowercase();
    let id = id.simple().to_string();
    digits.len() >= FEWEST_DIGITS && (id.starts_with(&digits) || id.ends_with(&digits))
}

/// The only one of those that a word may mean.
pub(super) fn only<'a, T>(
    kind: Kind,
    word: &str,
    found: &[&'a T],
    id: impl Fn(&T) -> Uuid,
) -> Result<&'a T, CliError> {
    let Kind {
        one,
        called_by,
        listed_by,
    } = kind;
    match *found {
        [only] => Ok(only),
        [] => Err(CliError::Usage(format!(
            "no {one} has the {called_by} `{word}` or an id that begins or ends so; `{listed_by}` lists them"
        ))),
        _ => {
            let ids: Vec<String> = found.iter().map(|thing| id(thing).to_string()).collect();
            Err(CliError::Usage(format!(
                "`{word}` stands for {} {one}s: {}",
                ids.len(),
                ids.join(", ")
            )))
        }
    }
}
