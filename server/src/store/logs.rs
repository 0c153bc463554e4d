//! Log lines of attempts: chunks that grow at their end, and what is read of them.

use std::time::Duration;

use motif_proto::id::{AttemptId, RunId};
use motif_proto::log::{LogBatch, LogCursor, LogLevel, LogLine, LogsAccepted, RunLogLine, RunLogs};
use motif_proto::worker::HeldLease;
use sqlx::{FromRow, PgConnection};

use super::{Result, Store, attempts, events, signed, unsigned};
use crate::domain::log::{self, Chunk, Filter, RUN_BYTES};
use crate::error::Error;
use crate::signals::Signal;

/// Chunks that are read at once.
const PAGE: i64 = 16;
/// Chunks that are deleted at once.
const BATCH: i64 = 1000;

#[derive(FromRow)]
struct ChunkRow {
    attempt_number: i32,
    first_sequence: i64,
    next_sequence: i64,
    lines: i32,
    highest_level: i16,
    data: Vec<u8>,
}

impl ChunkRow {
    fn attempt(&self) -> u32 {
        self.attempt_number.unsigned_abs()
    }

    fn open(&self) -> Result<Chunk> {
        Ok(Chunk {
            text: log::unpack(&self.data)?,
            lines: self.lines,
            first_sequence: unsigned(self.first_sequence),
            next_sequence: unsigned(self.next_sequence),
            highest_level: u8::try_from(self.highest_level).unwrap_or(u8::MAX),
        })
    }
}

/// Which part of a run's log.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Only this attempt's.
    pub attempt: Option<u32>,
    /// Only such lines.
    pub filter: Filter,
    /// From where, and in which direction.
    pub place: Place,
    /// At most so many lines.
    pub limit: usize,
}

/// Where a page of a log lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Right behind.
    After(LogCursor),
    /// Right before.
    Before(LogCursor),
}

impl Store {
    /// Appends lines to the log of an attempt that holds its run or ended it itself. Safe to repeat.
    ///
    /// # Errors
    /// [`Error::InvalidLogs`], [`Error::UnknownAttempt`], [`Error::StaleLease`], storage.
    #[tracing::instrument(name = "logs.write", level = "debug", skip_all, fields(attempt.id = %batch.attempt))]
    pub async fn append_logs(&self, batch: &LogBatch) -> Result<LogsAccepted> {
        log::check(batch).map_err(Error::InvalidLogs)?;
        let held = HeldLease {
            attempt: batch.attempt,
            token: batch.token,
        };
        let mut tx = self.begin().await?;
        let run = attempts::lock_to_tell(&mut tx, held).await?;
        let (number, next): (i32, i64) =
            sqlx::query_as("select number, next_log_line from attempts where id = $1")
                .bind(batch.attempt.0)
                .fetch_one(&mut *tx)
                .await?;
        let is_new = |line: &&LogLine| line.sequence >= unsigned(next);
        let lines: Vec<LogLine> = batch.lines.iter().filter(is_new).map(log::presentable).collect();
        let Some(last) = lines.last() else {
            return Ok(LogsAccepted {
                next_sequence: unsigned(next),
            });
        };
        let next_sequence = last.sequence + 1;
        append(&mut tx, run, number, &lines).await?;
        advance(&mut tx, batch.attempt, next_sequence).await?;
        events::record_log(&mut tx, run, number.unsigned_abs(), next_sequence).await?;
        tx.commit().await?;
        self.tell(Signal::Run(run));
        Ok(LogsAccepted { next_sequence })
    }

    /// A page of a run's log.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], storage.
    #[tracing::instrument(name = "logs.read", level = "debug", skip_all, fields(run.id = %run))]
    pub async fn read_logs(&self, run: RunId, query: &LogQuery) -> Result<RunLogs> {
        let logs = match query.place {
            Place::After(cursor) => self.read_forwards(run, query, cursor).await?,
            Place::Before(cursor) => self.read_backwards(run, query, cursor).await?,
        };
        if logs.lines.is_empty() {
            self.run_summary(run).await?;
        }
        Ok(logs)
    }

