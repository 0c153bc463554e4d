//! From what an experiment asks for (wire types) to what the science is told (its configuration).

use std::path::{Path, PathBuf};

use motif_motor::config::{EvaluationConfig, TrainingConfig};
use motif_motor::device::Device;
use motif_motor::loss::LossWeights;
use motif_motor::policy::{Activation, LeakyConfig, NetworkConfig};
use motif_motor::tasks::Task;
use motif_proto::problem::FieldProblem;
use motif_proto::spec::compatibility::CompatibilitySpec;
use motif_proto::spec::evaluation::EvaluationSpec;
use motif_proto::spec::network::Feedback;
use motif_proto::spec::network::{Activation as AskedActivation, NetworkSpec};
use motif_proto::spec::read::Choice;
use motif_proto::spec::resources::DeviceNeed;
use motif_proto::spec::task::TaskName;
use motif_proto::spec::training::Objective;
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use serde_json::Value;

/// Spec files above this are refused unread.
const MAX_SPEC_BYTES: u64 = 1 << 20;

/// Why a file is not a spec.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} has {bytes} bytes: no spec is larger than {MAX_SPEC_BYTES}")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path} is not {language}: {problem}")]
    Syntax {
        path: PathBuf,
        language: &'static str,
        problem: String,
    },
    #[error("{path} is not a spec that can be carried out")]
    Fields {
        path: PathBuf,
        problems: Vec<FieldProblem>,
    },
}

