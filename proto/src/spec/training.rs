//! `[training]`: tasks, batches, optimiser and losses.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::network::NetworkSpec;
use super::read::{Choice, Table};
use super::task::TaskName;
use super::{ExperimentKind, is_default};

/// Most checkpoints of a run that are kept beside the best and the last.
pub const MAX_KEPT: u64 = 1000;
/// Most batches of a run.
pub const MAX_BATCHES: u64 = 10_000_000;

/// A part of the network that training can leave as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FrozenPart {
    /// The recurrent weights: what is then trained is a reservoir.
    Recurrent,
    /// The input weights.
    Input,
    /// The output weights and biases.
    Output,
    /// The tonic input of the recurrent units; of a gru its two bias vectors.
    BaseFiring,
}

impl Choice for FrozenPart {
    const ALL: &'static [Self] = &[Self::Recurrent, Self::Input, Self::Output, Self::BaseFiring];

    fn name(self) -> &'static str {
        match self {
            Self::Recurrent => "recurrent",
            Self::Input => "input",
            Self::Output => "output",
            Self::BaseFiring => "base_firing",
        }
    }
}

/// What a network learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// To move the fingertip along the path.
    #[default]
    Movement,
    /// To produce the muscle activity that another network, the base, was recorded to produce.
    MuscleActivity,
}

impl Choice for Objective {
    const ALL: &'static [Self] = &[Self::Movement, Self::MuscleActivity];

    fn name(self) -> &'static str {
        match self {
            Self::Movement => "movement",
            Self::MuscleActivity => "muscle_activity",
        }
    }
}

/// Weights of the loss terms beside that of the objective, whose weight is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Hidden activity.
    pub rate: f64,
    /// Weights of the network.
    pub weight: f64,
    /// Muscle activation.
    pub muscle: f64,
    /// Simple dynamics; 0 where the network has none (gru, and all activations but softplus and relu).
    pub dynamics: f64,
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// How many batches, each of one task. A continued run counts those of its base too.
    pub batches: u64,
    /// Trials in a batch.
    pub batch_size: u32,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Greatest joint norm of the gradients.
    pub clip: f64,
    /// Evaluate and store checkpoints every so many batches.
    pub save_every: u64,
    /// Keep the first checkpoint at or after each multiple of so many batches, beside the best and the last. What lies
    /// below, such as a study's defaults, is set aside by 0: none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
    /// Tasks to draw from, each with equal chance; all base tasks or all composable pairs.
    pub tasks: Vec<TaskName>,
    /// Weights of the loss terms.
    pub losses: LossWeights,
    /// Parts of the network that stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<FrozenPart>,
    /// What the network learns.
    #[serde(default, skip_serializing_if = "is_default")]
    pub objective: Objective,
}

impl TrainingSpec {
    /// Reads the table; `known` are the tasks that a base was trained on.
    pub(super) fn read(
        table: &mut Table<'_>,
        kind: ExperimentKind,
        network: &NetworkSpec,
        known: Option<&[TaskName]>,
    ) -> Self {
        let training = Self {
            batches: table.integer("batches", 1..=MAX_BATCHES, 75_000),
            batch_size: table.integer("batch_size", 1..=4096, 32) as u32,
            learning_rate: table.number("learning_rate", 1e-9..=1.0, 1e-3),
            clip: table.number("clip", 1e-6..=1e6, 1.0),
            save_every: table.integer("save_every", 1..=MAX_BATCHES, 500),
            keep_every: table
                .optional_integer("keep_every", 0..=MAX_BATCHES)
                .filter(|every| *every > 0),
            tasks: read_tasks(table, TaskName::BASE),
            losses: table.table("losses", |t| LossWeights::read(t, kind, network)),
            frozen: read_frozen(table, kind),
            objective: read_objective(table, kind),
        };
        training.check_kept(table);
        if let (ExperimentKind::Continue, Some(known)) = (kind, known) {
            check_family(table, &training.tasks, known);
        }
        training
    }
}