    async fn read_forwards(&self, run: RunId, query: &LogQuery, from: LogCursor) -> Result<RunLogs> {
        let mut place = from;
        let mut lines: Vec<RunLogLine> = Vec::new();
        loop {
            let chunks = self.chunks_after(run, query, place).await?;
            for row in &chunks {
                let attempt = row.attempt();
                let expected = if place.attempt == attempt { place.lines } else { 0 };
                let wanted = query.filter.lines_of(&log::unpack(&row.data)?)?;
                if query.filter.lets_all_through() {
                    lines.extend(left_out(row, expected, wanted.first()));
                }
                let wanted = wanted.into_iter().filter(|line| line.sequence >= expected);
                lines.extend(wanted.map(|line| RunLogLine { attempt, line }));
                place = LogCursor {
                    attempt,
                    lines: unsigned(row.next_sequence),
                };
                if lines.len() > query.limit {
                    lines.truncate(query.limit);
                    return Ok(RunLogs {
                        after: lines.last().map_or(from, behind),
                        before: page_before(&lines, from),
                        lines,
                        more: true,
                    });
                }
            }
            if chunks.len() < PAGE as usize {
                return Ok(RunLogs {
                    after: place,
                    before: page_before(&lines, from),
                    lines,
                    more: false,
                });
            }
        }
    }

    async fn read_backwards(&self, run: RunId, query: &LogQuery, from: LogCursor) -> Result<RunLogs> {
        let mut place = from;
        // Newest first.
        let mut lines: Vec<RunLogLine> = Vec::new();
        let mut end = None;
        loop {
            let chunks = self.chunks_before(run, query, place).await?;
            for (i, row) in chunks.iter().enumerate() {
                let attempt = row.attempt();
                end.get_or_insert(LogCursor {
                    attempt,
                    lines: unsigned(row.next_sequence),
                });
                let wanted = query.filter.lines_of(&log::unpack(&row.data)?)?;
                let is_first = match chunks.get(i + 1) {
                    Some(older) => older.attempt_number != row.attempt_number,
                    None => chunks.len() < PAGE as usize,
                };
                let gone = left_out(row, 0, wanted.first());
                let gone = gone.filter(|_| is_first && query.filter.lets_all_through());
                let before = |line: &LogLine| attempt < from.attempt || line.sequence < from.lines;
                let wanted = wanted.into_iter().filter(before).rev();
                lines.extend(wanted.map(|line| RunLogLine { attempt, line }));
                lines.extend(gone);
                place = LogCursor {
                    attempt,
                    lines: unsigned(row.first_sequence),
                };
                if lines.len() > query.limit {
                    break;
                }
            }
            let is_full = lines.len() > query.limit;
            if !is_full && chunks.len() == PAGE as usize {
                continue;
            }
            lines.truncate(query.limit);
            lines.reverse();
            return Ok(RunLogs {
                // At the end of the log, lines that were not wanted lie before the place to go on from.
                after: match end {
                    Some(end) if end < from => end,
                    None if from == LogCursor::END => LogCursor::START,
                    _ => lines.last().map_or(from, behind),
                },
                before: lines.first().filter(|_| is_full).map(at),
                lines,
                more: from < LogCursor::END,
            });
        }
    }

    async fn chunks_after(&self, run: RunId, query: &LogQuery, place: LogCursor) -> Result<Vec<ChunkRow>> {
        Ok(sqlx::query_as(
            "select attempt_number, first_sequence, next_sequence, lines, highest_level, data from log_chunks
             where run_id = $1 and (attempt_number, next_sequence) > ($2, $3)
               and ($4 is null or attempt_number = $4) and highest_level >= $5
             order by attempt_number, first_sequence limit $6",
        )
        .bind(run.0)
        .bind(number(place.attempt))
        .bind(signed(place.lines))
        .bind(query.attempt.map(number))
        .bind(query.filter.level as i16)
        .bind(PAGE)
        .fetch_all(&self.pool)
        .await?)
    }

    async fn chunks_before(&self, run: RunId, query: &LogQuery, place: LogCursor) -> Result<Vec<ChunkRow>> {
        Ok(sqlx::query_as(
            "select attempt_number, first_sequence, next_sequence, lines, highest_level, data from log_chunks
             where run_id = $1 and (attempt_number, first_sequence) < ($2, $3)
               and ($4 is null or attempt_number = $4) and highest_level >= $5
             order by attempt_number desc, first_sequence desc limit $6",
        )
        .bind(run.0)
        .bind(number(place.attempt))
        .bind(signed(place.lines))
        .bind(query.attempt.map(number))
        .bind(query.filter.level as i16)
        .bind(PAGE)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Deletes chunks that are older than `age`, a batch at most. Returns how many.
    ///
    /// # Errors
    /// Storage.
    pub async fn prune_logs(&self, age: Duration) -> Result<u64> {
        let deleted = sqlx::query(
            "delete from log_chunks where ctid = any(array(
                 select ctid from log_chunks where created_at < now() - make_interval(secs => $1)
                 order by created_at limit $2 for update skip locked
             ))",
        )
        .bind(age.as_secs_f64())
        .bind(BATCH)
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected())
    }
}

