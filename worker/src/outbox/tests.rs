use std::collections::BTreeMap;

use motif_proto::run::{CheckpointKind, FailureClass};

use super::*;

const SMALL: Limits = Limits {
    bytes: 1 << 20,
    points_per_batch: 4,
};

struct Fixture {
    folder: tempfile::TempDir,
    outbox: Outbox,
}

fn fixture(limits: Limits) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let outbox = Outbox::new(AttemptId::new(), FencingToken(7), folder.path(), limits);
    Fixture { folder, outbox }
}

impl Fixture {
    fn record(&self, step: u64) {
        let series = "loss/total".to_owned();
        let value = step as f64 / 3.0;
        self.outbox
            .record(vec![Point { series, step, value }])
            .expect("open");
    }

    fn checkpoint(&self, kind: CheckpointKind, next_batch: u64) {
        let state = State {
            kind,
            next_batch,
            validation: Some(0.5),
            bytes: next_batch.to_le_bytes().to_vec(),
        };
        self.outbox.checkpoint(&state).expect("open");
    }

    /// Takes out everything that waits, in words.
    fn drain(&self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(letter) = self.outbox.front() {
            told.push(words(&letter.content));
            self.outbox.sent(&letter);
        }
        told
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder.path()).expect("listed").count()
    }
}

fn words(content: &Content) -> String {
    match content {
        Content::Logs(batch) => format!("{} lines", batch.lines.len()),
        Content::Metrics { sequence, file } => {
            let batch: MetricsBatch =
                serde_json::from_slice(&fs::read(file).expect("read")).expect("a batch");
            assert_eq!(batch.sequence, *sequence);
            format!("metrics {sequence}: {:?}", batch.series[0].steps)
        }
        Content::Checkpoint { upload, file } => {
            let bytes = fs::read(file).expect("read");
            assert_eq!(upload.sha256, hex(&Sha256::digest(&bytes)));
            assert_eq!(upload.size_bytes, bytes.len() as u64);
            format!(
                "{} {} after {}",
                upload.kind, upload.next_batch, upload.metrics_sequence
            )
        }
        Content::Artifact { upload, file } => {
            let bytes = fs::read(file).expect("read");
            assert_eq!(upload.sha256, hex(&Sha256::digest(&bytes)));
            format!("artifact {}", upload.name)
        }
        Content::Finish(finish) => format!("finish after {}", finish.metrics_sequence),
    }
}

#[test]
fn everything_comes_out_in_the_order_in_which_it_happened() {
    let fixture = fixture(SMALL);
    (0..6).for_each(|step| fixture.record(step));
    fixture.checkpoint(CheckpointKind::Best, 6);
    fixture.checkpoint(CheckpointKind::Last, 6);
    fixture.record(6);
    fixture.outbox.finish(Outcome::Succeeded).expect("open");
    assert_eq!(fixture.files(), 5);
    let told = fixture.drain();
    let expected = [
        "metrics 0: [0, 1, 2, 3]",
        "metrics 1: [4, 5]",
        "best 6 after 2",
        "last 6 after 2",
        "metrics 2: [6]",
        "finish after 3",
    ];
    assert_eq!(told, expected);
    assert_eq!(fixture.files(), 0);
}

#[test]
fn what_was_not_acknowledged_comes_out_again() {
    let fixture = fixture(SMALL);
    (0..4).for_each(|step| fixture.record(step));
    let first = fixture.outbox.front().expect("waits");
    assert_eq!(fixture.outbox.front(), Ok(first.clone()));
    fixture.outbox.sent(&first);
    fixture.outbox.sent(&first);
    assert!(fixture.drain().is_empty());
}

#[test]
fn of_checkpoints_that_wait_only_the_newest_of_a_kind_is_kept() {
    let fixture = fixture(SMALL);
    for next_batch in [1, 2, 3] {
        fixture.checkpoint(CheckpointKind::Last, next_batch);
        fixture.checkpoint(CheckpointKind::Best, next_batch);
    }
    assert_eq!(fixture.files(), 2);
    assert_eq!(fixture.drain(), ["last 3 after 0", "best 3 after 0"]);
}