/// Reads a spec file, JSON where its name ends in `.json`, else TOML.
///
/// # Errors
/// [`SpecError`]; with every field that is wrong where the file can be read at all.
pub fn read_file(path: &Path) -> Result<ExperimentSpec, SpecError> {
    let failed = |source| SpecError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_SPEC_BYTES {
        return Err(SpecError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let document = parse(path, &text)?;
    ExperimentSpec::resolve(&document, None).map_err(|problems| SpecError::Fields {
        path: path.to_owned(),
        problems,
    })
}

fn parse(path: &Path, text: &str) -> Result<Value, SpecError> {
    let json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let (language, parsed) = if json {
        (
            "JSON",
            serde_json::from_str(text).map_err(|error| error.to_string()),
        )
    } else {
        ("TOML", toml::from_str(text).map_err(|error| error.to_string()))
    };
    parsed.map_err(|problem: String| SpecError::Syntax {
        path: path.to_owned(),
        language,
        problem: problem.trim_end().to_owned(),
    })
}

/// What a spec asks for and this program cannot carry out.
#[derive(Debug, thiserror::Error)]
#[error("this worker cannot carry out {what}")]
pub struct Unsupported {
    what: String,
}

fn unsupported(what: impl Into<String>) -> Unsupported {
    Unsupported { what: what.into() }
}

/// What the science is told to do for a spec.
///
/// # Errors
/// When the science has no such experiment.
pub fn training_config(spec: &ExperimentSpec) -> Result<TrainingConfig, Unsupported> {
    let training = match (spec.kind, &spec.training) {
        (ExperimentKind::Train, Some(training)) => training,
        (kind, _) => return Err(unsupported(kind.as_str())),
    };
    if !training.frozen.is_empty() || training.objective != Objective::Movement {
        return Err(unsupported("frozen parts and other objectives"));
    }
    if spec.evaluation != EvaluationSpec::default() || spec.compatibility != CompatibilitySpec::default() {
        return Err(unsupported("[evaluation] and [compatibility]"));
    }
    let tasks: Result<_, _> = training.tasks.iter().map(|&name| task(name)).collect();
    Ok(TrainingConfig {
        network: network_config(&spec.network)?,
        tasks: tasks?,
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
        seed: spec.seed,
        evaluation: EvaluationConfig::default(),
    })
}

fn network_config(network: &NetworkSpec) -> Result<NetworkConfig, Unsupported> {
    let NetworkSpec::Rnn(rnn) = network else {
        return Err(unsupported(network.describe()));
    };
    let plain = !rnn.constrained && rnn.spectral_radius.is_none() && rnn.regions.is_none();
    if !plain || rnn.feedback.as_slice() != Feedback::ALL {
        return Err(unsupported(
            "constrained, scaled or multi-region networks and less feedback",
        ));
    }
    Ok(NetworkConfig::Leaky(LeakyConfig {
        hidden: rnn.hidden as usize,
        activation: match rnn.activation {
            AskedActivation::Softplus => Activation::Softplus,
            AskedActivation::Relu => Activation::Relu,
            AskedActivation::Tanh => Activation::Tanh,
            other @ (AskedActivation::Sigmoid | AskedActivation::Linear) => {
                return Err(unsupported(other.name()));
            }
        },
        hidden_noise: rnn.noise_hidden,
        input_noise: rnn.noise_input,
        dt_ms: rnn.dt_ms,
        time_constant_ms: rnn.time_constant_ms,
    }))
}

fn task(name: TaskName) -> Result<Task, Unsupported> {
    Ok(match name {
        TaskName::DlyHalfReach => Task::DlyHalfReach,
        TaskName::DlyHalfCircleClk => Task::DlyHalfCircleClk,
        TaskName::DlyHalfCircleCClk => Task::DlyHalfCircleCClk,
        TaskName::DlySinusoid => Task::DlySinusoid,
        TaskName::DlySinusoidInv => Task::DlySinusoidInv,
        TaskName::DlyFullReach => Task::DlyFullReach,
        TaskName::DlyFullCircleClk => Task::DlyFullCircleClk,
        TaskName::DlyFullCircleCClk => Task::DlyFullCircleCClk,
        TaskName::DlyFigure8 => Task::DlyFigure8,
        TaskName::DlyFigure8Inv => Task::DlyFigure8Inv,
        TaskName::Pair(_) => return Err(unsupported(name.name())),
    })
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

    use super::*;

    #[test]
    fn presets_that_can_be_carried_out_are_valid_configurations() {
        let specs = PresetInfo::all().into_iter().filter_map(|preset| preset.spec);
        let configs: Vec<_> = specs.filter_map(|spec| training_config(&spec).ok()).collect();
        assert!(configs.len() > 10, "{}", configs.len());
        for config in configs {
            config.validate().expect("a valid configuration");
        }
    }

    #[test]
    fn every_field_of_a_spec_arrives_where_it_belongs() {
        let spec = ExperimentSpec::resolve(&json!({
            "seed": 5,
            "network": { "hidden": 17, "activation": "relu", "noise_hidden": 0.3, "noise_input": 0.02,
                         "dt_ms": 5.0, "time_constant_ms": 40.0 },
            "training": { "batches": 9, "batch_size": 3, "learning_rate": 0.01, "clip": 2.0, "save_every": 4,
                          "tasks": ["DlyFigure8Inv", "DlySinusoid"],
                          "losses": { "rate": 0.1, "weight": 0.2, "muscle": 0.3, "dynamics": 0.4 } },
        }), None)
        .expect("a valid spec");
        let expected = TrainingConfig {
            network: NetworkConfig::Leaky(LeakyConfig {
                hidden: 17,
                activation: Activation::Relu,
                hidden_noise: 0.3,
                input_noise: 0.02,
                dt_ms: 5.0,
                time_constant_ms: 40.0,
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
            evaluation: EvaluationConfig::default(),
        };
        assert_eq!(training_config(&spec).expect("carried out"), expected);
    }

    #[test]
    fn tasks_keep_their_names() {
        for &name in TaskName::BASE {
            assert_eq!(task(name).expect("known").name(), name.name());
        }
    }

    #[test]
    fn a_spec_file_is_toml_unless_its_name_says_json() {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = folder.path().join("a.toml");
        std::fs::write(&toml, "seed = 3\n[network]\nhidden = 8\n").expect("written");
        let json = folder.path().join("a.json");
        std::fs::write(&json, r#"{"seed": 3, "network": {"hidden": 8}}"#).expect("written");
        assert_eq!(read_file(&toml).expect("read"), read_file(&json).expect("read"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "[network]\nhiden = 8\n").expect("written");
        let Err(SpecError::Fields { problems, .. }) = read_file(&path) else {
            panic!("accepted")
        };
        assert_eq!(problems[0].pointer, "/network/hiden");
        std::fs::write(&path, "[network\n").expect("written");
        assert!(matches!(read_file(&path), Err(SpecError::Syntax { .. })));
    }
}
