//! From what the science was told (a checkpoint's configuration) back to the terms of a spec.

use motif_motor::config::{EvaluationConfig, Objective, TrainingConfig};
use motif_motor::policy::{Activation, Bounds, Group, LeakyConfig, NetworkConfig, RegionsConfig, Sign};
use motif_motor::tasks::{Mode, Task};
use motif_proto::spec::base::{Base, Origin};
use motif_proto::spec::compatibility::CompatibilitySpec;
use motif_proto::spec::evaluation::{Delay, EvaluationSpec, TrialMode};
use motif_proto::spec::network::{
    Activation as NamedActivation, Feedback as NamedFeedback, GruSpec, NetworkSpec, RnnSpec,
};
use motif_proto::spec::read::Choice;
use motif_proto::spec::regions::{Connection, InputRegion, RecurrentRegion, RegionsSpec, Sign as NamedSign};
use motif_proto::spec::task::TaskName;
use motif_proto::spec::training::{FrozenPart, LossWeights, Objective as NamedObjective, TrainingSpec};

/// A training that does not clip its gradients is as one that clips them here.
const NO_CLIP: f64 = 1e6;

/// What an experiment takes over from a network that was trained so.
#[must_use]
pub fn of(config: &TrainingConfig) -> Base {
    let ignore_masks = match &config.network {
        NetworkConfig::Leaky(leaky) => leaky.ignore_masks,
        NetworkConfig::Gru(_) => false,
    };
    Base {
        network: network(&config.network),
        origin: Some(Origin {
            seed: config.seed,
            training: training(config),
            evaluation: evaluation(&config.evaluation),
            compatibility: CompatibilitySpec {
                independent_composable_directions: config.compatibility.independent_composable_directions,
                ignore_masks,
            },
        }),
    }
}

fn training(config: &TrainingConfig) -> TrainingSpec {
    TrainingSpec {
        batches: config.batches,
        batch_size: small(config.batch_size),
        learning_rate: config.learning_rate,
        clip: config.clip.unwrap_or(NO_CLIP),
        save_every: config.save_every,
        keep_every: None,
        tasks: names(&config.tasks),
        losses: LossWeights {
            rate: config.loss_weights.rate,
            weight: config.loss_weights.weight,
            muscle: config.loss_weights.muscle,
            dynamics: config.loss_weights.dynamics,
        },
        frozen: config.frozen.iter().map(|&group| frozen(group)).collect(),
        objective: match config.objective {
            Objective::Movement => NamedObjective::Movement,
            Objective::MuscleActivity => NamedObjective::MuscleActivity,
        },
    }
}

fn evaluation(evaluation: &EvaluationConfig) -> EvaluationSpec {
    let indices = |given: &Option<Vec<usize>>| {
        given
            .as_ref()
            .map(|given| given.iter().map(|&i| small(i)).collect())
    };
    EvaluationSpec {
        tasks: evaluation.tasks.as_deref().map(names),
        mode: match evaluation.mode {
            Mode::Test => TrialMode::Test,
            Mode::Train => TrialMode::Train,
        },
        speeds: indices(&evaluation.speeds),
        directions: indices(&evaluation.directions),
        delay: match evaluation.delays.as_slice() {
            [steps] if Delay::TRAINED.contains(&small(*steps)) => Delay::Steps(small(*steps)),
            _ => Delay::Random,
        },
        delays: None,
        noise: evaluation.noise,
    }
}

/// A network in the terms of a spec.
#[must_use]
pub fn network(config: &NetworkConfig) -> NetworkSpec {
    let senses = config.inputs().feedback;
    let given = [
        (senses.vision, NamedFeedback::Vision),
        (senses.proprioception, NamedFeedback::Proprioception),
    ];
    let feedback = given
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect();
    match config {
        NetworkConfig::Leaky(leaky) => NetworkSpec::Rnn(rnn(leaky, feedback)),
        NetworkConfig::Gru(gru) => NetworkSpec::Gru(GruSpec {
            hidden: small(gru.hidden),
            feedback,
        }),
    }
}

