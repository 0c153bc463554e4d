//! Checkpoints of PyTorch and ours, both ways, with the numbers that PyTorch computes from them.

use std::path::{Path, PathBuf};
use std::process::Command;

use motif_motor::checkpoint::Checkpoint;
use motif_motor::device::{Numerics, Precision};
use motif_motor::policy::Policy;
use motif_motor::training::Trainer;
use motif_proto::spec::ExperimentSpec;
use motif_worker::pth::{ImportError, export, import};
use motif_worker::spec::training_config;
use serde_json::{Value, json};
use tch::Tensor;

/// Files that PyTorch wrote (`README.md` there says how).
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("motor/tests/pth")
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

fn size(count: usize) -> i64 {
    i64::try_from(count).expect("a small number")
}

/// Nested lists `[step][row][number]` as a tensor.
fn tensor(lists: &Value) -> Tensor {
    let steps = lists.as_array().expect("steps");
    let rows = steps[0].as_array().expect("rows").len();
    let numbers: Vec<f32> = steps
        .iter()
        .flat_map(|rows| rows.as_array().expect("rows"))
        .flat_map(|row| row.as_array().expect("numbers"))
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect();
    Tensor::from_slice(&numbers).reshape([size(steps.len()), size(rows), -1])
}

/// Excitations of our network for observations that are all known beforehand, without noise.
fn actions(checkpoint: &Checkpoint, inputs: &Tensor) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    let numerics = Numerics::cpu(Precision::F32);
    let policy = Policy::from_state(&checkpoint.config.network, &checkpoint.state, numerics).expect("fits");
    let network = policy.prepare();
    let rows = inputs.size()[1];
    let mut units = network.start(rows);
    let mut actions = Vec::new();
    for drive in network.drive(inputs, None).unbind(0) {
        units = network.step(&units, &drive, &numerics.zeros(&[rows, 14]));
        actions.push(network.action(&units.h));
    }
    Tensor::stack(&actions, 0)
}

fn assert_same_actions(checkpoint: &Checkpoint, inputs: &Path, told: &Value) {
    let ours = actions(checkpoint, &tensor(&read_json(inputs)["inputs"]));
    let theirs = tensor(&told["actions"]);
    assert_eq!(ours.size(), theirs.size());
    let error = (ours - theirs).abs().max().double_value(&[]);
    assert!(error < 2e-6, "{error}");
}

fn import_file(path: &Path, activation: Option<&str>) -> Result<Checkpoint, ImportError> {
    let bytes = std::fs::read(path).expect("a file");
    let hints = activation.map(|name| json!({ "activation": name }));
    import(&bytes, path, hints.as_ref())
}

/// A Python that has PyTorch: `MOTIF_TEST_PYTHON`, else `python3`; without one, the fixtures must do.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("MOTIF_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let imports = Command::new(&python).args(["-c", "import torch"]).output();
    imports
        .is_ok_and(|output| output.status.success())
        .then_some(python)
}

