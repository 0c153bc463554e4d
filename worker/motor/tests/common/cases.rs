//! Random networks, episodes and losses, and what the reference engine makes of them.

use motif_motor::arm::Effector;
use motif_motor::device::{Numerics, Precision, set_intra_op_threads};
use motif_motor::engine::{NoiseSource, Recording, roll_out};
use motif_motor::environment::Episode;
use motif_motor::loss::{LossTerms, LossWeights, Losses};
use motif_motor::policy::{Activation, Feedback, GruConfig, InputLayout, LeakyConfig, NetworkConfig, Policy};
use motif_motor::tasks::{Family, Mode, Task, Trial, TrialConditions};
use proptest::prelude::*;
use tch::{Kind, Tensor};

/// A network, an episode for it, and the weights of the losses.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) config: NetworkConfig,
    /// Whether the network is transferred to so many new rules.
    pub(crate) new_rules: Option<usize>,
    pub(crate) trial: TrialConditions,
    pub(crate) weights: LossWeights,
    pub(crate) seed: u64,
    pub(crate) noisy: bool,
}

impl Case {
    pub(crate) fn policy(&self, numerics: Numerics) -> Policy {
        let policy = Policy::new(&self.config, self.seed, numerics);
        match self.new_rules {
            None => policy,
            Some(count) => policy.into_transfer(count, self.seed + 1).expect("one region"),
        }
    }

    pub(crate) fn episode(&self, numerics: Numerics) -> Episode {
        Episode::new(&[Trial::new(self.trial.clone()).expect("known")], numerics)
    }

    pub(crate) fn noise(&self) -> Option<NoiseSource> {
        let rows = self.trial.directions.len();
        self.noisy.then(|| NoiseSource::training(self.seed, 3, rows))
    }
}

/// Losses and gradients of the reference engine, but for the term of the weights' own size, which is given apart.
pub(crate) struct Reference {
    pub(crate) losses: Losses,
    pub(crate) weight: f64,
    pub(crate) gradients: Vec<Tensor>,
}

pub(crate) fn reference(case: &Case, policy: &Policy, numerics: Numerics) -> Reference {
    let (episode, noise) = (case.episode(numerics), case.noise());
    let rollout = roll_out(
        &Effector::new(numerics),
        policy,
        &episode,
        noise.as_ref(),
        Recording::Losses,
        numerics,
    );
    let terms = LossTerms::new(policy, &rollout, &episode.goal, &case.weights);
    let without_weight = match &terms.weight {
        None => terms.total.shallow_clone(),
        Some(weight) => &terms.total - weight,
    };
    let parameters: Vec<&Tensor> = policy.trainable().map(|(_, tensor)| tensor).collect();
    Reference {
        losses: terms.values(),
        weight: terms.weight.as_ref().map_or(0.0, |term| term.double_value(&[])),
        gradients: Tensor::run_backward(&[&without_weight], &parameters, false, false),
    }
}

/// Norm of the difference of gradients, relative to the norm of the expected ones.
pub(crate) fn relative_difference(found: &[Tensor], expected: &[Tensor]) -> f64 {
    let norm = |tensors: &mut dyn Iterator<Item = Tensor>| {
        let norms: Vec<Tensor> = tensors.map(|tensor| tensor.norm()).collect();
        Tensor::stack(&norms, 0).norm().double_value(&[])
    };
    let pairs = || {
        found
            .iter()
            .zip(expected)
            .filter(|(_, expected)| expected.defined())
    };
    let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
    let difference = norm(&mut pairs().map(|(a, b)| double(a) - double(b)));
    // An arm that rests on its limits passes no gradient; then there must be none.
    let scale = norm(&mut pairs().map(|(_, b)| double(b))).max(1e-12);
    difference / scale
}

/// How far the reference engine's own gradients in single precision are from those in double: large where something
/// lies at a bend (relu at 0, a joint at its limit, an excitation at the activation) and rounding decides the side.
pub(crate) fn conditioning(case: &Case) -> f64 {
    set_intra_op_threads(1);
    let [single, double] = [Precision::F32, Precision::F64].map(|precision| {
        let numerics = Numerics::cpu(precision);
        reference(case, &case.policy(numerics), numerics).gradients
    });
    relative_difference(&single, &double)
}

/// Cases of leaky networks.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    cases_of(
        [
            Activation::Softplus,
            Activation::Relu,
            Activation::Tanh,
            Activation::Sigmoid,
            Activation::Linear,
        ]
        .map(Some)
        .to_vec(),
    )
}

/// Cases of gated networks.
pub(crate) fn gated_cases() -> impl Strategy<Value = Case> {
    cases_of(vec![None])
}

/// Cases of leaky networks with an activation of these, or of gated ones, which have none.
fn cases_of(activations: Vec<Option<Activation>>) -> impl Strategy<Value = Case> {
    let network = (
        1_usize..40,
        prop::sample::select(activations),
        prop::sample::select(vec![10.0, 20.0, 37.0]),
        any::<bool>(),
        prop::sample::select(vec![(true, true), (true, false), (false, true)]),
        prop::sample::select(vec![None, Some(10), Some(20)]),
    );
    let trial = (
        0_usize..10,
        0_usize..20,
        0_usize..2,
        prop::collection::vec(0_usize..8, 1..36),
    );
    let weight = || prop::sample::select(vec![0.0, 0.01, 0.3]);
    let weights = (weight(), weight(), weight(), weight());
    (network, trial, weights, any::<u64>(), any::<bool>()).prop_map(
        |(
            (hidden, activation, time_constant_ms, constrained, (vision, proprioception), new_rules),
            (base, pair, speed, directions),
            (rate, weight, muscle, dynamics),
            seed,
            noisy,
        )| {
            let task = match new_rules {
                Some(20) => Family::Composed.tasks()[pair],
                _ => Task::BASE[base],
            };
            let inputs = InputLayout {
                feedback: Feedback {
                    vision,
                    proprioception,
                },
                ..InputLayout::default()
            };
            let config = match activation {
                None => NetworkConfig::Gru(GruConfig { hidden, inputs }),
                Some(activation) => NetworkConfig::Leaky(LeakyConfig {
                    hidden,
                    activation,
                    time_constant_ms,
                    constrained,
                    // Else a linear network, or one without inhibition, may grow without bound.
                    spectral_radius: (constrained || activation == Activation::Linear).then_some(0.8),
                    inputs,
                    ..LeakyConfig::default()
                }),
            };
            Case {
                config,
                new_rules,
                trial: TrialConditions {
                    task,
                    mode: Mode::Train,
                    speed,
                    delay_steps: 25,
                    directions,
                    backward_directions: None,
                },
                weights: LossWeights {
                    rate,
                    weight,
                    muscle,
                    dynamics,
                },
                seed,
                noisy,
            }
        },
    )
}

pub(crate) fn reach(rows: usize) -> TrialConditions {
    TrialConditions {
        task: Task::DlyFullReach,
        mode: Mode::Test,
        speed: 1,
        delay_steps: 50,
        directions: (0..rows).map(|row| row * 5 % 32).collect(),
        backward_directions: None,
    }
}
