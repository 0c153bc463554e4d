//! Networks: in closed loop with the arm, and alone with given noise.

use tch::Tensor;

use super::FileError;
use super::comparison::{Comparison, Quantity};
use super::file::GoldenFile;
use super::terms::{Term, play};
use crate::device::{Numerics, Precision};
use crate::engine::{Engine, Rollout};
use crate::environment::{Episode, OBSERVATIONS};
use crate::loss::LossWeights;
use crate::optimizer::{Adam, Gradients, clip, gradients, joint_norm};
use crate::policy::{Activation, LeakyConfig, NetworkConfig, Policy, UnitNoise};
use crate::tasks::Trial;

/// Learning rate and gradient bound that the reference data were made with.
pub(super) const LEARNING_RATE: f64 = 1e-3;
pub(super) const CLIP: f64 = 1.0;

/// Adam's first step is nearly the sign of the gradient: in single precision only entries whose clipped gradient
/// is above this are compared.
const SMALLEST_COMPARED_GRADIENT: f64 = 1e-5;

/// `rnn_<activation><hidden>` and `gru_<hidden>`: one update with all losses.
pub(super) fn closed_loop(
    file: &GoldenFile,
    numerics: Numerics,
    engine: Engine,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let policy = file.policy(numerics)?;
    let weights = LossWeights::default();
    one_update(file, &policy, &weights, numerics, engine, comparison)
}

/// `transfer_rules<new rules>`: the network under `base/` is transferred, given the new weights under `param/`, and
/// updated for its position error alone.
pub(super) fn transfer(
    file: &GoldenFile,
    numerics: Numerics,
    engine: Engine,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    const NEW_RULES: &str = "mrnn.input_new_rules_region";
    const CONDITION: &str = "mrnn.condition_region";
    let given = file.table("param/", numerics)?;
    let new_rules = given
        .get(NEW_RULES)
        .and_then(|weights| weights.shape().get(1).copied())
        .ok_or_else(|| FileError::MissingTensor(format!("param/{NEW_RULES}")))?;
    let base = NetworkConfig::Leaky(file.leaky_config("base/")?);
    let base = Policy::from_state(&base, &file.table("base/", numerics)?, numerics)?;
    let fresh = base.into_transfer(new_rules, 0)?;
    let mut state = fresh.state();
    if let Some(condition) = state.get(CONDITION) {
        let name = format!("param/{CONDITION}");
        comparison.stored(Quantity::TrialDefinition, file, &name, &condition.to_tensor())?;
    }
    state.extend(given);
    let policy = Policy::from_state(&fresh.config(), &state, numerics)?;
    let weights = LossWeights::POSITION_ONLY;
    one_update(file, &policy, &weights, numerics, engine, comparison)
}

/// An episode without noise, its losses, every gradient, and Adam's first step.
fn one_update(
    file: &GoldenFile,
    policy: &Policy,
    weights: &LossWeights,
    numerics: Numerics,
    engine: Engine,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let trial = Trial::new(file.conditions()?)?;
    let episode = Episode::new(&[trial], numerics);
    let (rollout, terms) = play(policy, &episode, weights, engine, numerics)?;
    sequences(file, &rollout, &episode, comparison)?;

    let quantity = match policy.config() {
        NetworkConfig::Leaky(LeakyConfig {
            activation: Activation::Relu,
            ..
        }) => Quantity::ReluGradient,
        _ => Quantity::Gradient,
    };
    let mut of_total = Vec::new();
    for Term { name, value, scalar } in &terms {
        let value = Tensor::from_slice(&[*value]);
        comparison.stored(Quantity::Loss, file, &format!("loss/{name}"), &value)?;
        of_total = gradients(scalar, policy, true);
        let rms = format!("grad_rms/{name}");
        if file.has(&rms) {
            comparison.stored(quantity, file, &rms, &root_mean_squares(&of_total))?;
        }
    }
    let gradients = of_total;
    for (name, gradient) in &gradients {
        comparison.stored(quantity, file, &format!("grad/{name}"), gradient)?;
    }
    let norm = joint_norm(&gradients);
    comparison.stored(
        Quantity::GradientNorm,
        file,
        "grad_norm",
        &Tensor::from_slice(&[norm]),
    )?;
    first_update(file, policy, &clip(gradients, norm, CLIP), comparison)
}

