//! Episodes of a leaky network on a card, and the learning from them.
//!
//! Everything that a batch needs is a fixed sequence of eight kernels; parameters, moments and matrices stay on the
//! card. The host sends what is known of an episode, and reads seven numbers.

use std::sync::Arc;

use tch::{Kind, Tensor};

use super::card::{Card, CardError, Grid};
use super::memory::{OfEpisode, OfNetwork, REPORT_SIZE, bytes_of_tensor, tensor_of};
use super::plan::{Parameter, Plan};
use super::run::Run;
use super::shape::{
    ARM_SIZE, PARAMETER_GROUP, SENSED, SUM_PARTS, Shape, THREADS, TILE, TILE_THREADS, UNIT_GROUP, bytes_of,
};
use crate::arm::MUSCLES;
use crate::device::{Numerics, Precision};
use crate::engine::{Details, NoiseSource, Rollout};
use crate::environment::Episode;
use crate::loss::{LossWeights, Losses};
use crate::policy::{Activation, LeakyPolicy};

/// Runs episodes of a network whose parameters are on a card.
#[derive(Debug)]
pub struct CardEngine {
    card: Arc<dyn Card>,
    precision: Precision,
    shape: Shape,
    plan: Plan,
    run: Run,
    network: OfNetwork,
    episode: OfEpisode,
}

/// How an update is made.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    pub weights: LossWeights,
    pub clip: Option<f64>,
    /// Adam's η/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ) of the update that comes.
    pub step_size: f64,
    pub second_scale: f64,
}

/// What the card reports of a batch: losses, the gradients' joint norm, whether it updated the parameters. It does
/// not where a loss or the norm is not finite.
#[derive(Clone, Copy, Debug)]
pub struct Learnt {
    pub losses: Losses,
    pub norm: f64,
    pub applied: bool,
}

impl CardEngine {
    /// An engine for a network, with its parameters. The policy's tensors have the given precision.
    ///
    /// # Errors
    /// When the card has not enough memory, or fails.
    pub fn new(policy: &LeakyPolicy, card: Arc<dyn Card>, precision: Precision) -> Result<Self, CardError> {
        let config = policy.config();
        let shape = Shape::new(config.hidden, config.inputs.observations());
        let plan = Plan::new(policy, &shape);
        let noise_scale = (2.0 / config.alpha()).sqrt();
        let start = policy.network().prepare().start(1).x;
        let initial_x = Vec::<f64>::try_from(
            start
                .reshape([-1])
                .to_kind(Kind::Double)
                .to_device(tch::Device::Cpu),
        )
        .unwrap_or_else(|_| unreachable!("a row of numbers"));
        let network = OfNetwork::new(&card, &plan, &shape, &initial_x, precision)?;
        let bounds = [config.recurrent_bounds, config.input_bounds];
        let mut run = Run {
            hidden: shape.hidden as i32,
            known: shape.known as i32,
            inputs: shape.inputs as i32,
            activation: number_of(config.activation),
            z_stride: shape.z_stride as i32,
            d_stride: shape.d_stride as i32,
            unit_stride: shape.unit_stride as i32,
            back_stride: shape.back_stride as i32,
            entering_slices: Shape::slices(shape.unit_stride) as i32,
            back_slices: Shape::slices(shape.back_stride) as i32,
            parameters: plan.count() as i32,
            parameter_blocks: plan.count().div_ceil(PARAMETER_GROUP) as i32,
            alpha: config.alpha(),
            hidden_noise: noise_scale * config.hidden_noise,
            input_noise: noise_scale * config.input_noise,
            lower: bounds.map(|bounds| bounds.map_or(0.0, |bounds| bounds.lower)),
            upper: bounds.map(|bounds| bounds.map_or(f64::INFINITY, |bounds| bounds.upper)),
            position: 1.0,
            fixed_size: plan.fixed_size,
            ..Run::default()
        };
        network.tell(&mut run);
        let engine = Self {
            episode: OfEpisode::new(&card)?,
            card,
            precision,
            shape,
            plan,
            run,
            network,
        };
        let parameters: Vec<Tensor> = policy
            .trainable()
            .map(|(_, tensor)| tensor.shallow_clone())
            .collect();
        engine.network.parameter.write(&joined(&parameters))?;
        Ok(engine)
    }

