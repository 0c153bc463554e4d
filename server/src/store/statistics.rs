//! The values of groups of runs, for statistics over seeds.

use std::collections::{BTreeMap, HashMap};

use motif_proto::id::RunId;
use motif_proto::metrics::Measured;
use motif_proto::statistics::{Difference, Group, Pair, RunValue, Spread, Statistics};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::journal::Journals;
use super::series::CurveQuery;
use super::{Result, Store, signed, unsigned, word};
use crate::domain::access::Projects;
use crate::domain::chunk;
use crate::domain::statistics::{self, Series};
use crate::error::Error;

/// Most runs of a group.
const MAX_RUNS: usize = 1_000;
/// Entries of a curve that are read for one entry of the answer, so that ranges share them evenly.
const ENTRIES_PER_RANGE: usize = 4;

/// What is asked of a group's curves.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    /// Every run's newest value, wherever that is.
    Newest,
    /// The newest value at or before a step, of runs that have got there.
    Step(u64),
    /// Ranges of steps.
    Range {
        /// First step.
        from: u64,
        /// Last step.
        to: u64,
        /// Most ranges.
        points: usize,
    },
}

/// What statistics are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The series.
    pub series: String,
    /// Where.
    pub at: At,
    /// How sure the intervals are to be.
    pub confidence: f64,
    /// Runs of other projects are not there.
    pub projects: Projects,
}

#[derive(Clone, FromRow)]
struct Member {
    id: Uuid,
    name: String,
    seed: i64,
    state: String,
}

impl Member {
    fn value(&self, step: u64, value: f64) -> Result<RunValue> {
        Ok(RunValue {
            run: RunId(self.id),
            name: self.name.clone(),
            seed: unsigned(self.seed),
            state: word(&self.state)?,
            step,
            value: Measured(value),
        })
    }
}

impl Store {
    /// Mean and spread of a series over a group of runs.
    ///
    /// # Errors
    /// [`Error::UnknownRun`], [`Error::UnknownStudy`], [`Error::TooManyRuns`], storage.
    pub async fn statistics(&self, group: &Group, question: &Question) -> Result<Statistics> {
        let members = self.members(group, &question.projects).await?;
        let mut statistics = Statistics {
            group: group.to_string(),
            series: question.series.clone(),
            confidence: question.confidence,
            runs: members.len() as u64,
            spreads: Vec::new(),
            values: Vec::new(),
        };
        match question.at {
            At::Newest | At::Step(_) => {
                statistics.values = self.values(&members, question).await?;
                let values: Vec<f64> = statistics.values.iter().map(|value| value.value.0).collect();
                statistics.spreads = vec![question.spread(&values)];
            }
            At::Range { from, to, points } => {
                let curves = self.series_of(&members, question, from, to, points).await?;
                let ranges = statistics::common(&curves, points).into_iter();
                statistics.spreads = ranges
                    .map(|(from, to, values)| {
                        let values: Vec<f64> = values.into_iter().flatten().collect();
                        question.spread_over(from, to, &values)
                    })
                    .collect();
            }
        }
        Ok(statistics)
    }