#[test]
fn points_go_past_uploads_that_are_put_off_and_the_end_does_not() {
    let it = fixture(SMALL);
    it.record(0);
    it.checkpoint(CheckpointKind::Last, 1);
    it.record(1);
    it.checkpoint(CheckpointKind::Best, 2);
    let first = it.outbox.front().expect("a batch");
    it.outbox.sent(&first);
    let refused = it.outbox.front().expect("a checkpoint");
    assert!(refused.content.is_upload());
    it.outbox.put_off_uploads(Duration::from_secs(600));
    it.outbox.finish(Outcome::Succeeded).expect("open");
    let past = it.outbox.front().expect("the batch behind it");
    assert!(matches!(past.content, Content::Metrics { sequence: 1, .. }));
    it.outbox.sent(&past);
    let left = it.outbox.front().expect_err("only uploads and the end wait");
    assert!(
        left.is_some_and(|left| left > Duration::from_secs(500)),
        "{left:?}"
    );
    it.outbox.put_off_uploads(Duration::ZERO);
    assert_eq!(it.outbox.front().expect("the checkpoint"), refused);
    it.outbox.put_off_uploads(Duration::from_secs(600));
    it.outbox.hurry();
    assert_eq!(it.drain().len(), 3);
    assert_eq!((it.outbox.spooled_bytes(), it.files()), (0, 0));
}

#[test]
fn a_checkpoint_on_its_way_is_not_replaced() {
    let fixture = fixture(SMALL);
    fixture.checkpoint(CheckpointKind::Last, 1);
    let on_its_way = fixture.outbox.front().expect("waits");
    fixture.checkpoint(CheckpointKind::Last, 2);
    assert_eq!(words(&on_its_way.content), "last 1 after 0");
    fixture.outbox.sent(&on_its_way);
    assert_eq!(fixture.drain(), ["last 2 after 0"]);
}

#[test]
fn a_full_outbox_makes_the_training_wait_until_something_was_taken() {
    let limits = Limits {
        bytes: 1,
        points_per_batch: 1,
    };
    let fixture = fixture(limits);
    fixture.record(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fixture.record(1));
        let first = fixture.outbox.front().expect("waits");
        assert_eq!(words(&first.content), "metrics 0: [0]");
        assert_eq!(fixture.outbox.lock().waiting.len(), 1);
        assert!(!waiting.is_finished());
        fixture.outbox.sent(&first);
        waiting.join().expect("recorded");
    });
    assert_eq!(fixture.drain(), ["metrics 1: [1]"]);
}

#[test]
fn closing_frees_who_waits_and_drops_what_waits() {
    let limits = Limits {
        bytes: 1,
        points_per_batch: 1,
    };
    let fixture = fixture(limits);
    fixture.record(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let series = "x".to_owned();
            fixture.outbox.record(vec![Point {
                series,
                step: 1,
                value: 0.0,
            }])
        });
        fixture.outbox.close();
        assert_eq!(waiting.join().expect("freed"), Err(Closed));
    });
    assert!(fixture.outbox.is_closed());
    assert_eq!(fixture.files(), 0);
    assert_eq!(fixture.outbox.finish(Outcome::Succeeded), Err(Closed));
}

#[test]
fn a_failure_is_told_after_what_was_acknowledged() {
    let fixture = fixture(SMALL);
    (0..8).for_each(|step| fixture.record(step));
    let first = fixture.outbox.front().expect("waits");
    fixture.outbox.sent(&first);
    fixture.outbox.fail(Failure {
        class: FailureClass::Internal,
        message: "refused".to_owned(),
    });
    fixture.outbox.close();
    assert_eq!(fixture.drain(), ["finish after 1"]);
}

