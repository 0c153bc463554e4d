//! The daemon against a coordinator in memory, with an engine that trains nothing.

mod logs;
mod pretend;
mod stub;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use motif_proto::client::Client;
use motif_proto::id::AttemptId;
use motif_proto::run::{CheckpointKind, FailureClass};
use motif_proto::worker::{DeviceKind, Outcome, RegisterWorker, Verdict};
use motif_worker::daemon::{self, DaemonError, Options};
use motif_worker::outbox::Limits;
use pretend::{EVALUATES_FOR_EVER, FINDS_NO_MEMORY, PANICS, Pretend};
use serde_json::json;
use stub::{Stub, World};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A daemon at work.
struct Daemon {
    stub: Stub,
    engine: Pretend,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), DaemonError>>,
    _work_dir: tempfile::TempDir,
}

async fn daemon() -> Daemon {
    daemon_with(1, Limits::default()).await
}

/// A daemon that takes so many runs at once, and keeps so much.
async fn daemon_with(slots: u32, limits: Limits) -> Daemon {
    // For all tests of this program; the first one begins it.
    let _ = tracing_subscriber::registry()
        .with(motif_worker::logs::layer())
        .try_init();
    let stub = Stub::default();
    let client = Client::new(&stub.serve().await, None).expect("an address");
    let work_dir = tempfile::tempdir().expect("a folder");
    let options = Options {
        about: RegisterWorker {
            name: "test".to_owned(),
            version: "0".to_owned(),
            device: DeviceKind::Cpu,
            device_name: "none".to_owned(),
            slots,
            memory_bytes: None,
            labels: BTreeMap::new(),
            canary: None,
        },
        work_dir: work_dir.path().to_owned(),
        limits,
        metrics: None,
    };
    let engine = Pretend::default();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(daemon::run(client, Arc::new(engine.clone()), options, shutdown));
    Daemon {
        stub,
        engine,
        stop,
        running,
        _work_dir: work_dir,
    }
}

