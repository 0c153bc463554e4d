//! A study with a sweep by successive halving on a real coordinator with real workers: a run that is paused at rungs
//! and promoted is, bit for bit, the run that never stopped.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use motif_e2e::{Coordinator, PATIENCE, Worker, checkpoint, curves, tensors, train_alone};
use motif_proto::client::Client;
use motif_proto::id::StudyId;
use motif_proto::metrics::series;
use motif_proto::run::{CheckpointKind, RunState};
use motif_proto::study::{StudyDetail, StudyState};
use serde_json::json;

const BATCHES: u64 = 40;

async fn wait_for_the_end(client: &Client, study: StudyId) -> Result<StudyDetail> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let detail = client.study(study).await?;
        if detail.summary.state != StudyState::Active {
            return Ok(detail);
        }
        ensure!(Instant::now() < deadline, "the study did not end: {detail:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_promoted_run_is_the_run_that_was_never_stopped() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let coordinator = Coordinator::start(&folder.path().join("coordinator"))?;
    let client = coordinator.client()?;
    let _workers = [
        Worker::start(&coordinator.url(), &folder.path().join("first"))?,
        Worker::start(&coordinator.url(), &folder.path().join("second"))?,
    ];
    let document = json!({ "name": "halving", "experiments": [
        {
            "id": "search", "seed": 5,
            "network": { "hidden": 12 },
            "training": {
                "batches": BATCHES, "batch_size": 4, "save_every": 8, "tasks": ["DlyHalfReach", "DlySinusoid"],
            },
            "evaluation": { "speeds": [0, 9], "directions": [0, 8, 16, 24] },
            "sweep": {
                "method": "asha", "samples": 5, "seed": 1, "first_rung": 7, "reduction": 3,
                "parameters": { "training.learning_rate": { "distribution": "log", "min": 1e-4, "max": 1e-2 } },
            },
        },
        { "id": "look", "kind": "evaluate", "base": "search" },
    ] });
    let study = client.submit_study(&document).await?.summary.id;
    let study = wait_for_the_end(&client, study).await?;
    assert_eq!(study.summary.state, StudyState::Succeeded, "{study:#?}");
    let (search, look) = (&study.experiments[0], &study.experiments[1]);
    assert_eq!(search.rungs, [7, 21]);
    assert!(search.counts.stopped >= 1, "{search:#?}");
    let winner = search
        .runs
        .iter()
        .find(|run| run.state == RunState::Succeeded)
        .context("one comes to its end")?;
    assert_eq!(winner.rungs.len(), 2);
    let detail = client.run(winner.run).await?;
    assert_eq!(detail.attempt_history.len(), 3, "two rungs and the end");

    let alone = folder.path().join("alone");
    let (losses, _) = train_alone(&serde_json::to_value(&detail.spec)?, &alone)?;
    let curve = &curves(&client, winner.run).await?[series::LOSS_TOTAL];
    assert_eq!(
        curve.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        (0..BATCHES).collect::<Vec<_>>()
    );
    let promoted: Vec<f64> = curve.iter().map(|(_, bits)| f64::from_bits(*bits)).collect();
    assert_eq!(promoted, losses, "every loss, bit for bit");
    let last = checkpoint(&client, winner.run, CheckpointKind::Last).await?;
    let uninterrupted = std::fs::read(Path::new(&alone).join("out/checkpoint-last.safetensors"))?;
    assert_eq!(
        tensors(&last)?,
        tensors(&uninterrupted)?,
        "every weight, bit for bit"
    );

    // The evaluation of the winner started from its best checkpoint; those of stopped points never began.
    let looked = look
        .runs
        .iter()
        .find(|run| run.point == winner.point)
        .context("of the winner")?;
    assert_eq!(looked.state, RunState::Succeeded);
    let lineage = client.lineage(looked.run).await?;
    let edge = lineage.edges.first().context("an edge")?;
    assert_eq!(
        (edge.from, edge.to, edge.kind),
        (winner.run, looked.run, CheckpointKind::Best)
    );
    let best = client.checkpoints(winner.run).await?;
    let best = best
        .iter()
        .find(|each| each.kind == CheckpointKind::Best)
        .context("a best")?;
    assert_eq!(
        edge.checkpoint.as_ref().map(|bytes| &bytes.sha256),
        Some(&best.sha256)
    );
    assert_eq!(look.counts.runs.skipped, search.counts.stopped);
    Ok(())
}
