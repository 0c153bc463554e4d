//! Two coordinators on one Postgres, one of them killed under load: it costs a reconnect and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use motif_e2e::{Coordinator, Fleet, PATIENCE, Worker, curves, wait_for, wait_for_success};
use motif_proto::client::{Client, LogsQuery, RunFilter, StreamItem};
use motif_proto::event::Event;
use motif_proto::id::RunId;
use motif_proto::metrics::series;
use motif_proto::run::{AttemptState, RunState, RunSummary};
use serde_json::json;

const RUNS: usize = 24;
const BATCHES: u64 = 600;
const SEED: u64 = 100;
/// The series of a pretended run, in the order in which their values are made.
const SERIES: [&str; 10] = [
    series::LOSS_TOTAL,
    series::LOSS_POSITION,
    series::LOSS_RATE,
    series::LOSS_WEIGHT,
    series::LOSS_MUSCLE,
    series::LOSS_DYNAMICS,
    series::GRAD_NORM,
    series::BATCHES_PER_SECOND,
    "pretend/first",
    "pretend/second",
];

/// What `motif simulate` measures, worked out here anew.
#[allow(clippy::cast_precision_loss, reason = "as the fleet has it")]
fn value(seed: u64, series: usize, step: u64) -> f64 {
    let mut bits = seed ^ (series as u64) << 48 ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let noise = ((bits ^ bits >> 31) >> 40) as f32 / (1 << 24) as f32;
    let decay = 1.0 / (1.0 + step as f32 / 500.0);
    f64::from((0.02 + decay) * (0.95 + 0.1 * noise) * (series + 1) as f32)
}

/// Two coordinators that clients know, on the database of a third that keeps it.
struct Laboratory {
    folder: tempfile::TempDir,
    first: Coordinator,
    second: Coordinator,
    token: String,
    _keeper: Coordinator,
}

