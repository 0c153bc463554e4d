//! `[sweep]`: one experiment of a study in many versions, whose values are searched.
//!
//! - `grid`: every combination of the values listed
//! - `random`: so many draws; draw k depends on the sweep's seed and k alone, so a longer sweep begins like a shorter
//! - `asha`: draws like `random`, of which only the best are trained on at each rung

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::names::{describe, escape};
use super::read::{Choice, Table};
use crate::metrics::series;

/// Most points of a sweep.
pub const MAX_POINTS: u64 = 2_000;
/// Most parameters of a sweep.
const MAX_PARAMETERS: usize = 16;
/// Most values of one parameter.
const MAX_VALUES: usize = 500;
/// The tables of a spec whose fields can be swept.
const SWEPT_TABLES: [&str; 4] = ["network", "training", "evaluation", "compatibility"];
/// Decimal digits that a drawn value has: fewer read well, and no rounding of a machine shows.
const DIGITS: i32 = 5;

/// How the points of a sweep are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every combination of the values listed.
    Grid,
    /// Independent draws.
    Random,
    /// Independent draws; asynchronous successive halving stops all but the best at every rung.
    Asha,
}

impl Choice for Method {
    const ALL: &'static [Self] = &[Self::Grid, Self::Random, Self::Asha];

    fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random => "random",
            Self::Asha => "asha",
        }
    }
}

/// Whether the metric is to be small or large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Less is better.
    Min,
    /// More is better.
    Max,
}

impl Choice for Goal {
    const ALL: &'static [Self] = &[Self::Min, Self::Max];

    fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// Where the values of a parameter come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "distribution", rename_all = "snake_case")]
pub enum Distribution {
    /// One of these, each as likely; a bare list is short for it.
    Choice {
        /// The values.
        values: Vec<Value>,
    },
    /// Evenly between two numbers.
    Linear {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// Between two positive numbers, every ratio as likely.
    Log {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// A whole number, each as likely.
    Int {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
}

impl Distribution {
    /// The value at `u`, which is evenly distributed from 0 to 1, without 1.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "places in lists and ranges that were checked to be small"
    )]
    fn at(&self, u: f64) -> Value {
        match self {
            Self::Choice { values } => {
                let place = ((u * values.len() as f64) as usize).min(values.len() - 1);
                values[place].clone()
            }
            Self::Linear { min, max } => json!(rounded(min + u * (max - min)).clamp(*min, *max)),
            Self::Log { min, max } => {
                json!(rounded((min.ln() + u * (max.ln() - min.ln())).exp()).clamp(*min, *max))
            }
            Self::Int { min, max } => {
                let count = (max - min + 1) as f64;
                json!((min + (u * count) as i64).min(*max))
            }
        }
    }
}

/// The number with [`DIGITS`] decimal digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return value;
    }
    // The shortest way that is right at every magnitude: through the decimal notation itself.
    format!("{value:.*e}", (DIGITS - 1) as usize)
        .parse()
        .unwrap_or(value)
}

/// A field of the spec and its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Parameter {
    /// The field, such as `training.learning_rate`.
    pub field: String,
    /// Its values.
    pub values: Distribution,
}

/// What only successive halving has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Halving {
    /// The batch of the first rung; every next one is `reduction` times as late.
    pub first_rung: u64,
    /// One of so many points goes on from each rung.
    pub reduction: u32,
    /// The series that is compared: its newest value before the rung.
    pub metric: String,
    /// Whether it is to be small or large.
    pub goal: Goal,
}

impl Halving {
    /// The batches at which points are compared, in a training of so many.
    #[must_use]
    pub fn rungs(&self, batches: u64) -> Vec<u64> {
        std::iter::successors(Some(self.first_rung), |rung| {
            rung.checked_mul(self.reduction.into())
        })
        .take_while(|&rung| rung < batches)
        .collect()
    }
}

/// A sweep with every field filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SweepSpec {
    /// How its points are chosen.
    pub method: Method,
    /// What is varied, in the order of the fields' names.
    pub parameters: Vec<Parameter>,
    /// How many points it has.
    pub points: u64,
    /// Seed of the draws; not that of the trainings.
    pub seed: u64,
    /// What only successive halving has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halving: Option<Halving>,
}

impl SweepSpec {
    /// The values of point `k`, by their fields.
    #[must_use]
    pub fn point(&self, k: u64) -> Vec<(&str, Value)> {
        let mut place = k;
        let mut values: Vec<(&str, Value)> = Vec::with_capacity(self.parameters.len());
        // The last parameter of a grid changes fastest.
        for parameter in self.parameters.iter().rev() {
            let value = match (&parameter.values, self.method) {
                (Distribution::Choice { values }, Method::Grid) => {
                    let count = values.len() as u64;
                    let value = values[usize::try_from(place % count).unwrap_or(0)].clone();
                    place /= count;
                    value
                }
                (distribution, _) => distribution.at(uniform(self.seed, k, &parameter.field)),
            };
            values.push((&parameter.field, value));
        }
        values.reverse();
        values
    }

