//! Takes in experiments and studies: finds what they start from, and refuses what cannot come to a good end.

use motif_proto::id::{CheckpointId, RunId};
use motif_proto::problem::FieldProblem;
use motif_proto::run::ExperimentAccepted;
use motif_proto::spec::ExperimentSpec;
use motif_proto::spec::base::{Base, BaseRequest};
use motif_proto::spec::study::StudyDocument;
use motif_proto::study::StudyDetail;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::plan::{self, Found, Outside, nothing_left};
use crate::error::Error;
use crate::store::Store;
use crate::store::bases::FoundBase;

/// Looks for a base whose checkpoint is replaced while its experiment is stored.
const LOOKS: u32 = 5;

/// Why an experiment was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The spec has these mistakes.
    #[error("the spec cannot be accepted")]
    Invalid(Vec<FieldProblem>),
    /// It could not be stored.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Fills in the spec, fixes the checkpoint that it starts from, and queues its run.
///
/// # Errors
/// [`Refusal`]; with every mistake of the spec.
pub async fn submit(store: &Store, document: &Value) -> Result<ExperimentAccepted, Refusal> {
    let mut looks = 0;
    loop {
        looks += 1;
        let (spec, base) = resolve(store, document).await?;
        match store
            .submit_experiment(spec, base.as_ref().map(|base| &base.checkpoint))
            .await
        {
            Err(Error::UnknownCheckpoint(_)) if looks < LOOKS => {}
            accepted => return Ok(accepted?),
        }
    }
}

/// Plans a study, fixes the checkpoints outside of it from which it starts, and stores it whole.
///
/// # Errors
/// [`Refusal`]; with every mistake of every experiment.
pub async fn submit_study(store: &Store, document: &Value) -> Result<StudyDetail, Refusal> {
    let mut looks = 0;
    loop {
        looks += 1;
        let found = find_outside(store, document).await?;
        let plan = plan_aside(document.clone(), found).await?;
        match store.submit_study(plan, document).await {
            Err(Error::UnknownCheckpoint(_)) if looks < LOOKS => {}
            accepted => return Ok(accepted?),
        }
    }
}

/// Thousands of specs take a while to be judged: off the async threads.
async fn plan_aside(document: Value, found: Found) -> Result<plan::Plan, Refusal> {
    tokio::task::spawn_blocking(move || plan::plan(&document, &found))
        .await
        .map_err(|error| Error::Damaged(format!("a study could not be planned: {error}")))?
        .map_err(Refusal::Invalid)
}

/// The checkpoints outside of a study from which its experiments start.
async fn find_outside(store: &Store, document: &Value) -> Result<Found, Error> {
    let (study, _) = StudyDocument::read(document);
    let mut found = Found::new();
    for (place, entry) in study.experiments.iter().enumerate() {
        let Some(request) = BaseRequest::of(&entry.spec) else {
            continue;
        };
        let is_sibling = study.experiments.iter().any(|other| other.id == request.base);
        if is_sibling || request.base.parse::<Uuid>().is_err() {
            continue;
        }
        let outside = find(store, &request).await?;
        found.insert(
            place,
            outside.map(|found| Outside {
                checkpoint: found.checkpoint,
                spec: found.spec,
            }),
        );
    }
    Ok(found)
}

async fn resolve(store: &Store, document: &Value) -> Result<(ExperimentSpec, Option<FoundBase>), Refusal> {
    let (found, unfound) = match BaseRequest::of(document) {
        None => (None, None),
        Some(request) => match find(store, &request).await? {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        },
    };
    let base = found.as_ref().and_then(|found| Base::of(&found.spec));
    let resolved = ExperimentSpec::resolve(document, base.as_ref());
    let mut problems: Vec<FieldProblem> = unfound.into_iter().collect();
    match resolved {
        Ok(spec) => {
            let trained = found.as_ref().map(|base| base.checkpoint.next_batch);
            problems.extend(trained.and_then(|trained| nothing_left(&spec, trained)));
            if problems.is_empty() {
                return Ok((spec, found));
            }
        }
        Err(others) => problems.extend(others),
    }
    Err(Refusal::Invalid(problems))
}

/// The checkpoint that is asked for, or what is wrong with the request.
async fn find(store: &Store, request: &BaseRequest) -> Result<Result<FoundBase, FieldProblem>, Error> {
    let problem = |detail: String, allowed: &str| FieldProblem {
        pointer: "/base".to_owned(),
        detail,
        given: Some(json!(request.base)),
        allowed: Some(allowed.to_owned()),
        nearest: None,
    };
    let Ok(id) = request.base.parse::<Uuid>() else {
        let detail = format!("`{}` is not the id of a run or a checkpoint", request.base);
        return Ok(Err(problem(detail, "a run's id or a checkpoint's id")));
    };
    if let Some(found) = store.base_by_checkpoint(CheckpointId(id)).await? {
        return Ok(Ok(found));
    }
    let (run, kind) = (RunId(id), request.checkpoint);
    if let Some(found) = store.base_by_run(run, kind).await? {
        return Ok(Ok(found));
    }
    Ok(Err(if store.has_run(run).await? {
        problem(
            format!("run {run} has no checkpoint `{kind}`, or not yet"),
            "a run that has one, or another `base_checkpoint`",
        )
    } else {
        problem(
            format!("there is no run and no checkpoint with the id {id}"),
            "a run's id or a checkpoint's id",
        )
    }))
}
