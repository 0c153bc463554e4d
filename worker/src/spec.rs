//! From what an experiment asks for (wire types) to what the science is told (its configuration).

use motif_motor::config::{CompatibilityConfig, EvaluationConfig, Objective, TrainingConfig};
use motif_motor::device::Device;
use motif_motor::loss::LossWeights;
use motif_motor::policy::{
    Activation, Bounds, Connection, Feedback, Group, GruConfig, InputLayout, InputRegion, LeakyConfig,
    NetworkConfig, RecurrentRegion, RegionsConfig, Sign,
};
use motif_motor::tasks::{Family, Mode, Task};
use motif_proto::spec::evaluation::{Delay, EvaluationSpec, TrialMode};
use motif_proto::spec::network::{
    Activation as AskedActivation, Feedback as AskedFeedback, NetworkSpec, RnnSpec,
};
use motif_proto::spec::regions::{RegionsSpec, Sign as AskedSign};
use motif_proto::spec::resources::DeviceNeed;
use motif_proto::spec::task::TaskName;
use motif_proto::spec::training::{FrozenPart, Objective as AskedObjective};
use motif_proto::spec::{ExperimentKind, ExperimentSpec};

/// What the science is told to do for a spec. An evaluation is a training of no batches.
///
/// The rule inputs of a network that comes from a base are not in the spec; [`with_inputs_of`] takes them over.
#[must_use]
pub fn training_config(spec: &ExperimentSpec) -> TrainingConfig {
    let tasks: Vec<Task> = match &spec.training {
        Some(training) => training.tasks.iter().map(|&name| task(name)).collect(),
        None => spec.evaluated_tasks().iter().map(|&name| task(name)).collect(),
    };
    let family = tasks.first().map_or(Family::Base, |task| task.family());
    let config = TrainingConfig {
        network: network_config(&spec.network, spec.compatibility.ignore_masks, family),
        tasks,
        seed: spec.seed,
        evaluation: evaluation_config(&spec.evaluation),
        compatibility: CompatibilityConfig {
            independent_composable_directions: spec.compatibility.independent_composable_directions,
        },
        ..TrainingConfig::default()
    };
    let Some(training) = &spec.training else {
        return config;
    };
    TrainingConfig {
        batches: training.batches,
        batch_size: training.batch_size as usize,
        learning_rate: training.learning_rate,
        clip: Some(training.clip),
        save_every: training.save_every,
        loss_weights: LossWeights {
            rate: training.losses.rate,
            weight: training.losses.weight,
            muscle: training.losses.muscle,
            dynamics: training.losses.dynamics,
        },
        frozen: training.frozen.iter().map(|&part| group(part)).collect(),
        objective: match training.objective {
            AskedObjective::Movement => Objective::Movement,
            AskedObjective::MuscleActivity => Objective::MuscleActivity,
        },
        ..config
    }
}

/// The configuration with the rule inputs of a network that exists: the base's, with new ones for a transfer that
/// begins, or those of the run's own checkpoint.
#[must_use]
pub fn with_inputs_of(
    mut config: TrainingConfig,
    existing: &NetworkConfig,
    begins: Option<ExperimentKind>,
) -> TrainingConfig {
    let family = config.family();
    let inputs = config.network.inputs_mut();
    let InputLayout { rules, new_rules, .. } = *existing.inputs();
    inputs.rules = rules;
    inputs.new_rules = match begins {
        Some(ExperimentKind::Transfer) => Some(family.rules()),
        _ => new_rules,
    };
    config
}

fn network_config(network: &NetworkSpec, ignore_masks: bool, family: Family) -> NetworkConfig {
    let has = |feedback| network.feedback().contains(&feedback);
    let inputs = InputLayout {
        rules: family.rules(),
        new_rules: None,
        feedback: Feedback {
            vision: has(AskedFeedback::Vision),
            proprioception: has(AskedFeedback::Proprioception),
        },
    };
    match network {
        NetworkSpec::Rnn(rnn) => NetworkConfig::Leaky(leaky_config(rnn, ignore_masks, inputs)),
        NetworkSpec::Gru(gru) => NetworkConfig::Gru(GruConfig {
            hidden: gru.hidden as usize,
            inputs,
        }),
    }
}

