//! How lists of runs are asked for: what they are sorted by, and conditions on numbers and words.

use chrono::{DateTime, Utc};
use motif_proto::id::StudyId;
use motif_proto::metrics::{MAX_SERIES_NAME, series};
use motif_proto::run::RunState;
use motif_proto::spec::ExperimentKind;
use serde::Serialize;

/// Most conditions of a query.
pub const MAX_CONDITIONS: usize = 16;

/// Which value of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Which {
    /// The newest.
    Newest,
    /// The least so far.
    Least,
}

/// A number that a run has from one of its series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Name of the series.
    pub series: String,
    /// Which of its values.
    pub which: Which,
}

/// What a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SortBy {
    /// When it was submitted.
    Created,
    /// When it changed last.
    Updated,
    /// When it ended.
    Finished,
    /// The experiment's name.
    Name,
    /// Its priority.
    Priority,
    /// The time from its first attempt to its end.
    Duration,
    /// A value of one of its series.
    Metric(Metric),
}

/// An order of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sort {
    /// What decides.
    pub by: SortBy,
    /// Greatest first.
    pub descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self {
            by: SortBy::Created,
            descending: true,
        }
    }
}

impl Sort {
    /// Reads an order such as `best_validation` or, greatest first, `-created`.
    ///
    /// # Errors
    /// What would be right, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let by = match name {
            "created" => SortBy::Created,
            "updated" => SortBy::Updated,
            "finished" => SortBy::Finished,
            "name" => SortBy::Name,
            "priority" => SortBy::Priority,
            "duration" => SortBy::Duration,
            _ => SortBy::Metric(metric(name).ok_or_else(|| {
                format!(
                    "`sort` is created, updated, finished, name, priority, duration, {METRICS}, with `-` before it \
                     for the greatest first; not `{text}`"
                )
            })?),
        };
        Ok(Self { by, descending })
    }
}

const METRICS: &str = "best_validation, last_validation, last_loss, last:SERIES or min:SERIES";

/// The metric of that name.
fn metric(name: &str) -> Option<Metric> {
    let (series, which) = match name {
        "best_validation" => (series::VALIDATION_TOTAL, Which::Least),
        "last_validation" => (series::VALIDATION_TOTAL, Which::Newest),
        "last_loss" => (series::LOSS_TOTAL, Which::Newest),
        _ => match name.split_once(':')? {
            ("last", series) => (series, Which::Newest),
            ("min", series) => (series, Which::Least),
            _ => return None,
        },
    };
    let sound = !series.is_empty() && series.len() <= MAX_SERIES_NAME && !series.contains('\0');
    sound.then(|| Metric {
        series: series.to_owned(),
        which,
    })
}

/// A number of a run or of its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Number {
    Seed,
    Priority,
    Attempts,
    BatchesDone,
    Duration,
    Hidden,
    Batches,
    BatchSize,
    LearningRate,
}

/// A word of a run's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Word {
    NetworkKind,
    Activation,
}

/// How a value has to stand to the one given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    Less,
    AtMost,
    Equal,
    NotEqual,
    AtLeast,
    Greater,
}

impl Comparison {
    /// The operator in SQL.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }
}

/// What a run has to fulfil. A run without the value does not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Condition {
    /// On a value of a series.
    Metric(Metric, Comparison, f64),
    /// On a number.
    Number(Number, Comparison, f64),
    /// On a word, which is equal or not.
    Word(Word, Comparison, String),
}

/// The operators, longest first.
const OPERATORS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

impl Condition {
    /// Reads a condition such as `best_validation<0.05` or `network.activation=relu`.
    ///
    /// # Errors
    /// What would be right, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, comparison, value) = split(text).ok_or_else(|| {
            format!("a condition is a field, one of < <= = != >= > and a value, such as best_validation<0.05, not `{text}`")
        })?;
        if value.contains('\0') {
            return Err("a condition cannot have a NUL character".to_owned());
        }
        if let Some(word) = word(name) {
            return match comparison {
                Comparison::Equal | Comparison::NotEqual => {
                    Ok(Self::Word(word, comparison, value.to_owned()))
                }
                Comparison::Less | Comparison::AtMost | Comparison::AtLeast | Comparison::Greater => {
                    Err(format!("`{name}` is a word: compare it by = or !="))
                }
            };
        }
        let number = number(name);
        let metric = metric(name);
        if number.is_none() && metric.is_none() {
            return Err(format!(
                "there is no field `{name}` to compare by; there are {METRICS}, seed, priority, attempts, batches_done, \
                 duration, network.kind, network.hidden, network.activation, training.batches, training.batch_size \
                 and training.learning_rate"
            ));
        }
        let value: f64 = value
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| format!("`{name}` is compared with a number, not with `{value}`"))?;
        Ok(match (number, metric) {
            (Some(number), _) => Self::Number(number, comparison, value),
            (None, Some(metric)) => Self::Metric(metric, comparison, value),
            (None, None) => unreachable!("one of them was found"),
        })
    }
}

