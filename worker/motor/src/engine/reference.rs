//! The reference engine: episodes as tensor operations, gradients by libtorch's autograd.

use std::ops::Range;

use tch::Tensor;

use crate::arm::{ArmState, Effector};
use crate::device::Numerics;
use crate::environment::{Episode, feedback};
use crate::policy::{Policy, RunningPolicy, UnitNoise, UnitState};
use crate::random::{Purpose, Stream};

/// How much of an episode is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Fingertips alone: evaluation.
    Fingertip,
    /// What the losses need.
    Losses,
    /// Every quantity of every step.
    Everything,
}

/// Sequences of an episode, time first. "T + 1" sequences begin with the state at reset.
#[derive(Debug)]
pub struct Rollout {
    /// `[T + 1, batch, 2]`, metres.
    pub fingertip: Tensor,
    /// Muscle activation, `[T + 1, batch, muscle]`; absent when only fingertips were recorded.
    pub activation: Option<Tensor>,
    /// h, `[T + 1, batch, hidden]`, beginning with the zeros; absent when only fingertips were recorded.
    pub hidden: Option<Tensor>,
    pub details: Option<Details>,
}

/// The rest of an episode.
#[derive(Debug)]
pub struct Details {
    /// `[T + 1, batch, observation]`.
    pub observation: Tensor,
    /// `[T, batch, hidden]`, after each call; 0 for gated units, which have no x.
    pub x: Tensor,
    /// `[T, batch, muscle]`.
    pub action: Tensor,
    /// `[T + 1, batch, 4]`: angles and angular velocities.
    pub joint: Tensor,
}

/// Where an episode's noise comes from.
///
/// The draws of a row depend on its number and on nothing else, so that rows can be run in any grouping.
#[derive(Clone, Debug)]
pub struct NoiseSource {
    pub seed: u64,
    pub batch: u64,
    pub hidden: Purpose,
    pub input: Purpose,
    /// Numbers of the episode's rows, in stretches.
    pub rows: Vec<Range<usize>>,
}

impl NoiseSource {
    /// The noise of a training batch of `rows` trials.
    pub fn training(seed: u64, batch: u64, rows: usize) -> Self {
        Self {
            seed,
            batch,
            hidden: Purpose::HiddenNoise,
            input: Purpose::InputNoise,
            rows: std::iter::once(0..rows).collect(),
        }
    }

    /// Draws for the steps `start .. start + count`.
    ///
    /// `hidden` and `inputs`: widths of the two.
    pub fn draw(
        &self,
        start: usize,
        count: usize,
        hidden: usize,
        inputs: usize,
        numerics: Numerics,
    ) -> UnitNoise {
        let rows: usize = self.rows.iter().map(ExactSizeIterator::len).sum();
        let draw = |purpose, width: usize| {
            let mut values = vec![0.0_f32; count * rows * width];
            for (step, mut rest) in (start..).zip(values.chunks_exact_mut(rows * width)) {
                let stream = Stream {
                    seed: self.seed,
                    purpose,
                    batch: self.batch,
                    step: step as u32,
                };
                for stretch in &self.rows {
                    let (values, later) = rest.split_at_mut(stretch.len() * width);
                    stream.fill_normal((stretch.start * width) as u32, values);
                    rest = later;
                }
            }
            numerics.tensor(&values, &[count, rows, width].map(|n| n as i64))
        };
        UnitNoise {
            hidden: draw(self.hidden, hidden),
            input: draw(self.input, inputs),
        }
    }
}

/// Steps whose known inputs go through the input matrix as one product.
const STEPS_PER_BLOCK: usize = 32;

/// Runs a whole episode.
///
/// Records the graph for a backward pass unless gradients are switched off around it. Without `noise` the network
/// is silent.
pub fn roll_out(
    effector: &Effector,
    policy: &Policy,
    episode: &Episode,
    noise: Option<&NoiseSource>,
    recording: Recording,
    numerics: Numerics,
) -> Rollout {
    let mut run = EpisodeRun::new(effector, policy, episode, noise, recording, numerics);
    while !run.is_done() {
        run.step();
    }
    run.finish()
}

/// An episode being run from the start posture, closed loop: observation, network, arm, T times.
pub struct EpisodeRun<'a> {
    effector: &'a Effector,
    episode: &'a Episode,
    noise: Option<&'a NoiseSource>,
    numerics: Numerics,
    network: RunningPolicy,
    hidden: usize,
    observations: usize,
    step: usize,
    arm: ArmState,
    units: UnitState,
    /// Inputs to the units that are known beforehand, for the present block of steps.
    drives: Vec<Tensor>,
    tape: Tape,
}

