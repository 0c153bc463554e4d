//! The engine as the rest of the crate uses it: policies and tensors in, losses and gradients out.

use std::ops::Range;

use tch::Tensor;
use tch::kind::Element;

use super::arm::SENSED_SIZE;
use super::block::{Block, Kept, Script};
use super::network::{Constants, Kind, Leaky, Weights};
use super::real::Real;
use super::{Episodes, Threads};
use crate::arm::MUSCLES;
use crate::device::{Numerics, Precision};
use crate::engine::{Details, NoiseSource, Rollout};
use crate::environment::Episode;
use crate::loss::{LossWeights, Losses};
use crate::policy::{Effective, LeakyPolicy, Policy};

/// Why the fused engine does not run something. The reference engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCovered {
    #[error("this half of the fused engine computes on the CPU only")]
    Device,
}

/// Runs episodes on the CPU, forward and backward.
#[derive(Debug)]
pub struct FusedEngine {
    episodes: OfPrecision,
}

#[derive(Debug)]
enum OfPrecision {
    F32(Box<Episodes<f32>>),
    F64(Box<Episodes<f64>>),
}

/// Calls a method of the episodes of either kind.
macro_rules! either {
    ($kinds:expr, $episodes:ident => $call:expr) => {
        match $kinds {
            OfPrecision::F32($episodes) => $call,
            OfPrecision::F64($episodes) => $call,
        }
    };
}

impl FusedEngine {
    /// Whether episodes are run here: on the CPU, whatever the network.
    ///
    /// # Errors
    /// [`NotCovered`] with the reason.
    pub fn covers(numerics: Numerics) -> Result<(), NotCovered> {
        if numerics.device() == tch::Device::Cpu && numerics.card().is_none() {
            Ok(())
        } else {
            Err(NotCovered::Device)
        }
    }

    /// An engine for policies of this one's shape.
    ///
    /// # Errors
    /// [`NotCovered`] as [`covers`](Self::covers) says.
    pub fn new(policy: &Policy, numerics: Numerics) -> Result<Self, NotCovered> {
        Self::covers(numerics)?;
        let constants = Constants {
            hidden: policy.hidden(),
            known: policy.observations() - SENSED_SIZE,
            kind: match policy {
                Policy::Leaky(policy) => Kind::Leaky(leaky(policy)),
                Policy::Gru(_) => Kind::Gated,
            },
        };
        let threads = Threads::new(numerics.threads());
        let episodes = match numerics.precision() {
            Precision::F32 => OfPrecision::F32(Box::new(Episodes::new(constants, threads))),
            Precision::F64 => OfPrecision::F64(Box::new(Episodes::new(constants, threads))),
        };
        Ok(Self { episodes })
    }

    /// Lays out the policy's matrices as they act, for the episodes that come.
    pub fn take(&mut self, weights: &Effective) {
        either!(&mut self.episodes, episodes => episodes.take(host(weights)));
    }

    /// Runs an episode with the weights taken last, and keeps what its slopes need. Without `noise` the network is
    /// silent.
    pub fn roll_out(&mut self, episode: &Episode, noise: Option<&NoiseSource>) {
        self.run(episode, noise, Kept::Everything);
    }

    /// The same, where nobody asks for slopes or sequences: the network's are forgotten step by step. Losses and
    /// fingertips are there.
    pub fn play(&mut self, episode: &Episode, noise: Option<&NoiseSource>) {
        self.run(episode, noise, Kept::Latest);
    }

    fn run(&mut self, episode: &Episode, noise: Option<&NoiseSource>, kept: Kept) {
        either!(&mut self.episodes, episodes => {
            let (known, goal) = (numbers(&episode.known), numbers(&episode.goal));
            let script = Script {
                steps: episode.longest(),
                rows: episode.rows(),
                known: &known,
                observation: episode.layout.width() as usize,
                goal: &goal,
                kept,
            };
            episodes.forward(script, noise);
        });
    }

    /// Losses of the last episode; `weight` is the term of the weights' own size, already weighted.
    pub fn losses(&self, weights: &LossWeights, weight: Option<&Tensor>) -> Losses {
        let means = either!(&self.episodes, episodes => episodes.means());
        let mut losses = Losses {
            position: means.position,
            rate: weights.rate * means.rate,
            weight: weight.map_or(0.0, |term| term.double_value(&[])),
            muscle: weights.muscle * means.muscle,
            dynamics: weights.dynamics * means.dynamics.unwrap_or(0.0),
            imitation: None,
            total: 0.0,
        };
        losses.total = losses.position + losses.rate + losses.weight + losses.muscle + losses.dynamics;
        losses
    }

    /// Gradients of the weighted losses of the last episode, the weights' own size apart, with respect to the
    /// matrices as they act, in the order of [`Effective::tensors`]. To be asked for once an episode.
    pub fn slopes(&mut self, losses: &LossWeights) -> Vec<Tensor> {
        self.slopes_of(1.0, losses)
    }

    /// The same with a weight of the position error too.
    pub(crate) fn slopes_of(&mut self, position: f64, losses: &LossWeights) -> Vec<Tensor> {
        either!(&mut self.episodes, episodes => {
            let slopes = episodes.backward(position, losses);
            tensors(&slopes, &episodes.network().constants)
        })
    }

    /// Fingertips of the last episode, `[T + 1, batch, 2]`, metres.
    pub fn fingertips(&self) -> Tensor {
        either!(&self.episodes, episodes => fingertips(episodes))
    }

