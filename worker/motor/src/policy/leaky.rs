//! The leaky recurrent network.

use tch::Tensor;

use super::LeakyConfig;
use crate::arm::MUSCLES;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::environment::OBSERVATIONS;
use crate::host_tensor::{HostTensor, TensorTable};
use crate::random::{Purpose, Stream};

/// Leaky recurrent network with six outputs.
///
/// One call, with α = dt/τ, the observation u, and noise ξ = √(2/α) σ z of unit normal draws z:
///
/// ```text
/// x ← x + α (−x + W h + b + ξ_h + U (u + ξ_u))
/// h ← f(x)
/// action = sigmoid(V h + c)
/// ```
///
/// Both x and h start at 0, also where f(0) is not. Rows of matrices are destinations, columns sources.
#[derive(Debug)]
pub struct LeakyPolicy {
    config: LeakyConfig,
    /// In the order of [`NAMES`].
    parameters: Vec<Tensor>,
}

/// State dict names, in the order in which PyTorch lists them.
const NAMES: [&str; 9] = [
    "mrnn.region_base_firing",
    "mrnn.region_region",
    "mrnn.region_region_weight_mask",
    "mrnn.region_region_sign_matrix",
    "mrnn.input_region",
    "mrnn.input_region_weight_mask",
    "mrnn.input_region_sign_matrix",
    "fc.weight",
    "fc.bias",
];

/// Masks and sign matrices are listed with the parameters but not trained.
fn is_trainable(name: &str) -> bool {
    !(name.ends_with("_weight_mask") || name.ends_with("_sign_matrix"))
}

/// State x and firing h of the units, each `[batch, hidden]`.
#[derive(Debug)]
pub struct LeakyState {
    pub x: Tensor,
    pub h: Tensor,
}

/// Unit normal draws for a stretch of steps: hidden `[step, batch, hidden]`, input `[step, batch, observation]`.
#[derive(Debug)]
pub struct UnitNoise {
    pub hidden: Tensor,
    pub input: Tensor,
}

impl LeakyPolicy {
    /// A network with initial weights drawn from `seed`: base firing 0, W and U normal with variance 2/(rows +
    /// columns), V and c uniform within ±1/√hidden.
    pub fn new(config: LeakyConfig, seed: u64, numerics: Numerics) -> Self {
        let parameters = shapes(config.hidden)
            .iter()
            .zip(0..)
            .map(|((name, shape), tensor_index)| {
                let stream = Stream {
                    seed,
                    purpose: Purpose::Initialisation,
                    batch: 0,
                    step: tensor_index,
                };
                initial_value(name, shape, config.hidden, stream, numerics)
                    .set_requires_grad(is_trainable(name))
            })
            .collect();
        Self { config, parameters }
    }

    /// A network with the weights of a state dict. Masks and signs may be left out and are then 1.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, of another shape or precision, or not finite.
    pub fn from_state(
        config: LeakyConfig,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        if let Some(name) = state.keys().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(CheckpointError::UnknownTensor { name: name.clone() });
        }
        let load = |(name, shape): &(&str, Vec<i64>)| match state.get(*name) {
            Some(stored) => Ok(checked(name, stored, shape, numerics)?.set_requires_grad(is_trainable(name))),
            None if !is_trainable(name) => Ok(numerics.ones(shape)),
            None => Err(CheckpointError::MissingTensor {
                name: (*name).to_owned(),
            }),
        };
        let parameters = shapes(config.hidden).iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { config, parameters })
    }

    pub fn config(&self) -> &LeakyConfig {
        &self.config
    }

    fn parameter(&self, name: &str) -> &Tensor {
        let index = NAMES.iter().position(|&known| known == name);
        &self.parameters[index.unwrap_or_else(|| unreachable!("{name} is one of NAMES"))]
    }

    /// All tensors of the state dict with their names.
    pub fn named_parameters(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        NAMES.into_iter().zip(&self.parameters)
    }

    /// The tensors that training changes.
    pub fn trainable(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.named_parameters().filter(|(name, _)| is_trainable(name))
    }

    /// The state dict, copied to host memory.
    pub fn state(&self) -> TensorTable {
        let copy = |(name, tensor): (&str, &Tensor)| (name.to_owned(), HostTensor::from_tensor(tensor));
        self.named_parameters().map(copy).collect()
    }

    /// W as it acts: the weights where the mask lets them through, `[hidden, hidden]`.
    pub fn recurrent_matrix(&self) -> Tensor {
        self.parameter("mrnn.region_region") * self.parameter("mrnn.region_region_weight_mask")
    }

    /// The network made ready to be called many times with its present weights.
    pub fn prepare(&self) -> RunningPolicy {
        let input = self.parameter("mrnn.input_region") * self.parameter("mrnn.input_region_weight_mask");
        let input = input.tr();
        let alpha = self.config.alpha();
        RunningPolicy {
            config: self.config.clone(),
            alpha,
            noise_scale: (2.0 / alpha).sqrt(),
            recurrent: self.recurrent_matrix().tr(),
            feedback: input.narrow(0, OBSERVATIONS.known, OBSERVATIONS.feedback),
            input,
            base_firing: self.parameter("mrnn.region_base_firing").shallow_clone(),
            output_weight: self.parameter("fc.weight").tr(),
            output_bias: self.parameter("fc.bias").shallow_clone(),
        }
    }
}

