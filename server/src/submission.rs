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

use crate::domain::access::{Actor, Principal, Projects};
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
pub async fn submit(
    store: &Store,
    mut document: Value,
    actor: &Actor,
) -> Result<ExperimentAccepted, Refusal> {
    let principal = &actor.principal;
    let misplaced = principal.place(&mut document).err().map(|problem| *problem);
    let mut looks = 0;
    loop {
        looks += 1;
        let (spec, base) = resolve(store, &document, principal, misplaced.as_ref()).await?;
        match store
            .submit_experiment(spec, base.as_ref().map(|base| &base.checkpoint), actor)
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
pub async fn submit_study(store: &Store, mut document: Value, actor: &Actor) -> Result<StudyDetail, Refusal> {
    let principal = &actor.principal;
    let misplaced = principal.place(&mut document).err().map(|problem| *problem);
    let mut looks = 0;
    loop {
        looks += 1;
        let found = find_outside(store, &document, &principal.projects).await?;
        let plan = plan_aside(document.clone(), found).await;
        let plan = placed(store, plan, principal, misplaced.as_ref()).await?;
        match store.submit_study(plan, &document, actor).await {
            Err(Error::UnknownCheckpoint(_)) if looks < LOOKS => {}
            accepted => return Ok(accepted?),
        }
    }
}

/// The plan, unless something is wrong with it or with its project: then all of that.
async fn placed(
    store: &Store,
    plan: Result<plan::Plan, Refusal>,
    principal: &Principal,
    misplaced: Option<&FieldProblem>,
) -> Result<plan::Plan, Refusal> {
    let mut problems: Vec<FieldProblem> = misplaced.cloned().into_iter().collect();
    match plan {
        Ok(plan) => {
            problems.extend(missing_project(store, &plan.study.project, principal).await?);
            if problems.is_empty() {
                return Ok(plan);
            }
        }
        Err(Refusal::Invalid(others)) => problems.extend(others),
        Err(failed @ Refusal::Failed(_)) => return Err(failed),
    }
    Err(Refusal::Invalid(problems))
}

/// Thousands of specs take a while to be judged: off the async threads.
async fn plan_aside(document: Value, found: Found) -> Result<plan::Plan, Refusal> {
    tokio::task::spawn_blocking(move || plan::plan(&document, &found))
        .await
        .map_err(|error| Error::Damaged(format!("a study could not be planned: {error}")))?
        .map_err(Refusal::Invalid)
}

/// The checkpoints outside of a study from which its experiments start.
async fn find_outside(store: &Store, document: &Value, projects: &Projects) -> Result<Found, Error> {
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
        let outside = find(store, &request, projects).await?;
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

async fn resolve(
    store: &Store,
    document: &Value,
    principal: &Principal,
    misplaced: Option<&FieldProblem>,
) -> Result<(ExperimentSpec, Option<FoundBase>), Refusal> {
    let (found, unfound) = match BaseRequest::of(document) {
        None => (None, None),
        Some(request) => match find(store, &request, &principal.projects).await? {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        },
    };
    let base = found.as_ref().and_then(|found| Base::of(&found.spec));
    let resolved = ExperimentSpec::resolve(document, base.as_ref());
    let mut problems: Vec<FieldProblem> = misplaced.cloned().into_iter().chain(unfound).collect();
    match resolved {
        Ok(spec) => {
            problems.extend(missing_project(store, &spec.project, principal).await?);
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
async fn find(
    store: &Store,
    request: &BaseRequest,
    visible: &Projects,
) -> Result<Result<FoundBase, FieldProblem>, Error> {
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
    if let Some(found) = store.base_by_checkpoint(visible, CheckpointId(id)).await? {
        return Ok(Ok(found));
    }
    let (run, kind) = (RunId(id), request.checkpoint);
    if let Some(found) = store.base_by_run(visible, run, kind).await? {
        return Ok(Ok(found));
    }
    Ok(Err(if store.has_run(visible, run).await? {
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

/// The problem of an experiment whose project is not there. One that an admin names is made for it.
async fn missing_project(
    store: &Store,
    project: &str,
    principal: &Principal,
) -> Result<Option<FieldProblem>, Error> {
    if principal.is_admin_of_all() || store.has_project(project).await? {
        return Ok(None);
    }
    Ok(Some(FieldProblem {
        pointer: "/project".to_owned(),
        detail: format!("there is no project `{project}`: an admin can make it"),
        given: Some(json!(project)),
        allowed: Some("a project that is there".to_owned()),
        nearest: None,
    }))
}
