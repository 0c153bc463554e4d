//! Learning recorded muscle activity: a teacher's movement is shown, and the pupil's muscles are to do the same.

use tch::Tensor;

use crate::arm::{Effector, MUSCLES};
use crate::device::Numerics;
use crate::engine::{NoiseSource, Recording, roll_out};
use crate::environment::{Episode, OBSERVATIONS};
use crate::policy::Policy;

/// A movement of a teacher without noise, as its own observations and muscles recorded it.
#[derive(Debug)]
pub struct Demonstration {
    /// `[T + 1, batch, observation]`, at reset and after each step.
    pub observation: Tensor,
    /// `[T + 1, batch, muscle]`.
    pub activation: Tensor,
}

/// What a pupil makes of a demonstration.
#[derive(Debug)]
pub struct Answer {
    /// h, `[T + 1, batch, hidden]`, beginning with the zeros.
    pub hidden: Tensor,
    /// Muscle activation, `[T + 1, batch, muscle]`, beginning with the zeros.
    pub activation: Tensor,
}

impl Demonstration {
    /// The teacher's movement in closed loop. No gradient leads back to it.
    pub fn record(teacher: &Policy, effector: &Effector, episode: &Episode, numerics: Numerics) -> Self {
        let _no_grad = tch::no_grad_guard();
        let rollout = roll_out(effector, teacher, episode, None, Recording::Everything, numerics);
        let (Some(details), Some(activation)) = (rollout.details, rollout.activation) else {
            unreachable!("everything was recorded")
        };
        Self {
            observation: details.observation,
            activation,
        }
    }

    /// The pupil sees what was recorded, whatever it does itself: its excitations move its muscles' activation
    /// (Millard's dynamics, as in the arm), but no arm.
    pub fn answer(
        &self,
        pupil: &Policy,
        effector: &Effector,
        noise: Option<&NoiseSource>,
        numerics: Numerics,
    ) -> Answer {
        let size = self.observation.size();
        let (steps, rows) = (size[0] - 1, size[1]);
        let noise = noise.filter(|_| pupil.has_noise());
        let noise = noise
            .map(|source| source.draw(0, steps as usize, pupil.hidden(), pupil.observations(), numerics));
        let network = pupil.prepare();
        let drives = network.drive(&self.observation.narrow(0, 0, steps), noise.as_ref());
        // The whole observation is in the drive already.
        let nothing_more = numerics.zeros(&[rows, OBSERVATIONS.feedback]);
        let mut units = network.start(rows);
        let mut activation = numerics.zeros(&[rows, MUSCLES as i64]);
        let mut hidden = vec![units.h.shallow_clone()];
        let mut activations = vec![activation.shallow_clone()];
        for drive in drives.unbind(0) {
            units = network.step(&units, &drive, &nothing_more);
            activation = effector.muscle.activate(&activation, &network.action(&units.h));
            hidden.push(units.h.shallow_clone());
            activations.push(activation.shallow_clone());
        }
        Answer {
            hidden: Tensor::stack(&hidden, 0),
            activation: Tensor::stack(&activations, 0),
        }
    }
}
