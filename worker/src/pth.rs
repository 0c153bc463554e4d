//! Between PyTorch's checkpoints of the model family and ours.
//!
//! A `.pth` file holds weights and Adam's moments; what kind of units they belong to stands in the `hp.json` beside
//! it, or has to be told.

use std::path::Path;

use motif_motor::checkpoint::{Checkpoint, CheckpointError};
use motif_motor::config::TrainingConfig;
use motif_motor::device::{Numerics, Precision};
use motif_motor::environment::ObservationLayout;
use motif_motor::host_tensor::{HostTensor, TensorTable};
use motif_motor::policy::{NetworkConfig, Policy};
use motif_motor::pth::{AdamState, PthError, PthFile};
use motif_motor::tasks::Family;
use motif_proto::problem::FieldProblem;
use motif_proto::spec::ExperimentSpec;
use serde_json::{Map, Value, json};

use crate::spec::training_config;

/// The family's hyperparameters beside a file.
const HYPERPARAMETERS: &str = "hp.json";
/// Such files take a kilobyte.
const MAX_HYPERPARAMETER_BYTES: u64 = 1 << 20;
/// Numbers of an observation behind the rules.
const CONDITION_INPUTS: usize = 18;

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    File(#[from] PthError),
    #[error("its tensors are no policy of this family: there is neither `gru.weight_hh_l0` nor `fc.weight`")]
    NoPolicy,
    #[error("tensor `{name}` has shape {found:?}, which no policy's has")]
    Shape { name: &'static str, found: Vec<usize> },
    #[error(
        "it is a network of several regions, which a .pth file does not describe: give `network.regions`"
    )]
    Regions,
    #[error(
        "neither an hp.json beside it nor `network.activation` says which activation function its units have"
    )]
    Activation,
    #[error("its hyperparameters are not understood: {0}")]
    Hyperparameters(String),
    #[error("its tensors do not fit")]
    Misfit(#[from] CheckpointError),
}

/// A checkpoint from the bytes of a `.pth` file.
///
/// Settings come from the `hp.json` beside `path`, then from `hints` (the fields of a spec's `[network]`), then from
/// the family's defaults; sizes from the tensors.
///
/// # Errors
/// [`ImportError`].
pub fn import(bytes: &[u8], path: &Path, hints: Option<&Value>) -> Result<Checkpoint, ImportError> {
    let file = PthFile::from_bytes(bytes)?;
    let state = file.table();
    let mut document = hyperparameters(path);
    describe(&state, &mut document, hints)?;
    let spec = ExperimentSpec::resolve(&document, None).map_err(|problems| not_understood(&problems))?;
    let mut config = training_config(&spec);
    set_inputs(&mut config.network, &state)?;
    if config.network.inputs().observations() == ObservationLayout::of(Family::Composed).width() as usize {
        config.tasks = Family::Composed.tasks();
    }
    let precision = precision_of(&state);
    let adam = file.adam.unwrap_or_else(|| AdamState {
        learning_rate: config.learning_rate,
        step: 0,
        moments: TensorTable::new(),
    });
    config.learning_rate = adam.learning_rate;
    config.batches = config.batches.max(adam.step);
    // Names and shapes are checked where the network is built.
    let policy = Policy::from_state(&config.network, &state, Numerics::cpu(precision))?;
    Ok(Checkpoint {
        state: policy.state(),
        config,
        next_batch: adam.step,
        evaluated: adam.step.checked_sub(1),
        best: None,
        adam_step: adam.step,
        moments: adam.moments,
    })
}

/// A `.pth` file with the weights of a checkpoint and, where it has any, Adam's moments.
///
/// # Errors
/// When the checkpoint's tensors are not those of its own network.
pub fn export(checkpoint: &Checkpoint) -> Result<PthFile, CheckpointError> {
    let numerics = Numerics::cpu(precision_of(&checkpoint.state));
    let policy = Policy::from_state(&checkpoint.config.network, &checkpoint.state, numerics)?;
    let all = policy.state();
    let state = policy
        .named_parameters()
        .map(|(name, _)| (name.to_owned(), all[name].clone()))
        .collect();
    let adam = (!checkpoint.moments.is_empty()).then(|| AdamState {
        learning_rate: checkpoint.config.learning_rate,
        step: checkpoint.adam_step,
        moments: checkpoint.moments.clone(),
    });
    Ok(PthFile { state, adam })
}

