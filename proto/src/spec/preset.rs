//! The named experiments: the model family's own training runs, and the demo.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ExperimentSpec;
use super::network::Activation;
use super::read::Choice;
use super::training::TaskName;

/// A named experiment, written down as what it changes in the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The id to name in a spec.
    pub id: &'static str,
    /// What it is for, in one line.
    pub description: &'static str,
    hidden: u32,
    activation: Activation,
    regularisation: Regularisation,
    tasks: &'static [TaskName],
    length: Length,
}

/// Which loss terms count beside the position loss.
#[derive(Clone, Copy, Debug)]
enum Regularisation {
    /// All that are defined for the activation, with their default weights.
    Full,
    /// None.
    None,
}

/// How long a preset trains.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// 75,000 batches, as in the paper.
    Paper,
    /// Minutes on two cores: enough to see the validation curve fall.
    Demo,
}

use TaskName::{
    DlyFigure8, DlyFigure8Inv, DlyFullCircleClk, DlyFullReach, DlyHalfCircleClk, DlyHalfReach, DlySinusoid,
    DlySinusoidInv,
};

const PRESETS: &[Preset] = &[
    Preset {
        id: "demo",
        description: "All ten tasks with a small network for a few minutes: see a validation curve fall",
        hidden: 64,
        activation: Activation::Softplus,
        regularisation: Regularisation::Full,
        tasks: TaskName::ALL,
        length: Length::Demo,
    },
    all_tasks(
        "train_rnn128_softplus",
        128,
        Activation::Softplus,
        "All ten tasks, 128 softplus units",
    ),
    all_tasks(
        "train_rnn256_softplus",
        256,
        Activation::Softplus,
        "The paper's base network: all ten tasks, 256 softplus units",
    ),
    unregularised(
        "train_rnn256_softplus_noreg",
        Activation::Softplus,
        "The base network without any regularisation",
    ),
    all_tasks(
        "train_rnn512_softplus",
        512,
        Activation::Softplus,
        "All ten tasks, 512 softplus units",
    ),
    all_tasks(
        "train_rnn128_relu",
        128,
        Activation::Relu,
        "All ten tasks, 128 relu units",
    ),
    all_tasks(
        "train_rnn256_relu",
        256,
        Activation::Relu,
        "All ten tasks, 256 relu units",
    ),
    all_tasks(
        "train_rnn512_relu",
        512,
        Activation::Relu,
        "All ten tasks, 512 relu units",
    ),
    all_tasks(
        "train_rnn128_tanh",
        128,
        Activation::Tanh,
        "All ten tasks, 128 tanh units, no simple-dynamics loss",
    ),
    all_tasks(
        "train_rnn256_tanh",
        256,
        Activation::Tanh,
        "All ten tasks, 256 tanh units, no simple-dynamics loss",
    ),
    unregularised(
        "train_rnn256_tanh_noreg",
        Activation::Tanh,
        "256 tanh units without any regularisation",
    ),
    all_tasks(
        "train_rnn512_tanh",
        512,
        Activation::Tanh,
        "All ten tasks, 512 tanh units, no simple-dynamics loss",
    ),
    subset(
        "run_train_subsets_all_base_model",
        &[
            DlyHalfReach,
            DlyHalfCircleClk,
            DlySinusoid,
            DlySinusoidInv,
            DlyFullReach,
            DlyFullCircleClk,
            DlyFigure8,
            DlyFigure8Inv,
        ],
        "Base of a transfer: all tasks but the two counter-clockwise circles",
    ),
    subset(
        "run_train_subsets_nocr_base_model",
        &[
            DlyHalfReach,
            DlySinusoid,
            DlySinusoidInv,
            DlyFullReach,
            DlyFigure8,
            DlyFigure8Inv,
        ],
        "Base of a transfer: no circles at all",
    ),
    subset(
        "run_train_subsets_nosin_base_model",
        &[DlyHalfReach, DlyHalfCircleClk, DlyFullReach, DlyFullCircleClk],
        "Base of a transfer: reaches and clockwise circles, no sinusoids",
    ),
    subset(
        "run_train_subsets_reach_base_model",
        &[DlyHalfReach, DlyFullReach],
        "Base of a transfer: reaches alone",
    ),
    subset(
        "run_train_subsets_cr_base_model",
        &[DlyHalfCircleClk, DlyFullCircleClk],
        "Base of a transfer: clockwise circles alone",
    ),
    subset(
        "run_train_subsets_sin_base_model",
        &[DlySinusoid, DlySinusoidInv, DlyFigure8, DlyFigure8Inv],
        "Base of a transfer: sinusoids and figure eights alone",
    ),
];

const fn all_tasks(
    id: &'static str,
    hidden: u32,
    activation: Activation,
    description: &'static str,
) -> Preset {
    let regularisation = Regularisation::Full;
    Preset {
        id,
        description,
        hidden,
        activation,
        regularisation,
        tasks: TaskName::ALL,
        length: Length::Paper,
    }
}

const fn unregularised(id: &'static str, activation: Activation, description: &'static str) -> Preset {
    let regularisation = Regularisation::None;
    Preset {
        id,
        description,
        hidden: 256,
        activation,
        regularisation,
        tasks: TaskName::ALL,
        length: Length::Paper,
    }
}

const fn subset(id: &'static str, tasks: &'static [TaskName], description: &'static str) -> Preset {
    Preset {
        id,
        description,
        hidden: 256,
        activation: Activation::Softplus,
        regularisation: Regularisation::Full,
        tasks,
        length: Length::Paper,
    }
}

impl Preset {
    /// Every preset, the demo first.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        PRESETS
    }

    /// The ids of all presets.
    pub fn ids() -> impl Iterator<Item = &'static str> + Clone {
        PRESETS.iter().map(|preset| preset.id)
    }

    /// The preset of that id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.id == id)
    }

    /// The preset as a document that a spec is laid over.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut training = match self.length {
            Length::Paper => json!({ "batches": 75_000, "save_every": 500 }),
            Length::Demo => json!({ "batches": 600, "save_every": 25 }),
        };
        training["tasks"] = self.tasks.iter().map(|task| task.name()).collect();
        if let Regularisation::None = self.regularisation {
            training["losses"] = json!({ "rate": 0.0, "weight": 0.0, "muscle": 0.0, "dynamics": 0.0 });
        }
        json!({
            "kind": "train",
            "network": { "kind": "rnn", "hidden": self.hidden, "activation": self.activation.name() },
            "training": training,
        })
    }
}

/// A preset as `GET /presets` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresetInfo {
    /// The id to name in a spec.
    pub id: String,
    /// What it is for, in one line.
    pub description: String,
    /// The experiment that it stands for, every field filled in.
    pub spec: ExperimentSpec,
}

impl PresetInfo {
    /// Every preset with its whole spec.
    #[must_use]
    pub fn all() -> Vec<Self> {
        PRESETS.iter().map(Self::of).collect()
    }

    fn of(preset: &Preset) -> Self {
        let spec = ExperimentSpec::resolve(&json!({ "preset": preset.id }))
            .unwrap_or_else(|problems| unreachable!("preset {} is valid: {problems:?}", preset.id));
        Self {
            id: preset.id.to_owned(),
            description: preset.description.to_owned(),
            spec,
        }
    }
}

/// Answer of `GET /presets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresetList {
    /// The presets, the demo first.
    pub presets: Vec<PresetInfo>,
}
