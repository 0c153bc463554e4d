//! Specs from files, and what the command line lays over them.
//!
//! Only what makes a document is checked here. What a spec may say is the coordinator's to judge.

use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

use serde_json::{Map, Value};

use super::CliError;
use crate::spec::regions::RegionsSpec;

/// Longest file that is read; the coordinator takes less.
const MAX_BYTES: u64 = 1 << 20;

/// A JSON object, not yet judged.
pub(super) type Document = Map<String, Value>;

/// One `--set network.hidden=128`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assignment {
    /// The names on the way to the field.
    pub(super) path: Vec<String>,
    /// What it becomes.
    pub(super) value: Value,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text
            .split_once('=')
            .ok_or("write it as field=value, such as network.hidden=128")?;
        let path: Vec<String> = path.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err("the field's name is empty; write it as network.hidden=128".to_owned());
        }
        Ok(Self {
            path,
            value: parse_value(value.trim()),
        })
    }
}

impl Assignment {
    /// Sets the field, making the tables on the way.
    pub(super) fn apply(&self, document: &mut Document) -> Result<(), CliError> {
        let Some((field, tables)) = self.path.split_last() else {
            return Ok(());
        };
        let mut table = document;
        for (depth, name) in tables.iter().enumerate() {
            let entry = table
                .entry(name.clone())
                .or_insert_with(|| Document::new().into());
            table = entry.as_object_mut().ok_or_else(|| {
                let place = self.path[..=depth].join(".");
                CliError::Usage(format!(
                    "--set {}: `{place}` is not a table of fields",
                    self.path.join(".")
                ))
            })?;
        }
        table.insert(field.clone(), self.value.clone());
        Ok(())
    }
}

/// A value as JSON or TOML would read it; what neither can read is text.
fn parse_value(text: &str) -> Value {
    serde_json::from_str(text)
        .ok()
        .or_else(|| text.parse().ok().map(from_toml))
        .unwrap_or_else(|| Value::from(text))
}

/// Reads a spec from a file, or from the standard input where it is `-`.
pub(super) fn read(path: &Path) -> Result<Document, CliError> {
    let text = if path == Path::new("-") {
        bounded(io::stdin().lock())
    } else {
        fs::File::open(path).and_then(bounded)
    };
    let text = text.map_err(|source| CliError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Format::Json,
        Some("toml") => Format::Toml,
        _ => Format::guess(&text),
    };
    let mut document = format.parse(&text).map_err(|reason| {
        CliError::Usage(format!("{} cannot be read as a spec: {reason}", path.display()))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    inline_regions(&mut document, folder)?;
    if let Some(Value::Object(defaults)) = document.get_mut("defaults") {
        inline_regions(defaults, folder)?;
    }
    if let Some(Value::Array(experiments)) = document.get_mut("experiments") {
        for experiment in experiments.iter_mut().filter_map(Value::as_object_mut) {
            inline_regions(experiment, folder)?;
        }
    }
    Ok(document)
}

/// Puts the regions of a configuration file of the family in the place of `network.regions_file`, which names it
/// as seen from the spec: the coordinator cannot read it.
fn inline_regions(document: &mut Document, folder: &Path) -> Result<(), CliError> {
    let Some(network) = document.get_mut("network").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    // What is no text stays for the coordinator to refuse.
    let Some(file) = network.get("regions_file").and_then(Value::as_str) else {
        return Ok(());
    };
    let path = folder.join(file);
    let unreadable = |reason: String| {
        let path = path.display();
        CliError::Usage(format!(
            "{path} cannot be read as a description of regions: {reason}"
        ))
    };
    let text = fs::File::open(&path)
        .and_then(bounded)
        .map_err(|error| unreadable(error.to_string()))?;
    let described = Format::Json.parse(&text).map_err(unreadable)?;
    let regions = RegionsSpec::from_configuration(&described.into()).map_err(|problems| {
        let problems = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.pointer, problem.detail));
        unreadable(problems.collect::<Vec<_>>().join("; "))
    })?;
    let regions = serde_json::to_value(regions).map_err(|error| unreadable(error.to_string()))?;
    network.remove("regions_file");
    network.insert("regions".to_owned(), regions);
    Ok(())
}

fn bounded(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let length = source.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if length as u64 > MAX_BYTES {
        let message = format!("it is longer than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

/// The languages in which specs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Toml,
}

impl Format {
    /// A JSON document is an object; no TOML document begins with a brace.
    pub(super) fn guess(text: &str) -> Self {
        if text.trim_start().starts_with('{') {
            Self::Json
        } else {
            Self::Toml
        }
    }

    pub(super) fn parse(self, text: &str) -> Result<Document, String> {
        match self {
            Self::Json => match serde_json::from_str(text) {
                Ok(Value::Object(document)) => Ok(document),
                Ok(_) => Err("it must be a JSON object".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Self::Toml => {
                let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
                Ok(table
                    .into_iter()
                    .map(|(name, value)| (name, from_toml(value)))
                    .collect())
            }
        }
    }
}

/// The JSON value that stands for a TOML value. Dates, and numbers that JSON does not have, become text.
fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.is_finite() => number.into(),
        toml::Value::Float(number) => number.to_string().into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(instant) => instant.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => Value::Object(
            table
                .into_iter()
                .map(|(name, value)| (name, from_toml(value)))
                .collect(),
        ),
    }
}