    /// Sequences of the last episode, before its slopes were asked for. With noise, the observations hold that of
    /// the inputs.
    pub fn rollout(&self, numerics: Numerics) -> Rollout {
        either!(&self.episodes, episodes => rollout(episodes, numerics))
    }
}

fn leaky(policy: &LeakyPolicy) -> Leaky {
    let config = policy.config();
    let noise_scale = (2.0 / config.alpha()).sqrt();
    let start = policy.network().prepare().start(1).x;
    Leaky {
        activation: config.activation,
        alpha: config.alpha(),
        hidden_noise: noise_scale * config.hidden_noise,
        input_noise: noise_scale * config.input_noise,
        initial_x: numbers(&start.to_kind(tch::Kind::Double)),
    }
}

fn host<T: Real>(weights: &Effective) -> Weights<T> {
    match weights {
        Effective::Leaky(weights) => Weights {
            recurrent: numbers(&weights.recurrent),
            input: numbers(&weights.input),
            base_firing: numbers(&weights.base_firing),
            recurrent_bias: vec![],
            output_weight: numbers(&weights.output_weight),
            output_bias: numbers(&weights.output_bias),
        },
        Effective::Gru(weights) => Weights {
            recurrent: numbers(&weights.recurrent),
            input: numbers(&weights.input),
            base_firing: numbers(&weights.input_bias),
            recurrent_bias: numbers(&weights.recurrent_bias),
            output_weight: numbers(&weights.output_weight),
            output_bias: numbers(&weights.output_bias),
        },
    }
}

/// A tensor's numbers, row by row.
fn numbers<T: Element + Default + Copy>(tensor: &Tensor) -> Vec<T> {
    let tensor = tensor.detach().contiguous();
    let mut values = vec![T::default(); tensor.numel()];
    let count = values.len();
    tensor.copy_data(&mut values, count);
    values
}

/// In the order of [`Effective::tensors`].
fn tensors<T: Real>(weights: &Weights<T>, constants: &Constants) -> Vec<Tensor> {
    let matrix = |values: &[T], rows: usize| Tensor::from_slice(values).reshape([rows as i64, -1]);
    let vector = |values: &[T]| Tensor::from_slice(values);
    let outputs = [
        matrix(&weights.output_weight, MUSCLES),
        vector(&weights.output_bias),
    ];
    let hidden = constants.hidden;
    let of_units = match constants.kind {
        Kind::Leaky(_) => vec![
            matrix(&weights.recurrent, hidden),
            matrix(&weights.input, hidden),
            vector(&weights.base_firing),
        ],
        Kind::Gated => vec![
            matrix(&weights.input, 3 * hidden),
            matrix(&weights.recurrent, 3 * hidden),
            vector(&weights.base_firing),
            vector(&weights.recurrent_bias),
        ],
    };
    of_units.into_iter().chain(outputs).collect()
}

fn fingertips<T: Real>(episodes: &Episodes<T>) -> Tensor {
    let instants = episodes.steps + 1;
    let mut values = Vec::with_capacity(instants * episodes.rows * 2);
    for instant in 0..instants {
        for block in episodes.blocks() {
            values.extend((0..block.rows()).flat_map(|row| block.fingertip(instant, row)));
        }
    }
    Tensor::from_slice(&values).reshape([instants as i64, -1, 2])
}

/// Appends a row's numbers at an instant.
type Reader<'a, T> = dyn Fn(&Block<T>, usize, usize, &mut Vec<f64>) + 'a;

fn rollout<T: Real>(episodes: &Episodes<T>, numerics: Numerics) -> Rollout {
    assert_eq!(episodes.kept(), Kept::Everything, "no sequences to read");
    let shape = episodes.network().shape;
    let sequence = |instants: Range<usize>, width: usize, read: &Reader<'_, T>| {
        let mut values = Vec::new();
        for instant in instants.clone() {
            for block in episodes.blocks() {
                for row in 0..block.rows() {
                    read(block, instant, row, &mut values);
                }
            }
        }
        let size = [instants.len() as i64, episodes.rows as i64, width as i64];
        numerics.tensor(&values, &size)
    };
    let (steps, hidden) = (episodes.steps, shape.hidden);
    let is_gated = episodes.network().constants.kind == Kind::Gated;
    let activation = sequence(0..steps + 1, MUSCLES, &|block, instant, row, values| {
        block.read_state(instant, row, 4..10, values);
    });
    let after_calls = sequence(1..steps + 1, hidden, &|block, instant, row, values| {
        block.read_z(instant, row, 0..hidden, values);
    });
    let start = numerics.zeros(&[1, episodes.rows as i64, hidden as i64]);
    Rollout {
        fingertip: fingertips(episodes),
        activation: Some(activation),
        hidden: Some(Tensor::cat(&[start, after_calls], 0)),
        details: Some(Details {
            observation: sequence(
                0..steps + 1,
                shape.known + SENSED_SIZE,
                &|block, instant, row, values| {
                    block.read_observation(instant, row, values);
                },
            ),
            x: sequence(0..steps, hidden, &|block, instant, row, values| {
                // Gated units have no x.
                if is_gated {
                    values.resize(values.len() + hidden, 0.0);
                } else {
                    block.read_d(instant, row, 0..hidden, values);
                }
            }),
            action: sequence(0..steps, MUSCLES, &|block, instant, row, values| {
                block.read_excitation(instant, row, values);
            }),
            joint: sequence(0..steps + 1, 4, &|block, instant, row, values| {
                block.read_state(instant, row, 0..4, values);
            }),
        }),
    }
}
