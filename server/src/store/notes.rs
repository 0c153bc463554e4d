//! The newest and the least value of each series of a run: what lists are sorted and filtered by.
//!
//! They are noted from the journal every few seconds while points stream in, at once with an evaluation, and when the
//! journal is settled: so a batch of metrics costs no more than before. After a rewind, and for points of earlier
//! versions, they are read from the points again.

use motif_proto::id::RunId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::events::Range;
use super::series::CurveQuery;
use super::{Result, Store};
use crate::domain::metrics::MAX_STEP;

/// Runs that are read again at once.
const PAGE: i64 = 100;

/// What the points of a series say. `newest` is NaN where the newest point is; nothing where there is no new one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Note {
    pub(super) newest: Option<f64>,
    pub(super) least: Option<f64>,
}

/// Notes the values of series `n` of runs with journals `j`, whose rows are locked.
macro_rules! note_series {
    ($from:literal) => {
        concat!(
            "insert into series (run_id, name, newest, least)
             select j.run_id, n.name, nullif(n.newest, 'NaN'), n.least from ",
            $from,
            " where n.newest is not null
             on conflict on constraint series_name_once do update
             set newest = excluded.newest, least = least(series.least, excluded.least)
             where series.newest is distinct from excluded.newest
                or series.least is distinct from least(series.least, excluded.least)"
        )
    };
}
pub(super) use note_series;

/// Notes the values of the series named. The run's row must be locked.
pub(super) async fn note(
    connection: &mut PgConnection,
    run: RunId,
    names: &[String],
    newest: &[Option<f64>],
    least: &[Option<f64>],
) -> Result<()> {
    sqlx::query(concat!(
        "with journal (run_id) as (values ($1::uuid)) ",
        note_series!(
            "journal j cross join unnest($2::text[], $3::float8[], $4::float8[]) as n (name, newest, least)"
        ),
    ))
    .bind(run.0)
    .bind(names)
    .bind(newest)
    .bind(least)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Runs with series whose values are to be read from their points.
    ///
    /// # Errors
    /// Storage.
    pub async fn unnoted(&self) -> Result<Vec<RunId>> {
        let runs: Vec<Uuid> =
            sqlx::query_scalar("select distinct run_id from series where not noted order by run_id limit $1")
                .bind(PAGE)
                .fetch_all(&self.pool)
                .await?;
        Ok(runs.into_iter().map(RunId).collect())
    }

    /// Reads the values of a run's series from their points, unless somebody is changing the run: then it is not the
    /// time.
    ///
    /// # Errors
    /// Storage, damaged data.
    pub async fn renote(&self, run: RunId) -> Result<()> {
        let mut tx = self.begin().await?;
        let locked: Option<Uuid> =
            sqlx::query_scalar("select id from runs where id = $1 for no key update skip locked")
                .bind(run.0)
                .fetch_optional(&mut *tx)
                .await?;
        if locked.is_none() {
            return Ok(());
        }
        let names: Vec<String> =
            sqlx::query_scalar("select name from series where run_id = $1 and not noted order by name")
                .bind(run.0)
                .fetch_all(&mut *tx)
                .await?;
        let notes = self.notes_of(run, &names).await?;
        sqlx::query(
            "update series s set newest = nullif(n.newest, 'NaN'), least = n.least, noted = true
             from unnest($2::text[], $3::float8[], $4::float8[]) as n (name, newest, least)
             where s.run_id = $1 and s.name = n.name",
        )
        .bind(run.0)
        .bind(&names)
        .bind(notes.iter().map(|note| note.newest).collect::<Vec<_>>())
        .bind(notes.iter().map(|note| note.least).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn notes_of(&self, run: RunId, names: &[String]) -> Result<Vec<Note>> {
        let whole = CurveQuery {
            series: Some(names.to_vec()),
            from: 0,
            to: MAX_STEP,
            points: 1,
        };
        let curves = self.curves(run, &whole).await?.series;
        let ends: Vec<Range> = curves
            .iter()
            .filter_map(|curve| {
                let last = curve.last_step?;
                Some(Range {
                    name: curve.name.clone(),
                    first: last,
                    last,
                })
            })
            .collect();
        let newest = self.points_in(run, &ends).await?;
        Ok(names
            .iter()
            .map(|name| {
                let end = newest.iter().find(|series| series.name == *name);
                let curve = curves.iter().find(|curve| curve.name == *name);
                let least = curve.and_then(|curve| curve.min.as_ref().unwrap_or(&curve.values).first());
                Note {
                    newest: end.and_then(|series| series.values.last()).map(|value| value.0),
                    least: least.map(|value| value.0).filter(|value| value.is_finite()),
                }
            })
            .collect())
    }
}
