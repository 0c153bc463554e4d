//! How long an evaluation takes: ten tasks at ten speeds in thirty-two directions, with noise.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::Serialize;

use super::median_ms;
use crate::arm::Effector;
use crate::config::EvaluationConfig;
use crate::device::{Device, Numerics, Precision, set_intra_op_threads};
use crate::engine::{Engine, cuda};
use crate::error::Error;
use crate::evaluation::{CONDITIONS_PER_CHUNK, Evaluator};
use crate::policy::{Activation, NetworkConfig, Policy};
use crate::tasks::Task;

/// Medians over the evaluations.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationReport {
    pub hidden: usize,
    pub threads: usize,
    pub engine: String,
    pub device: String,
    pub n: usize,
    pub conditions: usize,
    /// Trials × steps of an evaluation.
    pub trial_steps: usize,
    pub total_ms: f64,
    /// Of the last evaluation, metres.
    pub last_score: f64,
}

/// Times evaluations of an untrained network.
///
/// # Errors
/// [`Error::InvalidConfig`], [`Error::Device`].
pub fn evaluation(
    hidden: usize,
    threads: usize,
    engine: Engine,
    device: Device,
    n: usize,
) -> Result<EvaluationReport, Error> {
    let numerics = Numerics::new(Precision::F32, device)?.with_threads(threads);
    let numerics = match engine {
        Engine::Reference => numerics.for_reference()?,
        Engine::Fused => numerics,
    };
    let config = NetworkConfig::leaky(hidden, Activation::Softplus);
    config.validate()?;
    set_intra_op_threads(match engine {
        Engine::Reference => threads,
        Engine::Fused => 1,
    });
    let policy = Policy::new(&config, 0, numerics);
    let effector = Effector::new(numerics);
    let (mut seconds, mut last) = (Vec::new(), None);
    for batch in 0..n.max(1) as u64 {
        let evaluator = Evaluator {
            effector: &effector,
            policy: &policy,
            numerics,
            protocol: EvaluationConfig::default(),
            seed: 0,
            batch,
            conditions_per_chunk: CONDITIONS_PER_CHUNK,
            engine,
            card: cuda::card_for(&policy, numerics)?,
        };
        let begin = Instant::now();
        last = Some(evaluator.evaluate(&Task::BASE, &mut |_| ControlFlow::Continue(()))?);
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let conditions = last.as_ref().map_or(&[][..], |evaluation| &evaluation.conditions);
    let steps_of = |score: &crate::evaluation::ConditionScore| {
        let resting = crate::tasks::STABLE_STEPS + crate::tasks::HOLD_STEPS;
        score.directions.len() * (resting + score.delay_steps + score.movement_steps)
    };
    Ok(EvaluationReport {
        hidden,
        threads,
        engine: engine.to_string(),
        device: device.to_string(),
        n,
        conditions: conditions.len(),
        trial_steps: conditions.iter().map(steps_of).sum(),
        total_ms: median_ms(seconds),
        last_score: last.as_ref().map_or(0.0, |evaluation| evaluation.total),
    })
}