    pub(super) fn read(table: &mut Table<'_>) -> Self {
        if !table.is_given("method") {
            table.missing("method", "a sweep is a `grid`, `random` or `asha`".to_owned());
        }
        let method = table.choice("method", Method::Grid);
        let parameters = read_parameters(table, method);
        let (points, seed) = if method == Method::Grid {
            for field in ["samples", "seed"] {
                table.refuse(field, "a grid has every combination of the values listed");
            }
            (grid_size(&parameters), 0)
        } else {
            let points = table.optional_integer("samples", 1..=MAX_POINTS);
            if points.is_none() && !table.is_wrong("samples") {
                table.missing("samples", "how many points are drawn".to_owned());
            }
            (points.unwrap_or(1), table.integer("seed", 0..=super::MAX_SEED, 0))
        };
        if points > MAX_POINTS {
            let given = json!(points);
            let detail = format!("the values make {points} combinations");
            table.problem_with(
                "parameters",
                given,
                detail,
                &format!("at most {MAX_POINTS} combinations"),
            );
        }
        let halving = if method == Method::Asha {
            Some(read_halving(table))
        } else {
            for field in ["first_rung", "reduction", "metric", "goal"] {
                table.refuse(
                    field,
                    "only `method = \"asha\"` compares points while they are trained",
                );
            }
            None
        };
        Self {
            method,
            parameters,
            points: points.min(MAX_POINTS),
            seed,
            halving,
        }
    }
}

fn read_halving(table: &mut Table<'_>) -> Halving {
    let first_rung = table.optional_integer("first_rung", 1..=1_000_000_000);
    if first_rung.is_none() && !table.is_wrong("first_rung") {
        let detail = "the batch at which points are compared for the first time";
        table.missing("first_rung", detail.to_owned());
    }
    Halving {
        first_rung: first_rung.unwrap_or(1),
        reduction: u32::try_from(table.integer("reduction", 2..=16, 3)).unwrap_or(3),
        metric: table.text("metric", 1..=200, series::VALIDATION_TOTAL),
        goal: table.choice("goal", Goal::Min),
    }
}

fn grid_size(parameters: &[Parameter]) -> u64 {
    let count = |parameter: &Parameter| match &parameter.values {
        Distribution::Choice { values } => values.len() as u64,
        Distribution::Linear { .. } | Distribution::Log { .. } | Distribution::Int { .. } => 1,
    };
    parameters.iter().map(count).fold(1, u64::saturating_mul)
}

/// The parameters, given as `"training.learning_rate" = …` or as tables within tables.
fn read_parameters(table: &mut Table<'_>, method: Method) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    let given = table.is_given("parameters");
    table.table("parameters", |table| {
        let mut leaves = Vec::new();
        flatten(table.rest(), "", "", &mut leaves);
        for (field, place, value) in leaves {
            let head = field.split('.').next().unwrap_or_default();
            if !SWEPT_TABLES.contains(&head) || !field.contains('.') {
                let detail = format!("`{field}` is not a field of a table that can be swept");
                let allowed = format!("a field of {}, such as network.hidden", SWEPT_TABLES.join(", "));
                table.problem_at(&place, json!(field), detail, &allowed);
                continue;
            }
            match distribution(&value, method) {
                Ok(values) => parameters.push(Parameter { field, values }),
                Err(allowed) => {
                    let detail = format!("{} is not {allowed}", describe(&value));
                    table.problem_at(&place, value, detail, &allowed);
                }
            }
        }
    });
    if given
        && (parameters.is_empty() || parameters.len() > MAX_PARAMETERS)
        && !table.is_wrong_below("parameters")
    {
        let detail = format!("{} parameters are varied", parameters.len());
        table.problem_with(
            "parameters",
            json!(parameters.len()),
            detail,
            &format!("1 to {MAX_PARAMETERS}"),
        );
    } else if !given {
        table.missing(
            "parameters",
            "what is varied, such as \"network.hidden\" = [64, 128]".to_owned(),
        );
    }
    parameters
}

/// The leaves of the table of parameters: the field, its place, what is given for it.
fn flatten(table: Map<String, Value>, field: &str, place: &str, leaves: &mut Vec<(String, String, Value)>) {
    for (name, value) in table {
        let (field, place) = if field.is_empty() {
            (name.clone(), escape(&name))
        } else {
            (format!("{field}.{name}"), format!("{place}/{}", escape(&name)))
        };
        match value {
            Value::Object(inner)
                if !["distribution", "min", "max", "values"]
                    .iter()
                    .any(|word| inner.contains_key(*word)) =>
            {
                flatten(inner, &field, &place, leaves);
            }
            leaf => leaves.push((field, place, leaf)),
        }
    }
}

/// Reads what is given for a parameter; the error says what would be right.
fn distribution(given: &Value, method: Method) -> Result<Distribution, String> {
    let list = format!("a list of 1 to {MAX_VALUES} values");
    let distribution = match given {
        Value::Array(values) => Distribution::Choice {
            values: values.clone(),
        },
        Value::Object(_) if method != Method::Grid => {
            serde_json::from_value(given.clone()).map_err(|_| {
                "{ distribution = \"linear\", \"log\" or \"int\", min = …, max = … }, or a list of values"
                    .to_owned()
            })?
        }
        _ => return Err(list),
    };
    match &distribution {
        Distribution::Choice { values } if values.is_empty() || values.len() > MAX_VALUES => Err(list),
        Distribution::Linear { min, max } if !(min.is_finite() && max.is_finite() && min <= max) => {
            Err("a range with `min` not above `max`".to_owned())
        }
        Distribution::Log { min, max } if !(*min > 0.0 && max.is_finite() && min <= max) => {
            Err("a range of positive numbers with `min` not above `max`".to_owned())
        }
        Distribution::Int { min, max } if min > max || max.abs_diff(*min) > (1 << 50) => {
            Err("a range of whole numbers with `min` not above `max`".to_owned())
        }
        Distribution::Choice { .. }
        | Distribution::Linear { .. }
        | Distribution::Log { .. }
        | Distribution::Int { .. } => Ok(distribution),
    }
}

/// A number from 0 to 1, without 1, that depends on these three alone.
#[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
fn uniform(seed: u64, k: u64, field: &str) -> f64 {
    // FNV-1a over the field's name, then SplitMix64's finaliser after each of the others.
    let name = field.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let word = mixed(mixed(mixed(name) ^ seed) ^ k);
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
