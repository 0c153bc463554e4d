//! Runs that start from others, on a real coordinator with a real worker: what they take over, they take over bit
//! for bit.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use motif_e2e::{
    Coordinator, Worker, artifact, checkpoint, curves, tensors, train_alone, wait_for, wait_for_success,
};
use motif_proto::artifact::{EVALUATION_CSV, EVALUATION_JSON};
use motif_proto::client::{Client, ClientError};
use motif_proto::id::RunId;
use motif_proto::metrics::series;
use motif_proto::run::{AttemptState, CheckpointKind};
use serde_json::{Value, json};

const HIDDEN: usize = 12;
const BATCHES: u64 = 24;
const SAVE_EVERY: u64 = 8;

/// A small training; it saves as often as the longer one, so that both are the same as far as they go.
fn training(batches: u64) -> Value {
    json!({
        "name": "base",
        "seed": 5,
        "network": { "hidden": HIDDEN },
        "training": {
            "batches": batches, "batch_size": 4, "save_every": SAVE_EVERY,
            "tasks": ["DlyHalfReach", "DlySinusoid"],
        },
        "evaluation": few_conditions(),
    })
}

/// Enough of an evaluation for what is tested here.
fn few_conditions() -> Value {
    json!({ "speeds": [0, 9], "directions": [0, 8, 16, 24] })
}

struct Lab {
    folder: tempfile::TempDir,
    coordinator: Coordinator,
    client: Client,
    worker: Worker,
    base: RunId,
}

impl Lab {
    /// A coordinator with one worker and a base that was trained.
    async fn with_a_base() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let coordinator = Coordinator::start(&folder.path().join("coordinator"))?;
        let worker = Worker::start(&coordinator.url(), &folder.path().join("first"))?;
        let client = coordinator.client()?;
        let base = client.submit(&training(BATCHES)).await?.run.id;
        wait_for_success(&client, base).await?;
        Ok(Self {
            folder,
            coordinator,
            client,
            worker,
            base,
        })
    }

    /// Submits and waits for the end.
    async fn carry_out(&self, spec: &Value) -> Result<RunId> {
        let run = self.client.submit(spec).await?.run.id;
        wait_for_success(&self.client, run).await?;
        Ok(run)
    }
}

/// The columns of input weights that belong to no rule: speed, go cue, target, vision and proprioception.
fn without_rules(input: &[u8]) -> Vec<u8> {
    const OBSERVED: usize = 28;
    const RULES: usize = 10;
    let rows = input.chunks(OBSERVED * size_of::<f32>());
    rows.flat_map(|row| &row[RULES * size_of::<f32>()..])
        .copied()
        .collect()
}

/// A curve's steps and values.
async fn curve(client: &Client, run: RunId, name: &str) -> Result<(Vec<u64>, Vec<f64>)> {
    let mut curves = curves(client, run).await?;
    let points = curves
        .remove(name)
        .with_context(|| format!("run {run} has no {name}"))?;
    Ok(points
        .into_iter()
        .map(|(step, bits)| (step, f64::from_bits(bits)))
        .unzip())
}

#[tokio::test]
async fn a_transfer_changes_the_new_rule_inputs_and_nothing_else() -> Result<()> {
    let lab = Lab::with_a_base().await?;
    let base = tensors(&checkpoint(&lab.client, lab.base, CheckpointKind::Best).await?)?;
    for (tasks, rules) in [
        (json!(["DlyHalfCircleCClk", "DlyFullCircleCClk"]), 10),
        (
            json!([
                "forward_halfreach+backward_figure8",
                "forward_sinusoid+backward_fullreach"
            ]),
            20,
        ),
    ] {
        let transfer = |batches: u64| {
            json!({
                "kind": "transfer", "base": lab.base,
                "training": { "batches": batches, "batch_size": 4, "save_every": 4, "tasks": tasks },
                "evaluation": few_conditions(),
            })
        };
        let run = lab.carry_out(&transfer(6)).await?;
        let moved = tensors(&checkpoint(&lab.client, run, CheckpointKind::Last).await?)?;
        for (name, values) in &base {
            assert_eq!(moved.get(name), Some(values), "{name} is as it was");
        }
        assert_eq!(
            moved["mrnn.condition_region"],
            without_rules(&base["mrnn.input_region"])
        );
        let shorter = lab.carry_out(&transfer(1)).await?;
        let shorter = tensors(&checkpoint(&lab.client, shorter, CheckpointKind::Last).await?)?;
        let new_rules = |run: &BTreeMap<String, Vec<u8>>| run["mrnn.input_new_rules_region"].clone();
        assert_eq!(new_rules(&moved).len(), HIDDEN * rules * size_of::<f32>());
        assert_ne!(
            new_rules(&moved),
            new_rules(&shorter),
            "five batches more have moved them"
        );
        let (steps, totals) = curve(&lab.client, run, series::LOSS_TOTAL).await?;
        assert_eq!(steps, (0..6).collect::<Vec<_>>());
        let (_, positions) = curve(&lab.client, run, series::LOSS_POSITION).await?;
        assert_eq!(totals, positions, "the position is all that counts");
    }
    Ok(())
}

