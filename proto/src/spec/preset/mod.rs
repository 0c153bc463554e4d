//! The named experiments: the model family's own, the demo, and some that go beyond the original.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ExperimentSpec;
use super::base::Base;
use super::network::Activation;
use super::read::Choice;
use super::task::TaskName;
use table::PRESETS;

mod table;

/// A named experiment, written down as what it changes in the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The id to name in a spec.
    pub id: &'static str,
    /// What it is for, in one line.
    pub description: &'static str,
    /// What it is listed with.
    pub group: PresetGroup,
    /// The original's folder for its output, and the stem of the files there.
    pub output_stem: Option<&'static str>,
    /// The preset that trains the network that this one starts from.
    pub base_preset: Option<&'static str>,
    work: Work,
}

/// What presets are listed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PresetGroup {
    /// To see it work.
    Demo,
    /// Networks that learn all ten tasks.
    AllTasks,
    /// Networks that learn some of the tasks: bases of transfers.
    Subsets,
    /// New rule inputs for trained networks.
    Transfers,
    /// Training that goes on.
    Continued,
    /// What the original's presets do not have.
    Beyond,
}

impl PresetGroup {
    /// A heading for its list.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Demo => "Try it",
            Self::AllTasks => "All ten tasks",
            Self::Subsets => "Some of the tasks (bases of the transfers)",
            Self::Transfers => "Transfers: new rule inputs, all else frozen (need a base)",
            Self::Continued => "Going on (needs a base)",
            Self::Beyond => "Beyond the original's presets",
        }
    }
}

/// What a preset does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Trains a small network for minutes on two cores: enough to see the validation curve fall.
    Demo,
    /// Trains a network from its initial values.
    Train {
        network: Network,
        regularised: bool,
        tasks: &'static [TaskName],
        variant: Variant,
    },
    /// Trains new rule inputs.
    Transfer { tasks: &'static [TaskName] },
    /// Trains further.
    Continue,
}

#[derive(Clone, Copy, Debug)]
enum Network {
    Rnn { hidden: u32, activation: Activation },
    Gru { hidden: u32 },
}

/// What is otherwise than in the original.
#[derive(Clone, Copy, Debug)]
enum Variant {
    Original,
    /// The recurrent weights stay as they are.
    Reservoir,
    /// Nothing is sensed of the arm.
    NoFeedback,
    /// Another network's muscle activity is learnt.
    MuscleActivity,
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

    /// The original's folder and file stem of the network that this preset starts from.
    #[must_use]
    pub fn base_stem(&self) -> Option<&'static str> {
        Self::find(self.base_preset?)?.output_stem
    }

    /// The preset as a document that a spec is laid over.
    #[must_use]
    pub fn document(&self) -> Value {
        match self.work {
            Work::Demo => json!({
                "kind": "train",
                "network": { "kind": "rnn", "hidden": 64, "activation": "softplus" },
                "training": { "batches": 600, "save_every": 25, "tasks": TaskName::BASE },
            }),
            Work::Train {
                network,
                regularised,
                tasks,
                variant,
            } => train(network, regularised, tasks, variant),
            Work::Transfer { tasks } => json!({
                "kind": "transfer",
                "training": {
                    "batches": 75_000, "save_every": 500, "tasks": tasks,
                    "losses": { "rate": 0.0, "weight": 0.0, "muscle": 0.0, "dynamics": 0.0 },
                },
            }),
            Work::Continue => json!({ "kind": "continue" }),
        }
    }
}

fn train(network: Network, regularised: bool, tasks: &[TaskName], variant: Variant) -> Value {
    let network = match network {
        Network::Rnn { hidden, activation } => {
            json!({ "kind": "rnn", "hidden": hidden, "activation": activation.name() })
        }
        Network::Gru { hidden } => json!({ "kind": "gru", "hidden": hidden }),
    };
    let mut document = json!({
        "kind": "train",
        "network": network,
        "training": { "batches": 75_000, "save_every": 500, "tasks": tasks },
    });
    if !regularised {
        document["training"]["losses"] =
            json!({ "rate": 0.0, "weight": 0.0, "muscle": 0.0, "dynamics": 0.0 });
    }
    match variant {
        Variant::Original => {}
        Variant::Reservoir => document["training"]["frozen"] = json!(["recurrent"]),
        Variant::NoFeedback => document["network"]["feedback"] = json!([]),
        Variant::MuscleActivity => document["training"]["objective"] = json!("muscle_activity"),
    }
    document
}

/// A preset as `GET /presets` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresetInfo {
    /// The id to name in a spec.
    pub id: String,
    /// What it is for, in one line.
    pub description: String,
    /// What it is listed with.
    pub group: PresetGroup,
    /// Whether a spec must name a `base`.
    pub needs_base: bool,
    /// The preset that trains the network that this one is made to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_preset: Option<String>,
    /// The experiment that it stands for, every field filled in, and all that comes from a base as `base_preset`
    /// has it. Absent where the base alone says what is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<ExperimentSpec>,
}

impl PresetInfo {
    /// Every preset with its whole spec.
    #[must_use]
    pub fn all() -> Vec<Self> {
        PRESETS.iter().map(Self::of).collect()
    }

    fn of(preset: &Preset) -> Self {
        let kind = preset.document()["kind"].clone();
        Self {
            id: preset.id.to_owned(),
            description: preset.description.to_owned(),
            group: preset.group,
            needs_base: preset.base_preset.is_some() || kind != "train",
            base_preset: preset.base_preset.map(str::to_owned),
            spec: spec_of(preset),
        }
    }
}

/// The preset's spec; none where it is made for no base in particular and needs one.
fn spec_of(preset: &Preset) -> Option<ExperimentSpec> {
    let mut document = json!({ "preset": preset.id });
    let base = match (preset.base_preset, preset.work) {
        (None, Work::Continue) => return None,
        (None, _) => None,
        (Some(base), _) => {
            document["base"] = json!(base);
            Base::of(&spec_of(Preset::find(base)?)?)
        }
    };
    let mut spec = ExperimentSpec::resolve(&document, base.as_ref())
        .unwrap_or_else(|problems| unreachable!("preset {} is valid: {problems:?}", preset.id));
    // The preset names no run: that is for whoever uses it to do.
    spec.base = None;
    Some(spec)
}

/// Answer of `GET /presets`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresetList {
    /// The presets, the demo first.
    pub presets: Vec<PresetInfo>,
}
