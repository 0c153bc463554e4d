//! Names in explanations: which one was nearly meant, which ones there are.

use serde_json::Value;

use crate::problem::FieldProblem;

/// The problem of a name that is not in its set.
#[must_use]
pub fn unknown_name<'n>(
    pointer: &str,
    what: &str,
    given: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> FieldProblem {
    let nearest = nearest(given, known.clone());
    let detail = match &nearest {
        Some(nearest) => format!("`{given}` is not a known {what}; did you mean `{nearest}`?"),
        None => format!("`{given}` is not a known {what}"),
    };
    FieldProblem {
        pointer: pointer.to_owned(),
        detail,
        given: Some(Value::String(given.to_owned())),
        allowed: Some(one_of(known)),
        nearest,
    }
}

/// The known name that is nearest to the one given, if any is near.
#[must_use]
pub fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    const NEAR: f64 = 0.6;
    let given = given.to_lowercase();
    known
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&given, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name.to_owned())
}

/// The names that would be accepted, in a sentence.
#[must_use]
pub fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    format!("one of {}", names.collect::<Vec<_>>().join(", "))
}

/// What was given, short enough for a sentence.
#[must_use]
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) if text.chars().count() <= 60 => format!("\"{text}\""),
        Value::String(_) => "a text this long".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "a table".to_owned(),
    }
}

/// A field's name inside a JSON pointer (RFC 6901).
#[must_use]
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
