//! Which network, and its constants.

use serde::{Deserialize, Serialize};

use super::{Activation, RegionsConfig};
use crate::config::{check, not_negative, positive};
use crate::error::Error;

/// Kind of network and what it is built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum NetworkConfig {
    #[serde(rename = "rnn")]
    Leaky(LeakyConfig),
    #[serde(rename = "gru")]
    Gru(GruConfig),
}

/// Constants of the leaky recurrent network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyConfig {
    /// Hidden units, 1 to [`MAX_HIDDEN`]. With regions, the sum of theirs.
    pub hidden: usize,
    pub activation: Activation,
    /// Strength σ_h of the noise of the hidden units.
    pub hidden_noise: f64,
    /// Strength σ_u of the noise of the inputs.
    pub input_noise: f64,
    /// Time of one step, in ms.
    pub dt_ms: f64,
    /// Time constant of a unit, in ms.
    pub time_constant_ms: f64,
    #[serde(default)]
    pub inputs: InputLayout,
    /// Dale's law: a region's outgoing weights all have its sign, W = mask ∘ |W| ∘ sign.
    #[serde(default)]
    pub constrained: bool,
    /// Bounds of |W| in a constrained network, W = mask ∘ clip(|W|) ∘ sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrent_bounds: Option<Bounds>,
    /// The same of the input weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bounds: Option<Bounds>,
    /// Masks act only in a constrained network, as in the original.
    #[serde(default)]
    pub ignore_masks: bool,
    /// Largest absolute eigenvalue that the initial W is scaled to.
    #[serde(default)]
    pub spectral_radius: Option<f64>,
    /// Regions and their connections; `None` is one region, `region`, with one input, `input`.
    #[serde(default)]
    pub regions: Option<RegionsConfig>,
}

/// The smallest and the largest magnitude that a weight acts with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    pub lower: f64,
    pub upper: f64,
}

/// Constants of the gated recurrent network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GruConfig {
    /// Hidden units, 1 to [`MAX_HIDDEN`].
    pub hidden: usize,
    #[serde(default)]
    pub inputs: InputLayout,
}

/// What a network's input columns are: the rule inputs, then the [`CONDITION_INPUTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputLayout {
    /// Rule inputs that the network was made with.
    pub rules: usize,
    /// Rule inputs that have replaced those in a transfer.
    #[serde(default)]
    pub new_rules: Option<usize>,
    #[serde(default)]
    pub feedback: Feedback,
}

/// Which senses of the arm reach the network. A missing one's columns of the input matrix act as 0, so that neither
/// the signal nor its noise enters; shapes stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Fingertip position.
    pub vision: bool,
    /// Fibre lengths and speeds.
    pub proprioception: bool,
}

impl Default for Feedback {
    fn default() -> Self {
        Self {
            vision: true,
            proprioception: true,
        }
    }
}

impl Default for InputLayout {
    fn default() -> Self {
        Self {
            rules: 10,
            new_rules: None,
            feedback: Feedback::default(),
        }
    }
}

/// Inputs after the rules: speed, go cue, target (2), fingertip (2), fibre lengths (6) and speeds (6).
pub const CONDITION_INPUTS: usize = 18;
/// Columns of the fingertip among the condition inputs; those after it are proprioception.
const VISION: std::ops::Range<usize> = 4..6;

impl InputLayout {
    /// Width of an observation.
    pub fn observations(&self) -> usize {
        self.new_rules.unwrap_or(self.rules) + CONDITION_INPUTS
    }

    /// 0 for each column that is cut, else 1; `None` when nothing is.
    pub(super) fn column_mask(&self) -> Option<Vec<f64>> {
        let Feedback {
            vision,
            proprioception,
        } = self.feedback;
        let conditions = (0..CONDITION_INPUTS).map(|column| {
            let cut = match column {
                c if c < VISION.start => false,
                c if c < VISION.end => !vision,
                _ => !proprioception,
            };
            if cut { 0.0 } else { 1.0 }
        });
        let rules = self.observations() - CONDITION_INPUTS;
        let mask = || std::iter::repeat_n(1.0, rules).chain(conditions).collect();
        (!(vision && proprioception)).then(mask)
    }

    fn validate(&self) -> Result<(), Error> {
        let count = 1..=MAX_RULES;
        check(
            "network.inputs.rules",
            count.contains(&self.rules),
            "must be 1 to 1024",
        )?;
        check(
            "network.inputs.new_rules",
            self.new_rules.is_none_or(|rules| count.contains(&rules)),
            "must be 1 to 1024",
        )
    }
}

/// Largest network that is accepted.
pub const MAX_HIDDEN: usize = 4096;
const MAX_RULES: usize = 1024;

impl Default for LeakyConfig {
    fn default() -> Self {
        Self {
            hidden: 512,
            activation: Activation::Softplus,
            hidden_noise: 0.1,
            input_noise: 0.01,
            dt_ms: 10.0,
            time_constant_ms: 20.0,
            inputs: InputLayout::default(),
            constrained: false,
            recurrent_bounds: None,
            input_bounds: None,
            ignore_masks: false,
            spectral_radius: None,
            regions: None,
        }
    }
}