fn leaky_config(rnn: &RnnSpec, ignore_masks: bool, inputs: InputLayout) -> LeakyConfig {
    LeakyConfig {
        hidden: rnn.hidden as usize,
        activation: match rnn.activation {
            AskedActivation::Softplus => Activation::Softplus,
            AskedActivation::Relu => Activation::Relu,
            AskedActivation::Tanh => Activation::Tanh,
            AskedActivation::Sigmoid => Activation::Sigmoid,
            AskedActivation::Linear => Activation::Linear,
        },
        hidden_noise: rnn.noise_hidden,
        input_noise: rnn.noise_input,
        dt_ms: rnn.dt_ms,
        time_constant_ms: rnn.time_constant_ms,
        inputs,
        constrained: rnn.constrained,
        recurrent_bounds: rnn.recurrent_bounds.map(bounds),
        input_bounds: rnn.input_bounds.map(bounds),
        ignore_masks,
        spectral_radius: rnn.spectral_radius,
        regions: rnn.regions.as_ref().map(regions_config),
    }
}

fn bounds([lower, upper]: [f64; 2]) -> Bounds {
    Bounds { lower, upper }
}

fn regions_config(regions: &RegionsSpec) -> RegionsConfig {
    let sign = |asked| match asked {
        AskedSign::Pos => Sign::Pos,
        AskedSign::Neg => Sign::Neg,
    };
    let connections = |asked: &[motif_proto::spec::regions::Connection]| {
        let connection = |asked: &motif_proto::spec::regions::Connection| {
            Connection::new(&asked.src, &asked.dst, asked.sparsity)
        };
        asked.iter().map(connection).collect()
    };
    RegionsConfig {
        recurrent: regions
            .recurrent
            .iter()
            .map(|region| RecurrentRegion {
                name: region.name.clone(),
                units: region.units as usize,
                sign: sign(region.sign),
                base_firing: region.base_firing,
                learnable_base_firing: region.learnable_base_firing,
                initial_x: region.initial_x,
                parent: region.parent.clone(),
            })
            .collect(),
        inputs: regions
            .inputs
            .iter()
            .map(|region| InputRegion {
                name: region.name.clone(),
                units: region.units as usize,
                sign: sign(region.sign),
            })
            .collect(),
        recurrent_connections: connections(&regions.recurrent_connections),
        input_connections: connections(&regions.input_connections),
    }
}

fn evaluation_config(evaluation: &EvaluationSpec) -> EvaluationConfig {
    let indices = |given: &Option<Vec<u32>>| -> Option<Vec<usize>> {
        let given = given.as_ref()?;
        Some(given.iter().map(|&index| index as usize).collect())
    };
    let delays = match (indices(&evaluation.delays), evaluation.delay) {
        (Some(delays), _) => delays,
        (None, Delay::Steps(steps)) => vec![steps as usize],
        (None, Delay::Random) => vec![],
    };
    EvaluationConfig {
        tasks: evaluation
            .tasks
            .as_ref()
            .map(|tasks| tasks.iter().map(|&name| task(name)).collect()),
        mode: match evaluation.mode {
            TrialMode::Test => Mode::Test,
            TrialMode::Train => Mode::Train,
        },
        speeds: indices(&evaluation.speeds),
        directions: indices(&evaluation.directions),
        delays,
        noise: evaluation.noise,
    }
}

fn group(part: FrozenPart) -> Group {
    match part {
        FrozenPart::Recurrent => Group::Recurrent,
        FrozenPart::Input => Group::Input,
        FrozenPart::Output => Group::Output,
        FrozenPart::BaseFiring => Group::BaseFiring,
    }
}

/// Both sides know the tasks by the same names.
fn task(name: TaskName) -> Task {
    use motif_proto::spec::read::Choice as _;
    name.name()
        .parse()
        .unwrap_or_else(|error| unreachable!("a task of a spec is one of the science: {error}"))
}

/// The device that a spec asks for, on a machine where nobody says otherwise.
#[must_use]
pub fn device(spec: &ExperimentSpec) -> Device {
    match spec.resources.device {
        DeviceNeed::Any | DeviceNeed::Cpu => Device::Cpu,
        DeviceNeed::Cuda => Device::Cuda(0),
    }
}

