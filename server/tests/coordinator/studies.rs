//! Studies: accepted whole or refused whole, what flows along their edges, lists and lineage.

use crate::common::App;
use crate::common::study::{experiment, submit};
use axum::http::StatusCode;
use motif_proto::id::StudyId;
use motif_proto::problem::FieldProblem;
use motif_proto::run::{CheckpointKind, RunList};
use motif_proto::study::{Lineage, StudyDetail, StudyList, StudyState};
use motif_proto::worker::Outcome;
use serde_json::{Value, json};

async fn problems(app: &App, study: &Value) -> Vec<FieldProblem> {
    let answer = app.post("/api/v1/studies", study).await;
    answer
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_spec")
        .errors
}

async fn pointers(app: &App, study: &Value) -> Vec<String> {
    let problems = problems(app, study).await;
    problems.into_iter().map(|problem| problem.pointer).collect()
}

#[tokio::test]
async fn checkpoints_flow_along_base_edges_seed_by_seed() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "lines", "tags": ["paper"], "experiments": [
            { "id": "held-out", "kind": "transfer", "base": "base" },
            { "id": "base", "preset": "demo", "seeds": [3, 5] },
            { "id": "longer", "kind": "continue", "base": "base", "training": { "batches": 900 } },
            { "id": "last", "kind": "evaluate", "base": "held-out", "base_checkpoint": "last" },
        ] }),
    )
    .await;
    assert_eq!(study.summary.state, StudyState::Active);
    for experiment in &study.experiments {
        let seeds: Vec<u64> = experiment.runs.iter().map(|run| run.seed).collect();
        assert_eq!(seeds, [3, 5], "{}", experiment.key);
    }
    let waiting = &study.summary.counts.runs;
    assert_eq!((waiting.queued, waiting.waiting), (2, 6));
    let bases = experiment(&study, "base").runs.clone();
    let worker = app.register().await;
    for base in &bases {
        let claim = app.claim(worker).await.unwrap();
        assert_eq!(claim.run, base.run);
        let content = |kind: &str| format!("{kind} of {}", base.seed);
        app.upload(&claim, CheckpointKind::Best, 550, content("best").as_bytes())
            .await;
        app.upload(&claim, CheckpointKind::Last, 600, content("last").as_bytes())
            .await;
        app.finish(&claim, 0, Outcome::Succeeded).await;
    }
    // Each dependant starts from the run with its seed, and from the checkpoint of its kind.
    for _ in 0..4 {
        let claim = app.claim(worker).await.unwrap();
        let detail = app.detail(claim.run).await;
        let base = claim.base.clone().unwrap();
        let partner = bases.iter().find(|run| run.run == base.run).unwrap();
        assert_eq!(detail.summary.seed, partner.seed);
        assert_eq!(claim.spec.base, Some(partner.run.to_string()));
        let place = detail.summary.study.unwrap();
        assert_eq!((place.id, place.name.as_str()), (study.summary.id, "lines"));
        if place.key == "longer" {
            assert_eq!((base.kind, base.next_batch), (CheckpointKind::Last, 600));
            assert_eq!(detail.summary.progress.batches_done, 600);
        } else {
            assert_eq!(place.key, "held-out");
            assert_eq!((base.kind, base.next_batch), (CheckpointKind::Best, 550));
        }
        app.upload(&claim, CheckpointKind::Last, 7, b"moved").await;
        app.finish(&claim, 0, Outcome::Succeeded).await;
    }
    for _ in 0..2 {
        let claim = app.claim(worker).await.unwrap();
        assert_eq!(claim.base.as_ref().unwrap().next_batch, 7);
        app.finish(&claim, 0, Outcome::Succeeded).await;
    }
    let study: StudyDetail = app
        .get(&format!("/api/v1/studies/{}", study.summary.id))
        .await
        .expect(StatusCode::OK);
    assert_eq!(study.summary.state, StudyState::Succeeded);
    assert_eq!(study.summary.counts.runs.succeeded, 8);
}

