//! Which bytes came from which run, through all generations.

use motif_proto::id::{CheckpointId, RunId};
use motif_proto::study::{Lineage, LineageCheckpoint, LineageEdge, LineageRun};
use sqlx::FromRow;
use uuid::Uuid;

use super::runs::PlaceRow;
use super::{Result, Store, unsigned, word};
use crate::domain::access::Projects;
use crate::error::Error;

/// Most runs of one answer.
const MAX_RUNS: usize = 1_000;

/// From which run to which a checkpoint goes: where it is fixed already, and where it still has to be made.
const STARTS: &str = "
starts as (
    select c.run_id as from_run, r.id as to_run, c.kind, c.id as checkpoint, c.next_batch, c.sha256
    from experiments e join runs r on r.experiment_id = e.id join checkpoints c on c.id = e.base_checkpoint_id
    union all
    select d.on_run_id, d.run_id, d.checkpoint, null, null, null
    from dependencies d join runs r on r.id = d.run_id join experiments e on e.id = r.experiment_id
    where d.checkpoint is not null and e.base_checkpoint_id is null
)";

#[derive(FromRow)]
struct NodeRow {
    id: Uuid,
    name: String,
    kind: String,
    seed: i64,
    state: String,
    #[sqlx(flatten)]
    place: PlaceRow,
}

#[derive(FromRow)]
struct EdgeRow {
    from_run: Uuid,
    to_run: Uuid,
    kind: String,
    checkpoint: Option<Uuid>,
    next_batch: Option<i64>,
    sha256: Option<String>,
}

impl Store {
    /// What a run came from and what came from it, as far as it belongs to these projects.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    pub async fn lineage(&self, run: RunId, projects: &Projects) -> Result<Lineage> {
        let mut tx = self.begin_snapshot().await?;
        // A run has one base, so its ancestors are a chain; its descendants are a tree.
        let mut ids: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "with recursive {STARTS}, up as (
                 select $1::uuid as id
                 union
                 select s.from_run from up join starts s on s.to_run = up.id
             ), down as (
                 select $1::uuid as id
                 union
                 select s.to_run from down join starts s on s.from_run = down.id
             )
             select id from (select id from up union select id from down) all_of
             where exists (select from runs where runs.id = all_of.id and ($3::text[] is null or project = any($3)))
             order by id limit $2"
        )))
        .bind(run.0)
        .bind(i64::try_from(MAX_RUNS + 1).unwrap_or(i64::MAX))
        .bind(projects.filter())
        .fetch_all(&mut *tx)
        .await?;
        if ids.is_empty() {
            return Err(Error::UnknownRun(run));
        }
        let truncated = ids.len() > MAX_RUNS;
        ids.truncate(MAX_RUNS);
        let nodes: Vec<NodeRow> = sqlx::query_as(
            "select r.id, e.name, e.kind, e.seed, r.state, e.study_id, s.name as study_name, e.study_key,
                    e.study_point
             from runs r join experiments e on e.id = r.experiment_id left join studies s on s.id = e.study_id
             where r.id = any($1) order by r.id",
        )
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await?;
        let edges: Vec<EdgeRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "with {STARTS} select * from starts where from_run = any($1) and to_run = any($1)
             order by from_run, to_run"
        )))
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await?;
        tx.rollback().await?;
        Ok(Lineage {
            run,
            runs: nodes.into_iter().map(NodeRow::into_run).collect::<Result<_>>()?,
            edges: edges.into_iter().map(EdgeRow::into_edge).collect::<Result<_>>()?,
            truncated,
        })
    }
}

impl NodeRow {
    fn into_run(self) -> Result<LineageRun> {
        Ok(LineageRun {
            run: RunId(self.id),
            name: self.name,
            kind: word(&self.kind)?,
            seed: unsigned(self.seed),
            state: word(&self.state)?,
            study: self.place.into_place(),
        })
    }
}

impl EdgeRow {
    fn into_edge(self) -> Result<LineageEdge> {
        let checkpoint = self.checkpoint.zip(self.next_batch).zip(self.sha256);
        Ok(LineageEdge {
            from: RunId(self.from_run),
            to: RunId(self.to_run),
            kind: word(&self.kind)?,
            checkpoint: checkpoint.map(|((id, next_batch), sha256)| LineageCheckpoint {
                id: CheckpointId(id),
                next_batch: unsigned(next_batch),
                sha256,
            }),
        })
    }
}