impl LeakyConfig {
    /// α, the fraction of the way that a unit goes towards its input in one step.
    pub fn alpha(&self) -> f64 {
        self.dt_ms / self.time_constant_ms
    }

    /// The regions, also where there is only one.
    pub fn region_structure(&self) -> RegionsConfig {
        self.regions
            .clone()
            .unwrap_or_else(|| RegionsConfig::single(self.hidden, self.inputs.rules + CONDITION_INPUTS))
    }

    fn validate(&self) -> Result<(), Error> {
        check_hidden(self.hidden)?;
        check(
            "network.hidden_noise",
            not_negative(self.hidden_noise),
            "must be finite and not negative",
        )?;
        check(
            "network.input_noise",
            not_negative(self.input_noise),
            "must be finite and not negative",
        )?;
        check(
            "network.dt_ms",
            positive(self.dt_ms),
            "must be positive and finite",
        )?;
        let slow_enough = positive(self.time_constant_ms) && self.time_constant_ms >= self.dt_ms;
        check(
            "network.time_constant_ms",
            slow_enough,
            "must be finite and not below dt_ms",
        )?;
        check(
            "network.spectral_radius",
            self.spectral_radius.is_none_or(positive),
            "must be positive and finite",
        )?;
        self.validate_bounds("network.recurrent_bounds", self.recurrent_bounds)?;
        self.validate_bounds("network.input_bounds", self.input_bounds)?;
        check(
            "network.spectral_radius",
            self.spectral_radius.is_none() || self.recurrent_bounds.is_none(),
            "would scale the recurrent weights out of their bounds: give one of the two",
        )?;
        self.inputs.validate()?;
        match &self.regions {
            Some(regions) => self.validate_regions(regions),
            None => Ok(()),
        }
    }

    fn validate_bounds(&self, field: &'static str, bounds: Option<Bounds>) -> Result<(), Error> {
        let Some(Bounds { lower, upper }) = bounds else {
            return Ok(());
        };
        check(
            field,
            self.constrained,
            "hold for the magnitudes of weights with a sign: they need `constrained`",
        )?;
        check(
            field,
            not_negative(lower) && positive(upper) && lower <= upper,
            "must be finite, not negative, the lower one not above the upper one, and that not 0",
        )
    }

    fn validate_regions(&self, regions: &RegionsConfig) -> Result<(), Error> {
        regions.validate()?;
        let problem = |field, problem| Err(Error::InvalidConfig { field, problem });
        if self.spectral_radius.is_some() && !regions.has_loop() {
            return problem(
                "network.spectral_radius",
                "cannot be reached: the connections of the regions form no loop".to_owned(),
            );
        }
        if self.inputs.new_rules.is_some() {
            return problem(
                "network.inputs.new_rules",
                "cannot replace the rules of a network of several regions".to_owned(),
            );
        }
        let (hidden, inputs) = (regions.hidden(), regions.inputs());
        if hidden != self.hidden {
            let problem_text = format!("is {}, but the regions have {hidden} units", self.hidden);
            return problem("network.hidden", problem_text);
        }
        if inputs != self.inputs.observations() {
            let observations = self.inputs.observations();
            let problem_text = format!("have {inputs} units, but an observation has {observations}");
            return problem("network.regions.inputs", problem_text);
        }
        Ok(())
    }
}

impl Default for GruConfig {
    fn default() -> Self {
        Self {
            hidden: 512,
            inputs: InputLayout::default(),
        }
    }
}

fn check_hidden(hidden: usize) -> Result<(), Error> {
    check(
        "network.hidden",
        (1..=MAX_HIDDEN).contains(&hidden),
        "must be 1 to 4096",
    )
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig::Leaky(LeakyConfig::default())
    }
}

impl NetworkConfig {
    /// The leaky network of the given size, with default constants.
    pub fn leaky(hidden: usize, activation: Activation) -> Self {
        NetworkConfig::Leaky(LeakyConfig {
            hidden,
            activation,
            ..LeakyConfig::default()
        })
    }

    /// The gated network of the given size.
    pub fn gru(hidden: usize) -> Self {
        NetworkConfig::Gru(GruConfig {
            hidden,
            ..GruConfig::default()
        })
    }

    pub fn hidden(&self) -> usize {
        match self {
            NetworkConfig::Leaky(leaky) => leaky.hidden,
            NetworkConfig::Gru(gru) => gru.hidden,
        }
    }

    pub fn inputs(&self) -> &InputLayout {
        match self {
            NetworkConfig::Leaky(leaky) => &leaky.inputs,
            NetworkConfig::Gru(gru) => &gru.inputs,
        }
    }

    pub fn inputs_mut(&mut self) -> &mut InputLayout {
        match self {
            NetworkConfig::Leaky(leaky) => &mut leaky.inputs,
            NetworkConfig::Gru(gru) => &mut gru.inputs,
        }
    }

    /// # Errors
    /// [`Error::InvalidConfig`] with the path of the first impossible field.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            NetworkConfig::Leaky(leaky) => leaky.validate(),
            NetworkConfig::Gru(gru) => {
                check_hidden(gru.hidden)?;
                gru.inputs.validate()
            }
        }
    }
}
