//! Errors in words, on the standard error.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;

use super::CliError;
use crate::client::ClientError;
use crate::problem::{FieldProblem, Problem};

/// Says why the command failed. A standard error that is closed leaves nobody to tell.
pub(super) fn report(error: &CliError) {
    let text = match error {
        CliError::Client(ClientError::Problem { problem, .. }) => in_words(problem),
        CliError::Client(error @ ClientError::Unreachable { .. }) => {
            format!("{error}; is it running, and is --server or MOTIF_SERVER right?")
        }
        CliError::Client(_)
        | CliError::Usage(_)
        | CliError::File { .. }
        | CliError::Output(_)
        | CliError::Failed(_) => error.to_string(),
    };
    let _ = writeln!(anstream::stderr(), "\u{1b}[1;31merror:\u{1b}[0m {text}");
}

/// The error, with what was given on the command line in place of the fields that the coordinator names.
pub(super) fn by_flags(mut error: ClientError, flags: &[(&str, &str)]) -> CliError {
    if let ClientError::Problem { problem, .. } = &mut error
        && !problem.errors.is_empty()
    {
        problem.detail.clone_from(&problem.title);
        for field in &mut problem.errors {
            if let Some((_, flag)) = flags.iter().find(|(pointer, _)| *pointer == field.pointer) {
                field.pointer = (*flag).to_owned();
            }
        }
    }
    error.into()
}

/// A problem document as text: its sentence, then each field that is wrong.
pub(super) fn in_words(problem: &Problem) -> String {
    // With one field, the sentence is that field's own; it stands below.
    let mut text = match problem.errors.as_slice() {
        [field] if problem.detail.contains(&field.detail) => problem.title.clone(),
        _ => problem.detail.clone(),
    };
    for field in &problem.errors {
        text.push('\n');
        text.push_str(&field_in_words(field));
    }
    if problem.status >= 500
        && let Some(id) = &problem.request_id
    {
        let _ = write!(text, " (request {id} in the coordinator's log)");
    }
    text
}

fn field_in_words(field: &FieldProblem) -> String {
    let place = if field.pointer.is_empty() {
        "/"
    } else {
        &field.pointer
    };
    let mut text = format!("  {place}: {}", field.detail);
    if let Some(nearest) = &field.nearest
        && !field.detail.contains("did you mean")
    {
        let _ = write!(text, "; did you mean `{nearest}`?");
    }
    let given = field
        .given
        .as_ref()
        .map(|given| format!("given: {}", short(given)));
    let allowed = field
        .allowed
        .as_ref()
        .map(|allowed| format!("allowed: {allowed}"));
    for line in [given, allowed].into_iter().flatten() {
        let _ = write!(text, "\n      {line}");
    }
    text
}

/// A value on one line of bearable length.
fn short(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}