    /// The first group less the second, seed by seed.
    ///
    /// # Errors
    /// As of [`statistics`](Self::statistics); [`Error::AmbiguousSeed`].
    pub async fn difference(&self, a: &Group, b: &Group, question: &Question) -> Result<Difference> {
        let (first, second) = (
            self.members(a, &question.projects).await?,
            self.members(b, &question.projects).await?,
        );
        let (of_a, of_b) = (by_seed(a, &first)?, by_seed(b, &second)?);
        let mut difference = Difference {
            a: a.to_string(),
            b: b.to_string(),
            series: question.series.clone(),
            confidence: question.confidence,
            spreads: Vec::new(),
            pairs: Vec::new(),
            unpaired: Vec::new(),
        };
        let mut unpaired: Vec<u64> = of_a.keys().chain(of_b.keys()).copied().collect();
        let paired: Vec<u64> = of_a
            .keys()
            .filter(|seed| of_b.contains_key(seed))
            .copied()
            .collect();
        let pick = |of: &BTreeMap<u64, Member>| -> Vec<Member> {
            paired.iter().filter_map(|seed| of.get(seed).cloned()).collect()
        };
        let (first, second) = (pick(&of_a), pick(&of_b));
        match question.at {
            At::Newest | At::Step(_) => {
                let first = self.values(&first, question).await?;
                let second = self.values(&second, question).await?;
                let mut second: HashMap<u64, RunValue> =
                    second.into_iter().map(|value| (value.seed, value)).collect();
                for a in first {
                    if let Some(b) = second.remove(&a.seed) {
                        let difference_of = Measured(a.value.0 - b.value.0);
                        unpaired.retain(|seed| *seed != a.seed);
                        difference.pairs.push(Pair {
                            seed: a.seed,
                            difference: difference_of,
                            a,
                            b,
                        });
                    }
                }
                let values: Vec<f64> = difference.pairs.iter().map(|pair| pair.difference.0).collect();
                difference.spreads = vec![question.spread(&values)];
            }
            At::Range { from, to, points } => {
                let mut curves = self.series_of(&first, question, from, to, points).await?;
                curves.extend(self.series_of(&second, question, from, to, points).await?);
                unpaired.retain(|seed| !paired.contains(seed));
                let ranges = statistics::common(&curves, points).into_iter();
                difference.spreads = ranges
                    .map(|(from, to, values)| {
                        let (a, b) = values.split_at(paired.len());
                        let pairs = a.iter().zip(b).filter_map(|(a, b)| Some((*a)? - (*b)?));
                        question.spread_over(from, to, &pairs.collect::<Vec<f64>>())
                    })
                    .filter(|spread| spread.n + spread.not_finite > 0)
                    .collect();
            }
        }
        unpaired.sort_unstable();
        unpaired.dedup();
        difference.unpaired = unpaired;
        Ok(difference)
    }

    /// The runs of a group, in the order of their seeds.
    async fn members(&self, group: &Group, projects: &Projects) -> Result<Vec<Member>> {
        let (study, key, point, tags, runs) = match group {
            Group::Study { study, key, point } => {
                let point = point.and_then(|point| i32::try_from(point).ok());
                (Some(study.0), key.as_deref(), point, None, None)
            }
            Group::Tag(tag) => (None, None, None, Some(vec![tag.as_str()]), None),
            Group::Runs(runs) => (
                None,
                None,
                None,
                None,
                Some(runs.iter().map(|run| run.0).collect::<Vec<_>>()),
            ),
        };
        let members: Vec<Member> = sqlx::query_as(
            "select r.id, e.name, e.seed, r.state
             from experiments e join runs r on r.experiment_id = e.id
             where ($1::uuid is null or e.study_id = $1)
               and ($2::text is null or e.study_key = $2)
               and ($3::integer is null or e.study_point = $3)
               and ($4::text[] is null or e.tags @> $4)
               and ($5::uuid[] is null or r.id = any($5))
               and ($7::text[] is null or r.project = any($7))
             order by e.seed, r.id limit $6",
        )
        .bind(study)
        .bind(key)
        .bind(point)
        .bind(tags)
        .bind(&runs)
        .bind(i64::try_from(MAX_RUNS + 1).unwrap_or(i64::MAX))
        .bind(projects.filter())
        .fetch_all(&self.pool)
        .await?;
        if members.len() > MAX_RUNS {
            return Err(Error::TooManyRuns {
                group: group.to_string(),
                most: MAX_RUNS,
            });
        }
        match group {
            Group::Runs(runs) => {
                let known = |run: &&RunId| !members.iter().any(|member| member.id == run.0);
                if let Some(&unknown) = runs.iter().find(known) {
                    return Err(Error::UnknownRun(unknown));
                }
            }
            Group::Study { study, .. } if members.is_empty() => {
                let known: bool = sqlx::query_scalar(
                    "select exists (select from studies
                                    where id = $1 and ($2::text[] is null or project = any($2)))",
                )
                .bind(study.0)
                .bind(projects.filter())
                .fetch_one(&self.pool)
                .await?;
                if !known {
                    return Err(Error::UnknownStudy(*study));
                }
            }
            Group::Study { .. } | Group::Tag(_) => {}
        }
        Ok(members)
    }

    /// What each run contributes at a step; those that have nothing there are left out.
    async fn values(&self, members: &[Member], question: &Question) -> Result<Vec<RunValue>> {
        let ids: Vec<Uuid> = members.iter().map(|member| member.id).collect();
        let step = match question.at {
            At::Step(step) => Some(step),
            At::Newest | At::Range { .. } => None,
        };
        let mut connection = self.pool.acquire().await?;
        let newest = newest(
            &mut connection,
            &ids,
            &question.series,
            step.unwrap_or(u64::MAX >> 1),
        )
        .await?;
        let values = members.iter().filter_map(|member| {
            let newest = newest.get(&member.id)?;
            let got_there = step.is_none_or(|step| newest.last_step >= step);
            got_there.then(|| member.value(newest.step, newest.value))
        });
        values.collect()
    }

    /// The curves of the runs, in their order; one that has nothing there is empty.
    async fn series_of(
        &self,
        members: &[Member],
        question: &Question,
        from: u64,
        to: u64,
        points: usize,
    ) -> Result<Vec<Series>> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let runs: Vec<RunId> = members.iter().map(|member| RunId(member.id)).collect();
        let query = CurveQuery {
            series: Some(vec![question.series.clone()]),
            from,
            to,
            points: points.saturating_mul(ENTRIES_PER_RANGE),
        };
        let curves = self.curves_of(&runs, &query).await?.runs;
        let series = curves.into_iter().map(|mut run| {
            let curve = run.series.pop();
            curve.map_or_else(Vec::new, |curve| {
                let values = curve.values.into_iter().map(|value| value.0);
                curve.steps.into_iter().zip(values).collect()
            })
        });
        Ok(series.collect())
    }
}