/// What the `hp.json` beside a file says, as a spec's document. One that cannot be read says nothing.
fn hyperparameters(path: &Path) -> Value {
    let beside = path.with_file_name(HYPERPARAMETERS);
    let small = std::fs::metadata(&beside).is_ok_and(|file| file.len() <= MAX_HYPERPARAMETER_BYTES);
    let text = small.then(|| std::fs::read(&beside).ok()).flatten();
    let told: Option<Map<String, Value>> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let told = told.unwrap_or_default();
    let take = |names: &[(&[&str], &str)]| -> Map<String, Value> {
        let entry = |(theirs, ours): &(&[&str], &str)| {
            let value = theirs.iter().find_map(|name| told.get(*name))?;
            Some(((*ours).to_owned(), value.clone()))
        };
        names.iter().filter_map(entry).collect()
    };
    let network = take(&[
        (&["activation_name", "activation"], "activation"),
        (&["noise_level_act"], "noise_hidden"),
        (&["noise_level_inp"], "noise_input"),
        (&["constrained"], "constrained"),
        (&["dt"], "dt_ms"),
        (&["t_const"], "time_constant_ms"),
    ]);
    let mut training = take(&[
        (&["lr"], "learning_rate"),
        (&["batch_size"], "batch_size"),
        (&["epochs"], "batches"),
        (&["save_iter"], "save_every"),
    ]);
    let losses = take(&[
        (&["l1_rate"], "rate"),
        (&["l1_weight"], "weight"),
        (&["l1_muscle_act"], "muscle"),
        (&["simple_dynamics_weight"], "dynamics"),
    ]);
    training.insert("losses".to_owned(), json!(losses));
    json!({ "network": network, "training": training })
}

/// Adds what the tensors tell and what was given to a document.
fn describe(state: &TensorTable, document: &mut Value, hints: Option<&Value>) -> Result<(), ImportError> {
    let network = &mut document["network"];
    for (field, value) in hints.and_then(Value::as_object).into_iter().flatten() {
        network[field] = value.clone();
    }
    let Some(network) = network.as_object_mut() else {
        return Err(ImportError::Hyperparameters("`network` is no table".to_owned()));
    };
    if state.contains_key("gru.weight_hh_l0") {
        // The family writes an activation for every kind of network.
        *network = network
            .remove("feedback")
            .map(|value| ("feedback".to_owned(), value))
            .into_iter()
            .collect();
        network.insert("kind".to_owned(), json!("gru"));
        network.insert("hidden".to_owned(), json!(columns(state, "gru.weight_hh_l0")?));
        document["training"]["losses"]["dynamics"] = json!(0.0);
        return Ok(());
    }
    if !state.contains_key("fc.weight") {
        return Err(ImportError::NoPolicy);
    }
    if !state.contains_key("mrnn.region_region") && !network.contains_key("regions") {
        return Err(ImportError::Regions);
    }
    network.insert("kind".to_owned(), json!("rnn"));
    network.insert("hidden".to_owned(), json!(columns(state, "fc.weight")?));
    let activation = network.get("activation").ok_or(ImportError::Activation)?.clone();
    if !matches!(activation.as_str(), Some("softplus" | "relu")) {
        document["training"]["losses"]["dynamics"] = json!(0.0);
    }
    Ok(())
}

/// Rule inputs, from the widths of the input blocks.
fn set_inputs(network: &mut NetworkConfig, state: &TensorTable) -> Result<(), ImportError> {
    let (input, new_rules) = match network {
        NetworkConfig::Gru(_) => ("gru.weight_ih_l0", "gru.weight_ih_new_rules"),
        NetworkConfig::Leaky(leaky) if leaky.regions.is_some() => return Ok(()),
        NetworkConfig::Leaky(_) => ("mrnn.input_region", "mrnn.input_new_rules_region"),
    };
    let width = columns(state, input)?;
    let inputs = network.inputs_mut();
    inputs.rules = width
        .checked_sub(CONDITION_INPUTS)
        .ok_or_else(|| ImportError::Shape {
            name: input,
            found: state[input].shape().to_vec(),
        })?;
    if state.contains_key(new_rules) {
        inputs.new_rules = Some(columns(state, new_rules)?);
    }
    Ok(())
}

/// Precision that tensors were written in.
fn precision_of(state: &TensorTable) -> Precision {
    let double = Numerics::cpu(Precision::F64).kind();
    if state.values().any(|tensor| tensor.kind() == double) {
        Precision::F64
    } else {
        Precision::F32
    }
}

/// Columns of a matrix.
fn columns(state: &TensorTable, name: &'static str) -> Result<usize, ImportError> {
    match state.get(name).map(HostTensor::shape) {
        Some([_, columns]) => Ok(*columns),
        other => Err(ImportError::Shape {
            name,
            found: other.unwrap_or_default().to_vec(),
        }),
    }
}

fn not_understood(problems: &[FieldProblem]) -> ImportError {
    let words: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.pointer, problem.detail))
        .collect();
    ImportError::Hyperparameters(words.join("; "))
}

/// The settings that the tensors of a checkpoint were trained with, for people.
#[must_use]
pub fn summary(config: &TrainingConfig) -> String {
    crate::origin::network(&config.network).describe()
}
