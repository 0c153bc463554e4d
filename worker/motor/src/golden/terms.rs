//! An episode without noise and its loss terms, run by either engine, on the processor or on a card.

use tch::Tensor;

use super::FileError;
use crate::arm::Effector;
use crate::device::Numerics;
use crate::engine::cuda::{CardEngine, card_for};
use crate::engine::{Engine, FusedEngine, Recording, Rollout, roll_out};
use crate::environment::Episode;
use crate::loss::{LossTerms, LossWeights, Losses, weight_size};
use crate::policy::Policy;

/// One term of the loss, under the reference's name.
pub(super) struct Term {
    pub name: &'static str,
    pub value: f64,
    /// A scalar with the term's gradient.
    pub scalar: Tensor,
}

/// Every sequence of the episode, and the terms that are used, their total last.
pub(super) fn play(
    policy: &Policy,
    episode: &Episode,
    weights: &LossWeights,
    engine: Engine,
    numerics: Numerics,
) -> Result<(Rollout, Vec<Term>), FileError> {
    match engine {
        Engine::Reference => Ok(play_by_reference(policy, episode, weights, numerics)),
        Engine::Fused if numerics.card().is_some() => play_on_card(policy, episode, weights, numerics),
        Engine::Fused => play_fused(policy, episode, weights, numerics),
    }
}

fn play_by_reference(
    policy: &Policy,
    episode: &Episode,
    weights: &LossWeights,
    numerics: Numerics,
) -> (Rollout, Vec<Term>) {
    let effector = Effector::new(numerics);
    let rollout = roll_out(&effector, policy, episode, None, Recording::Everything, numerics);
    let terms = LossTerms::new(policy, &rollout, &episode.goal, weights);
    let terms = [
        ("l1_dist", Some(terms.position)),
        ("l1_rate", terms.rate),
        ("l1_weight", terms.weight),
        ("l1_muscle_act", terms.muscle),
        ("simple_dynamics", terms.dynamics),
        ("total", Some(terms.total)),
    ];
    let term = |(name, scalar): (&'static str, Option<Tensor>)| {
        scalar.map(|scalar| Term {
            name,
            value: scalar.double_value(&[]),
            scalar,
        })
    };
    (rollout, terms.into_iter().filter_map(term).collect())
}

fn play_fused(
    policy: &Policy,
    episode: &Episode,
    weights: &LossWeights,
    numerics: Numerics,
) -> Result<(Rollout, Vec<Term>), FileError> {
    let mut engine = FusedEngine::new(policy, numerics)?;
    let effective = policy.effective();
    let size = (weights.weight != 0.0).then(|| weight_size(policy) * weights.weight);
    engine.take(&effective);
    engine.roll_out(episode, None);
    let rollout = engine.rollout(numerics);
    let losses = engine.losses(weights, size.as_ref());
    // The engine forgets an episode when its slopes are asked for.
    let mut scalar = |position: f64, weights: LossWeights| {
        engine.roll_out(episode, None);
        let slopes = engine.slopes_of(position, &weights);
        let size = if weights.weight == 0.0 {
            None
        } else {
            size.as_ref()
        };
        Ok(size
            .into_iter()
            .fold(effective.dot(&slopes), |sum, term| sum + term))
    };
    let terms = terms(&losses, weights, &mut scalar)?;
    Ok((rollout, terms))
}

/// The gradient of a card's engine comes as numbers: Σ over parameters of parameter × number has it.
fn play_on_card(
    policy: &Policy,
    episode: &Episode,
    weights: &LossWeights,
    numerics: Numerics,
) -> Result<(Rollout, Vec<Term>), FileError> {
    let (Some(card), Policy::Leaky(leaky)) = (card_for(policy, numerics)?, policy) else {
        return Err(FileError::NotCovered(Engine::Fused));
    };
    let mut engine = CardEngine::new(leaky, card, numerics.precision())?;
    engine.roll_out(episode, None, true)?;
    let rollout = engine.rollout(numerics)?;
    let losses = engine.losses(weights)?;
    let mut scalar = |position: f64, weights: LossWeights| {
        engine.roll_out(episode, None, true)?;
        let slopes = engine.gradients_of(position, &weights)?;
        let products = policy.trainable().zip(&slopes);
        Ok(products
            .map(|((_, parameter), slope)| (parameter * slope).sum(numerics.kind()))
            .sum())
    };
    let terms = terms(&losses, weights, &mut scalar)?;
    Ok((rollout, terms))
}

/// The terms that are used, their total last. `scalar` has the gradient of the position error, so weighted, and of the
/// other terms.
fn terms(
    losses: &Losses,
    weights: &LossWeights,
    scalar: &mut dyn FnMut(f64, LossWeights) -> Result<Tensor, FileError>,
) -> Result<Vec<Term>, FileError> {
    let mut term = |name, value, position, weights| {
        let scalar = scalar(position, weights)?;
        Ok::<_, FileError>(Term { name, value, scalar })
    };
    let alone = LossWeights::POSITION_ONLY;
    let mut terms = vec![term("l1_dist", losses.position, 1.0, alone)?];
    for (name, value, only) in [
        (
            "l1_rate",
            losses.rate,
            LossWeights {
                rate: weights.rate,
                ..alone
            },
        ),
        (
            "l1_weight",
            losses.weight,
            LossWeights {
                weight: weights.weight,
                ..alone
            },
        ),
        (
            "l1_muscle_act",
            losses.muscle,
            LossWeights {
                muscle: weights.muscle,
                ..alone
            },
        ),
        (
            "simple_dynamics",
            losses.dynamics,
            LossWeights {
                dynamics: weights.dynamics,
                ..alone
            },
        ),
    ] {
        if only != alone {
            terms.push(term(name, value, 0.0, only)?);
        }
    }
    terms.push(term("total", losses.total, 1.0, *weights)?);
    Ok(terms)
}