impl TrainingSpec {
    /// Refuses to keep more checkpoints than a store should have of one run.
    fn check_kept(&self, table: &mut Table<'_>) {
        let Some(every) = self.keep_every else { return };
        let kept = self.batches / every.max(self.save_every);
        if kept > MAX_KEPT {
            let detail = format!("{kept} checkpoints would be kept, more than the {MAX_KEPT} of one run");
            let least = self.batches.div_ceil(MAX_KEPT);
            table.problem_with("keep_every", every.into(), detail, &format!("at least {least}"));
        }
    }
}

/// Tasks of one family.
pub(super) fn read_tasks(table: &mut Table<'_>, default: &[TaskName]) -> Vec<TaskName> {
    let given = table.is_given("tasks");
    let tasks = table.choices("tasks", "task", 1, default);
    let Some(family) = tasks.first().map(|task| task.family()).filter(|_| given) else {
        return tasks;
    };
    if let Some(stranger) = tasks.iter().find(|task| task.family() != family) {
        let detail = format!(
            "`{}` and `{stranger}` have different rule inputs: {} and {} cannot be mixed",
            tasks[0],
            family.describe(),
            stranger.family().describe(),
        );
        table.problem_with("tasks", json!(tasks), detail, "tasks of one family");
    }
    tasks
}

/// Refuses tasks whose observations are not as wide as those that the network knows.
pub(super) fn check_family(table: &mut Table<'_>, tasks: &[TaskName], known: &[TaskName]) {
    let family = |tasks: &[TaskName]| tasks.first().map(|task| task.family());
    if let (Some(asked), Some(known)) = (family(tasks), family(known))
        && asked != known
    {
        let detail = format!(
            "the network knows {} ({} observed numbers), not {} ({})",
            known.describe(),
            known.observed(),
            asked.describe(),
            asked.observed(),
        );
        table.problem_with("tasks", json!(tasks), detail, known.describe());
    }
}

fn read_frozen(table: &mut Table<'_>, kind: ExperimentKind) -> Vec<FrozenPart> {
    if kind == ExperimentKind::Transfer {
        table.refuse(
            "frozen",
            "a transfer trains the new rule inputs alone: all else is frozen already",
        );
        return Vec::new();
    }
    let mut frozen = table.choices("frozen", "part of the network", 0, &[]);
    frozen.sort_by_key(|part| *part as usize);
    if FrozenPart::ALL.iter().all(|part| frozen.contains(part)) {
        let detail = "every part is frozen: nothing is left to train".to_owned();
        table.problem_with("frozen", json!(frozen), detail, "at least one part left out");
    }
    frozen
}

fn read_objective(table: &mut Table<'_>, kind: ExperimentKind) -> Objective {
    let objective = table.choice("objective", Objective::Movement);
    let why_not = match kind {
        ExperimentKind::Continue => "a checkpoint does not say which network's muscle activity was learnt",
        ExperimentKind::Transfer => "new rule inputs are trained on movements",
        ExperimentKind::Train | ExperimentKind::Evaluate => return objective,
    };
    if objective == Objective::MuscleActivity {
        let detail = format!("a {} cannot learn muscle activity: {why_not}", kind.as_str());
        table.problem_with("objective", json!(objective), detail, "movement, or leave it out");
    }
    objective
}

impl LossWeights {
    fn read(table: &mut Table<'_>, kind: ExperimentKind, network: &NetworkSpec) -> Self {
        // New rule inputs are trained on the position alone.
        let default = |weight: f64| {
            if kind == ExperimentKind::Transfer {
                0.0
            } else {
                weight
            }
        };
        let rate = table.number("rate", 0.0..=1e3, default(1e-3));
        let weight = table.number("weight", 0.0..=1e3, default(1e-3));
        let muscle = table.number("muscle", 0.0..=1e3, default(1e-2));
        let defined = network.has_dynamics_loss();
        let dynamics = table.number("dynamics", 0.0..=1e3, if defined { default(1e-3) } else { 0.0 });
        if dynamics != 0.0 && !defined {
            let network = match network.activation() {
                Some(activation) => activation.name(),
                None => network.kind().as_str(),
            };
            table.problem_with(
                "dynamics",
                dynamics.into(),
                format!("the simple-dynamics loss is not defined for {network}"),
                "0, or leave it out",
            );
        }
        Self {
            rate,
            weight,
            muscle,
            dynamics,
        }
    }
}
