//! `[network]`: the policy that controls the arm.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::read::{Choice, Table};
use super::regions::{OURS, RegionsSpec};
use super::{is_default, problem_at};
use crate::problem::FieldProblem;

/// Most hidden units.
pub const MAX_HIDDEN: u64 = 4096;
/// Greatest bound of a weight.
const MAX_BOUND: f64 = 1e3;

/// The kind of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Leaky recurrent network.
    Rnn,
    /// Gated recurrent units.
    Gru,
}

impl NetworkKind {
    /// The word used in specs and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Gru => "gru",
        }
    }
}

impl Choice for NetworkKind {
    const ALL: &'static [Self] = &[Self::Rnn, Self::Gru];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// What turns a unit's state into its activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// ln(1 + e^x).
    Softplus,
    /// max(x, 0).
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^−x).
    Sigmoid,
    /// x itself.
    Linear,
}

impl Activation {
    /// Whether the simple-dynamics loss is defined for it.
    #[must_use]
    pub const fn has_dynamics_loss(self) -> bool {
        match self {
            Self::Softplus | Self::Relu => true,
            Self::Tanh | Self::Sigmoid | Self::Linear => false,
        }
    }
}

impl Choice for Activation {
    const ALL: &'static [Self] = &[
        Self::Softplus,
        Self::Relu,
        Self::Tanh,
        Self::Sigmoid,
        Self::Linear,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Softplus => "softplus",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Linear => "linear",
        }
    }
}

/// What the network senses of the arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Feedback {
    /// Where the fingertip is.
    Vision,
    /// Lengths and speeds of the muscles' fibres.
    Proprioception,
}

impl Choice for Feedback {
    const ALL: &'static [Self] = &[Self::Vision, Self::Proprioception];

    fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Proprioception => "proprioception",
        }
    }
}

// Its kinds are open in the OpenAPI schema: closed, each would refuse the field `kind` that stands beside its own.
/// The policy that controls the arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkSpec {
    /// Leaky recurrent network.
    Rnn(RnnSpec),
    /// Gated recurrent units.
    Gru(GruSpec),
}

/// A leaky recurrent network, of one region or of many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RnnSpec {
    /// Hidden units, 1 to 4096; with `regions` their sum.
    pub hidden: u32,
    /// What turns a unit's state into its activity.
    pub activation: Activation,
    /// Standard deviation of the noise on the hidden state.
    pub noise_hidden: f64,
    /// Standard deviation of the noise on the input.
    pub noise_input: f64,
    /// Length of a step of the network, in milliseconds.
    pub dt_ms: f64,
    /// Time constant of the units, in milliseconds; at least `dt_ms`.
    pub time_constant_ms: f64,
    /// Whether each region's units act with one sign only (Dale's law).
    #[serde(default, skip_serializing_if = "is_default")]
    pub constrained: bool,
    /// Least and greatest magnitude that recurrent weights act with, where they are constrained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrent_bounds: Option<[f64; 2]>,
    /// Least and greatest magnitude that input weights act with, where they are constrained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bounds: Option<[f64; 2]>,
    /// Spectral radius to which the recurrent weights are scaled at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectral_radius: Option<f64>,
    /// What is sensed of the arm; what is missing acts as 0.
    #[serde(default = "all_feedback", skip_serializing_if = "is_all_feedback")]
    pub feedback: Vec<Feedback>,
    /// Its regions, where it has more than the one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<RegionsSpec>,
}

/// A network of gated recurrent units: one layer, no noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GruSpec {
    /// Hidden units, 1 to 4096.
    pub hidden: u32,
    /// What is sensed of the arm; what is missing acts as 0.
    #[serde(default = "all_feedback", skip_serializing_if = "is_all_feedback")]
    pub feedback: Vec<Feedback>,
}

/// Fields that only a leaky network has.
pub(super) const LEAKY_FIELDS: [&str; 10] = [
    "activation",
    "noise_hidden",
    "noise_input",
    "dt_ms",
    "time_constant_ms",
    "constrained",
    "recurrent_bounds",
    "input_bounds",
    "spectral_radius",
    "regions",
];

