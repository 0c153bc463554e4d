//! Networks that were trained apart, put side by side as one that does all their tasks without their touching.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::leaky::{OUTPUT_BIAS, OUTPUT_WEIGHT, readout_slots};
use super::network::RegionNetwork;
use super::parameters::{self, Parameters};
use super::regions::{Connection, FIRING, InputRegion, MASK, RecurrentRegion, SIGN};
use super::{Feedback, InputLayout, LeakyConfig, LeakyPolicy, RegionsConfig, UnitNoise};
use crate::arm::MUSCLES;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::host_tensor::{HostTensor, TensorTable};

/// A network of M leaky policies ("OrthogonalNet" in the original): a region and an input region for each member,
/// nothing in between, and the outputs of all.
///
/// W, U and V are block diagonal; b and c are joined. The observation is the members' observations one after the other,
/// the action their six excitations one after the other.
#[derive(Debug)]
pub struct SideBySide {
    network: RegionNetwork,
    readout: Parameters,
}

/// Where the input blocks of a [`SideBySide`] come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputBlocks {
    /// From the members.
    Copied,
    /// Drawn anew from a seed, as in the original.
    Fresh { seed: u64 },
}

/// Why networks cannot be put side by side.
#[derive(Debug, thiserror::Error)]
pub enum StitchError {
    #[error("there is no network to begin with")]
    NoMembers,
    #[error(
        "network {member} is gated or has several regions or new rule inputs: only plain ones can stand side by side"
    )]
    NotPlain { member: usize },
    #[error("network {member} has another `{field}` than the first one")]
    Different { member: usize, field: &'static str },
    #[error(transparent)]
    State(#[from] CheckpointError),
}

/// What the output of a sequence is made of, time first.
#[derive(Debug)]
pub struct SideBySideSequence {
    /// `[T, batch, units of all]`.
    pub x: Tensor,
    /// `[T, batch, units of all]`.
    pub h: Tensor,
    /// `[T, batch, 6 · members]`.
    pub action: Tensor,
}

const PREFIX: &str = "mrnn.";

impl SideBySide {
    /// Copies the members' weights. What is cut out of a member's feedback stays cut: its columns are 0.
    ///
    /// # Errors
    /// [`StitchError`] when the members are not plain networks of the same kind of unit.
    pub fn stitch(members: &[&LeakyPolicy], inputs: InputBlocks) -> Result<Self, StitchError> {
        let first = members.first().ok_or(StitchError::NoMembers)?;
        for (index, member) in members.iter().enumerate() {
            check_member(index, member.config(), first.config())?;
        }
        let numerics = first.network().numerics();
        let sizes = members.iter().map(|member| {
            let config = member.config();
            (config.hidden, config.inputs.observations())
        });
        let config = side_by_side_config(first.config(), &sizes.collect::<Vec<_>>());
        let mut state = TensorTable::new();
        for (index, member) in members.iter().enumerate() {
            copy_member(index, member, &mut state);
        }
        if let InputBlocks::Fresh { seed } = inputs {
            let fresh = RegionNetwork::new(config.clone(), PREFIX, seed, numerics);
            let drawn = fresh
                .parameters()
                .named()
                .filter(|(name, _)| name.starts_with("mrnn.inp_"));
            state.extend(parameters::state(drawn));
        }
        let weights: Vec<Tensor> = members
            .iter()
            .map(|member| member.effective().output_weight.detach())
            .collect();
        let biases: Vec<Tensor> = members
            .iter()
            .map(|member| member.effective().output_bias.detach())
            .collect();
        let output = [
            (OUTPUT_WEIGHT, Tensor::block_diag(&weights)),
            (OUTPUT_BIAS, Tensor::cat(&biases, 0)),
        ];
        for (name, tensor) in output {
            state.insert(name.to_owned(), HostTensor::from_tensor(&tensor));
        }
        Ok(Self::build(config, members.len(), &state, numerics)?)
    }

    /// Reads a state dict back. `constants` are those of the members; how many there are and their sizes are the
    /// state's.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, of another shape or precision, or not finite.
    pub fn from_state(
        constants: &LeakyConfig,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        let sizes: Vec<(usize, usize)> = (0..)
            .map_while(|index| match state.get(&input_name(index))?.shape() {
                [hidden, inputs] => Some((*hidden, *inputs)),
                _ => None,
            })
            .collect();
        let config = side_by_side_config(constants, &sizes);
        Self::build(config, sizes.len(), state, numerics)
    }

    fn build(
        config: LeakyConfig,
        members: usize,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        let readout = readout_slots(config.hidden, members * MUSCLES, true);
        let mut slots = RegionNetwork::slots(&config, PREFIX);
        slots.extend(readout.iter().cloned());
        parameters::refuse_unknown(state, &slots)?;
        Ok(Self {
            network: RegionNetwork::from_state(config, PREFIX, state, numerics)?,
            readout: Parameters::loaded(readout, state, numerics)?,
        })
    }

    /// The units; region i is called `region_i`, its input `inp_i`.
    pub fn network(&self) -> &RegionNetwork {
        &self.network
    }

    /// All tensors of the state dict with their names, outputs included.
    pub fn named_parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.network.parameters().named().chain(self.readout.named())
    }

    /// The state dict, copied to host memory.
    pub fn state(&self) -> TensorTable {
        parameters::state(self.named_parameters())
    }

    /// V, block diagonal, `[6 · members, units]`.
    pub fn output_weight(&self) -> &Tensor {
        self.readout.expect(OUTPUT_WEIGHT)
    }

    /// c, `[6 · members]`.
    pub fn output_bias(&self) -> &Tensor {
        self.readout.expect(OUTPUT_BIAS)
    }

    /// Runs a sequence from the start.
    ///
    /// Shapes: `observations` `[T, batch, sum of the members' observations]`.
    pub fn sequence(&self, observations: &Tensor, noise: Option<&UnitNoise>) -> SideBySideSequence {
        let start = self.network.prepare().start(observations.size()[1]);
        let (x, h) = self.network.sequence(observations, &start, &[], noise);
        let action = h.linear(self.output_weight(), Some(self.output_bias())).sigmoid();
        SideBySideSequence { x, h, action }
    }
}

