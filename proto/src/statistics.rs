//! Statistics over seeds: mean and spread of a series over any group of runs, and paired differences of two groups.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{RunId, StudyId};
use crate::metrics::Measured;
use crate::run::RunState;

/// A group of runs, as it is written in a query:
///
/// - `study:ID`, `study:ID/KEY`, `study:ID/KEY/POINT`: of a study, of one of its experiments, of a point of its sweep
/// - `tag:WORD`: all runs with that tag
/// - `runs:ID,ID,…`: these
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// Runs of a study.
    Study {
        /// The study.
        study: StudyId,
        /// The experiment within it.
        key: Option<String>,
        /// The point of that experiment's sweep.
        point: Option<u32>,
    },
    /// Runs with a tag.
    Tag(String),
    /// These runs.
    Runs(Vec<RunId>),
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no group: write study:ID, study:ID/KEY, study:ID/KEY/POINT, tag:WORD or runs:ID,ID"
            )
        };
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        if rest.is_empty() || rest.contains('\0') {
            return Err(wrong());
        }
        match kind {
            "study" => {
                let mut parts = rest.split('/');
                let study = parts.next().and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
                let key = parts.next().map(str::to_owned);
                let point = parts
                    .next()
                    .map(|point| point.parse().map_err(|_| wrong()))
                    .transpose()?;
                if parts.next().is_some() || point.is_some_and(|point: u32| i32::try_from(point).is_err()) {
                    return Err(wrong());
                }
                Ok(Self::Study { study, key, point })
            }
            "tag" => Ok(Self::Tag(rest.to_owned())),
            "runs" => {
                let mut runs = Vec::new();
                for id in rest.split(',') {
                    let run = id.parse().map_err(|_| wrong())?;
                    if !runs.contains(&run) {
                        runs.push(run);
                    }
                }
                Ok(Self::Runs(runs))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Study { study, key, point } => {
                write!(f, "study:{study}")?;
                if let Some(key) = key {
                    write!(f, "/{key}")?;
                }
                if let Some(point) = point {
                    write!(f, "/{point}")?;
                }
                Ok(())
            }
            Self::Tag(tag) => write!(f, "tag:{tag}"),
            Self::Runs(runs) => {
                let ids: Vec<String> = runs.iter().map(ToString::to_string).collect();
                write!(f, "runs:{}", ids.join(","))
            }
        }
    }
}

/// What many values come to. Values that are not finite are counted and left out of everything else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Spread {
    /// First step that it stands for; absent where every run's newest value counts, wherever that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Last step that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// How many values there are.
    pub n: u64,
    /// How many more are not finite.
    pub not_finite: u64,
    /// Mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation of the sample, with n − 1; absent for fewer than two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// Lower end of the mean's confidence interval by Student's t distribution; absent for fewer than two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// What one run contributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunValue {
    /// The run.
    pub run: RunId,
    /// Its name.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Where it stands: the value of one that has not ended may not be its last.
    pub state: RunState,
    /// The step of the value.
    pub step: u64,
    /// The value.
    pub value: Measured,
}

/// Answer of `GET /statistics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Statistics {
    /// The group.
    pub group: String,
    /// The series.
    pub series: String,
    /// How sure the intervals are, such as 0.95.
    pub confidence: f64,
    /// How many runs the group has, with values or without.
    pub runs: u64,
    /// One entry for a step, one for each bucket of a range.
    pub spreads: Vec<Spread>,
    /// What each run contributes, in the order of the seeds; for a step only.
    pub values: Vec<RunValue>,
}

/// Two runs with the same seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pair {
    /// The seed of both.
    pub seed: u64,
    /// Of the first group.
    pub a: RunValue,
    /// Of the second group.
    pub b: RunValue,
    /// The first value less the second.
    pub difference: Measured,
}

/// Answer of `GET /statistics/difference`: the first group less the second, seed by seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Difference {
    /// The first group.
    pub a: String,
    /// The second group.
    pub b: String,
    /// The series.
    pub series: String,
    /// How sure the intervals are, such as 0.95.
    pub confidence: f64,
    /// The differences' mean and spread: one entry for a step, one for each bucket of a range.
    pub spreads: Vec<Spread>,
    /// The pairs, in the order of the seeds; for a step only.
    pub pairs: Vec<Pair>,
    /// Seeds that only one of the groups has, or has values of.
    pub unpaired: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_are_written() {
        let id = "0192f0c4-7f00-7000-8000-0000000000aa";
        for text in [
            format!("study:{id}"),
            format!("study:{id}/base"),
            format!("study:{id}/search/3"),
            "tag:paper".to_owned(),
            format!("runs:{id}"),
        ] {
            assert_eq!(text.parse::<Group>().expect("a group").to_string(), text);
        }
        for text in [
            "",
            "base",
            "tag:",
            "study:x",
            "runs:",
            "seed:3",
            &format!("study:{id}/a/b"),
            &format!("study:{id}/a/1/2"),
        ] {
            assert!(text.parse::<Group>().is_err(), "{text}");
        }
    }
}
