//! Every preset runs, with its own network, tasks and losses, on fewer and smaller batches.

use motif_motor::checkpoint::Checkpoint;
use motif_motor::device::Device;
use motif_proto::spec::base::Base;
use motif_proto::spec::preset::{Preset, PresetInfo};
use motif_proto::spec::{ExperimentKind, ExperimentSpec};
use motif_worker::engine::{Engine, Motor};
use serde_json::{Value, json};

/// The preset's document with two batches of two trials and an evaluation of one condition.
fn document(id: &str, base: Option<&Base>) -> Value {
    let batches = if base.is_some_and(|_| id == "continue_training") {
        4
    } else {
        2
    };
    let mut document = json!({
        "preset": id,
        "training": { "batches": batches, "batch_size": 2 },
        "evaluation": { "mode": "train", "speeds": [0], "directions": [0], "delay": 25 },
    });
    if base.is_some() {
        document["base"] = json!("the base");
    }
    document
}

/// Runs an experiment to its end; returns its last checkpoint.
fn run(spec: &ExperimentSpec, base: Option<&[u8]>) -> Vec<u8> {
    let engine = Motor::new(Device::Cpu).expect("a processor");
    let mut training = engine
        .open(spec, base, None)
        .unwrap_or_else(|failure| panic!("{}: {failure:?}", spec.name));
    while !training.is_finished() {
        let report = training.train_batch().expect("trains");
        assert!(
            report.losses.total.is_finite() && report.grad_norm > 0.0,
            "{}",
            spec.name
        );
    }
    let evaluation = training
        .evaluate(&mut |_| false)
        .expect("evaluates")
        .expect("to its end");
    assert_eq!(
        evaluation.per_task.len(),
        spec.evaluated_tasks().len(),
        "{}",
        spec.name
    );
    training.checkpoint().expect("a checkpoint")
}

#[test]
fn every_preset_runs() {
    let engine = Motor::new(Device::Cpu).expect("a processor");
    let (mut ran, mut finished_training) = (0, 0);
    for preset in PresetInfo::all() {
        // Networks of 512 units and more are as those of 256, and take minutes here.
        let small = |info: &PresetInfo| info.spec.as_ref().is_none_or(|spec| spec.network.hidden() <= 256);
        if !small(&preset) {
            continue;
        }
        let base_id = preset
            .base_preset
            .as_deref()
            .or((preset.id == "continue_training").then_some("demo"));
        let made = base_id.map(|id| {
            let spec = ExperimentSpec::resolve(&document(id, None), None).expect("a valid base");
            // Untrained, but for a run that is to be continued.
            let bytes = if preset.id == "continue_training" {
                run(&spec, None)
            } else {
                let opened = engine.open(&spec, None, None);
                opened
                    .and_then(|training| training.checkpoint())
                    .expect("a checkpoint")
            };
            (Base::of(&spec).expect("a training"), bytes)
        });
        let terms = made.as_ref().map(|(terms, _)| terms);
        let spec = ExperimentSpec::resolve(&document(&preset.id, terms), terms)
            .unwrap_or_else(|problems| panic!("{}: {problems:?}", preset.id));
        let last = run(&spec, made.as_ref().map(|(_, bytes)| bytes.as_slice()));
        let last = Checkpoint::from_bytes(&last).expect("a checkpoint");
        assert_eq!(
            last.next_batch,
            spec.training.as_ref().expect("a training").batches,
            "{}",
            preset.id
        );
        finished_training += usize::from(spec.kind == ExperimentKind::Transfer);
        ran += 1;
    }
    assert_eq!(finished_training, 7, "transfers");
    assert!(ran > Preset::all().len() - 7, "{ran}");
}
