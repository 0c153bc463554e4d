//! What an experiment may ask for.
//!
//! A spec arrives as a JSON document (TOML files have the same fields). [`ExperimentSpec::resolve`] lays it over
//! its preset, over what it takes from its base, and over the defaults, checks every field, and either returns
//! the spec with everything filled in or *all* the problems at once, each naming its field.
//!
//! - [`read`]: reads a JSON object field by field and collects what is wrong
//! - [`network`], [`regions`], [`training`], [`evaluation`], [`compatibility`], [`resources`]: the tables of a spec
//! - [`task`]: the tasks by name
//! - [`base`]: what an experiment takes over from the one that it starts from
//! - [`preset`]: the named experiments
//! - [`study`]: documents with many experiments; [`sweep`]: experiments whose values are searched

pub mod base;
pub mod compatibility;
pub mod evaluation;
mod fit;
mod layers;
pub mod names;
pub mod network;
pub mod preset;
pub mod read;
pub mod regions;
pub mod resources;
pub mod study;
pub mod sweep;
pub mod task;
pub mod training;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::FieldProblem;
use crate::run::CheckpointKind;
use base::Base;
use compatibility::CompatibilitySpec;
use evaluation::EvaluationSpec;
use network::NetworkSpec;
use preset::Preset;
use read::{Choice, Table};
use resources::ResourcesSpec;
use task::TaskName;
use training::{Objective, TrainingSpec};

/// Greatest seed: whole numbers above it do not survive every JSON reader.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// The project of experiments that name none.
pub const DEFAULT_PROJECT: &str = "default";

fn default_project() -> String {
    DEFAULT_PROJECT.to_owned()
}

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExperimentKind {
    /// Train a network from its initial values.
    Train,
    /// Train a network further, exactly as if it had not been stopped.
    Continue,
    /// Give a trained network new rule inputs and train them alone.
    Transfer,
    /// Measure a trained network under every condition asked for.
    Evaluate,
}

impl ExperimentKind {
    /// The word used in specs, SQL and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Continue => "continue",
            Self::Transfer => "transfer",
            Self::Evaluate => "evaluate",
        }
    }

    /// Whether it starts from a trained network.
    #[must_use]
    pub const fn needs_base(self) -> bool {
        match self {
            Self::Train => false,
            Self::Continue | Self::Transfer | Self::Evaluate => true,
        }
    }

    /// Which checkpoint of a base it starts from, where the spec does not say.
    #[must_use]
    pub const fn default_checkpoint(self) -> CheckpointKind {
        match self {
            Self::Continue => CheckpointKind::Last,
            Self::Train | Self::Transfer | Self::Evaluate => CheckpointKind::Best,
        }
    }
}

impl Choice for ExperimentKind {
    const ALL: &'static [Self] = &[Self::Train, Self::Continue, Self::Transfer, Self::Evaluate];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl Choice for CheckpointKind {
    const ALL: &'static [Self] = &[Self::Best, Self::Last];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// An experiment with every field filled in. Its bytes as JSON, and so its SHA-256, say nothing of fields that
/// came later and have their defaults: equal experiments stay equal through versions.
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
    /// The run or checkpoint that it starts from, by its id; without a coordinator also a path. For `train` it is
    /// the network whose muscle activity is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Which checkpoint of the base, where that is a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_checkpoint: Option<CheckpointKind>,
    /// Seed of all randomness, from 0 to 2^53 − 1.
    pub seed: u64,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The project that it belongs to: projects share the workers fairly, and tokens are limited to projects.
    #[serde(default = "default_project", skip_serializing_if = "is_default_project")]
    pub project: String,
    /// From −1000 to 1000; higher goes first.
    pub priority: i32,
    /// The network.
    pub network: NetworkSpec,
    /// How it is trained; absent for `evaluate`, which trains nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSpec>,
    /// Under which conditions it is measured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evaluation: EvaluationSpec,
    /// Quirks of the original that are asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compatibility: CompatibilitySpec,
    /// What it needs to run.
    pub resources: ResourcesSpec,
}

