//! One learning step: roll out, losses, backward pass, clipping, Adam.

use std::sync::Arc;

use tch::Tensor;

use crate::arm::Effector;
use crate::device::Numerics;
use crate::engine::cuda::{self, Card, CardError};
use crate::engine::{Engine, FusedEngine, NoiseSource, Recording, Rollout, roll_out};
use crate::environment::Episode;
use crate::error::Error;
use crate::host_tensor::TensorTable;
use crate::imitation::Demonstration;
use crate::loss::{LossTerms, LossWeights, Losses, weight_size};
use crate::on_card::OnCard;
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
    /// The same on a card, which then has the network; the policy and the moments here are brought up to date when
    /// somebody looks.
    on_card: Option<OnCard>,
}

/// An episode that was run, with what its gradients need.
#[derive(Debug)]
pub enum Played {
    /// By the reference engine: sequences with their graph.
    Reference(Rollout),
    /// By the fused engine, which keeps the sequences itself: the weights that it ran with.
    Fused(Effective),
    /// By the fused engine on a card, which may have failed.
    OnCard(Result<(), CardError>),
}

/// A loss term or gradient stopped being finite; nothing was changed.
#[derive(Debug)]
pub struct NotFinite {
    pub quantity: String,
}

/// Why nothing was learnt.
#[derive(Debug)]
pub enum LearnError {
    NotFinite(NotFinite),
    Card(CardError),
}

impl From<NotFinite> for LearnError {
    fn from(error: NotFinite) -> Self {
        LearnError::NotFinite(error)
    }
}

impl From<CardError> for LearnError {
    fn from(error: CardError) -> Self {
        LearnError::Card(error)
    }
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
            on_card: None,
        }
    }

    /// Has episodes run by an engine, or by the reference engine where that one does not cover them.
    ///
    /// # Errors
    /// When the fused engine is to run on a card that cannot be used.
    pub fn with_engine(mut self, engine: Engine) -> Result<Self, CardError> {
        match engine {
            Engine::Reference => Ok(self),
            Engine::Fused => match cuda::card_for(&self.policy, self.numerics)? {
                Some(card) => self.on_card(card),
                None => {
                    self.fused = FusedEngine::new(&self.policy, self.numerics).ok();
                    Ok(self)
                }
            },
        }
    }

    /// Has the fused engine run on a card, if it covers the policy.
    ///
    /// # Errors
    /// When the card cannot take the network.
    pub fn on_card(mut self, card: Arc<dyn Card>) -> Result<Self, CardError> {
        self.on_card = OnCard::new(&self.policy, &self.adam, card, self.numerics)?;
        Ok(self)
    }

    /// The card that has the network.
    pub(crate) fn card(&self) -> Option<&Arc<dyn Card>> {
        self.on_card.as_ref().map(OnCard::card)
    }

    /// Makes sure that a card has room for episodes of so many rows and steps.
    ///
    /// # Errors
    /// [`CardError::OutOfMemory`].
    pub(crate) fn reserve(&mut self, rows: usize, steps: usize) -> Result<(), CardError> {
        self.on_card
            .as_mut()
            .map_or(Ok(()), |on_card| on_card.reserve(rows, steps))
    }

    /// Waits until the device has done what was asked of it, so that a clock can be read.
    pub(crate) fn wait(&self) -> Result<(), CardError> {
        if let Some(card) = self.card() {
            return card.wait();
        }
        self.numerics.synchronize();
        Ok(())
    }

    /// Brings the policy and the moments up to date with the card that has them.
    ///
    /// # Panics
    /// When the card has failed: what it had is lost then.
    pub(crate) fn settle(&self) {
        if let Some(on_card) = &self.on_card
            && let Err(error) = on_card.settle(&self.policy, &self.adam)
        {
            panic!("the card that has the network: {error}");
        }
    }

    /// The engine that runs the episodes.
    pub fn engine(&self) -> Engine {
        if self.fused.is_some() || self.on_card.is_some() {
            Engine::Fused
        } else {
            Engine::Reference
        }
    }

    /// The policy as it is now.
    ///
    /// # Panics
    /// When a card that has it has failed.
    pub fn policy(&self) -> &Policy {
        self.settle();
        &self.policy
    }

    /// The policy as it is now, without what improved it.
    ///
    /// # Panics
    /// As [`policy`](Self::policy).
    pub fn into_policy(self) -> Policy {
        self.settle();
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
    ) -> Result<(), Error> {
        self.adam = Adam::from_state(learning_rate, step, moments, &self.policy, self.numerics)?;
        if let Some(on_card) = &self.on_card {
            on_card.send_moments(&self.policy, &self.adam)?;
        }
        Ok(())
    }

    /// Runs an episode, recording what [`learn`](Self::learn) needs. A card is told to, and not waited for.
    pub fn roll_out(&mut self, episode: &Episode, noise: Option<&NoiseSource>) -> Played {
        if let Some(on_card) = &mut self.on_card {
            return Played::OnCard(on_card.roll_out(episode, noise));
        }
        match &mut self.fused {
            Some(fused) => {
                let effective = self.policy.effective();
                fused.take(&effective);
                fused.roll_out(episode, noise);
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
    /// When a loss or gradient is not finite, or a card fails: then nothing is updated.
    pub fn learn(&mut self, played: &Played, goal: &Tensor) -> Result<(Losses, f64), LearnError> {
        self.learn_while(played, goal, &mut || {})
    }

    /// The same, doing something else in the time in which a card computes.
    ///
    /// # Errors
    /// As [`learn`](Self::learn).
    pub fn learn_while(
        &mut self,
        played: &Played,
        goal: &Tensor,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(Losses, f64), LearnError> {
        match (played, &mut self.fused) {
            (Played::OnCard(played), _) => {
                played.clone()?;
                let Some(on_card) = &mut self.on_card else {
                    unreachable!("the card ran it")
                };
                on_card.learn(&self.weights, self.clip, &self.adam)?;
                meanwhile();
                let (losses, norm) = on_card.learnt(&self.weights, &mut self.adam)?;
                require_finite(&losses)?;
                if !norm.is_finite() {
                    return Err(on_card.spoilt().into());
                }
                Ok((losses, norm))
            }
            (Played::Fused(effective), Some(fused)) => {
                let weight =
                    (self.weights.weight != 0.0).then(|| weight_size(&self.policy) * self.weights.weight);
                let losses = fused.losses(&self.weights, weight.as_ref());
                require_finite(&losses)?;
                let slopes = effective.dot(&fused.slopes(&self.weights));
                Ok(self.descend(losses, &weight.into_iter().fold(slopes, |sum, term| sum + term))?)
            }
            (Played::Reference(rollout), _) => {
                let terms = LossTerms::new(&self.policy, rollout, goal, &self.weights);
                Ok(self.descend(terms.values(), &terms.total)?)
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
