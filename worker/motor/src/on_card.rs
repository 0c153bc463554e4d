//! A network that is learnt on a card: what [`Learner`](crate::learner::Learner) asks of it.

use std::cell::Cell;
use std::sync::Arc;

use tch::Tensor;

use crate::device::Numerics;
use crate::engine::NoiseSource;
use crate::engine::cuda::{Card, CardEngine, CardError, Update};
use crate::environment::Episode;
use crate::learner::NotFinite;
use crate::loss::{LossWeights, Losses};
use crate::optimizer::Adam;
use crate::policy::Policy;

/// The card's engine, which has the parameters and Adam's moments from now on.
#[derive(Debug)]
pub(crate) struct OnCard {
    card: Arc<dyn Card>,
    engine: CardEngine,
    /// Numbers that the policy's observations have.
    observations: usize,
    /// Whether the policy and the moments here are older than the card's.
    stale: Cell<bool>,
}

impl OnCard {
    /// Sends a policy and its moments to a card. `None` when the policy is not of a kind that runs there.
    pub(crate) fn new(
        policy: &Policy,
        adam: &Adam,
        card: Arc<dyn Card>,
        numerics: Numerics,
    ) -> Result<Option<Self>, CardError> {
        let Policy::Leaky(leaky) = policy else {
            return Ok(None);
        };
        let on_card = Self {
            engine: CardEngine::new(leaky, card.clone(), numerics.precision())?,
            card,
            observations: policy.observations(),
            stale: Cell::new(false),
        };
        on_card.send_moments(policy, adam)?;
        Ok(Some(on_card))
    }

    pub(crate) fn card(&self) -> &Arc<dyn Card> {
        &self.card
    }

    pub(crate) fn send_moments(&self, policy: &Policy, adam: &Adam) -> Result<(), CardError> {
        let moments = || policy.trainable().filter_map(|(name, _)| adam.moments_of(name));
        let first: Vec<Tensor> = moments().map(|(first, _)| first.shallow_clone()).collect();
        let second: Vec<Tensor> = moments().map(|(_, second)| second.shallow_clone()).collect();
        self.engine.send_moments(&first, &second)
    }

    pub(crate) fn reserve(&mut self, rows: usize, steps: usize) -> Result<(), CardError> {
        self.engine.reserve(rows, steps, self.observations)
    }

    pub(crate) fn roll_out(
        &mut self,
        episode: &Episode,
        noise: Option<&NoiseSource>,
    ) -> Result<(), CardError> {
        debug_assert_eq!(episode.layout.width(), self.observations as i64);
        self.engine.roll_out(episode, noise, true)
    }

    /// Launches what follows an episode.
    pub(crate) fn learn(
        &mut self,
        weights: &LossWeights,
        clip: Option<f64>,
        adam: &Adam,
    ) -> Result<(), CardError> {
        let (step_size, second_scale) = adam.next_scales();
        self.engine.learn(&Update {
            weights: *weights,
            clip,
            step_size,
            second_scale,
        })
    }

    /// Waits for it.
    pub(crate) fn learnt(
        &mut self,
        weights: &LossWeights,
        adam: &mut Adam,
    ) -> Result<(Losses, f64), CardError> {
        let learnt = self.engine.learnt(weights)?;
        if learnt.applied {
            adam.count_update();
            self.stale.set(true);
        }
        Ok((learnt.losses, learnt.norm))
    }

    /// Which gradient of the last batch spoilt the norm.
    pub(crate) fn spoilt(&self) -> NotFinite {
        let name = self.engine.spoilt_parameter();
        NotFinite {
            quantity: format!("gradient/{}", name.as_deref().unwrap_or("norm")),
        }
    }

    /// Copies parameters and moments from the card, if it has newer ones.
    pub(crate) fn settle(&self, policy: &Policy, adam: &Adam) -> Result<(), CardError> {
        if !self.stale.get() {
            return Ok(());
        }
        let _no_grad = tch::no_grad_guard();
        let parameters = self.engine.parameter_values()?;
        let (first, second) = self.engine.moments()?;
        let news = parameters.iter().zip(first.iter().zip(&second));
        for ((name, parameter), (new, (first, second))) in policy.trainable().zip(news) {
            parameter.shallow_clone().copy_(new);
            if let Some((own_first, own_second)) = adam.moments_of(name) {
                own_first.shallow_clone().copy_(first);
                own_second.shallow_clone().copy_(second);
            }
        }
        self.stale.set(false);
        Ok(())
    }
}
