//! What an experiment may ask for.
//!
//! A spec arrives as a JSON document (TOML files have the same fields). [`ExperimentSpec::resolve`] lays it over
//! its preset and over the defaults, checks every field, and either returns the spec with everything filled
//! in or *all* the problems at once, each naming its field.
//!
//! - [`read`]: reads a JSON object field by field and collects what is wrong
//! - [`network`], [`training`], [`resources`]: the tables of a spec
//! - [`preset`]: the named experiments

pub mod network;
pub mod preset;
pub mod read;
pub mod resources;
pub mod training;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::FieldProblem;
use network::NetworkSpec;
use preset::Preset;
use read::{Choice, Table};
use resources::ResourcesSpec;
use training::TrainingSpec;

/// Greatest seed: whole numbers above it do not survive every JSON reader.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExperimentKind {
    /// Train a network from its initial values.
    Train,
}

impl ExperimentKind {
    /// The word used in specs, SQL and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
        }
    }
}

impl Choice for ExperimentKind {
    const ALL: &'static [Self] = &[Self::Train];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// An experiment with every field filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExperimentSpec {
    /// What is done.
    pub kind: ExperimentKind,
    /// A name for people; the preset's where none is given.
    pub name: String,
    /// The preset that filled in what was not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Seed of all randomness, from 0 to 2^53 − 1.
    pub seed: u64,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// From −1000 to 1000; higher goes first.
    pub priority: i32,
    /// The network.
    pub network: NetworkSpec,
    /// How it is trained.
    pub training: TrainingSpec,
    /// What it needs to run.
    pub resources: ResourcesSpec,
}

impl ExperimentSpec {
    /// Fills in a spec from its preset and the defaults, and checks every field.
    ///
    /// # Errors
    /// Every problem found, in the order of the fields; never an empty list.
    pub fn resolve(document: &Value) -> Result<Self, Vec<FieldProblem>> {
        let (laid_over_preset, preset_problem) = lay_over_preset(document);
        let mut problems: Vec<FieldProblem> = preset_problem.into_iter().collect();
        let spec = Table::read(&laid_over_preset, &mut problems, |table| {
            let kind = table.choice("kind", ExperimentKind::Train);
            let preset = table.optional_text("preset", 1..=100);
            let name = table.text("name", 1..=200, preset.as_deref().unwrap_or("experiment"));
            let seed = table.integer("seed", 0..=MAX_SEED, 0);
            let tags = table.texts("tags", 0..=32, 1..=64);
            let priority = table.signed("priority", -1000..=1000, 0);
            let network = table.table("network", NetworkSpec::read);
            let training = table.table("training", |t| TrainingSpec::read(t, network.activation));
            let resources = table.table("resources", ResourcesSpec::read);
            Self {
                kind,
                name,
                preset,
                seed,
                tags,
                priority,
                network,
                training,
                resources,
            }
        });
        if problems.is_empty() {
            Ok(spec)
        } else {
            Err(problems)
        }
    }

    /// The normalised spec as JSON: fields in a fixed order, so that equal specs have equal bytes. Its SHA-256
    /// identifies the spec.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|error| unreachable!("a spec has only JSON values: {error}"))
    }
}

/// The document with its preset's fields under it, and what is wrong with the preset's name.
fn lay_over_preset(document: &Value) -> (Value, Option<FieldProblem>) {
    let Some(name) = document.get("preset").and_then(Value::as_str) else {
        return (document.clone(), None);
    };
    match Preset::find(name) {
        Some(preset) => {
            let mut base = preset.document();
            lay_over(&mut base, document);
            (base, None)
        }
        None => {
            let problem = read::unknown_name("/preset", "preset", name, Preset::ids());
            (document.clone(), Some(problem))
        }
    }
}

/// Puts `upper` over `base`: objects are merged field by field, everything else is replaced.
fn lay_over(base: &mut Value, upper: &Value) {
    match (base, upper) {
        (Value::Object(base), Value::Object(upper)) => {
            for (name, value) in upper {
                lay_over(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, upper) => *base = upper.clone(),
    }
}

#[cfg(test)]
mod tests;
