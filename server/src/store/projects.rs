//! Projects: what experiments belong to, and their shares of the workers; and which project a thing belongs to.

use chrono::{DateTime, Utc};
use motif_proto::access::{NewProject, ProjectInfo, ProjectList};
use motif_proto::id::{ArtifactId, CheckpointId, RunId, StudyId, UploadId};
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::audit::{self, Entry};
use super::{Result, Store, is_violation};
use crate::domain::access::{Actor, Projects};
use crate::domain::revision::Expected;
use crate::error::Error;

#[derive(FromRow)]
struct ProjectRow {
    name: String,
    weight: f64,
    created_at: DateTime<Utc>,
}

impl From<ProjectRow> for ProjectInfo {
    fn from(row: ProjectRow) -> Self {
        Self {
            name: row.name,
            weight: row.weight,
            created_at: row.created_at,
        }
    }
}

/// Sees to it that there are projects of all these names.
pub(super) async fn require(connection: &mut PgConnection, names: &[String]) -> Result<()> {
    let missing: Option<String> = sqlx::query_scalar(
        "select name from unnest($1::text[]) as n (name)
         where not exists (select from projects p where p.name = n.name) limit 1",
    )
    .bind(names)
    .fetch_optional(connection)
    .await?;
    missing.map_or(Ok(()), |name| Err(Error::UnknownProject(name)))
}

impl Store {
    /// The projects that are visible, by name.
    ///
    /// # Errors
    /// Storage.
    pub async fn list_projects(&self, visible: &Projects) -> Result<ProjectList> {
        let rows: Vec<ProjectRow> = sqlx::query_as(
            "select name, weight, created_at from projects
             where $1::text[] is null or name = any($1) order by name limit 10000",
        )
        .bind(visible.filter())
        .fetch_all(&self.pool)
        .await?;
        let projects = rows.into_iter().map(ProjectInfo::from).collect();
        Ok(ProjectList { projects })
    }

    /// Adds a project.
    ///
    /// # Errors
    /// [`Error::ProjectExists`], storage.
    pub async fn create_project(&self, project: &NewProject, actor: &Actor) -> Result<ProjectInfo> {
        let mut tx = self.begin().await?;
        let created: ProjectRow = sqlx::query_as(
            "insert into projects (name, weight) values ($1, $2) returning name, weight, created_at",
        )
        .bind(&project.name)
        .bind(project.weight.unwrap_or(1.0))
        .fetch_one(&mut *tx)
        .await
        .map_err(|error| {
            if is_violation(&error, "projects_pkey") {
                Error::ProjectExists(project.name.clone())
            } else {
                error.into()
            }
        })?;
        record(&mut tx, actor, "project.create", &created).await?;
        tx.commit().await?;
        Ok(created.into())
    }

