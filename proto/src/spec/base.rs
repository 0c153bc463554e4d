//! What an experiment starts from, and what it takes over from there.

use serde_json::{Value, json};

use super::compatibility::CompatibilitySpec;
use super::evaluation::EvaluationSpec;
use super::network::NetworkSpec;
use super::task::TaskName;
use super::training::TrainingSpec;
use super::{ExperimentKind, ExperimentSpec, layers};
use crate::run::CheckpointKind;

/// A trained network that an experiment starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    /// Its network.
    pub network: NetworkSpec,
    /// How it came about, where that is known: a file may hold weights alone.
    pub origin: Option<Origin>,
}

/// How a base was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Its seed.
    pub seed: u64,
    /// Its training.
    pub training: TrainingSpec,
    /// Its evaluations.
    pub evaluation: EvaluationSpec,
    /// Quirks that were asked for.
    pub compatibility: CompatibilitySpec,
}

impl Base {
    /// A base of which the network alone is known.
    #[must_use]
    pub const fn network(network: NetworkSpec) -> Self {
        Self {
            network,
            origin: None,
        }
    }

    /// The base that an experiment made, unless it trained nothing.
    #[must_use]
    pub fn of(spec: &ExperimentSpec) -> Option<Self> {
        Some(Self {
            network: spec.network.clone(),
            origin: Some(Origin {
                seed: spec.seed,
                training: spec.training.clone()?,
                evaluation: spec.evaluation.clone(),
                compatibility: spec.compatibility,
            }),
        })
    }

    /// The tasks that it was trained on, where they are known.
    #[must_use]
    pub fn tasks(&self) -> Option<&[TaskName]> {
        Some(&self.origin.as_ref()?.training.tasks)
    }

    /// What lies under the preset and the document of an experiment that starts from here.
    pub(super) fn document(&self, kind: ExperimentKind) -> Value {
        let mut document = json!({ "network": self.network });
        let Some(origin) = &self.origin else {
            return document;
        };
        document["compatibility"] = json!(origin.compatibility);
        if kind == ExperimentKind::Continue {
            document["seed"] = json!(origin.seed);
            document["training"] = json!(origin.training);
            document["evaluation"] = json!(origin.evaluation);
        }
        document
    }
}

/// The base that a document asks for, before anything else of it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseRequest {
    /// What is done with it; `train` where a teacher is asked for.
    pub kind: ExperimentKind,
    /// What was given as `base`: a run's id, a checkpoint's id, or, without a coordinator, a path.
    pub base: String,
    /// Which checkpoint of a run.
    pub checkpoint: CheckpointKind,
}

impl BaseRequest {
    /// The base that a document asks for, if any.
    #[must_use]
    pub fn of(document: &Value) -> Option<Self> {
        let base = document.get("base")?.as_str()?.to_owned();
        let (document, _) = layers::over_preset(document);
        let word = |field: &str| document.get(field).and_then(Value::as_str);
        let kind = word("kind")
            .and_then(super::read::Choice::from_name)
            .unwrap_or(ExperimentKind::Train);
        let checkpoint = word("base_checkpoint")
            .and_then(super::read::Choice::from_name)
            .unwrap_or_else(|| kind.default_checkpoint());
        Some(Self {
            kind,
            base,
            checkpoint,
        })
    }
}