#[cfg(test)]
mod tests {
    use motif_proto::spec::preset::PresetInfo;
    use serde_json::json;

    use motif_motor::engine::Engine;

    use super::*;

    #[test]
    fn every_preset_is_a_valid_configuration() {
        let specs: Vec<_> = PresetInfo::all()
            .into_iter()
            .filter_map(|preset| preset.spec)
            .collect();
        assert!(specs.len() > 25, "{}", specs.len());
        for spec in specs {
            let config = training_config(&spec);
            let config = match spec.kind {
                ExperimentKind::Transfer => {
                    let base = NetworkConfig::leaky(config.network.hidden(), Activation::Softplus);
                    with_inputs_of(config, &base, Some(spec.kind))
                }
                _ => config,
            };
            config
                .validate()
                .unwrap_or_else(|error| panic!("{:?}: {error}", spec.preset));
        }
    }

    #[test]
    fn every_field_of_a_spec_arrives_where_it_belongs() {
        let spec = ExperimentSpec::resolve(
            &json!({
                "seed": 5,
                "network": { "hidden": 17, "activation": "relu", "noise_hidden": 0.3, "noise_input": 0.02,
                             "dt_ms": 5.0, "time_constant_ms": 40.0, "constrained": true,
                             "recurrent_bounds": [0.0, 2.0], "input_bounds": [0.1, 3],
                             "feedback": ["proprioception"] },
                "training": { "batches": 9, "batch_size": 3, "learning_rate": 0.01, "clip": 2.0, "save_every": 4,
                              "tasks": ["DlyFigure8Inv", "DlySinusoid"], "frozen": ["recurrent"],
                              "losses": { "rate": 0.1, "weight": 0.2, "muscle": 0.3, "dynamics": 0.4 } },
                "evaluation": { "tasks": ["DlyHalfReach"], "mode": "train", "speeds": [2], "directions": [1, 0],
                                "delay": 75, "noise": false },
                "compatibility": { "independent_composable_directions": true, "ignore_masks": true },
            }),
            None,
        )
        .expect("a valid spec");
        let expected = TrainingConfig {
            network: NetworkConfig::Leaky(LeakyConfig {
                hidden: 17,
                activation: Activation::Relu,
                hidden_noise: 0.3,
                input_noise: 0.02,
                dt_ms: 5.0,
                time_constant_ms: 40.0,
                inputs: InputLayout {
                    rules: 10,
                    new_rules: None,
                    feedback: Feedback {
                        vision: false,
                        proprioception: true,
                    },
                },
                constrained: true,
                recurrent_bounds: Some(Bounds {
                    lower: 0.0,
                    upper: 2.0,
                }),
                input_bounds: Some(Bounds {
                    lower: 0.1,
                    upper: 3.0,
                }),
                ignore_masks: true,
                spectral_radius: None,
                regions: None,
            }),
            tasks: vec![Task::DlyFigure8Inv, Task::DlySinusoid],
            batches: 9,
            batch_size: 3,
            learning_rate: 0.01,
            clip: Some(2.0),
            save_every: 4,
            loss_weights: LossWeights {
                rate: 0.1,
                weight: 0.2,
                muscle: 0.3,
                dynamics: 0.4,
            },
            seed: 5,
            evaluation: EvaluationConfig {
                tasks: Some(vec![Task::DlyHalfReach]),
                mode: Mode::Train,
                speeds: Some(vec![2]),
                directions: Some(vec![0, 1]),
                delays: vec![75],
                noise: false,
            },
            engine: Engine::Fused,
            frozen: vec![Group::Recurrent],
            objective: Objective::Movement,
            compatibility: CompatibilityConfig {
                independent_composable_directions: true,
            },
        };
        assert_eq!(training_config(&spec), expected);
    }

    #[test]
    fn both_sides_know_the_same_tasks() {
        let all = [Family::Base, Family::Composed].map(Family::tasks).concat();
        let named = TaskName::BASE.iter().chain(TaskName::PAIRS);
        assert_eq!(named.map(|&name| task(name)).collect::<Vec<_>>(), all);
    }
}
