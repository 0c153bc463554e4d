//! Faults in the middle of a run. Whatever happens, the curve that is stored in the end is, bit for bit, that
//! of a training that nobody disturbed and no coordinator ever saw.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use motif_e2e::{Coordinator, Worker, curves, train_alone, wait_for, wait_for_success};
use motif_proto::client::Client;
use motif_proto::id::RunId;
use motif_proto::metrics::series;
use motif_proto::run::{AttemptState, RunDetail};
use serde_json::{Value, json};

const BATCHES: u64 = 60;
const SAVE_EVERY: u64 = 8;

fn spec() -> Value {
    json!({
        "name": "fault",
        "seed": 11,
        "network": { "hidden": 12 },
        "training": {
            "batches": BATCHES, "batch_size": 4, "save_every": SAVE_EVERY,
            "tasks": ["DlyHalfReach", "DlySinusoid"],
        },
    })
}

/// The undisturbed training, made once for all tests of this program.
static UNDISTURBED: LazyLock<(Vec<f64>, Vec<f64>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    train_alone(&spec(), folder.path()).expect("the undisturbed training succeeds")
});

/// Every training series has every batch once; losses and evaluations are those of the undisturbed training.
async fn assert_undisturbed(client: &Client, run: RunId) -> Result<()> {
    let curves = curves(client, run).await?;
    let every_batch: Vec<u64> = (0..BATCHES).collect();
    for (name, points) in &curves {
        if !name.starts_with(series::VALIDATION_PREFIX) {
            let steps: Vec<u64> = points.iter().map(|(step, _)| *step).collect();
            assert_eq!(steps, every_batch, "steps of {name}");
        }
    }
    let (losses, evaluations) = &*UNDISTURBED;
    assert_eq!(values(&curves, series::LOSS_TOTAL), *losses, "training losses");
    assert_eq!(
        values(&curves, series::VALIDATION_TOTAL),
        *evaluations,
        "evaluations"
    );
    ensure!(
        curves.contains_key("validation/DlySinusoid"),
        "evaluations have a series for each task"
    );
    Ok(())
}

fn values(curves: &BTreeMap<String, Vec<(u64, u64)>>, name: &str) -> Vec<f64> {
    curves.get(name).map_or(vec![], |points| {
        points.iter().map(|(_, bits)| f64::from_bits(*bits)).collect()
    })
}

struct Lab {
    folder: tempfile::TempDir,
    coordinator: Coordinator,
    client: Client,
    run: RunId,
}

impl Lab {
    /// A coordinator with one run in its queue.
    async fn with_a_run() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let coordinator = Coordinator::start(&folder.path().join("coordinator"))?;
        let client = coordinator.client()?;
        let run = client.submit(&spec()).await?.run.id;
        Ok(Self {
            folder,
            coordinator,
            client,
            run,
        })
    }

    fn worker(&self, name: &str) -> Result<Worker> {
        Worker::start(&self.coordinator.url(), &Path::new(self.folder.path()).join(name))
    }

    /// Waits until the run is past its third checkpoint but far from its end.
    async fn wait_for_the_middle(&self) -> Result<RunDetail> {
        let middle = 3 * SAVE_EVERY + 3;
        let detail = wait_for(&self.client, self.run, |run| {
            run.summary.progress.batches_done >= middle
        })
        .await?;
        ensure!(
            !detail.summary.state.is_final(),
            "the run was over before it could be disturbed"
        );
        Ok(detail)
    }

    fn attempts(detail: &RunDetail) -> Vec<AttemptState> {
        detail
            .attempt_history
            .iter()
            .map(|attempt| attempt.state)
            .collect()
    }
}

#[tokio::test]
async fn a_run_whose_worker_is_killed_goes_on_elsewhere_from_its_checkpoint() -> Result<()> {
    let lab = Lab::with_a_run().await?;
    let mut first = lab.worker("first")?;
    lab.wait_for_the_middle().await?;
    first.kill()?;
    let _second = lab.worker("second")?;
    let detail = wait_for_success(&lab.client, lab.run).await?;
    assert_eq!(
        Lab::attempts(&detail),
        [AttemptState::Lost, AttemptState::Succeeded]
    );
    assert!(
        detail.attempt_history[1].first_batch > 2 * SAVE_EVERY,
        "it did not begin anew"
    );
    assert_undisturbed(&lab.client, lab.run).await
}

#[tokio::test]
async fn a_worker_that_is_asked_to_end_hands_its_run_back() -> Result<()> {
    let lab = Lab::with_a_run().await?;
    let mut first = lab.worker("first")?;
    let middle = lab.wait_for_the_middle().await?;
    assert!(
        first.terminate()?.success(),
        "a worker that is asked to end exits with 0"
    );
    let _second = lab.worker("second")?;
    let detail = wait_for_success(&lab.client, lab.run).await?;
    assert_eq!(
        Lab::attempts(&detail),
        [AttemptState::Released, AttemptState::Succeeded]
    );
    let resumed_at = detail.attempt_history[1].first_batch;
    assert!(
        resumed_at >= middle.summary.progress.batches_done,
        "no finished batch was trained again"
    );
    assert_undisturbed(&lab.client, lab.run).await
}

/// Kills the coordinator in the middle of a run and starts it again after `outage`.
async fn assert_that_an_outage_costs_nothing(outage: Duration) -> Result<()> {
    let mut lab = Lab::with_a_run().await?;
    let _worker = lab.worker("worker")?;
    lab.wait_for_the_middle().await?;
    lab.coordinator.crash_and_restart(outage)?;
    let detail = wait_for_success(&lab.client, lab.run).await?;
    assert_eq!(
        Lab::attempts(&detail),
        [AttemptState::Succeeded],
        "nobody took the run away"
    );
    assert_undisturbed(&lab.client, lab.run).await
}

#[tokio::test]
async fn a_killed_coordinator_costs_no_run_and_no_point() -> Result<()> {
    assert_that_an_outage_costs_nothing(Duration::from_millis(500)).await
}

#[tokio::test]
async fn a_coordinator_that_was_away_for_longer_than_a_lease_takes_no_run_away() -> Result<()> {
    assert_that_an_outage_costs_nothing(Duration::from_secs(5)).await
}

#[tokio::test]
async fn a_worker_that_was_frozen_past_its_lease_changes_nothing() -> Result<()> {
    let lab = Lab::with_a_run().await?;
    let first = lab.worker("first")?;
    lab.wait_for_the_middle().await?;
    first.freeze()?;
    let _second = lab.worker("second")?;
    wait_for(&lab.client, lab.run, |run| run.summary.attempts == 2).await?;
    first.thaw()?;
    let detail = wait_for_success(&lab.client, lab.run).await?;
    assert_eq!(
        Lab::attempts(&detail),
        [AttemptState::Lost, AttemptState::Succeeded]
    );
    assert_undisturbed(&lab.client, lab.run).await
}

#[tokio::test]
async fn a_coordinator_that_is_asked_to_end_exits_with_0_and_keeps_everything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut coordinator = Coordinator::start(folder.path())?;
    let run = coordinator.client()?.submit(&spec()).await?.run.id;
    assert!(coordinator.terminate()?.success());
    let again = Coordinator::start(folder.path())?;
    assert_eq!(again.client()?.run(run).await?.summary.id, run);
    Ok(())
}