    /// The project of this name.
    ///
    /// # Errors
    /// [`Error::UnknownProject`], storage.
    pub async fn find_project(&self, name: &str) -> Result<ProjectInfo> {
        let row: Option<ProjectRow> =
            sqlx::query_as("select name, weight, created_at from projects where name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        row.map(ProjectInfo::from)
            .ok_or_else(|| Error::UnknownProject(name.to_owned()))
    }

    /// Gives a project another share of the workers.
    ///
    /// # Errors
    /// [`Error::UnknownProject`], [`Error::ChangedMeanwhile`], storage.
    pub async fn weigh_project(
        &self,
        name: &str,
        weight: f64,
        expected: &Expected,
        actor: &Actor,
    ) -> Result<ProjectInfo> {
        let mut tx = self.begin().await?;
        let found: Option<ProjectRow> =
            sqlx::query_as("select name, weight, created_at from projects where name = $1 for no key update")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
        let found = found.ok_or_else(|| Error::UnknownProject(name.to_owned()))?;
        expected.require(&ProjectInfo::from(found))?;
        let changed: ProjectRow = sqlx::query_as(
            "update projects set weight = $2 where name = $1 returning name, weight, created_at",
        )
        .bind(name)
        .bind(weight)
        .fetch_one(&mut *tx)
        .await?;
        record(&mut tx, actor, "project.change", &changed).await?;
        tx.commit().await?;
        Ok(changed.into())
    }

    /// Whether there is a project of this name.
    ///
    /// # Errors
    /// Storage.
    pub async fn has_project(&self, name: &str) -> Result<bool> {
        Ok(
            sqlx::query_scalar("select exists (select from projects where name = $1)")
                .bind(name)
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// Whether a run belongs to one of these projects, or did before it was deleted of late.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_run_in(&self, run: RunId, projects: &[String]) -> Result<bool> {
        let statement = "select exists (select from runs where id = $1 and project = any($2))
                             or exists (select from deletions where run_id = $1 and project = any($2))";
        self.is_in(statement, run.0, projects).await
    }

    /// Whether a study belongs to one of these projects, or did before it was deleted of late.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_study_in(&self, study: StudyId, projects: &[String]) -> Result<bool> {
        let statement = "select exists (select from studies where id = $1 and project = any($2))
                             or exists (select from deletions where study_id = $1 and project = any($2))";
        self.is_in(statement, study.0, projects).await
    }

    /// Whether all of these runs belong to these projects; the first that does not, where there is one.
    ///
    /// # Errors
    /// Storage.
    pub async fn run_outside(&self, runs: &[RunId], projects: &[String]) -> Result<Option<RunId>> {
        let ids: Vec<Uuid> = runs.iter().map(|run| run.0).collect();
        let outside: Option<Uuid> = sqlx::query_scalar(
            "select id from unnest($1::uuid[]) as asked (id)
             where not exists (select from runs r where r.id = asked.id and r.project = any($2)) limit 1",
        )
        .bind(ids)
        .bind(projects)
        .fetch_optional(&self.pool)
        .await?;
        Ok(outside.map(RunId))
    }

    /// Whether a checkpoint belongs to a run of one of these projects.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_checkpoint_in(&self, checkpoint: CheckpointId, projects: &[String]) -> Result<bool> {
        let statement = "select exists (select from checkpoints c join runs r on r.id = c.run_id
                                        where c.id = $1 and r.project = any($2))";
        self.is_in(statement, checkpoint.0, projects).await
    }

    /// Whether an upload is that of a run of one of these projects.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_upload_in(&self, upload: UploadId, projects: &[String]) -> Result<bool> {
        let statement = "select exists (select from uploads u join attempts a on a.id = u.attempt_id
                                        join runs r on r.id = a.run_id
                                        where u.id = $1 and r.project = any($2))";
        self.is_in(statement, upload.0, projects).await
    }

    /// Whether an experiment of one of these projects starts from a checkpoint.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_base_in(&self, checkpoint: CheckpointId, projects: &[String]) -> Result<bool> {
        let statement = "select exists (select from experiments e join runs r on r.experiment_id = e.id
                                        where e.base_checkpoint_id = $1 and r.project = any($2))";
        self.is_in(statement, checkpoint.0, projects).await
    }

    /// Whether an artifact belongs to a run of one of these projects.
    ///
    /// # Errors
    /// Storage.
    pub async fn is_artifact_in(&self, artifact: ArtifactId, projects: &[String]) -> Result<bool> {
        let statement = "select exists (select from artifacts a join runs r on r.id = a.run_id
                                        where a.id = $1 and r.project = any($2))";
        self.is_in(statement, artifact.0, projects).await
    }

    async fn is_in(&self, statement: &'static str, id: Uuid, projects: &[String]) -> Result<bool> {
        Ok(sqlx::query_scalar(statement)
            .bind(id)
            .bind(projects)
            .fetch_one(&self.pool)
            .await?)
    }
}

async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    project: &ProjectRow,
) -> Result<()> {
    let entry = Entry {
        action,
        subject: project.name.as_str().into(),
        project: Some(&project.name),
        details: json!({ "weight": project.weight }),
    };
    audit::record(connection, actor, entry).await
}
