//! `hp.json`: the family's names for what a spec asks for, the spec itself, and where the run began.

use motif_motor::engine::Engine;
use motif_proto::spec::ExperimentSpec;
use motif_proto::spec::network::NetworkSpec;
use motif_proto::spec::read::Choice;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::history::Began;
use crate::base::LocalBase;

/// The base of a run, as its folder remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    pub path: std::path::PathBuf,
    pub sha256: String,
}

impl BaseRecord {
    #[must_use]
    pub fn of(base: &LocalBase) -> Self {
        Self {
            path: std::path::absolute(&base.path).unwrap_or_else(|_| base.path.clone()),
            sha256: base.sha256.clone(),
        }
    }
}

/// What Motif reads back from its own `hp.json`; the family's names are for others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Stored {
    pub spec: ExperimentSpec,
    #[serde(default)]
    pub base: Option<BaseRecord>,
    #[serde(default)]
    pub began: Began,
    /// What ran the episodes of an evaluation; a training's checkpoints know it themselves.
    #[serde(default)]
    pub engine: Option<Engine>,
}

/// The document.
#[must_use]
pub fn document(stored: &Stored) -> Value {
    let spec = &stored.spec;
    let network = &spec.network;
    let observed = spec
        .evaluated_tasks()
        .first()
        .map_or(28, |task| task.family().observed());
    let mut family = json!({
        "network": network.kind().name(),
        "inp_size": observed,
        "hid_size": network.hidden(),
        "spec": spec,
    });
    if let NetworkSpec::Rnn(rnn) = network {
        family["activation"] = json!(rnn.activation);
        family["noise_level_act"] = json!(rnn.noise_hidden);
        family["noise_level_inp"] = json!(rnn.noise_input);
        family["constrained"] = json!(rnn.constrained);
        family["dt"] = json!(rnn.dt_ms);
        family["t_const"] = json!(rnn.time_constant_ms);
    }
    if let Some(training) = &spec.training {
        family["lr"] = json!(training.learning_rate);
        family["batch_size"] = json!(training.batch_size);
        family["epochs"] = json!(training.batches);
        family["save_iter"] = json!(training.save_every);
        family["l1_rate"] = json!(training.losses.rate);
        family["l1_weight"] = json!(training.losses.weight);
        family["l1_muscle_act"] = json!(training.losses.muscle);
        family["simple_dynamics_weight"] = json!(training.losses.dynamics);
    }
    if let Some(base) = &stored.base {
        family["base"] = json!(base);
    }
    if let Some(engine) = stored.engine {
        family["engine"] = json!(engine);
    }
    if !stored.began.is_at_batch_0() {
        family["began"] = json!(stored.began);
    }
    family
}

/// The first of the family's names under which a document says something else than its own spec, in words.
#[must_use]
pub fn contradiction(written: &Value, stored: &Stored) -> Option<String> {
    let meant = document(stored);
    let mut names = meant.as_object()?.iter().filter(|(name, _)| *name != "spec");
    let (name, value) = names.find(|(name, value)| written.get(*name) != Some(*value))?;
    let found = written.get(name).unwrap_or(&Value::Null);
    Some(format!("`{name}` is {found}, by its spec {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperparameters_have_the_family_s_names() {
        let spec = ExperimentSpec::resolve(&json!({ "seed": 1, "network": { "hidden": 4 } }), None);
        let stored = Stored {
            spec: spec.expect("a valid spec"),
            base: Some(BaseRecord {
                path: "/a/b.pth".into(),
                sha256: "0".to_owned(),
            }),
            began: Began {
                batch: 3,
                ..Began::default()
            },
            engine: Some(Engine::Reference),
        };
        let written = document(&stored);
        assert_eq!(
            (&written["hid_size"], &written["epochs"], &written["inp_size"]),
            (&json!(4), &json!(75_000), &json!(28))
        );
        assert_eq!(
            (&written["activation"], &written["t_const"]),
            (&json!("softplus"), &json!(20.0))
        );
        assert_eq!(contradiction(&written, &stored), None);
        let mut other = written.clone();
        other["lr"] = json!(0.5);
        assert_eq!(
            contradiction(&other, &stored).as_deref(),
            Some("`lr` is 0.5, by its spec 0.001")
        );
        assert_eq!(serde_json::from_value::<Stored>(written).expect("read"), stored);
    }
}