impl Question {
    fn spread(&self, values: &[f64]) -> Spread {
        let spread = statistics::spread(values, self.confidence);
        match self.at {
            At::Step(step) => Spread {
                from: Some(step),
                to: Some(step),
                ..spread
            },
            At::Newest | At::Range { .. } => spread,
        }
    }

    fn spread_over(&self, from: u64, to: u64, values: &[f64]) -> Spread {
        Spread {
            from: Some(from),
            to: Some(to),
            ..statistics::spread(values, self.confidence)
        }
    }
}

fn by_seed(group: &Group, members: &[Member]) -> Result<BTreeMap<u64, Member>> {
    let mut of = BTreeMap::new();
    for member in members {
        let seed = unsigned(member.seed);
        if of.insert(seed, member.clone()).is_some() {
            let group = group.to_string();
            return Err(Error::AmbiguousSeed { group, seed });
        }
    }
    Ok(of)
}

/// The newest point of a series up to some step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) step: u64,
    pub(super) value: f64,
    /// Where the series ends, beyond that step too.
    pub(super) last_step: u64,
}

/// The newest points of a series of these runs, at `to` or before.
pub(super) async fn newest(
    connection: &mut PgConnection,
    runs: &[Uuid],
    name: &str,
    to: u64,
) -> Result<HashMap<Uuid, Newest>> {
    let rows: Vec<(Uuid, i64, Vec<u8>)> = sqlx::query_as(
        "select s.run_id, s.last_step, c.data
         from series s
         cross join lateral (
             select data from series_chunks c where c.series_id = s.id and c.first_step <= $3
             order by c.first_step desc limit 1
         ) c
         where s.run_id = any($1) and s.name = $2",
    )
    .bind(runs)
    .bind(name)
    .bind(signed(to))
    .fetch_all(&mut *connection)
    .await?;
    let mut newest = HashMap::with_capacity(runs.len());
    for (run, last_step, data) in rows {
        let points = chunk::decode(&data)?;
        if let Some(&(step, value)) = points.iter().rfind(|(step, _)| *step <= to) {
            let last_step = unsigned(last_step);
            newest.insert(
                run,
                Newest {
                    step,
                    value,
                    last_step,
                },
            );
        }
    }
    // What is in a journal follows what is in chunks.
    let journals = Journals::read(connection, runs, 0, to).await?;
    for run in journals.runs() {
        let points = journals.points(run, |known| known == name)?;
        for ((known, last_step), points) in journals.names(run).zip(points) {
            if known != name {
                continue;
            }
            if let Some(known) = newest.get_mut(&run.0) {
                known.last_step = last_step;
            }
            if let Some(&(step, value)) = points.iter().rfind(|(step, _)| *step <= to) {
                newest.insert(
                    run.0,
                    Newest {
                        step,
                        value,
                        last_step,
                    },
                );
            }
        }
    }
    Ok(newest)
}
