//! Lays documents over each other: defaults, base, preset, what was given.

use serde_json::Value;

use super::names::unknown_name;
use super::network::LEAKY_FIELDS;
use super::preset::Preset;
use crate::problem::FieldProblem;

/// The document with its preset's fields under it, and what is wrong with the preset's name.
pub(super) fn over_preset(document: &Value) -> (Value, Option<FieldProblem>) {
    let Some(name) = document.get("preset").and_then(Value::as_str) else {
        return (document.clone(), None);
    };
    match Preset::find(name) {
        Some(preset) => (lay_over(preset.document(), document), None),
        None => {
            let problem = unknown_name("/preset", "preset", name, Preset::ids());
            (document.clone(), Some(problem))
        }
    }
}

/// Puts `upper` over `lower`: objects are merged field by field, everything else is replaced. What `lower` says
/// of a network falls away where it has no place in the one that `upper` asks for.
pub(super) fn lay_over(mut lower: Value, upper: &Value) -> Value {
    if let Some(network) = lower.get_mut("network").and_then(Value::as_object_mut) {
        let asked = |field: &str| upper.get("network").and_then(|network| network.get(field));
        if asked("kind").is_some_and(|kind| network.get("kind") != Some(kind)) {
            network.retain(|field, _| !LEAKY_FIELDS.contains(&field.as_str()));
        }
        if asked("regions").is_some() {
            // Regions are given as a whole, and the number of hidden units follows from them.
            network.remove("regions");
            network.remove("hidden");
        }
    }
    merge(&mut lower, upper);
    lower
}

fn merge(lower: &mut Value, upper: &Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (name, value) in upper {
                merge(lower.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (lower, upper) => *lower = upper.clone(),
    }
}