/// Sequences of the episode. If `xh_calls` is there, x and h are stored for those calls only.
fn sequences(
    file: &GoldenFile,
    rollout: &Rollout,
    episode: &Episode,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let (Some(activation), Some(hidden), Some(details)) =
        (&rollout.activation, &rollout.hidden, &rollout.details)
    else {
        unreachable!("everything was recorded")
    };
    let calls = if file.has("xh_calls") {
        Some(file.reference("xh_calls")?.to_device(hidden.device()))
    } else {
        None
    };
    let stored_calls = |sequence: &Tensor| match &calls {
        Some(calls) => sequence.index_select(0, calls),
        None => sequence.shallow_clone(),
    };
    let after_calls = hidden.narrow(0, 1, hidden.size()[0] - 1);
    let ours = [
        (Quantity::TrialDefinition, "goal", episode.goal.shallow_clone()),
        (Quantity::ClosedLoop, "obs", details.observation.shallow_clone()),
        (Quantity::ClosedLoop, "x", stored_calls(&details.x)),
        (Quantity::ClosedLoop, "h", stored_calls(&after_calls)),
        (Quantity::ClosedLoop, "action", details.action.shallow_clone()),
        (Quantity::ClosedLoop, "muscle_act", activation.shallow_clone()),
        (Quantity::Fingertip, "xy", rollout.fingertip.shallow_clone()),
        (Quantity::Joint, "joint", details.joint.shallow_clone()),
    ];
    for (quantity, name, ours) in ours {
        comparison.stored(quantity, file, name, &ours)?;
    }
    Ok(())
}

/// Root mean square of a gradient, tensor by tensor.
fn root_mean_squares(gradients: &Gradients) -> Tensor {
    let rms = |(_, gradient): &(_, Tensor)| gradient.square().mean(None::<tch::Kind>).sqrt();
    Tensor::stack(&gradients.iter().map(rms).collect::<Vec<_>>(), 0)
}

/// Change of every parameter by Adam's first step.
fn first_update(
    file: &GoldenFile,
    policy: &Policy,
    clipped: &Gradients,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let before: Vec<Tensor> = policy
        .trainable()
        .map(|(_, parameter)| parameter.detach().copy())
        .collect();
    Adam::new(LEARNING_RATE, policy).update(policy, clipped);
    for (((name, after), before), (_, gradient)) in policy.trainable().zip(before).zip(clipped) {
        let name = format!("adam_delta/{name}");
        if !file.has(&name) {
            continue;
        }
        let reference = file.reference(&name)?;
        let delta = (after.detach() - before).to_device(tch::Device::Cpu);
        let delta = match comparison.precision() {
            Precision::F64 => delta,
            Precision::F32 => {
                let well_conditioned = gradient
                    .abs()
                    .gt(SMALLEST_COMPARED_GRADIENT)
                    .to_device(tch::Device::Cpu);
                delta
                    .to_kind(reference.kind())
                    .where_self(&well_conditioned, &reference)
            }
        };
        comparison.tensor(Quantity::AdamDelta, &name, &delta, &reference);
    }
    Ok(())
}

/// `rnn_noise`: calls with given inputs and unit normal draws.
pub(super) fn noisy_calls(
    file: &GoldenFile,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let _no_grad = tch::no_grad_guard();
    let policy = file.policy(numerics)?;
    let (input, [_, rows, width]) = file.input_of::<3>("input", numerics)?;
    if width != policy.observations() as i64 {
        return Err(FileError::Shape {
            name: "input".to_owned(),
            shape: input.size(),
        });
    }
    let network = policy.prepare();
    let noise = UnitNoise {
        hidden: file.input("unit_noise_hidden", numerics)?,
        input: file.input("unit_noise_input", numerics)?,
    };
    let known = width - OBSERVATIONS.feedback;
    let feedback = input.narrow(2, known, OBSERVATIONS.feedback);
    let known = Tensor::cat(&[input.narrow(2, 0, known), feedback.zeros_like()], 2);
    let mut units = network.start(rows);
    let (mut x, mut h, mut action) = (Vec::new(), Vec::new(), Vec::new());
    for (drive, feedback) in network
        .drive(&known, Some(&noise))
        .unbind(0)
        .iter()
        .zip(feedback.unbind(0))
    {
        units = network.step(&units, drive, &feedback);
        x.push(units.x.shallow_clone());
        h.push(units.h.shallow_clone());
        action.push(network.action(&units.h));
    }
    for (name, calls) in [("x", x), ("h", h), ("action", action)] {
        comparison.stored(Quantity::ClosedLoop, file, name, &Tensor::stack(&calls, 0))?;
    }
    Ok(())
}