fn number(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

/// The place right before a line.
fn at(line: &RunLogLine) -> LogCursor {
    LogCursor {
        attempt: line.attempt,
        lines: line.line.sequence,
    }
}

/// The place right behind a line.
fn behind(line: &RunLogLine) -> LogCursor {
    LogCursor {
        attempt: line.attempt,
        lines: line.line.sequence + 1,
    }
}

fn page_before(lines: &[RunLogLine], from: LogCursor) -> Option<LogCursor> {
    lines.first().filter(|_| from > LogCursor::START).map(at)
}

/// Says that lines before a chunk are gone, in their place.
fn left_out(row: &ChunkRow, expected: u64, oldest: Option<&LogLine>) -> Option<RunLogLine> {
    let first = unsigned(row.first_sequence);
    let missing = first.checked_sub(expected).filter(|missing| *missing > 0)?;
    Some(RunLogLine {
        attempt: row.attempt(),
        line: LogLine {
            sequence: first - 1,
            time: oldest?.time,
            level: LogLevel::Warn,
            target: "motif_server".to_owned(),
            message: format!("{missing} older lines of this attempt are not kept"),
            fields: std::collections::BTreeMap::new(),
        },
    })
}

/// Fills up the attempt's last chunk and begins others where it is full; then drops the run's oldest beyond its bound.
async fn append(connection: &mut PgConnection, run: RunId, number: i32, lines: &[LogLine]) -> Result<()> {
    let last: Option<ChunkRow> = sqlx::query_as(
        "select attempt_number, first_sequence, next_sequence, lines, highest_level, data from log_chunks
         where run_id = $1 and attempt_number = $2 order by first_sequence desc limit 1",
    )
    .bind(run.0)
    .bind(number)
    .fetch_optional(&mut *connection)
    .await?;
    let mut chunk = last.map_or_else(|| Ok(Chunk::default()), |row| row.open())?;
    let mut begun = 0;
    if chunk.is_full() {
        chunk = Chunk::default();
    }
    for line in lines {
        if chunk.is_full() {
            write(connection, run, number, &chunk).await?;
            chunk = Chunk::default();
        }
        begun += u32::from(chunk.lines == 0);
        chunk.push(line);
    }
    write(connection, run, number, &chunk).await?;
    if begun > 0 {
        drop_oldest(connection, run).await?;
    }
    Ok(())
}

async fn write(connection: &mut PgConnection, run: RunId, number: i32, chunk: &Chunk) -> Result<()> {
    let packed = chunk
        .packed()
        .map_err(|error| Error::Damaged(error.to_string()))?;
    sqlx::query(
        "insert into log_chunks
             (run_id, attempt_number, first_sequence, next_sequence, lines, text_bytes, highest_level, data)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict on constraint log_chunks_pkey do update
         set next_sequence = excluded.next_sequence, lines = excluded.lines, text_bytes = excluded.text_bytes,
             highest_level = excluded.highest_level, data = excluded.data",
    )
    .bind(run.0)
    .bind(number)
    .bind(signed(chunk.first_sequence))
    .bind(signed(chunk.next_sequence))
    .bind(chunk.lines)
    .bind(i32::try_from(chunk.text.len()).unwrap_or(i32::MAX))
    .bind(i16::from(chunk.highest_level))
    .bind(packed)
    .execute(connection)
    .await?;
    Ok(())
}

async fn drop_oldest(connection: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query(
        "with sizes as (
             select attempt_number, first_sequence,
                    sum(text_bytes) over (order by attempt_number desc, first_sequence desc) as bytes
             from log_chunks where run_id = $1
         )
         delete from log_chunks c using sizes s
         where c.run_id = $1 and c.attempt_number = s.attempt_number and c.first_sequence = s.first_sequence
           and s.bytes > $2",
    )
    .bind(run.0)
    .bind(RUN_BYTES)
    .execute(connection)
    .await?;
    Ok(())
}

async fn advance(connection: &mut PgConnection, attempt: AttemptId, next_sequence: u64) -> Result<()> {
    sqlx::query("update attempts set next_log_line = $2 where id = $1")
        .bind(attempt.0)
        .bind(signed(next_sequence))
        .execute(connection)
        .await?;
    Ok(())
}