fn rnn(leaky: &LeakyConfig, feedback: Vec<NamedFeedback>) -> RnnSpec {
    RnnSpec {
        hidden: small(leaky.hidden),
        activation: match leaky.activation {
            Activation::Softplus => NamedActivation::Softplus,
            Activation::Relu => NamedActivation::Relu,
            Activation::Tanh => NamedActivation::Tanh,
            Activation::Sigmoid => NamedActivation::Sigmoid,
            Activation::Linear => NamedActivation::Linear,
        },
        noise_hidden: leaky.hidden_noise,
        noise_input: leaky.input_noise,
        dt_ms: leaky.dt_ms,
        time_constant_ms: leaky.time_constant_ms,
        constrained: leaky.constrained,
        recurrent_bounds: leaky.recurrent_bounds.map(bounds),
        input_bounds: leaky.input_bounds.map(bounds),
        spectral_radius: leaky.spectral_radius,
        feedback,
        regions: leaky.regions.as_ref().map(regions),
    }
}

fn bounds(Bounds { lower, upper }: Bounds) -> [f64; 2] {
    [lower, upper]
}

fn regions(config: &RegionsConfig) -> RegionsSpec {
    let sign = |sign| match sign {
        Sign::Pos => NamedSign::Pos,
        Sign::Neg => NamedSign::Neg,
    };
    let connections = |of: &[motif_motor::policy::Connection]| {
        let named = |of: &motif_motor::policy::Connection| Connection {
            src: of.src.clone(),
            dst: of.dst.clone(),
            sparsity: of.sparsity,
        };
        of.iter().map(named).collect()
    };
    RegionsSpec {
        recurrent: config
            .recurrent
            .iter()
            .map(|region| RecurrentRegion {
                name: region.name.clone(),
                units: small(region.units),
                sign: sign(region.sign),
                base_firing: region.base_firing,
                learnable_base_firing: region.learnable_base_firing,
                initial_x: region.initial_x,
                parent: region.parent.clone(),
            })
            .collect(),
        inputs: config
            .inputs
            .iter()
            .map(|region| InputRegion {
                name: region.name.clone(),
                units: small(region.units),
                sign: sign(region.sign),
            })
            .collect(),
        recurrent_connections: connections(&config.recurrent_connections),
        input_connections: connections(&config.input_connections),
    }
}

fn frozen(group: Group) -> FrozenPart {
    match group {
        Group::Recurrent => FrozenPart::Recurrent,
        Group::Input => FrozenPart::Input,
        Group::Output => FrozenPart::Output,
        Group::BaseFiring => FrozenPart::BaseFiring,
    }
}

fn names(tasks: &[Task]) -> Vec<TaskName> {
    let name = |task: &Task| {
        TaskName::from_name(task.name()).unwrap_or_else(|| unreachable!("{task} is a task of specs too"))
    };
    tasks.iter().map(name).collect()
}

/// Sizes and indices of a valid configuration are far below the limit.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use motif_proto::spec::ExperimentSpec;
    use motif_proto::spec::preset::PresetInfo;
    use serde_json::json;

    use super::*;
    use crate::spec::training_config;

    #[test]
    fn there_and_back_nothing_of_a_preset_is_lost() {
        for spec in PresetInfo::all().into_iter().filter_map(|preset| preset.spec) {
            let base = of(&training_config(&spec));
            assert_eq!(Some(base), Base::of(&spec), "{:?}", spec.preset);
        }
    }

    #[test]
    fn there_and_back_nothing_of_the_rarer_fields_is_lost() {
        let spec = ExperimentSpec::resolve(
            &json!({
                "seed": 9,
                "network": {
                    "activation": "sigmoid", "constrained": true, "input_bounds": [0.25, 4.0],
                    "spectral_radius": 0.9, "feedback": ["vision"],
                    "regions": {
                        "recurrent": [{ "name": "a", "units": 3, "sign": "neg", "base_firing": 0.5,
                                        "learnable_base_firing": true, "initial_x": 0.1, "parent": "p" },
                                      { "name": "b", "units": 2 }],
                        "inputs": [{ "name": "i", "units": 28 }],
                        "recurrent_connections": [{ "src": "a", "dst": "b", "sparsity": 0.25 }],
                        "input_connections": [{ "src": "i", "dst": "a" }],
                    },
                },
                "training": { "frozen": ["input"], "tasks": ["DlyHalfReach"] },
                "evaluation": { "mode": "train", "speeds": [1], "directions": [0, 3], "delay": 50, "noise": false },
                "compatibility": { "ignore_masks": true },
            }),
            None,
        )
        .expect("a valid spec");
        assert_eq!(Some(of(&training_config(&spec))), Base::of(&spec));
    }
}
