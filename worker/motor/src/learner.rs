//! One learning step: roll out, losses, backward pass, clipping, Adam.

use tch::Tensor;

use crate::arm::Effector;
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::engine::{Engine, FusedEngine, NoiseSource, Recording, Rollout, roll_out};
use crate::environment::Episode;
use crate::host_tensor::TensorTable;
use crate::imitation::Demonstration;
use crate::loss::{LossTerms, LossWeights, Losses, weight_size};
use crate::optimizer::{Adam, clip, gradients, joint_norm};
use crate::policy::{Effective, Policy};

/// An arm, a policy that moves it, and an optimizer that improves the policy.
#[derive(Debug)]
pub struct Learner {
    pub(crate) numerics: Numerics,
    pub(crate) effector: Effector,
    pub(crate) policy: Policy,
    pub(crate) adam: Adam,
    weights: LossWeights,
    clip: Option<f64>,
    /// Runs the episodes, unless the reference engine does.
    fused: Option<FusedEngine>,
}

/// An episode that was run, with what its gradients need.
#[derive(Debug)]
pub enum Played {
    /// By the reference engine: sequences with their graph.
    Reference(Rollout),
    /// By the fused engine, which keeps the sequences itself: the weights that it ran with.
    Fused(Effective),
}

/// A loss term or gradient stopped being finite; nothing was changed.
#[derive(Debug)]
pub struct NotFinite {
    pub quantity: String,
}

impl Learner {
    pub fn new(
        policy: Policy,
        learning_rate: f64,
        weights: LossWeights,
        clip: Option<f64>,
        numerics: Numerics,
    ) -> Self {
        let adam = Adam::new(learning_rate, &policy);
        Self {
            numerics,
            effector: Effector::new(numerics),
            policy,
            adam,
            weights,
            clip,
            fused: None,
        }
    }

    /// Has episodes run by an engine, or by the reference engine where that one does not cover them.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.fused = match engine {
            Engine::Reference => None,
            Engine::Fused => FusedEngine::new(&self.policy, self.numerics).ok(),
        };
        self
    }

    /// The engine that runs the episodes.
    pub fn engine(&self) -> Engine {
        match self.fused {
            None => Engine::Reference,
            Some(_) => Engine::Fused,
        }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy as it is now, without what improved it.
    pub fn into_policy(self) -> Policy {
        self.policy
    }

    /// Goes on with an optimizer that has seen `step` updates.
    ///
    /// # Errors
    /// When the moments do not fit the policy.
    pub fn restore_optimizer(
        &mut self,
        learning_rate: f64,
        step: u64,
        moments: &TensorTable,
    ) -> Result<(), CheckpointError> {
        self.adam = Adam::from_state(learning_rate, step, moments, &self.policy, self.numerics)?;
        Ok(())
    }

    /// Runs an episode, recording what [`learn`](Self::learn) needs.
    pub fn roll_out(&mut self, episode: &Episode, noise: Option<&NoiseSource>) -> Played {
        match &mut self.fused {
            Some(fused) => {
                let effective = self.policy.effective();
                fused.roll_out(&effective, episode, noise);
                Played::Fused(effective)
            }
            None => Played::Reference(roll_out(
                &self.effector,
                &self.policy,
                episode,
                noise,
                Recording::Losses,
                self.numerics,
            )),
        }
    }

    /// Losses of the last episode, and the update that they ask for. Returns the losses and the joint norm of the
    /// gradients before clipping.
    ///
    /// # Errors
    /// [`NotFinite`] if a loss or gradient is not: then nothing is updated.
    pub fn learn(&mut self, played: &Played, goal: &Tensor) -> Result<(Losses, f64), NotFinite> {
        match (played, &mut self.fused) {
            (Played::Fused(effective), Some(fused)) => {
                let weight =
                    (self.weights.weight != 0.0).then(|| weight_size(&self.policy) * self.weights.weight);
                let losses = fused.losses(&self.weights, weight.as_ref());
                require_finite(&losses)?;
                let slopes = effective.dot(&fused.slopes(&self.weights));
                self.descend(losses, &weight.into_iter().fold(slopes, |sum, term| sum + term))
            }
            (Played::Reference(rollout), _) => {
                let terms = LossTerms::new(&self.policy, rollout, goal, &self.weights);
                self.descend(terms.values(), &terms.total)
            }
            (Played::Fused(_), None) => unreachable!("the fused engine ran it"),
        }
    }

    /// The same for a recording of muscle activity, seen without acting on the arm.
    ///
    /// # Errors
    /// [`NotFinite`] if a loss or gradient is not: then nothing is updated.
    pub fn imitate(
        &mut self,
        shown: &Demonstration,
        noise: Option<&NoiseSource>,
    ) -> Result<(Losses, f64), NotFinite> {
        let answer = shown.answer(&self.policy, &self.effector, noise, self.numerics);
        let terms = LossTerms::of_imitation(
            &self.policy,
            &answer.hidden,
            &answer.activation,
            &shown.activation,
            &self.weights,
        );
        self.descend(terms.values(), &terms.total)
    }

    /// Updates the policy along the gradient of a scalar that has the slope of the losses' total.
    fn descend(&mut self, losses: Losses, scalar: &Tensor) -> Result<(Losses, f64), NotFinite> {
        require_finite(&losses)?;
        let gradients = gradients(scalar, &self.policy, false);
        let norm = joint_norm(&gradients);
        if !norm.is_finite() {
            let spoilt = gradients
                .iter()
                .find(|(_, gradient)| gradient.isfinite().all().int64_value(&[]) == 0);
            let name = spoilt.map_or("norm", |(name, _)| name.as_str());
            return Err(NotFinite {
                quantity: format!("gradient/{name}"),
            });
        }
        let gradients = match self.clip {
            Some(max) => clip(gradients, norm, max),
            None => gradients,
        };
        self.adam.update(&self.policy, &gradients);
        Ok((losses, norm))
    }
}

fn require_finite(losses: &Losses) -> Result<(), NotFinite> {
    // The sum comes first in `named`; the term that spoilt it says more.
    let spoilt = losses
        .named()
        .into_iter()
        .rev()
        .find(|(_, value)| !value.is_finite());
    match spoilt {
        None => Ok(()),
        Some((name, _)) => Err(NotFinite {
            quantity: format!("loss/{name}"),
        }),
    }
}