impl<'a> EpisodeRun<'a> {
    pub fn new(
        effector: &'a Effector,
        policy: &Policy,
        episode: &'a Episode,
        noise: Option<&'a NoiseSource>,
        recording: Recording,
        numerics: Numerics,
    ) -> Self {
        let network = policy.prepare();
        let arm = effector.start(episode.rows() as i64);
        let units = network.start(episode.rows() as i64);
        let tape = Tape::new(recording, &arm, &units);
        Self {
            effector,
            episode,
            noise: noise.filter(|_| policy.has_noise()),
            numerics,
            network,
            hidden: policy.hidden(),
            observations: policy.observations(),
            step: 0,
            arm,
            units,
            drives: vec![],
            tape,
        }
    }

    pub fn is_done(&self) -> bool {
        self.step >= self.episode.longest()
    }

    pub fn step(&mut self) {
        if self.step.is_multiple_of(STEPS_PER_BLOCK) {
            self.drives = self.drives_of_block();
        }
        let drive = &self.drives[self.step % STEPS_PER_BLOCK];
        self.units = self.network.step(&self.units, drive, &feedback(&self.arm));
        let action = self.network.action(&self.units.h);
        self.arm = self.effector.step_within(&self.arm, &action, None);
        self.tape.record(&self.arm, &self.units, action);
        self.step += 1;
    }

    fn drives_of_block(&self) -> Vec<Tensor> {
        let count = STEPS_PER_BLOCK.min(self.episode.longest() - self.step);
        let draw = |source: &NoiseSource| {
            source.draw(self.step, count, self.hidden, self.observations, self.numerics)
        };
        let noise = self.noise.map(draw);
        let known = self.episode.known.narrow(0, self.step as i64, count as i64);
        self.network.drive(&known, noise.as_ref()).unbind(0)
    }

    pub fn finish(self) -> Rollout {
        self.tape.finish(self.episode)
    }
}

/// What has been recorded so far, a tensor for each step.
struct Tape {
    recording: Recording,
    fingertip: Vec<Tensor>,
    activation: Vec<Tensor>,
    hidden: Vec<Tensor>,
    x: Vec<Tensor>,
    action: Vec<Tensor>,
    joint: Vec<Tensor>,
    feedback: Vec<Tensor>,
}

impl Tape {
    fn new(recording: Recording, arm: &ArmState, units: &UnitState) -> Self {
        let mut tape = Self {
            recording,
            fingertip: Vec::new(),
            activation: Vec::new(),
            hidden: Vec::new(),
            x: Vec::new(),
            action: Vec::new(),
            joint: Vec::new(),
            feedback: Vec::new(),
        };
        tape.record_state(arm, units);
        tape
    }

    fn record_state(&mut self, arm: &ArmState, units: &UnitState) {
        self.fingertip.push(arm.fingertip.shallow_clone());
        if self.recording == Recording::Fingertip {
            return;
        }
        self.activation.push(arm.muscle.activation.shallow_clone());
        self.hidden.push(units.h.shallow_clone());
        if self.recording == Recording::Everything {
            self.joint
                .push(Tensor::cat(&[&arm.joint.angle, &arm.joint.velocity], 1));
            self.feedback.push(feedback(arm));
        }
    }

    fn record(&mut self, arm: &ArmState, units: &UnitState, action: Tensor) {
        self.record_state(arm, units);
        if self.recording == Recording::Everything {
            self.x.push(units.x.shallow_clone());
            self.action.push(action);
        }
    }

    fn finish(self, episode: &Episode) -> Rollout {
        let sequence = |steps: &[Tensor]| Tensor::stack(steps, 0);
        let details = (self.recording == Recording::Everything).then(|| Details {
            observation: Tensor::cat(
                &[
                    episode.known.narrow(2, 0, episode.layout.known),
                    sequence(&self.feedback),
                ],
                2,
            ),
            x: sequence(&self.x),
            action: sequence(&self.action),
            joint: sequence(&self.joint),
        });
        let for_losses = self.recording != Recording::Fingertip;
        Rollout {
            fingertip: sequence(&self.fingertip),
            activation: for_losses.then(|| sequence(&self.activation)),
            hidden: for_losses.then(|| sequence(&self.hidden)),
            details,
        }
    }
}