/// The field, the operator and the value. Names of series may have `=` in them, but none does: the first one counts.
fn split(text: &str) -> Option<(&str, Comparison, &str)> {
    let place = text.find(['<', '>', '=', '!'])?;
    let (name, rest) = text.split_at(place);
    let (operator, comparison) = OPERATORS
        .into_iter()
        .find(|(operator, _)| rest.starts_with(operator))?;
    let (name, value) = (name.trim(), rest[operator.len()..].trim());
    (!name.is_empty() && !value.is_empty()).then_some((name, comparison, value))
}

fn number(name: &str) -> Option<Number> {
    Some(match name {
        "seed" => Number::Seed,
        "priority" => Number::Priority,
        "attempts" => Number::Attempts,
        "batches_done" => Number::BatchesDone,
        "duration" => Number::Duration,
        "network.hidden" => Number::Hidden,
        "training.batches" => Number::Batches,
        "training.batch_size" => Number::BatchSize,
        "training.learning_rate" => Number::LearningRate,
        _ => return None,
    })
}

fn word(name: &str) -> Option<Word> {
    match name {
        "network.kind" => Some(Word::NetworkKind),
        "network.activation" => Some(Word::Activation),
        _ => None,
    }
}

/// Which runs a list shows. What is empty or absent lets all through.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunFilter {
    /// Only those in one of these states.
    pub states: Vec<RunState>,
    /// Only those that do one of these.
    pub kinds: Vec<ExperimentKind>,
    /// Only those of one of these projects.
    pub projects: Vec<String>,
    /// Only those of these projects, which are all that the caller sees; none where that is every one.
    pub visible: Option<Vec<String>>,
    /// Only those of this study.
    pub study: Option<StudyId>,
    /// Only those of one of these presets.
    pub presets: Vec<String>,
    /// Only those with all of these tags.
    pub tags: Vec<String>,
    /// Only those whose name or preset has this in it, whatever the case, or whose id has.
    pub text: Option<String>,
    /// Only those that a worker of this name or id holds or held.
    pub worker: Option<String>,
    /// Only those submitted at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those submitted before this time.
    pub created_to: Option<DateTime<Utc>>,
    /// Only those that ended at this time or later.
    pub finished_from: Option<DateTime<Utc>>,
    /// Only those that ended before this time.
    pub finished_to: Option<DateTime<Utc>>,
    /// Only those that fulfil all of these.
    pub conditions: Vec<Condition>,
}

impl RunFilter {
    /// Whether it asks for something that stands in the spec.
    #[must_use]
    pub fn asks_for_the_experiment(&self) -> bool {
        let of_spec = |condition: &Condition| match condition {
            Condition::Word(..) => true,
            Condition::Metric(..) => false,
            Condition::Number(number, ..) => match number {
                Number::Seed
                | Number::Hidden
                | Number::Batches
                | Number::BatchSize
                | Number::LearningRate => true,
                Number::Priority | Number::Attempts | Number::BatchesDone | Number::Duration => false,
            },
        };
        self.study.is_some()
            || !(self.kinds.is_empty()
                && self.presets.is_empty()
                && self.tags.is_empty()
                && self.text.is_none())
            || self.conditions.iter().any(of_spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_with_their_direction() {
        let sort = |text| Sort::parse(text).unwrap();
        assert_eq!(sort("-created"), Sort::default());
        assert!(!sort("name").descending);
        assert_eq!(
            sort("best_validation").by,
            SortBy::Metric(Metric {
                series: "validation/total".into(),
                which: Which::Least
            })
        );
        assert_eq!(
            sort("-last:validation/DlyHalfReach").by,
            SortBy::Metric(Metric {
                series: "validation/DlyHalfReach".into(),
                which: Which::Newest
            })
        );
        for wrong in ["", "-", "best", "last:", "max:loss/total", "--name", "last:a\0"] {
            assert!(Sort::parse(wrong).unwrap_err().contains("`sort` is"), "{wrong}");
        }
    }

    #[test]
    fn conditions_are_read_with_their_operator_and_value() {
        let read = |text| Condition::parse(text).unwrap();
        assert_eq!(
            read("best_validation < 0.05"),
            Condition::Metric(
                Metric {
                    series: "validation/total".into(),
                    which: Which::Least
                },
                Comparison::Less,
                0.05
            )
        );
        assert_eq!(
            read("network.hidden>=128"),
            Condition::Number(Number::Hidden, Comparison::AtLeast, 128.0)
        );
        assert_eq!(
            read("network.activation!=relu"),
            Condition::Word(Word::Activation, Comparison::NotEqual, "relu".into())
        );
    }

    #[test]
    fn what_is_wrong_with_a_condition_is_said() {
        for (text, word) in [
            ("best_validation", "one of <"),
            ("<3", "one of <"),
            ("seed!3", "one of <"),
            ("seed=", "one of <"),
            ("sed=3", "no field `sed`"),
            ("seed=many", "compared with a number"),
            ("last_loss<inf", "compared with a number"),
            ("network.activation<relu", "is a word"),
            ("network.activation=\0", "NUL"),
        ] {
            let problem = Condition::parse(text).unwrap_err();
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }
}