#[tokio::test]
async fn a_study_with_many_mistakes_is_refused_whole_with_all_of_them() {
    let app = App::start().await;
    let study = json!({ "name": "wrong", "experiments": [
        { "id": "a", "preset": "demo", "after": ["c"] },
        { "id": "b", "preset": "demo", "after": ["a"] },
        { "id": "c", "kind": "transfer", "base": "b" },
        { "id": "small", "preset": "demo", "seeds": 3, "training": { "batchs": 4 } },
        { "id": "sound", "preset": "demo", "seeds": 3 },
        { "id": "misfit", "kind": "transfer", "base": "sound", "network": { "hidden": 128 } },
        { "id": "lost", "kind": "transfer", "base": "sonud", "after": ["nobody"] },
        { "id": "sound", "preset": "demo" },
        { "id": "unpaired", "kind": "transfer", "base": "sound", "seeds": [0, 1, 9] },
        { "id": "done", "kind": "continue", "base": "sound", "training": { "batches": 600 } },
        { "id": "look", "kind": "evaluate", "base": "sound" },
        { "id": "blind", "kind": "transfer", "base": "look" },
        { "id": "gone", "kind": "evaluate", "base": StudyId::new() },
        { "id": "self", "preset": "demo", "after": ["self"] },
    ] });
    let problems = problems(&app, &study).await;
    let found: Vec<(&str, &str)> = problems
        .iter()
        .map(|problem| (problem.pointer.as_str(), problem.detail.as_str()))
        .collect();
    for (pointer, words) in [
        ("/experiments/7/id", "`sound`"),
        ("/experiments/6/base", "did you mean `sound`"),
        ("/experiments/6/after/0", "`nobody`"),
        ("/experiments/0/after/0", "a → c → b → a"),
        ("/experiments/13/after/0", "`self` waits for itself"),
        ("/experiments/8/seeds", "0, 1, 2"),
        ("/experiments/3/training/batchs", "did you mean `batches`"),
        ("/experiments/5/network/hidden", "128"),
        ("/experiments/9/training/batches", "nothing is left"),
        ("/experiments/11/base", "trains nothing"),
        ("/experiments/12/base", "no run and no checkpoint"),
    ] {
        let fits = |(place, detail): &&(&str, &str)| *place == pointer && detail.contains(words);
        assert_eq!(
            found.iter().filter(fits).count(),
            1,
            "{pointer} {words}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 11, "{found:#?}");
    let list: StudyList = app.get("/api/v1/studies").await.expect(StatusCode::OK);
    assert!(list.studies.is_empty());
    let runs: RunList = app.get("/api/v1/runs").await.expect(StatusCode::OK);
    assert!(runs.runs.is_empty(), "nothing was stored");
}

#[tokio::test]
async fn a_study_is_bounded_and_a_mistake_of_the_defaults_is_named_there_once() {
    let app = App::start().await;
    let many: Vec<Value> = (0..6)
        .map(|i| json!({ "id": format!("e{i}"), "preset": "demo", "seeds": 1000 }))
        .collect();
    let large = json!({ "name": "large", "defaults": { "training": { "clip": -1 } }, "experiments": many });
    let mut found = pointers(&app, &large).await;
    found.sort();
    assert_eq!(found, ["/defaults/training/clip", "/experiments"]);
    let wide = json!({ "name": "wide", "experiments": [
        { "id": "a", "preset": "demo", "seeds": 300 },
        { "id": "b", "preset": "demo", "seeds": 300, "after": ["a"] },
    ] });
    let found = problems(&app, &wide).await;
    assert!(found[0].detail.contains("90000 pairs"), "{found:?}");
}

#[tokio::test]
async fn toml_is_accepted_too_and_a_large_study_is_stored_at_once() {
    let app = App::start().await;
    let text = "name = 'big'\n[[experiments]]\nid = 'base'\npreset = 'demo'\nseeds = 500\n\
                [[experiments]]\nid = 'look'\nkind = 'evaluate'\nbase = 'base'\n";
    let answer = app
        .request(
            axum::http::Method::POST,
            "/api/v1/studies",
            "application/toml",
            text,
        )
        .await;
    let study: StudyDetail = answer.expect(StatusCode::CREATED);
    assert_eq!(
        (
            study.summary.counts.runs.queued,
            study.summary.counts.runs.waiting
        ),
        (500, 500)
    );
    let query = format!("/api/v1/runs?study={}&state=waiting&limit=500", study.summary.id);
    let runs: RunList = app.get(&query).await.expect(StatusCode::OK);
    assert!(
        runs.runs
            .iter()
            .all(|run| run.study.as_ref().unwrap().key == "look")
    );
    assert_eq!(runs.runs.len(), 500);
}

#[tokio::test]
async fn a_study_can_start_from_a_run_outside_of_it() {
    let app = App::start().await;
    let base = app.trained(json!({ "preset": "demo", "seed": 4 }), 600).await;
    let study = submit(
        &app,
        json!({ "name": "outside", "experiments": [
            { "id": "more", "kind": "continue", "base": base.run, "training": { "batches": 700 } },
            { "id": "look", "kind": "evaluate", "base": "more" },
        ] }),
    )
    .await;
    assert_eq!(
        experiment(&study, "more").runs[0].seed,
        4,
        "continued with its seed"
    );
    assert_eq!(experiment(&study, "look").runs[0].seed, 4);
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    assert_eq!(claim.base.unwrap().checkpoint, base.last.id);

    let lineage: Lineage = app
        .get(&format!("/api/v1/runs/{}/lineage", base.run))
        .await
        .expect(StatusCode::OK);
    let (more, look) = (
        experiment(&study, "more").runs[0].run,
        experiment(&study, "look").runs[0].run,
    );
    let runs: Vec<_> = lineage.runs.iter().map(|run| run.run).collect();
    assert_eq!(runs, [base.run, more, look]);
    let edges: Vec<_> = lineage
        .edges
        .iter()
        .map(|edge| {
            (
                edge.from,
                edge.to,
                edge.kind,
                edge.checkpoint.as_ref().map(|bytes| bytes.sha256.clone()),
            )
        })
        .collect();
    assert_eq!(
        edges,
        [
            (
                base.run,
                more,
                CheckpointKind::Last,
                Some(base.last.sha256.clone())
            ),
            (more, look, CheckpointKind::Best, None),
        ]
    );
    let from_below: Lineage = app
        .get(&format!("/api/v1/runs/{look}/lineage"))
        .await
        .expect(StatusCode::OK);
    assert_eq!((from_below.runs, from_below.edges), (lineage.runs, lineage.edges));
    let nobody = motif_proto::id::RunId::new();
    app.get(&format!("/api/v1/runs/{nobody}/lineage"))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_run");
}

#[tokio::test]
async fn cancelling_a_study_ends_all_that_has_not_ended_and_can_be_repeated() {
    let app = App::start().await;
    let study = submit(
        &app,
        json!({ "name": "stop", "experiments": [
            { "id": "a", "preset": "demo", "seeds": 3 },
            { "id": "b", "kind": "transfer", "base": "a" },
        ] }),
    )
    .await;
    let worker = app.register().await;
    let claim = app.claim(worker).await.unwrap();
    let path = format!("/api/v1/studies/{}/cancel", study.summary.id);
    for _ in 0..2 {
        let cancelled: StudyDetail = app.post(&path, &json!({})).await.expect(StatusCode::OK);
        assert_eq!(cancelled.summary.state, StudyState::Cancelled);
        assert_eq!(cancelled.summary.counts.runs.cancelled, 6);
    }
    let verdict = app.heartbeat(worker, &claim).await;
    assert_eq!(verdict, motif_proto::worker::Verdict::Cancelled);
    app.post(&format!("/api/v1/studies/{}/cancel", StudyId::new()), &json!({}))
        .await
        .problem(StatusCode::NOT_FOUND, "unknown_study");
}

#[tokio::test]
async fn studies_are_listed_newest_first_page_by_page() {
    let app = App::start().await;
    let mut ids = Vec::new();
    for (name, project) in [("one", "lab"), ("two", "lab"), ("three", "other")] {
        let document = json!({ "name": name, "project": project, "tags": [name],
                               "experiments": [{ "id": "a", "preset": "demo" }] });
        ids.push(submit(&app, document).await.summary.id);
    }
    ids.reverse();
    let page = async |query: &str| -> StudyList {
        app.get(&format!("/api/v1/studies?{query}"))
            .await
            .expect(StatusCode::OK)
    };
    let first = page("limit=2").await;
    let listed: Vec<_> = first.studies.iter().map(|study| study.id).collect();
    assert_eq!(listed, ids[..2]);
    assert_eq!(first.studies[0].counts.total(), 1);
    let second = page(&format!("limit=2&cursor={}", first.next_cursor.unwrap())).await;
    assert_eq!((second.studies[0].id, &second.next_cursor), (ids[2], &None));
    assert_eq!(page("project=lab").await.studies.len(), 2);
    assert_eq!(page("tag=two").await.studies[0].name, "two");
    app.get("/api/v1/studies?limit=0")
        .await
        .problem(StatusCode::BAD_REQUEST, "invalid_query");
}

#[tokio::test]
async fn the_studies_that_come_with_motif_are_accepted() {
    let app = App::start().await;
    for (text, runs) in [
        (include_str!("../../../deploy/studies/paper.toml"), 50),
        (include_str!("../../../deploy/studies/search.toml"), 27),
    ] {
        let answer = app
            .request(
                axum::http::Method::POST,
                "/api/v1/studies",
                "application/toml",
                text,
            )
            .await;
        let study: StudyDetail = answer.expect(StatusCode::CREATED);
        assert_eq!(study.summary.counts.total(), runs, "{}", study.summary.name);
    }
}