impl Laboratory {
    fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let place = |name: &str| Path::new(folder.path()).join(name);
        let keeper = Coordinator::start(&place("keeper"))?;
        Ok(Self {
            first: keeper.start_beside(&place("first"))?,
            second: keeper.start_beside(&place("second"))?,
            token: keeper.token()?,
            _keeper: keeper,
            folder,
        })
    }

    /// The addresses of both, the one that will be killed first.
    fn urls(&self) -> String {
        format!("{},{}", self.first.url(), self.second.url())
    }

    /// A client of these addresses.
    fn client(&self, urls: &str) -> Result<Client> {
        Ok(Client::new(urls, Some(self.token.clone()))?)
    }

    fn place(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

async fn simulated(client: &Client) -> Result<Vec<RunSummary>> {
    let filter = RunFilter {
        tags: vec!["simulated".to_owned()],
        limit: Some(500),
        ..RunFilter::default()
    };
    Ok(client.runs(&filter).await?.runs)
}

/// Waits until every run is well under way, and none near its end.
async fn wait_for_load(client: &Client) -> Result<Vec<RunSummary>> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let runs = simulated(client).await?;
        if runs.len() == RUNS && runs.iter().all(|run| run.progress.batches_done >= 60) {
            return Ok(runs);
        }
        ensure!(std::time::Instant::now() < deadline, "the load never came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The steps that a live stream tells of until the run ends, in their order.
async fn follow(client: Client, run: RunId) -> Result<Vec<u64>> {
    let mut steps = Vec::new();
    let mut events = client.run_events(run, None);
    while let Some(item) = events.next().await {
        let StreamItem::Event { event, .. } = item? else {
            continue;
        };
        match event {
            Event::Metrics(appended) => {
                let loss = appended
                    .series
                    .into_iter()
                    .find(|points| points.name == series::LOSS_TOTAL);
                steps.extend(loss.into_iter().flat_map(|points| points.steps));
            }
            Event::Run(run) if run.state.is_final() => break,
            Event::Run(_) | Event::Checkpoint(_) | Event::Artifact(_) | Event::Log(_) => {}
            Event::Rewind(_) | Event::Reset(_) => anyhow::bail!("the stream has a gap"),
        }
    }
    Ok(steps)
}

#[tokio::test]
async fn a_coordinator_killed_under_load_costs_a_reconnect() -> Result<()> {
    let mut lab = Laboratory::open()?;
    let (runs, batches, seed) = (RUNS.to_string(), BATCHES.to_string(), SEED.to_string());
    let arguments = [
        "--workers",
        &runs,
        "--runs",
        &runs,
        "--batches",
        &batches,
        "--seed",
        &seed,
        "--speed",
        "60",
        "--every",
        "200",
    ];
    let fleet = Fleet::start(&lab.urls(), &lab.token, &lab.place("fleet"), &arguments)?;
    let survivor = lab.client(&lab.second.url())?;
    let under_way = wait_for_load(&survivor).await?;
    ensure!(
        under_way.iter().all(|run| run.state == RunState::Running),
        "the load was over before anybody was killed"
    );
    let watched = under_way.first().context("there are runs")?.id;
    // Connected to the one that is killed, and told of the other.
    let tail = tokio::spawn(follow(lab.client(&lab.urls())?, watched));
    tokio::time::sleep(Duration::from_millis(500)).await;
    lab.first.kill()?;

    let account = tokio::task::spawn_blocking(move || fleet.wait()).await??;
    assert_eq!(account["runs"], RUNS as u64);
    assert_eq!(account["lost_leases"], 0, "{account}");
    let ended = simulated(&survivor).await?;
    assert_eq!(ended.len(), RUNS);
    let mut seeds = BTreeSet::new();
    for run in &ended {
        assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
        seeds.insert(run.seed);
        let stored = curves(&survivor, run.id).await?;
        // The speed is left out there: it is a value like any other here, but of no real run.
        assert_eq!(stored.len(), SERIES.len() - 1);
        for (i, name) in SERIES.iter().enumerate() {
            let Some(points) = stored.get(*name) else {
                continue;
            };
            let made: Vec<(u64, u64)> = (0..BATCHES)
                .map(|step| (step, value(run.seed, i, step).to_bits()))
                .collect();
            assert_eq!(*points, made, "{name} of the run with seed {}", run.seed);
        }
        let log = survivor.logs(run.id, &LogsQuery::default()).await?;
        let numbers: Vec<u64> = log.lines.iter().map(|line| line.line.sequence).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        assert!(
            numbers.len() > 1,
            "a line at the start, and one for every checkpoint"
        );
    }
    assert_eq!(seeds, (SEED..SEED + RUNS as u64).collect());

    let told = tokio::time::timeout(PATIENCE, tail).await???;
    let first = *told.first().context("the tail was live")?;
    assert_eq!(
        told,
        (first..BATCHES).collect::<Vec<_>>(),
        "nothing twice, nothing missed"
    );
    Ok(())
}

#[tokio::test]
async fn a_worker_goes_on_with_another_coordinator() -> Result<()> {
    let mut lab = Laboratory::open()?;
    let client = lab.client(&lab.second.url())?;
    let spec = json!({
        "name": "failover", "seed": 5, "network": { "hidden": 8 },
        "training": { "batches": 60, "batch_size": 4, "save_every": 8, "tasks": ["DlyHalfReach"] },
    });
    let run = client.submit(&spec).await?.run.id;
    let _worker = Worker::start_with(&lab.urls(), Some(&lab.token), &lab.place("worker"))?;
    wait_for(&client, run, |run| run.summary.progress.batches_done >= 10).await?;
    lab.first.kill()?;
    let detail = wait_for_success(&client, run).await?;
    let states: Vec<AttemptState> = detail
        .attempt_history
        .iter()
        .map(|attempt| attempt.state)
        .collect();
    assert_eq!(states, [AttemptState::Succeeded]);
    let losses = &curves(&client, run).await?[series::LOSS_TOTAL];
    let steps: Vec<u64> = losses.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, (0..60).collect::<Vec<_>>());
    Ok(())
}