    /// Names, shapes and places of the trained parameters, in the order of the policy.
    fn parameters(&self) -> &[Parameter] {
        &self.plan.parameters
    }

    /// Sends Adam's moments, in the order of the policy's trained parameters.
    ///
    /// # Errors
    /// When the card fails.
    pub fn send_moments(&self, first: &[Tensor], second: &[Tensor]) -> Result<(), CardError> {
        self.network.first.write(&joined(first))?;
        self.network.second.write(&joined(second))
    }

    /// Makes room for episodes of so many rows and steps, of observations of so many numbers.
    ///
    /// # Errors
    /// [`CardError::OutOfMemory`].
    pub fn reserve(&mut self, rows: usize, steps: usize, observations: usize) -> Result<(), CardError> {
        let mut longest = Run {
            rows: rows as i32,
            steps: steps as i32,
            observation: observations as i32,
            keep: 1,
            ..self.run
        };
        self.episode.reserve(&mut longest, self.precision)
    }

    /// Runs an episode. Without `noise` the network is silent; with `keep`, what learning needs is kept.
    ///
    /// # Errors
    /// When the card has not enough memory, or fails.
    pub fn roll_out(
        &mut self,
        episode: &Episode,
        noise: Option<&NoiseSource>,
        keep: bool,
    ) -> Result<(), CardError> {
        self.run.rows = episode.rows() as i32;
        self.run.steps = episode.longest() as i32;
        self.run.observation = episode.layout.width() as i32;
        self.run.keep = i32::from(keep);
        self.run.noisy = i32::from(noise.is_some());
        self.episode.reserve(&mut self.run, self.precision)?;
        self.episode
            .observations
            .write(&bytes_of_tensor(&episode.known))?;
        self.episode.goals.write(&bytes_of_tensor(&episode.goal))?;
        if let Some(noise) = noise {
            self.run.seed = noise.seed;
            self.run.batch = noise.batch;
            self.run.hidden_purpose = noise.hidden as u32;
            self.run.input_purpose = noise.input as u32;
            let numbers = noise.rows.iter().cloned().flatten();
            let bytes: Vec<u8> = numbers.flat_map(|number| (number as u32).to_le_bytes()).collect();
            self.episode.numbers.write(&bytes)?;
        }
        let entries = self.shape.hidden * self.shape.columns() + MUSCLES * (self.shape.hidden + 1);
        self.launch("assemble", entries.div_ceil(PARAMETER_GROUP))?;
        self.launch("forward", self.row_blocks())
    }

    fn row_blocks(&self) -> usize {
        (self.run.rows as usize).div_ceil(self.card.rows_per_block())
    }

    fn launch(&self, kernel: &'static str, blocks: usize) -> Result<(), CardError> {
        let rows = self.card.rows_per_block();
        let grid = Grid {
            blocks,
            threads: if kernel == "sum_outer_products" {
                TILE_THREADS
            } else {
                THREADS
            },
            on_chip: self.shape.on_chip(kernel, self.precision, rows),
        };
        self.card.launch(kernel, grid, &self.run)
    }

    /// Losses of the last episode, and the update that they ask for: launched, and not waited for.
    ///
    /// # Errors
    /// When the card fails.
    pub fn learn(&mut self, update: &Update) -> Result<(), CardError> {
        self.descend(update)?;
        self.launch("adapt", (self.run.parameter_blocks as usize).max(1))
    }

