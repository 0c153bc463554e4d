//! How studies, lineage and statistics look.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::output::Output;
use crate::cli::{lineage, study};
use crate::client::stub::{noon, run};
use crate::metrics::{Measured, StepValue};
use crate::run::{CheckpointKind, RunState};
use crate::spec::ExperimentKind;
use crate::study::{
    Lineage, LineageCheckpoint, LineageEdge, LineageRun, StudyCounts, StudyDetail, StudyExperiment, StudyRun,
    StudyState, StudySummary,
};

fn member(tail: &str, seed: u64, state: RunState, best: Option<f64>) -> StudyRun {
    StudyRun {
        run: run(tail, state).id,
        name: "m".to_owned(),
        seed,
        point: None,
        parameters: BTreeMap::new(),
        state,
        reason: (state == RunState::Skipped).then(|| "it depends on `base`, which failed".to_owned()),
        batches_done: 0,
        batches_total: 600,
        best_validation: best.map(|value| StepValue {
            step: 500,
            value: Measured(value),
        }),
        rungs: Vec::new(),
    }
}

fn experiment(key: &str, base: Option<&str>, runs: Vec<StudyRun>) -> StudyExperiment {
    let mut counts = StudyCounts::default();
    for run in &runs {
        counts.add(run.state, false, 1);
    }
    StudyExperiment {
        key: key.to_owned(),
        kind: if base.is_some() {
            ExperimentKind::Transfer
        } else {
            ExperimentKind::Train
        },
        base: base.map(str::to_owned),
        after: Vec::new(),
        sweep: None,
        rungs: Vec::new(),
        counts,
        runs,
    }
}

fn a_study() -> StudyDetail {
    let succeeded = |tail: &str, seed: u64, best: f64| member(tail, seed, RunState::Succeeded, Some(best));
    let experiments = vec![
        experiment(
            "base",
            None,
            vec![succeeded("beef0001", 0, 0.02), succeeded("beef0002", 1, 0.04)],
        ),
        experiment(
            "moved",
            Some("base"),
            vec![member("beef0003", 0, RunState::Running, None)],
        ),
        experiment(
            "moved-on",
            Some("moved"),
            vec![member("beef0004", 0, RunState::Skipped, None)],
        ),
        experiment(
            "other",
            Some("base"),
            vec![member("beef0005", 0, RunState::Waiting, None)],
        ),
    ];
    let mut counts = StudyCounts::default();
    for run in experiments.iter().flat_map(|experiment| &experiment.runs) {
        counts.add(run.state, false, 1);
    }
    StudyDetail {
        summary: StudySummary {
            id: crate::id::StudyId(run("beef0009", RunState::Queued).id.0),
            name: "transfers".to_owned(),
            project: "default".to_owned(),
            tags: Vec::new(),
            state: StudyState::of(&counts),
            counts,
            created_at: noon(),
        },
        notes: None,
        document: json!({}),
        experiments,
    }
}

#[test]
fn a_study_is_a_tree_of_its_experiments() {
    let page = study::page(&Output::plain(), &a_study());
    let (_, table) = page.split_once("\n\n").expect("facts and a table");
    assert_eq!(
        table,
        "\
EXPERIMENT      KIND      RUNS  STATES       BEST VALIDATION            AFTER
base            train        2  2 succeeded  0.03000 ± 0.01414 (n = 2)  -
├─ moved        transfer     1  1 running    -                          -
│  └─ moved-on  transfer     1  1 skipped    -                          -
└─ other        transfer     1  1 waiting    -                          -"
    );
    assert!(
        page.contains("5: 2 succeeded, 1 running, 1 waiting, 1 skipped"),
        "{page}"
    );
}

#[test]
fn the_runs_of_a_study_say_why_they_were_skipped() {
    let runs = study::runs(&Output::plain(), &a_study());
    let skipped = runs
        .lines()
        .find(|line| line.starts_with("beef0004"))
        .expect("a line");
    assert!(skipped.ends_with("it depends on `base`, which failed"), "{runs}");
}

#[test]
fn a_lineage_shows_which_bytes_went_where() {
    let of = |tail: &str, kind: ExperimentKind| LineageRun {
        run: run(tail, RunState::Succeeded).id,
        name: tail.to_owned(),
        kind,
        seed: 3,
        state: RunState::Succeeded,
        study: None,
    };
    let runs = vec![
        of("beef0001", ExperimentKind::Train),
        of("beef0002", ExperimentKind::Evaluate),
    ];
    let lineage = Lineage {
        run: runs[1].run,
        edges: vec![LineageEdge {
            from: runs[0].run,
            to: runs[1].run,
            kind: CheckpointKind::Best,
            checkpoint: Some(LineageCheckpoint {
                id: crate::id::CheckpointId(runs[0].run.0),
                next_batch: 600,
                sha256: "0123456789abcdef".repeat(4),
            }),
        }],
        runs,
        truncated: false,
    };
    assert_eq!(
        lineage::tree(&Output::plain(), &lineage),
        "\
RUN            NAME      KIND      SEED  STATE      FROM CHECKPOINT         SHA-256
beef0001       beef0001  train        3  succeeded  -                       -
└─ beef0002 ←  beef0002  evaluate     3  succeeded  best after 600 batches  0123456789abcdef"
    );
}