#[tokio::test]
async fn a_continued_run_is_the_uninterrupted_one_even_when_its_worker_is_killed() -> Result<()> {
    // Long enough to be met at work: a batch takes a millisecond or two.
    let total = 40 * BATCHES;
    let mut lab = Lab::with_a_base().await?;
    let alone = lab.folder.path().join("alone");
    let (losses, _) = train_alone(&training(total), &alone)?;

    let spec = json!({ "kind": "continue", "base": lab.base, "training": { "batches": total } });
    let run = lab.client.submit(&spec).await?.run.id;
    wait_for(&lab.client, run, |run| {
        run.summary.progress.batches_done > BATCHES + 2 * SAVE_EVERY + 2
    })
    .await?;
    lab.worker.kill()?;
    let _second = Worker::start(&lab.coordinator.url(), &lab.folder.path().join("second"))?;
    let detail = wait_for_success(&lab.client, run).await?;
    let attempts: Vec<_> = detail
        .attempt_history
        .iter()
        .map(|attempt| attempt.state)
        .collect();
    assert_eq!(attempts, [AttemptState::Lost, AttemptState::Succeeded]);
    assert_eq!(detail.attempt_history[0].first_batch, BATCHES);

    let (before, first) = curve(&lab.client, lab.base, series::LOSS_TOTAL).await?;
    let (after, second) = curve(&lab.client, run, series::LOSS_TOTAL).await?;
    assert_eq!([before, after].concat(), (0..total).collect::<Vec<_>>());
    assert_eq!([first, second].concat(), losses, "every loss, bit for bit");
    let continued = checkpoint(&lab.client, run, CheckpointKind::Last).await?;
    let uninterrupted = std::fs::read(Path::new(&alone).join("out/checkpoint-last.safetensors"))?;
    assert_eq!(
        tensors(&continued)?,
        tensors(&uninterrupted)?,
        "every weight, bit for bit"
    );
    Ok(())
}

#[tokio::test]
async fn an_evaluation_leaves_the_same_table_whenever_it_is_made() -> Result<()> {
    let lab = Lab::with_a_base().await?;
    let spec = json!({
        "kind": "evaluate", "base": lab.base,
        "evaluation": { "speeds": [0, 9], "directions": [0, 8, 16, 24], "delays": [25, 75] },
    });
    let (first, second) = (lab.carry_out(&spec).await?, lab.carry_out(&spec).await?);
    for name in [EVALUATION_JSON, EVALUATION_CSV] {
        let files = (
            artifact(&lab.client, first, name).await?,
            artifact(&lab.client, second, name).await?,
        );
        assert!(files.0 == files.1, "{name} differs");
    }
    let table: Value = serde_json::from_slice(&artifact(&lab.client, first, EVALUATION_JSON).await?)?;
    let conditions = table["conditions"].as_array().context("conditions")?;
    // Two tasks, two speeds, two delays.
    assert_eq!(conditions.len(), 8);
    let detail = lab.client.run(first).await?;
    assert_eq!(detail.base.context("a base")?.run, lab.base);
    let (steps, values) = curve(&lab.client, first, series::VALIDATION_TOTAL).await?;
    assert_eq!((steps.len(), Some(values[0])), (1, table["total"].as_f64()));
    Ok(())
}

#[tokio::test]
async fn what_cannot_come_to_a_good_end_is_refused_at_once() -> Result<()> {
    let lab = Lab::with_a_base().await?;
    for (spec, pointer) in [
        (json!({ "kind": "transfer" }), "/base"),
        (json!({ "kind": "evaluate", "base": RunId::new() }), "/base"),
        (
            json!({ "kind": "evaluate", "base": lab.base, "network": { "hidden": 13 } }),
            "/network/hidden",
        ),
        (
            json!({ "kind": "transfer", "base": lab.base, "network": { "kind": "gru" } }),
            "/network/kind",
        ),
        (
            json!({ "kind": "continue", "base": lab.base }),
            "/training/batches",
        ),
        (json!({ "base": lab.base }), "/base"),
    ] {
        match lab.client.submit(&spec).await {
            Err(ClientError::Problem { status: 422, problem }) => {
                let pointers: Vec<_> = problem
                    .errors
                    .iter()
                    .map(|error| error.pointer.as_str())
                    .collect();
                assert_eq!(pointers, [pointer], "{spec}");
            }
            other => panic!("{spec} was not refused: {other:?}"),
        }
    }
    Ok(())
}