    /// Losses and gradients of the last episode.
    fn descend(&mut self, update: &Update) -> Result<(), CardError> {
        let weights = update.weights;
        let run = &mut self.run;
        run.has_dynamics = i32::from(weights.dynamics != 0.0 && has_slopes(run.activation));
        (run.rate, run.weight, run.muscle, run.dynamics) =
            (weights.rate, weights.weight, weights.muscle, weights.dynamics);
        run.clip = update.clip.unwrap_or(f64::INFINITY);
        (run.step_size, run.second_scale) = (update.step_size, update.second_scale);
        self.launch("sum_units", SUM_PARTS * self.shape.hidden.div_ceil(UNIT_GROUP))?;
        self.launch("losses", 1)?;
        if self.run.parameters == 0 {
            return Ok(());
        }
        let tiles = self.shape.slope_rows().div_ceil(TILE) * self.shape.z_stride.div_ceil(TILE);
        self.launch("backward", self.row_blocks())?;
        self.launch("sum_outer_products", SUM_PARTS * tiles)?;
        self.launch("descend", self.run.parameter_blocks as usize)
    }

    /// Losses of the last episode alone.
    ///
    /// # Errors
    /// When the card fails.
    pub(crate) fn losses(&mut self, weights: &LossWeights) -> Result<Losses, CardError> {
        self.without_update(1.0, weights)?;
        Ok(self.learnt(weights)?.losses)
    }

    /// Gradients of the last episode alone, with a weight of the position error too. To be asked for once an episode.
    ///
    /// # Errors
    /// When the card fails.
    pub(crate) fn gradients_of(
        &mut self,
        position: f64,
        weights: &LossWeights,
    ) -> Result<Vec<Tensor>, CardError> {
        self.without_update(position, weights)?;
        self.gradients()
    }

    /// An update of size 0.
    fn without_update(&mut self, position: f64, weights: &LossWeights) -> Result<(), CardError> {
        self.run.position = position;
        let learnt = self.learn(&Update {
            weights: *weights,
            clip: None,
            step_size: 0.0,
            second_scale: 1.0,
        });
        self.run.position = 1.0;
        learnt
    }

    /// Waits for what [`learn`](Self::learn) launched.
    ///
    /// # Errors
    /// When the card fails.
    pub fn learnt(&self, weights: &LossWeights) -> Result<Learnt, CardError> {
        let bytes = self.network.report.read(REPORT_SIZE * size_of::<f64>())?;
        let numbers: Vec<f64> = decoded(&bytes, Precision::F64);
        let &[position, rate, muscle, dynamics, weight, norm, applied] = numbers.as_slice() else {
            unreachable!("a report has {REPORT_SIZE} numbers")
        };
        let mut losses = Losses {
            position,
            rate: weights.rate * rate,
            weight: weights.weight * weight,
            muscle: weights.muscle * muscle,
            dynamics: if self.run.has_dynamics == 0 {
                0.0
            } else {
                weights.dynamics * dynamics
            },
            imitation: None,
            total: 0.0,
        };
        losses.total = losses.position + losses.rate + losses.weight + losses.muscle + losses.dynamics;
        Ok(Learnt {
            losses,
            norm,
            applied: applied != 0.0,
        })
    }

    /// The trained parameters as they are now, in the order of the policy.
    ///
    /// # Errors
    /// When the card fails.
    pub fn parameter_values(&self) -> Result<Vec<Tensor>, CardError> {
        self.tensors(&self.network.parameter)
    }

    /// Adam's moments, in the same order.
    ///
    /// # Errors
    /// When the card fails.
    pub fn moments(&self) -> Result<(Vec<Tensor>, Vec<Tensor>), CardError> {
        Ok((
            self.tensors(&self.network.first)?,
            self.tensors(&self.network.second)?,
        ))
    }

    /// Gradients of the last batch before they were clipped, in the same order.
    ///
    /// # Errors
    /// When the card fails.
    pub fn gradients(&self) -> Result<Vec<Tensor>, CardError> {
        self.tensors(&self.network.gradient)
    }