fn family(python: &Path, command: &str, paths: [&Path; 3]) {
    let output = Command::new(python)
        .arg(fixtures().join("family.py"))
        .arg(command)
        .args(paths)
        .output()
        .expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A network of ours after three batches.
fn ours(network: &Value) -> Checkpoint {
    let document = json!({ "network": network,
                           "training": { "batches": 3, "batch_size": 2, "tasks": ["DlyHalfReach"] } });
    let spec = ExperimentSpec::resolve(&document, None).expect("a valid spec");
    let mut trainer = Trainer::new(training_config(&spec), Numerics::cpu(Precision::F32)).expect("valid");
    for _ in 0..3 {
        trainer.train_batch().expect("trains");
    }
    trainer.checkpoint()
}

#[test]
fn networks_that_pytorch_saved_do_here_what_they_did_there() {
    for name in ["rnn", "gru"] {
        let path = fixtures().join(format!("{name}.pth"));
        let checkpoint = import_file(&path, Some("softplus")).expect("imported");
        assert_eq!((checkpoint.next_batch, checkpoint.adam_step), (2, 2));
        let told = read_json(&fixtures().join(format!("{name}.json")));
        assert_same_actions(&checkpoint, &fixtures().join("inputs.json"), &told);
    }
}

#[test]
fn what_is_exported_is_imported_again() {
    for network in [json!({ "hidden": 5 }), json!({ "kind": "gru", "hidden": 4 })] {
        let checkpoint = ours(&network);
        let bytes = export(&checkpoint)
            .expect("exported")
            .to_bytes()
            .expect("written");
        let again =
            import(&bytes, Path::new("nowhere/x.pth"), Some(&network_hints(&network))).expect("imported");
        assert_eq!(
            (again.state, again.moments, again.adam_step),
            (checkpoint.state, checkpoint.moments, 3)
        );
        assert_eq!(again.config.network, checkpoint.config.network);
    }
}

fn network_hints(network: &Value) -> Value {
    match network["kind"].as_str() {
        Some(_) => json!({}),
        None => json!({ "activation": "softplus" }),
    }
}

#[test]
fn with_pytorch_at_hand_both_compute_the_same_both_ways() {
    let Some(python) = python() else {
        eprintln!("no Python with PyTorch: the fixtures stand for it");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (inputs, file, out) = (
        fixtures().join("inputs.json"),
        folder.path().join("x.pth"),
        folder.path().join("x.json"),
    );
    for network in [json!({ "hidden": 7 }), json!({ "kind": "gru", "hidden": 4 })] {
        let checkpoint = ours(&network);
        let bytes = export(&checkpoint)
            .expect("exported")
            .to_bytes()
            .expect("written");
        std::fs::write(&file, bytes).expect("written");
        family(&python, "run", [&file, &inputs, &out]);
        let told = read_json(&out);
        assert_same_actions(&checkpoint, &inputs, &told);
        for (name, told) in told["adam"].as_object().expect("states") {
            assert_eq!(told[0], 3.0, "{name}");
            for (which, place) in [("first", 1), ("second", 2)] {
                let moment = checkpoint.moments[&format!("{which}.{name}")].to_tensor();
                let mean = moment.mean(None::<tch::Kind>).double_value(&[]);
                let theirs = told[place].as_f64().expect("a number");
                assert!(
                    (mean - theirs).abs() <= 1e-5 * theirs.abs().max(1e-12),
                    "{which}.{name}: {mean} {theirs}"
                );
            }
        }
        assert_eq!(
            told["adam"].as_object().expect("states").len() * 2,
            checkpoint.moments.len()
        );
    }
    family(&python, "save", [&file, &inputs, &out]);
    let imported = import_file(&file, Some("softplus")).expect("imported");
    assert_eq!(imported.adam_step, 3);
    assert_same_actions(&imported, &inputs, &read_json(&out));
}

#[test]
fn an_imported_network_can_be_trained_further() {
    let checkpoint = import_file(&fixtures().join("gru.pth"), None).expect("imported");
    let config = motif_motor::config::TrainingConfig {
        batches: 4,
        batch_size: 2,
        ..checkpoint.config.clone()
    };
    let mut trainer = Trainer::continuing(config, Numerics::cpu(Precision::F32), &checkpoint).expect("fits");
    assert_eq!(trainer.train_batch().expect("trains").batch, 2);
}

#[test]
fn hyperparameters_beside_the_file_say_what_it_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.pth");
    std::fs::copy(fixtures().join("rnn.pth"), &path).expect("copied");
    assert!(matches!(import_file(&path, None), Err(ImportError::Activation)));
    let hp = json!({ "network": "rnn", "inp_size": 28, "hid_size": 6, "activation": "tanh", "noise_level_act": 0.2,
                     "noise_level_inp": 0.01, "constrained": false, "dt": 10, "t_const": 40, "lr": 0.001,
                     "batch_size": 16, "epochs": 500, "save_iter": 50, "l1_rate": 0.001, "l1_weight": 0.001,
                     "l1_muscle_act": 0.01, "simple_dynamics_weight": 0.001 });
    std::fs::write(folder.path().join("hp.json"), hp.to_string()).expect("written");
    let config = import_file(&path, None).expect("imported").config;
    let motif_motor::policy::NetworkConfig::Leaky(leaky) = &config.network else {
        panic!("an rnn")
    };
    assert_eq!(
        (leaky.hidden, leaky.time_constant_ms, leaky.hidden_noise),
        (6, 40.0, 0.2)
    );
    assert_eq!(
        (config.batches, config.batch_size, config.save_every),
        (500, 16, 50)
    );
    // The family writes the weight for every activation, but tanh has no such loss.
    assert_eq!(config.loss_weights.dynamics, 0.0);
}