fn check_member(member: usize, config: &LeakyConfig, first: &LeakyConfig) -> Result<(), StitchError> {
    if config.regions.is_some() || config.inputs.new_rules.is_some() {
        return Err(StitchError::NotPlain { member });
    }
    let same = [
        ("activation", config.activation == first.activation),
        ("hidden_noise", config.hidden_noise == first.hidden_noise),
        ("input_noise", config.input_noise == first.input_noise),
        ("dt_ms", config.dt_ms == first.dt_ms),
        (
            "time_constant_ms",
            config.time_constant_ms == first.time_constant_ms,
        ),
        ("constrained", config.constrained == first.constrained),
        ("ignore_masks", config.ignore_masks == first.ignore_masks),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(StitchError::Different { member, field }),
        None => Ok(()),
    }
}

/// The network of members of the given (units, inputs).
fn side_by_side_config(constants: &LeakyConfig, sizes: &[(usize, usize)]) -> LeakyConfig {
    let indices = || 0..sizes.len();
    let regions = RegionsConfig {
        recurrent: indices()
            .map(|i| RecurrentRegion {
                learnable_base_firing: true,
                ..RecurrentRegion::new(&region(i), sizes[i].0)
            })
            .collect(),
        inputs: indices()
            .map(|i| InputRegion::new(&format!("inp_{i}"), sizes[i].1))
            .collect(),
        recurrent_connections: indices()
            .map(|i| Connection::new(&region(i), &region(i), 0.0))
            .collect(),
        input_connections: indices()
            .map(|i| Connection::new(&format!("inp_{i}"), &region(i), 0.0))
            .collect(),
    };
    LeakyConfig {
        hidden: regions.hidden(),
        inputs: InputLayout {
            feedback: Feedback::default(),
            ..constants.inputs
        },
        spectral_radius: None,
        regions: Some(regions),
        ..constants.clone()
    }
}

fn region(index: usize) -> String {
    format!("region_{index}")
}

fn input_name(index: usize) -> String {
    format!("{PREFIX}inp_{index}_{}", region(index))
}

/// Puts a member's units under the names of its place.
fn copy_member(index: usize, member: &LeakyPolicy, state: &mut TensorTable) {
    let place = region(index);
    let feedback_cut = member.config().inputs.column_mask();
    for (name, tensor) in member.named_parameters() {
        let (own, suffix) = [FIRING, MASK, SIGN]
            .into_iter()
            .find_map(|suffix| Some((name.strip_suffix(suffix)?, suffix)))
            .unwrap_or((name, ""));
        let (name, tensor) = match own {
            "mrnn.region" => (format!("{PREFIX}{place}{suffix}"), tensor.detach()),
            "mrnn.region_region" => (format!("{PREFIX}{place}_{place}{suffix}"), tensor.detach()),
            "mrnn.input_region" => {
                let weights = match &feedback_cut {
                    Some(mask) if suffix.is_empty() => {
                        tensor.detach() * member.network().numerics().tensor(mask, &[-1])
                    }
                    _ => tensor.detach(),
                };
                (format!("{}{suffix}", input_name(index)), weights)
            }
            _ => continue,
        };
        state.insert(name, HostTensor::from_tensor(&tensor));
    }
}
