//! State of `torch.optim.Adam`: per parameter, by its number in the order of registration.

use super::pickle::{Pickle, Value};
use super::{AdamState, PthError, tensor};
use crate::host_tensor::{HostTensor, TensorTable};

/// Reads `{state, param_groups}`. `None` before the first update.
pub(super) fn read(
    pickle: &Pickle,
    optimizer: &Value,
    state_dict: &[(String, HostTensor)],
    tensors: &mut tensor::Reader<'_, '_>,
) -> Result<Option<AdamState>, PthError> {
    let missing = |what: &str| PthError::Optimizer(format!("it has no `{what}`"));
    let states = pickle
        .entry(optimizer, "state")
        .and_then(|state| pickle.dict(state));
    let states = states.ok_or_else(|| missing("state"))?;
    let groups = pickle
        .entry(optimizer, "param_groups")
        .and_then(|groups| pickle.sequence(groups));
    let [group] = groups.ok_or_else(|| missing("param_groups"))? else {
        return Err(PthError::Optimizer(
            "it has more than one group of parameters".to_owned(),
        ));
    };
    require_our_constants(pickle, group)?;
    let learning_rate = match pickle.entry(group, "lr") {
        Some(Value::Float(rate)) => *rate,
        Some(Value::Int(rate)) => *rate as f64,
        _ => return Err(missing("lr")),
    };
    if states.is_empty() {
        return Ok(None);
    }
    let parameters = pickle
        .entry(group, "params")
        .and_then(|params| pickle.sequence(params));
    let numbered = numbered(parameters.ok_or_else(|| missing("params"))?, state_dict)?;
    let mut moments = TensorTable::new();
    let mut steps = Vec::with_capacity(states.len());
    for (number, state) in states {
        let name = numbered
            .iter()
            .find(|(known, _)| number == *known)
            .map(|(_, name)| *name)
            .ok_or_else(|| PthError::Optimizer(format!("it has no parameter {number:?}")))?;
        steps.push(step(pickle, state, name, tensors)?);
        for (theirs, ours) in [("exp_avg", "first"), ("exp_avg_sq", "second")] {
            let Some(Value::Tensor(view)) = pickle.entry(state, theirs) else {
                return Err(missing(&format!("{theirs} of {name}")));
            };
            let moment = tensors.read(&format!("{theirs} of {name}"), pickle, pickle.view(*view))?;
            moments.insert(format!("{ours}.{name}"), moment);
        }
    }
    let step = steps[0];
    if steps.iter().any(|&other| other != step) {
        return Err(PthError::Optimizer(
            "its parameters have seen different numbers of updates".to_owned(),
        ));
    }
    Ok(Some(AdamState {
        learning_rate,
        step,
        moments,
    }))
}

/// Masks and sign matrices are registered as parameters, but nothing trains them.
fn is_fixed(name: &str) -> bool {
    name.ends_with("_weight_mask") || name.ends_with("_sign_matrix")
}

/// An optimizer that updates otherwise than ours cannot be gone on with.
fn require_our_constants(pickle: &Pickle, group: &Value) -> Result<(), PthError> {
    let number = |value: &Value| match value {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        _ => None,
    };
    let is = |name: &str, expected: f64| {
        pickle
            .entry(group, name)
            .is_none_or(|value| number(value) == Some(expected))
    };
    let betas = pickle
        .entry(group, "betas")
        .and_then(|betas| pickle.sequence(betas))
        .is_none_or(|betas| betas.iter().map(number).eq([Some(0.9), Some(0.999)]));
    let amsgrad = matches!(pickle.entry(group, "amsgrad"), Some(Value::Bool(true)));
    if betas && is("eps", 1e-8) && is("weight_decay", 0.0) && !amsgrad {
        Ok(())
    } else {
        Err(PthError::Optimizer(
            "it is not Adam with betas 0.9 and 0.999, eps 1e-8 and no weight decay".to_owned(),
        ))
    }
}

/// Which tensor of the state dict a parameter's number stands for: all are parameters, or those that are trained.
fn numbered<'a, 'b>(
    parameters: &'a [Value],
    state_dict: &'b [(String, HostTensor)],
) -> Result<Vec<(&'a Value, &'b str)>, PthError> {
    let all: Vec<&str> = state_dict.iter().map(|(name, _)| name.as_str()).collect();
    let trained: Vec<&str> = all.iter().copied().filter(|name| !is_fixed(name)).collect();
    let listed = [all, trained]
        .into_iter()
        .find(|names| names.len() == parameters.len());
    match listed {
        Some(names) => Ok(parameters.iter().zip(names).collect()),
        None => Err(PthError::Optimizer(format!(
            "it lists {} parameters, the state dict {}",
            parameters.len(),
            state_dict.len()
        ))),
    }
}

/// Updates that a parameter has seen: a number, or a tensor of one in newer PyTorch.
fn step(
    pickle: &Pickle,
    state: &Value,
    name: &str,
    tensors: &mut tensor::Reader<'_, '_>,
) -> Result<u64, PthError> {
    let number = match pickle.entry(state, "step") {
        Some(Value::Int(step)) => Some(*step as f64),
        Some(Value::Float(step)) => Some(*step),
        Some(Value::Tensor(view)) => {
            let stored = tensors.read(&format!("step of {name}"), pickle, pickle.view(*view))?;
            match (stored.kind(), stored.bytes()) {
                (tch::Kind::Float, &[a, b, c, d]) => Some(f32::from_le_bytes([a, b, c, d]).into()),
                (tch::Kind::Int64, bytes) => bytes.try_into().ok().map(|n| i64::from_le_bytes(n) as f64),
                (_, bytes) => bytes.try_into().ok().map(f64::from_le_bytes),
            }
        }
        _ => None,
    };
    match number {
        Some(step) if step.fract() == 0.0 && (0.0..9e15).contains(&step) => Ok(step as u64),
        _ => Err(PthError::Optimizer(format!(
            "the step of {name} is no number of updates"
        ))),
    }
}
