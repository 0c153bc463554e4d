//! Networks and episodes that several tests use.

// Each test program uses some of these.
#![allow(dead_code, clippy::cast_possible_wrap)]

pub(crate) mod cases;
pub(crate) mod host_card;

use motif_motor::arm::Effector;
use motif_motor::device::{Numerics, set_intra_op_threads};
use motif_motor::engine::{NoiseSource, Recording, Rollout, roll_out};
use motif_motor::environment::Episode;
use motif_motor::host_tensor::{HostTensor, TensorTable};
use motif_motor::learner::Learner;
use motif_motor::loss::LossWeights;
use motif_motor::policy::{
    Connection, InputRegion, LeakyConfig, Policy, RecurrentRegion, RegionsConfig, RunningPolicy, Sign,
};
use motif_motor::tasks::{Mode, Task, Trial, TrialConditions};
use tch::{Kind, Tensor};

/// Three recurrent regions (12, 6 and 9 units) and two inputs (20 and 8), sparse, of both signs, not all connected.
pub(crate) fn three_regions() -> LeakyConfig {
    let connect = |edges: &[(&str, &str, f64)]| {
        edges
            .iter()
            .map(|(src, dst, sparsity)| Connection::new(src, dst, *sparsity))
            .collect()
    };
    let regions = RegionsConfig {
        recurrent: vec![
            RecurrentRegion {
                learnable_base_firing: true,
                base_firing: 0.1,
                initial_x: 0.5,
                parent: Some("outer".to_owned()),
                ..RecurrentRegion::new("exc", 12)
            },
            RecurrentRegion {
                learnable_base_firing: true,
                sign: Sign::Neg,
                ..RecurrentRegion::new("inh", 6)
            },
            RecurrentRegion {
                base_firing: 0.2,
                parent: Some("outer".to_owned()),
                ..RecurrentRegion::new("mid", 9)
            },
        ],
        inputs: vec![
            InputRegion::new("ctx", 20),
            InputRegion {
                sign: Sign::Neg,
                ..InputRegion::new("drv", 8)
            },
        ],
        recurrent_connections: connect(&[
            ("exc", "exc", 0.3),
            ("exc", "inh", 0.0),
            ("inh", "exc", 0.0),
            ("exc", "mid", 0.0),
            ("mid", "exc", 0.25),
        ]),
        input_connections: connect(&[("ctx", "exc", 0.0), ("ctx", "mid", 0.4), ("drv", "inh", 0.0)]),
    };
    LeakyConfig {
        hidden: regions.hidden(),
        regions: Some(regions),
        ..LeakyConfig::default()
    }
}

/// Two trials with the shortest movement and a delay of five steps.
pub(crate) fn short_episode(task: Task, numerics: Numerics) -> Episode {
    let conditions = TrialConditions {
        task,
        mode: Mode::Train,
        speed: 0,
        delay_steps: 5,
        directions: vec![1, 6],
        backward_directions: None,
    };
    Episode::new(&[Trial::new(conditions).expect("known")], numerics)
}

/// An episode without noise, with what the losses need.
pub(crate) fn rolled_out(policy: &Policy, episode: &Episode, numerics: Numerics) -> Rollout {
    let effector = Effector::new(numerics);
    roll_out(&effector, policy, episode, None, Recording::Losses, numerics)
}

/// The network after some batches on the first ten steps of a task, with noise and its position error as the loss.
pub(crate) fn train(policy: Policy, task: Task, batches: u64) -> Policy {
    set_intra_op_threads(1);
    let numerics = policy.numerics();
    let whole = short_episode(task, numerics);
    let episode = Episode {
        known: whole.known.narrow(0, 0, 11),
        goal: whole.goal.narrow(0, 0, 11),
        steps: vec![10; whole.rows()],
        layout: whole.layout,
    };
    let mut learner = Learner::new(policy, 1e-3, LossWeights::POSITION_ONLY, Some(1.0), numerics);
    for batch in 0..batches {
        let rollout = learner.roll_out(&episode, Some(&NoiseSource::training(1, batch, 2)));
        learner.learn(&rollout, &episode.goal).expect("finite");
    }
    learner.into_policy()
}

/// h after every call with whole observations `[T, batch, observation]`, `[T, batch, hidden]`.
pub(crate) fn steps(running: &RunningPolicy, observations: &Tensor) -> Tensor {
    let drive = running.drive(observations, None);
    let mut state = running.start(observations.size()[1]);
    let nothing = observations.get(0).narrow(1, 0, 14).zeros_like();
    let mut hidden = Vec::new();
    for drive in drive.unbind(0) {
        state = running.step(&state, &drive, &nothing);
        hidden.push(state.h.shallow_clone());
    }
    Tensor::stack(&hidden, 0)
}

/// Zeros in double precision under the given names.
pub(crate) fn f64_table(tensors: &[(&str, &[i64])]) -> TensorTable {
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Double, tch::Device::Cpu));
    tensors
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), HostTensor::from_tensor(&zeros(shape))))
        .collect()
}