#[test]
fn points_that_are_no_numbers_survive_the_disk() {
    let fixture = fixture(SMALL);
    let values = [f64::NAN, f64::INFINITY, 0.1 + 0.2, 5e-324];
    for (step, value) in (0..).zip(values) {
        let series = "x".to_owned();
        let recorded = fixture.outbox.record(vec![Point { series, step, value }]);
        recorded.expect("open");
    }
    let Ok(Letter {
        content: Content::Metrics { file, .. },
        ..
    }) = fixture.outbox.front()
    else {
        panic!("metrics wait")
    };
    let batch: MetricsBatch = serde_json::from_slice(&fs::read(file).expect("read")).expect("a batch");
    let read: Vec<u64> = batch.series[0]
        .values
        .iter()
        .map(|value| value.0.to_bits())
        .collect();
    assert_eq!(read, values.map(f64::to_bits));
}

#[test]
fn a_disk_that_takes_nothing_loses_nothing() {
    let fixture = fixture(SMALL);
    let gone = fixture.folder.path().join("gone");
    let outbox = Outbox::new(AttemptId::new(), FencingToken(1), &gone, SMALL);
    let record = |step| {
        let series = "x".to_owned();
        outbox.record(vec![Point {
            series,
            step,
            value: 1.0,
        }])
    };
    (0..3).for_each(|step| record(step).expect("gathered"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| record(3));
        fs::create_dir(&gone).expect("made");
        waiting.join().expect("recorded").expect("open");
    });
    let letter = outbox.front().expect("waits");
    assert_eq!(words(&letter.content), "metrics 0: [0, 1, 2, 3]");
}

#[test]
fn an_artifact_goes_after_what_was_recorded_before_it() {
    let fixture = fixture(SMALL);
    fixture.record(0);
    fixture.outbox.artifact("evaluation.json", b"{}").expect("open");
    fixture.checkpoint(CheckpointKind::Last, 1);
    assert_eq!(
        fixture.drain(),
        ["metrics 0: [0]", "artifact evaluation.json", "last 1 after 1"]
    );
    assert_eq!(fixture.files(), 0);
    fixture.outbox.close();
    assert_eq!(fixture.outbox.artifact("late.json", b"{}"), Err(Closed));
}

#[test]
fn log_lines_go_between_and_the_last_of_them_before_the_end() {
    let fixture = fixture(Limits::default());
    let say = |message: &str| {
        fixture.outbox.say(&Said {
            level: motif_proto::log::LogLevel::Info,
            target: "test".to_owned(),
            message: message.to_owned(),
            fields: BTreeMap::new(),
        });
    };
    say("begins");
    fixture.checkpoint(CheckpointKind::Last, 1);
    say("ends");
    fixture.outbox.finish(Outcome::Succeeded).expect("open");
    let told = fixture.drain();
    assert!(told[0].starts_with("last"), "{told:?}");
    assert_eq!(told[1], "2 lines");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn an_attempt_that_is_to_end_gets_room_beyond_the_limit() {
    let fixture = fixture(Limits { bytes: 1, ..SMALL });
    fixture.checkpoint(CheckpointKind::Last, 1);
    std::thread::scope(|scope| {
        // Without the hurry this would wait for ever.
        let waits = scope.spawn(|| fixture.checkpoint(CheckpointKind::Last, 2));
        fixture.outbox.hurry();
        waits.join().expect("no panic");
    });
    assert_eq!(fixture.drain(), ["last 2 after 0"]);
}

#[test]
fn a_run_that_is_let_go_leaves_only_the_news_of_what_was_acknowledged() {
    let fixture = fixture(SMALL);
    (0..4).for_each(|step| fixture.record(step));
    let first = fixture.outbox.front().expect("waits");
    fixture.outbox.sent(&first);
    (4..8).for_each(|step| fixture.record(step));
    fixture.checkpoint(CheckpointKind::Last, 8);
    fixture.outbox.hand_back();
    fixture.outbox.hand_back();
    let point = Point {
        series: "loss/total".to_owned(),
        step: 9,
        value: 0.0,
    };
    assert_eq!(fixture.outbox.record(vec![point]), Err(Closed));
    assert_eq!(fixture.drain(), ["finish after 1"]);
    assert_eq!(fixture.files(), 0);
}