/// A [`LeakyPolicy`] with transposed effective matrices, so that a step is a few operations.
///
/// What is known of an observation before the episode (rule, speed, go cue, target) enters for many steps at once
/// through [`drive`](Self::drive); what the arm feeds back enters step by step.
#[derive(Debug)]
pub struct RunningPolicy {
    config: LeakyConfig,
    alpha: f64,
    noise_scale: f64,
    recurrent: Tensor,
    input: Tensor,
    feedback: Tensor,
    base_firing: Tensor,
    output_weight: Tensor,
    output_bias: Tensor,
}

impl RunningPolicy {
    /// x = 0 and h = 0, `[rows, hidden]`.
    pub fn start(&self, rows: i64) -> LeakyState {
        let hidden = self.base_firing.size()[0];
        let zeros = || {
            Tensor::zeros(
                [rows, hidden],
                (self.base_firing.kind(), self.base_firing.device()),
            )
        };
        LeakyState {
            x: zeros(),
            h: zeros(),
        }
    }

    /// U (u + ξ_u) + b + ξ_h for the part of u that is known beforehand.
    ///
    /// Shapes: `known` `[step, batch, observation]`, 0 where the arm's feedback will be; returns
    /// `[step, batch, hidden]`.
    pub fn drive(&self, known: &Tensor, noise: Option<&UnitNoise>) -> Tensor {
        let size = known.size();
        let rows = |tensor: &Tensor| tensor.reshape([size[0] * size[1], -1]);
        let drive = match noise {
            None => self.base_firing.addmm(&rows(known), &self.input),
            Some(noise) => {
                let input = known + &noise.input * (self.noise_scale * self.config.input_noise);
                let hidden =
                    &noise.hidden * (self.noise_scale * self.config.hidden_noise) + &self.base_firing;
                rows(&hidden).addmm(&rows(&input), &self.input)
            }
        };
        drive.reshape([size[0], size[1], -1])
    }

    /// One call: state after it.
    ///
    /// Shapes: `drive` `[batch, hidden]`, one step of [`drive`](Self::drive); `feedback` `[batch, 14]`.
    pub fn step(&self, old: &LeakyState, drive: &Tensor, feedback: &Tensor) -> LeakyState {
        let input = drive
            .addmm(&old.h, &self.recurrent)
            .addmm(feedback, &self.feedback);
        let x = old.x.lerp(&input, self.alpha);
        LeakyState {
            h: self.config.activation.apply(&x),
            x,
        }
    }

    /// Muscle excitations, `[batch, muscle]`, in (0, 1).
    pub fn action(&self, h: &Tensor) -> Tensor {
        self.output_bias.addmm(h, &self.output_weight).sigmoid()
    }
}

fn shapes(hidden: usize) -> [(&'static str, Vec<i64>); 9] {
    let hidden = i64::try_from(hidden).unwrap_or(i64::MAX);
    let inputs = OBSERVATIONS.known + OBSERVATIONS.feedback;
    let outputs = MUSCLES as i64;
    NAMES.map(|name| {
        let shape = match name {
            "mrnn.region_base_firing" => vec![hidden],
            "fc.weight" => vec![outputs, hidden],
            "fc.bias" => vec![outputs],
            _ if name.starts_with("mrnn.region_region") => vec![hidden, hidden],
            _ => vec![hidden, inputs],
        };
        (name, shape)
    })
}

fn initial_value(name: &str, shape: &[i64], hidden: usize, stream: Stream, numerics: Numerics) -> Tensor {
    match name {
        "mrnn.region_base_firing" => numerics.zeros(shape),
        "mrnn.region_region" | "mrnn.input_region" => {
            let spread = (2.0 / (shape[0] + shape[1]) as f64).sqrt();
            let mut draws = vec![0.0; shape.iter().product::<i64>() as usize];
            stream.fill_normal(0, &mut draws);
            numerics.tensor(&draws, shape) * spread
        }
        "fc.weight" | "fc.bias" => {
            let bound = 1.0 / (hidden as f64).sqrt();
            let count = shape.iter().product::<i64>() as u32;
            let draws: Vec<f64> = (0..count)
                .map(|i| (2.0 * stream.uniform(i) - 1.0) * bound)
                .collect();
            numerics.tensor(&draws, shape)
        }
        _ => numerics.ones(shape),
    }
}

/// A stored tensor on the device, if it is what the network needs.
pub(crate) fn checked(
    name: &str,
    stored: &HostTensor,
    shape: &[i64],
    numerics: Numerics,
) -> Result<Tensor, CheckpointError> {
    let name = || name.to_owned();
    if stored.shape_i64() != shape {
        return Err(CheckpointError::Shape {
            name: name(),
            found: stored.shape_i64(),
            expected: shape.to_vec(),
        });
    }
    if stored.kind() != numerics.kind() {
        return Err(CheckpointError::Precision {
            name: name(),
            found: stored.kind(),
            expected: numerics.kind(),
        });
    }
    let tensor = stored.to_tensor();
    if tensor.isfinite().all().int64_value(&[]) == 0 {
        return Err(CheckpointError::NotFinite { name: name() });
    }
    Ok(tensor.to_device(numerics.device()))
}