impl ExperimentSpec {
    /// Fills in a spec from its preset, its base where that is known, and the defaults, and checks every field.
    ///
    /// A document that asks for a base ([`base::BaseRequest`]) can be resolved without knowing it; what depends on
    /// it is then not checked.
    ///
    /// # Errors
    /// Every problem found, in the order of the fields; never an empty list.
    pub fn resolve(document: &Value, base: Option<&Base>) -> Result<Self, Vec<FieldProblem>> {
        let (over_preset, preset_problem) = layers::over_preset(document);
        let mut problems: Vec<FieldProblem> = preset_problem.into_iter().collect();
        let kind = over_preset
            .get("kind")
            .and_then(Value::as_str)
            .and_then(ExperimentKind::from_name);
        let layers = match (kind, base) {
            // A teacher's network is not the pupil's.
            (Some(kind), Some(base)) if kind.needs_base() => {
                layers::lay_over(base.document(kind), &over_preset)
            }
            _ => over_preset,
        };
        let spec = Table::read(&layers, &mut problems, |table| Self::read(table, base));
        if problems.is_empty() {
            Ok(spec)
        } else {
            Err(problems)
        }
    }

    fn read(table: &mut Table<'_>, base: Option<&Base>) -> Self {
        let kind = table.choice("kind", ExperimentKind::Train);
        let preset = table.optional_text("preset", 1..=100);
        let name = table.text("name", 1..=200, preset.as_deref().unwrap_or("experiment"));
        let base_name = table.optional_text("base", 1..=500);
        let base_checkpoint = base_name
            .is_some()
            .then(|| table.choice("base_checkpoint", kind.default_checkpoint()));
        let seed = table.integer("seed", 0..=MAX_SEED, 0);
        let tags = table.texts("tags", 0..=32, 1..=64);
        let project = table.word("project", 1..=64, DEFAULT_PROJECT);
        let priority = table.signed("priority", -1000..=1000, 0);
        let network = table.table("network", NetworkSpec::read);
        let known = base.and_then(Base::tasks);
        let training = if kind == ExperimentKind::Evaluate {
            table.refuse("training", "an evaluation trains nothing");
            None
        } else {
            Some(table.table("training", |t| TrainingSpec::read(t, kind, &network, known)))
        };
        let trained = training
            .as_ref()
            .map(|training| training.tasks.as_slice())
            .or(known);
        let evaluation = table.table("evaluation", |t| EvaluationSpec::read(t, kind, trained));
        let compatibility = table.table("compatibility", CompatibilitySpec::read);
        let resources = table.table("resources", ResourcesSpec::read);
        let spec = Self {
            kind,
            name,
            preset,
            base: base_name,
            base_checkpoint,
            seed,
            tags,
            project,
            priority,
            network,
            training,
            evaluation,
            compatibility,
            resources,
        };
        spec.check_base(table);
        spec.check_fit(table, base);
        spec.check_regions(table);
        spec
    }

    /// What the network learns, where it is trained.
    #[must_use]
    pub fn objective(&self) -> Option<Objective> {
        self.training.as_ref().map(|training| training.objective)
    }

    /// The tasks of its evaluations.
    #[must_use]
    pub fn evaluated_tasks(&self) -> &[TaskName] {
        match (&self.evaluation.tasks, &self.training) {
            (Some(tasks), _) => tasks,
            (None, Some(training)) => &training.tasks,
            (None, None) => TaskName::BASE,
        }
    }

    /// The preset that trains what this experiment's preset starts from.
    #[must_use]
    pub fn preset_base(&self) -> Option<&'static str> {
        Preset::find(self.preset.as_deref()?)?.base_preset
    }

    /// The normalised spec as JSON: fields in a fixed order, so that equal specs have equal bytes. Its SHA-256
    /// identifies the spec.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|error| unreachable!("a spec has only JSON values: {error}"))
    }
}

fn is_default_project(project: &str) -> bool {
    project == DEFAULT_PROJECT
}

/// Whether a field has its default and need not be written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A problem with its place.
fn problem_at(pointer: &str, detail: String, given: Value, allowed: &str) -> FieldProblem {
    FieldProblem {
        pointer: pointer.to_owned(),
        detail,
        given: Some(given),
        allowed: Some(allowed.to_owned()),
        nearest: None,
    }
}

#[cfg(test)]
mod tests;