impl NetworkSpec {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        match table.choice("kind", NetworkKind::Rnn) {
            NetworkKind::Rnn => Self::Rnn(RnnSpec::read(table)),
            NetworkKind::Gru => Self::Gru(GruSpec::read(table)),
        }
    }

    /// The kind of policy.
    #[must_use]
    pub const fn kind(&self) -> NetworkKind {
        match self {
            Self::Rnn(_) => NetworkKind::Rnn,
            Self::Gru(_) => NetworkKind::Gru,
        }
    }

    /// Hidden units.
    #[must_use]
    pub const fn hidden(&self) -> u32 {
        match self {
            Self::Rnn(rnn) => rnn.hidden,
            Self::Gru(gru) => gru.hidden,
        }
    }

    /// What turns a unit's state into its activity, where that can be chosen.
    #[must_use]
    pub const fn activation(&self) -> Option<Activation> {
        match self {
            Self::Rnn(rnn) => Some(rnn.activation),
            Self::Gru(_) => None,
        }
    }

    /// What is sensed of the arm.
    #[must_use]
    pub fn feedback(&self) -> &[Feedback] {
        match self {
            Self::Rnn(rnn) => &rnn.feedback,
            Self::Gru(gru) => &gru.feedback,
        }
    }

    /// Its regions, where it has more than the one.
    #[must_use]
    pub const fn regions(&self) -> Option<&RegionsSpec> {
        match self {
            Self::Rnn(rnn) => rnn.regions.as_ref(),
            Self::Gru(_) => None,
        }
    }

    /// Whether the simple-dynamics loss is defined for it.
    #[must_use]
    pub fn has_dynamics_loss(&self) -> bool {
        self.activation().is_some_and(Activation::has_dynamics_loss)
    }

    /// The network in a few words, such as `rnn with 256 softplus units`.
    #[must_use]
    pub fn describe(&self) -> String {
        let (kind, hidden) = (self.kind().as_str(), self.hidden());
        let activation = self
            .activation()
            .map_or(String::new(), |activation| format!("{} ", activation.name()));
        let regions = self.regions().map_or(String::new(), |regions| {
            format!(
                " in regions {}",
                regions.recurrent_names().collect::<Vec<_>>().join(", ")
            )
        });
        format!("{kind} with {hidden} {activation}units{regions}")
    }

    /// Why the tensors of `base` cannot be this network's; empty where they can.
    #[must_use]
    pub fn misfits(&self, base: &Self) -> Vec<FieldProblem> {
        let fitting = "what the base has, or leave it out";
        if self.kind() != base.kind() {
            let (here, there) = (self.kind().as_str(), base.kind().as_str());
            return vec![problem_at(
                "/network/kind",
                format!("the network asked for is a {here}, but its base is a {there}"),
                json!(here),
                fitting,
            )];
        }
        match (self.regions(), base.regions()) {
            (None, None) => {
                let (here, there) = (self.hidden(), base.hidden());
                if here == there {
                    return Vec::new();
                }
                let detail = format!(
                    "the network asked for has {here} hidden units (recurrent weights [{here}, {here}]), but its \
                     base has {there} ([{there}, {there}])"
                );
                vec![problem_at("/network/hidden", detail, json!(here), fitting)]
            }
            (here, there) if here.map(RegionsSpec::shapes) == there.map(RegionsSpec::shapes) => Vec::new(),
            (here, there) => {
                let words = |regions: Option<&RegionsSpec>, hidden: u32| match regions {
                    Some(regions) => regions.describe(),
                    None => format!("one region of {hidden} units"),
                };
                let detail = format!(
                    "the network asked for has {}, but its base has {}",
                    words(here, self.hidden()),
                    words(there, base.hidden()),
                );
                vec![problem_at("/network/regions", detail, json!(here), fitting)]
            }
        }
    }
}