    /// A parameter whose gradient in the last batch was not finite.
    pub(crate) fn spoilt_parameter(&self) -> Option<String> {
        let size = bytes_of(self.precision);
        let bytes = self.network.gradient.read(self.plan.count() * size).ok()?;
        let place = decoded(&bytes, self.precision)
            .iter()
            .position(|value| !value.is_finite())?;
        self.plan.name_at(place).map(str::to_owned)
    }

    fn tensors(&self, buffer: &super::card::Buffer) -> Result<Vec<Tensor>, CardError> {
        let size = bytes_of(self.precision);
        let bytes = buffer.read(self.plan.count() * size)?;
        let tensors = self.parameters().iter().map(|parameter| {
            let own = &bytes[parameter.places.start * size..parameter.places.end * size];
            tensor_of(own, &parameter.shape, self.precision.kind())
        });
        Ok(tensors.collect())
    }

    /// Fingertips of the last episode, `[T + 1, batch, 2]`, metres, on the CPU.
    ///
    /// # Errors
    /// When the card fails.
    pub fn fingertips(&self) -> Result<Tensor, CardError> {
        self.sequence(&self.episode.fingertips, self.run.steps + 1, 2)
    }

    fn sequence(
        &self,
        buffer: &super::card::Buffer,
        instants: i32,
        width: usize,
    ) -> Result<Tensor, CardError> {
        let shape = [i64::from(instants), i64::from(self.run.rows), width as i64];
        let count = shape.iter().product::<i64>() as usize;
        let bytes = buffer.read(count * bytes_of(self.precision))?;
        Ok(tensor_of(&bytes, &shape, self.precision.kind()))
    }

    /// Sequences of the last episode, which must have been kept, before its gradients were asked for. With noise, the
    /// observations hold that of the inputs.
    ///
    /// # Errors
    /// When the card fails.
    pub fn rollout(&self, numerics: Numerics) -> Result<Rollout, CardError> {
        let (steps, hidden) = (self.run.steps, self.shape.hidden as i64);
        let z = self.sequence(&self.episode.z, steps + 1, self.shape.z_stride)?;
        let d = self.sequence(&self.episode.d, steps, self.shape.d_stride)?;
        let arms = self.sequence(&self.episode.arms, steps + 1, ARM_SIZE)?;
        let here = |tensor: Tensor| tensor.contiguous().to_device(numerics.device());
        Ok(Rollout {
            fingertip: here(self.fingertips()?),
            activation: Some(here(arms.narrow(2, 4, MUSCLES as i64))),
            hidden: Some(here(z.narrow(2, 0, hidden))),
            details: Some(Details {
                observation: here(z.narrow(2, hidden, (self.shape.known + SENSED) as i64)),
                x: here(d.narrow(2, 0, hidden)),
                action: here(self.sequence(&self.episode.excitations, steps, MUSCLES)?),
                joint: here(arms.narrow(2, 0, 4)),
            }),
        })
    }
}

/// As `kernels/units.h` numbers them.
fn number_of(activation: Activation) -> i32 {
    match activation {
        Activation::Softplus => 0,
        Activation::Relu => 1,
        Activation::Tanh => 2,
        Activation::Sigmoid => 3,
        Activation::Linear => 4,
    }
}

/// Whether the dynamics loss is defined for units.
fn has_slopes(activation: i32) -> bool {
    [Activation::Softplus, Activation::Relu]
        .map(number_of)
        .contains(&activation)
}

/// Tensors one after the other.
fn joined(tensors: &[Tensor]) -> Vec<u8> {
    tensors.iter().flat_map(bytes_of_tensor).collect()
}

fn decoded(bytes: &[u8], precision: Precision) -> Vec<f64> {
    match precision {
        Precision::F32 => {
            let (numbers, _) = bytes.as_chunks::<4>();
            numbers
                .iter()
                .map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
                .collect()
        }
        Precision::F64 => {
            let (numbers, _) = bytes.as_chunks::<8>();
            numbers.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
        }
    }
}