impl Daemon {
    async fn until(&self, what: &str, holds: impl Fn(&World) -> bool) {
        for _ in 0..3_000 {
            if holds(&self.stub.world()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain until {what}");
    }

    async fn until_finished(&self) -> Outcome {
        self.until("an attempt ends", |world| !world.finishes.is_empty())
            .await;
        self.stub.world().finishes[0].outcome.clone()
    }

    fn trained(&self) -> u64 {
        self.engine.trained.load(Ordering::SeqCst)
    }

    async fn stop(self) -> Stub {
        self.stop.send(()).expect("it runs");
        self.running.await.expect("no panic").expect("a clean end");
        self.stub
    }
}

fn spec(batches: u64) -> serde_json::Value {
    json!({ "name": "test", "training": { "batches": batches, "save_every": 10, "tasks": ["DlyHalfReach"] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_completely_and_in_order() {
    let daemon = daemon().await;
    let attempt = daemon.stub.submit(&spec(25), None);
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    let stub = daemon.stop().await;
    let world = stub.world();
    for series in [
        "loss/total",
        "loss/position",
        "loss/rate",
        "loss/weight",
        "loss/muscle",
        "loss/dynamics",
        "grad_norm",
        "throughput/batches_per_second",
    ] {
        assert_eq!(
            world.steps(attempt, series),
            (0..25).collect::<Vec<_>>(),
            "{series}"
        );
    }
    for series in ["validation/total", "validation/DlyHalfReach"] {
        assert_eq!(world.steps(attempt, series), [0, 10, 20, 24], "{series}");
    }
    let last = &world.checkpoints.last().expect("checkpoints").0;
    assert_eq!((last.kind, last.next_batch), (CheckpointKind::Last, 25));
    assert_eq!(last.validation, Some(1.0 / 25.0));
    let newest_best = world
        .checkpoints
        .iter()
        .rfind(|(upload, _)| upload.kind == CheckpointKind::Best);
    assert_eq!(newest_best.map(|(upload, _)| upload.next_batch), Some(25));
}

/// Every point of so many batches is there once, and the last checkpoint.
fn assert_arrived(world: &World, attempt: AttemptId, batches: u64) {
    assert_eq!(
        world.steps(attempt, "loss/total"),
        (0..batches).collect::<Vec<_>>()
    );
    let last = &world.checkpoints.last().expect("checkpoints").0;
    assert_eq!((last.kind, last.next_batch), (CheckpointKind::Last, batches));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_coordinator_stops_nothing_and_loses_no_point() {
    let daemon = daemon().await;
    let attempt = daemon.stub.submit(&spec(300), None);
    daemon
        .until("some points arrive", |world| {
            !world.steps(attempt, "loss/total").is_empty()
        })
        .await;
    daemon.stub.world().away = true;
    daemon.until("all was trained", |_| daemon.trained() == 300).await;
    daemon
        .until("something was turned away", |world| world.turned_away > 1)
        .await;
    assert!(daemon.stub.world().steps(attempt, "loss/total").len() < 300);
    daemon.stub.world().away = false;
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    assert_arrived(&daemon.stub.world(), attempt, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_there_is_no_room_for_checkpoints_the_curve_goes_on_and_they_arrive_later() {
    let daemon = daemon().await;
    daemon.stub.world().full = true;
    let attempt = daemon.stub.submit(&spec(300), None);
    daemon
        .until("every point arrives", |world| {
            world.steps(attempt, "loss/total").len() == 300
        })
        .await;
    daemon
        .until("a checkpoint is tried again", |world| world.found_no_room > 2)
        .await;
    {
        let mut world = daemon.stub.world();
        assert!(world.checkpoints.is_empty() && world.finishes.is_empty());
        world.full = false;
    }
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    assert_arrived(&daemon.stub.world(), attempt, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_handed_back_at_once_when_there_is_room_again() {
    let daemon = daemon().await;
    daemon.stub.world().full = true;
    let attempt = daemon.stub.submit(&spec(1_000_000), None);
    daemon
        .until("there is no room", |world| world.found_no_room > 1)
        .await;
    daemon.stub.world().verdict = Some(Verdict::Pause);
    daemon.stub.world().full = false;
    assert_eq!(daemon.until_finished().await, Outcome::Released);
    let world = daemon.stub.world();
    let (last, _) = world.checkpoints.last().expect("a checkpoint");
    assert_eq!(last.kind, CheckpointKind::Last);
    assert_eq!(last.next_batch, world.steps(attempt, "loss/total").len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_without_an_answer_is_repeated_without_harm() {
    let daemon = daemon().await;
    daemon.stub.world().forgets_to_answer = true;
    let attempt = daemon.stub.submit(&spec(120), None);
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    let world = daemon.stub.world();
    assert_eq!(world.steps(attempt, "loss/total"), (0..120).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_the_heartbeat_reports_lost_or_cancelled_ends_the_attempt_in_silence() {
    for verdict in [Verdict::Lost, Verdict::Cancelled] {
        let daemon = daemon().await;
        daemon.stub.submit(&spec(1_000_000), None);
        daemon.until("it trains", |_| daemon.trained() > 10).await;
        daemon.stub.world().verdict = Some(verdict);
        // The slot is free again when the next run is claimed.
        let next = daemon.stub.submit(&spec(200), None);
        daemon
            .until("the slot is free", |world| world.claims.is_empty())
            .await;
        daemon.stub.world().verdict = None;
        let last = daemon.stub.submit(&spec(1), None);
        daemon
            .until("the last run ends", |world| {
                world.finishes.iter().any(|finish| finish.attempt == last)
            })
            .await;
        let world = daemon.stub.world();
        assert!(
            world
                .finishes
                .iter()
                .all(|finish| [next, last].contains(&finish.attempt)),
            "{verdict:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_to_be_paused_is_handed_back_with_a_checkpoint_and_its_slot_is_free() {
    let daemon = daemon().await;
    let attempt = daemon.stub.submit(&spec(1_000_000), None);
    daemon.until("it trains", |_| daemon.trained() > 10).await;
    daemon.stub.world().verdict = Some(Verdict::Pause);
    assert_eq!(daemon.until_finished().await, Outcome::Released);
    daemon.stub.world().verdict = None;
    let next = daemon.stub.submit(&spec(1), None);
    daemon
        .until("the next run ends", |world| {
            world.finishes.iter().any(|finish| finish.attempt == next)
        })
        .await;
    let world = daemon.stub.world();
    let last = world
        .checkpoints
        .iter()
        .rfind(|(upload, _)| upload.attempt == attempt && upload.kind == CheckpointKind::Last)
        .map(|(upload, _)| upload.next_batch);
    assert_eq!(last, Some(world.steps(attempt, "loss/total").len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_outbox_is_full_hands_back_as_soon_as_the_coordinator_is_there_again() {
    let full = Limits {
        bytes: 1,
        ..Limits::default()
    };
    let daemon = daemon_with(1, full).await;
    daemon.stub.submit(&spec(1_000_000), None);
    daemon.until("it trains", |_| daemon.trained() > 10).await;
    daemon.stub.world().away = true;
    daemon
        .until("something was turned away", |world| world.turned_away > 2)
        .await;
    let stub = daemon.stub.clone();
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stub.world().away = false;
    };
    let (stub, ()) = tokio::join!(daemon.stop(), back);
    let world = stub.world();
    assert_eq!(world.finishes.len(), 1);
    assert_eq!(world.finishes[0].outcome, Outcome::Released);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_lease_ends_the_attempt_and_frees_its_slot() {
    let daemon = daemon().await;
    daemon.stub.world().stale = true;
    let attempt = daemon.stub.submit(&spec(1_000_000), None);
    daemon.stub.submit(&spec(5), None);
    daemon
        .until("the slot is free", |world| world.claims.is_empty())
        .await;
    daemon.stub.world().stale = false;
    daemon.stub.submit(&spec(5), None);
    daemon
        .until("a run ends", |world| !world.finishes.is_empty())
        .await;
    let world = daemon.stub.world();
    assert!(world.finishes.iter().all(|finish| finish.attempt != attempt));
    assert!(world.steps(attempt, "loss/total").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_stopped_hands_its_run_back_with_all_it_has_trained() {
    let daemon = daemon().await;
    let attempt = daemon.stub.submit(&spec(1_000_000), None);
    daemon.until("it trains", |_| daemon.trained() > 15).await;
    let trained = daemon.engine.trained.clone();
    let stub = daemon.stop().await;
    let trained = trained.load(Ordering::SeqCst);
    let bytes = {
        let world = stub.world();
        assert_eq!(world.finishes[0].outcome, Outcome::Released);
        let (last, bytes) = world.checkpoints.last().expect("a checkpoint");
        assert_eq!((last.kind, last.next_batch), (CheckpointKind::Last, trained));
        assert_eq!(
            world.steps(attempt, "loss/total"),
            (0..trained).collect::<Vec<_>>()
        );
        bytes.clone()
    };

    let second = self::daemon().await;
    let resumed = second.stub.submit(&spec(trained + 7), Some((trained, &bytes)));
    assert_eq!(second.until_finished().await, Outcome::Succeeded);
    let steps = second.stub.world().steps(resumed, "loss/total");
    assert_eq!(steps, (trained..trained + 7).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_an_evaluation_and_the_evaluation_is_made_up_for() {
    let daemon = daemon().await;
    let mut endless = spec(30);
    endless["name"] = json!(EVALUATES_FOR_EVER);
    let first = daemon.stub.submit(&endless, None);
    daemon.until("it trains", |_| daemon.trained() == 1).await;
    let stub = daemon.stop().await;
    let bytes = {
        let world = stub.world();
        assert_eq!(world.finishes[0].outcome, Outcome::Released);
        assert!(world.steps(first, "validation/total").is_empty());
        let (last, bytes) = world.checkpoints.last().expect("a checkpoint");
        assert_eq!((last.next_batch, last.validation), (1, None));
        bytes.clone()
    };

    let second = self::daemon().await;
    let resumed = second.stub.submit(&spec(30), Some((1, &bytes)));
    assert_eq!(second.until_finished().await, Outcome::Succeeded);
    let world = second.stub.world();
    assert_eq!(world.steps(resumed, "validation/total"), [0, 10, 20, 29]);
    assert_eq!(world.steps(resumed, "loss/total"), (1..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_stops_at_rungs_does_what_an_undisturbed_one_does() {
    let whole = daemon().await;
    let undisturbed = whole.stub.submit(&spec(35), None);
    assert_eq!(whole.until_finished().await, Outcome::Succeeded);
    let whole = whole.stop().await;

    // A rung right behind an evaluation, one between two, and one at which it stands already.
    let rungs = [11, 17, 17];
    let daemon = daemon().await;
    let mut attempts = Vec::new();
    let mut resume: Option<(u64, Vec<u8>)> = None;
    for (i, rung) in rungs.into_iter().enumerate() {
        let from = resume
            .as_ref()
            .map(|(next_batch, bytes)| (*next_batch, bytes.as_slice()));
        attempts.push(daemon.stub.submit_until(&spec(35), from, rung));
        daemon
            .until("the rung is reached", |world| world.finishes.len() == i + 1)
            .await;
        let world = daemon.stub.world();
        assert_eq!(world.finishes[i].outcome, Outcome::Reached { batch: rung });
        let (last, bytes) = world.checkpoints.last().expect("a checkpoint");
        assert_eq!((last.kind, last.next_batch), (CheckpointKind::Last, rung));
        resume = Some((rung, bytes.clone()));
    }
    let from = resume
        .as_ref()
        .map(|(next_batch, bytes)| (*next_batch, bytes.as_slice()));
    attempts.push(daemon.stub.submit(&spec(35), from));
    daemon
        .until("the run ends", |world| world.finishes.len() == rungs.len() + 1)
        .await;
    let stub = daemon.stop().await;
    let (stub, whole) = (stub.world(), whole.world());
    assert_eq!(stub.finishes[3].outcome, Outcome::Succeeded);
    for series in ["loss/total", "validation/total"] {
        let steps: Vec<u64> = attempts
            .iter()
            .flat_map(|&attempt| stub.steps(attempt, series))
            .collect();
        assert_eq!(steps, whole.steps(undisturbed, series), "{series}");
    }
    let end = |world: &World| world.checkpoints.last().map(|(_, bytes)| bytes.clone());
    assert_eq!(end(&stub), end(&whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_checkpoint_is_not_resumed_from() {
    let daemon = daemon().await;
    daemon.stub.submit(&spec(30), Some((1, b"[1,0]")));
    for content in daemon.stub.world().contents.values_mut() {
        *content = b"[2,0]".to_vec();
    }
    let Outcome::Failed { failure } = daemon.until_finished().await else {
        panic!("it was resumed from")
    };
    assert_eq!(failure.class, FailureClass::Internal);
    assert!(failure.message.contains("SHA-256"), "{}", failure.message);
    assert_eq!(daemon.trained(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_begins_with_its_base_and_resumes_from_its_own_checkpoint() {
    let daemon = daemon().await;
    let first = daemon.stub.submit_on(&spec(25), Some((20, b"[20,19]")), None);
    assert_eq!(daemon.until_finished().await, Outcome::Succeeded);
    let resumed = daemon
        .stub
        .submit_on(&spec(25), Some((20, b"[20,19]")), Some((23, b"[23,null]")));
    daemon
        .until("the second ends", |world| world.finishes.len() == 2)
        .await;
    let stub = daemon.stop().await;
    let steps = |attempt| stub.world().steps(attempt, "loss/total");
    assert_eq!(steps(first), [20, 21, 22, 23, 24]);
    assert_eq!(steps(resumed), [23, 24]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_base_is_not_started_from() {
    let daemon = daemon().await;
    daemon.stub.submit_on(&spec(25), Some((20, b"[20,19]")), None);
    for bytes in daemon.stub.world().contents.values_mut() {
        bytes[1] ^= 1;
    }
    let Outcome::Failed { failure } = daemon.until_finished().await else {
        panic!("it was started from")
    };
    assert_eq!(failure.class, FailureClass::Internal);
    assert_eq!(daemon.trained(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_training_ends_the_attempt_and_not_the_daemon() {
    let daemon = daemon().await;
    let mut panics = spec(30);
    panics["name"] = json!(PANICS);
    let attempt = daemon.stub.submit(&panics, None);
    let Outcome::Failed { failure } = daemon.until_finished().await else {
        panic!("it did not fail")
    };
    assert_eq!(failure.class, FailureClass::Internal);
    assert!(failure.message.contains("out of pretence"), "{}", failure.message);
    assert_eq!(daemon.stub.world().steps(attempt, "loss/total"), [0, 1]);
    let next = daemon.stub.submit(&spec(3), None);
    daemon
        .until("the next run ends", |world| {
            world.finishes.iter().any(|finish| finish.attempt == next)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_share_a_device_and_the_one_that_finds_no_memory_there_takes_none_down() {
    let daemon = daemon_with(4, Limits::default()).await;
    let packed: Vec<_> = (0..3)
        .map(|_| daemon.stub.submit(&spec(1_000_000), None))
        .collect();
    daemon
        .until("three train side by side", |world| {
            packed.iter().all(|attempt| world.metrics.contains_key(attempt))
        })
        .await;
    let mut too_large = spec(30);
    too_large["name"] = json!(FINDS_NO_MEMORY);
    let refused = daemon.stub.submit(&too_large, None);
    let Outcome::Failed { failure } = daemon.until_finished().await else {
        panic!("it found memory")
    };
    assert_eq!(failure.class, FailureClass::OutOfMemory);
    assert_eq!(daemon.stub.world().finishes[0].attempt, refused);
    let trained = daemon.trained();
    daemon
        .until("the others go on", |_| daemon.trained() > trained + 10)
        .await;
    assert_eq!(daemon.stub.world().finishes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_forgotten_registers_again_and_its_attempts_go_on() {
    let daemon = daemon().await;
    daemon.stub.submit(&spec(1_000_000), None);
    daemon.until("it trains", |_| daemon.trained() > 0).await;
    daemon.stub.world().workers.clear();
    daemon
        .until("it registers again", |world| world.workers.len() == 1)
        .await;
    let heartbeats = daemon.stub.world().heartbeats;
    let trained = daemon.trained();
    daemon
        .until("it goes on", |world| {
            world.heartbeats > heartbeats && daemon.trained() > trained
        })
        .await;
    assert!(daemon.stub.world().finishes.is_empty());
}