impl RnnSpec {
    fn read(table: &mut Table<'_>) -> Self {
        table.refuse(
            "regions_file",
            "a file can be read only where it lies: `motif submit` and `motif-worker train` put its regions here",
        );
        let regions = table.optional_table("regions", |t| RegionsSpec::read(t, &OURS));
        let hidden = read_hidden(table, regions.as_ref());
        let activation = table.choice("activation", Activation::Softplus);
        let noise_hidden = table.number("noise_hidden", 0.0..=10.0, 0.1);
        let noise_input = table.number("noise_input", 0.0..=10.0, 0.01);
        let dt_ms = table.number("dt_ms", 0.1..=1000.0, 10.0);
        let time_constant_ms = table.number("time_constant_ms", 0.1..=10_000.0, 20.0);
        if time_constant_ms < dt_ms {
            table.problem_with(
                "time_constant_ms",
                time_constant_ms.into(),
                format!("a time constant of {time_constant_ms} ms is shorter than a step of {dt_ms} ms"),
                "at least dt_ms",
            );
        }
        let constrained = table.flag("constrained", false);
        let recurrent_bounds = read_bounds(table, "recurrent_bounds", constrained);
        if recurrent_bounds.is_some() {
            table.refuse(
                "spectral_radius",
                "would scale the recurrent weights out of their bounds: give one of the two",
            );
        }
        Self {
            hidden,
            activation,
            noise_hidden,
            noise_input,
            dt_ms,
            time_constant_ms,
            constrained,
            recurrent_bounds,
            input_bounds: read_bounds(table, "input_bounds", constrained),
            spectral_radius: table.optional_number("spectral_radius", 1e-6..=100.0),
            feedback: read_feedback(table),
            regions,
        }
    }
}

impl GruSpec {
    fn read(table: &mut Table<'_>) -> Self {
        let hidden = read_hidden(table, None);
        let feedback = read_feedback(table);
        for field in LEAKY_FIELDS {
            table.refuse(field, format!("a gru has no `{field}`: only an rnn has"));
        }
        Self { hidden, feedback }
    }
}

/// Hidden units: as given, but where there are regions their sum.
fn read_hidden(table: &mut Table<'_>, regions: Option<&RegionsSpec>) -> u32 {
    let Some(regions) = regions else {
        return table.integer("hidden", 1..=MAX_HIDDEN, 512) as u32;
    };
    let sum = regions.hidden();
    let given = table.is_given("hidden");
    let hidden = table.integer("hidden", 1..=MAX_HIDDEN, sum.into());
    if u64::from(sum) > MAX_HIDDEN {
        let detail = format!("the regions have {sum} units together: too many");
        table.problem_with(
            "regions/recurrent",
            json!(sum),
            detail,
            &format!("at most {MAX_HIDDEN} units"),
        );
    } else if given && hidden != u64::from(sum) {
        table.problem_with(
            "hidden",
            json!(hidden),
            format!("the regions have {sum} units together, not {hidden}"),
            &format!("{sum}, or leave it out"),
        );
    }
    sum
}

/// Bounds of the magnitudes of weights that have a sign of their own.
fn read_bounds(table: &mut Table<'_>, field: &'static str, constrained: bool) -> Option<[f64; 2]> {
    if !constrained {
        table.refuse(
            field,
            "bounds are those of magnitudes: they need `constrained = true`",
        );
        return None;
    }
    let two_numbers = |value: &Value| -> Option<Option<[f64; 2]>> {
        let [lower, upper] = value.as_array()?.as_slice() else {
            return None;
        };
        let (lower, upper) = (lower.as_f64()?, upper.as_f64()?);
        let ordered = 0.0 <= lower && lower <= upper && 0.0 < upper && upper <= MAX_BOUND;
        ordered.then_some(Some([lower, upper]))
    };
    table.json(
        field,
        None,
        "[least, greatest]: two numbers from 0 to 1000, the first not above the second",
        two_numbers,
    )
}

fn read_feedback(table: &mut Table<'_>) -> Vec<Feedback> {
    let mut feedback = table.choices("feedback", "kind of feedback", 0, Feedback::ALL);
    feedback.sort_by_key(|feedback| *feedback as usize);
    feedback
}

fn all_feedback() -> Vec<Feedback> {
    Feedback::ALL.to_vec()
}

fn is_all_feedback(feedback: &[Feedback]) -> bool {
    feedback == Feedback::ALL
}
