//! Series of a run's metrics: their names, batches of points, and what a curve query answers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{AttemptId, FencingToken, RunId};

/// Names of the series that every training run writes. The step is the number of the batch, from 0.
pub mod series {
    /// Sum of the five loss terms of one training batch.
    pub const LOSS_TOTAL: &str = "loss/total";
    /// Mean distance (L1, metres) between fingertip and goal.
    pub const LOSS_POSITION: &str = "loss/position";
    /// Mean difference from the muscle activity that is learnt; written instead of [`LOSS_POSITION`] where that
    /// is the objective.
    pub const LOSS_IMITATION: &str = "loss/imitation";
    /// Penalty on hidden activity.
    pub const LOSS_RATE: &str = "loss/rate";
    /// Penalty on weights.
    pub const LOSS_WEIGHT: &str = "loss/weight";
    /// Penalty on muscle activation.
    pub const LOSS_MUSCLE: &str = "loss/muscle";
    /// Penalty on simple dynamics; not written where the activation has none.
    pub const LOSS_DYNAMICS: &str = "loss/dynamics";
    /// Joint 2-norm of all gradients before clipping.
    pub const GRAD_NORM: &str = "grad_norm";
    /// Training speed, evaluations left out.
    pub const BATCHES_PER_SECOND: &str = "throughput/batches_per_second";
    /// Mean position loss of an evaluation over all its tasks, in metres.
    pub const VALIDATION_TOTAL: &str = "validation/total";
    /// What stands before a task's name in the series of its evaluations.
    pub const VALIDATION_PREFIX: &str = "validation/";

    /// The series of one task's evaluations.
    #[must_use]
    pub fn validation_of(task: &str) -> String {
        format!("{VALIDATION_PREFIX}{task}")
    }
}

/// Longest name of a series, in bytes.
pub const MAX_SERIES_NAME: usize = 120;
/// Most series in one batch of metrics.
pub const MAX_SERIES_PER_BATCH: usize = 256;
/// Most points in one batch of metrics, over all its series.
pub const MAX_POINTS_PER_BATCH: usize = 50_000;

/// The media type of a [`MetricsBatch`] in the compact form that workers send: postcard, a binary format whose
/// fields come in the order of the schema, with integers in variable length.
pub const POSTCARD: &str = "application/x-postcard";

/// A measured value. JSON has no NaN and no infinities, so there these travel as the strings `NaN`, `Infinity`
/// and `-Infinity`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Measured(pub f64);

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Measured {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
        OneOfBuilder::new()
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::Number)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Double))),
            )
            .item(ObjectBuilder::new().schema_type(Type::String).enum_values(Some([
                "NaN",
                "Infinity",
                "-Infinity",
            ])))
            .description(Some(
                "A measured value. JSON has no NaN and no infinities, so these travel as strings.",
            ))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Measured {}

impl Serialize for Measured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if !serializer.is_human_readable() => serializer.serialize_f64(value),
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Measured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Measured;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number or one of \"NaN\", \"Infinity\", \"-Infinity\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Measured, E> {
                Ok(Measured(value))
            }

            #[allow(clippy::cast_precision_loss, reason = "JSON writes whole values as integers")]
            fn visit_i64<E>(self, value: i64) -> Result<Measured, E> {
                Ok(Measured(value as f64))
            }

            #[allow(clippy::cast_precision_loss, reason = "JSON writes whole values as integers")]
            fn visit_u64<E>(self, value: u64) -> Result<Measured, E> {
                Ok(Measured(value as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Measured, E> {
                match text {
                    "NaN" => Ok(Measured(f64::NAN)),
                    "Infinity" => Ok(Measured(f64::INFINITY)),
                    "-Infinity" => Ok(Measured(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Visitor)
        } else {
            deserializer.deserialize_f64(Visitor)
        }
    }
}

/// Points of one series, in columns: `steps[i]` belongs to `values[i]`. Steps rise strictly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeriesPoints {
    /// Name of the series, such as `loss/total`.
    pub name: String,
    /// Batch numbers, strictly rising.
    pub steps: Vec<u64>,
    /// One value per step.
    pub values: Vec<Measured>,
}

/// Body of `POST /worker/metrics`: what an attempt has measured since its last batch of metrics.
///
/// Sending the same one again is harmless: a sequence number that was stored already is answered like the
/// first time and stores nothing. One that leaves a gap is refused (409, `sequence_gap`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricsBatch {
    /// The attempt that measured.
    pub attempt: AttemptId,
    /// Its fencing token.
    pub token: FencingToken,
    /// Number of this batch of metrics within the attempt, from 0 without gaps.
    pub sequence: u64,
    /// The points, each series at most once.
    pub series: Vec<SeriesPoints>,
}

/// Answer to [`MetricsBatch`]: everything before `next_sequence` is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricsAccepted {
    /// The sequence number to send next.
    pub next_sequence: u64,
}

/// Answer of `GET /runs/{id}/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunMetrics {
    /// Whose curves these are.
    pub run: RunId,
    /// One entry per series, in the order of the names.
    pub series: Vec<Curve>,
}

/// Answer of `GET /metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricsOfRuns {
    /// One entry per run, in the order asked.
    pub runs: Vec<RunMetrics>,
}

/// One series over the steps asked for, reduced to the number of points asked for.
///
/// Where `reduced` is set, every entry stands for neighbouring points: `steps` holds the first step, `values` the
/// mean, `min` and `max` the extremes, so that no spike gets lost. Values that are not a number are left out of
/// the three, which are NaN only where all are; `nan` counts them. Else the points are as they were measured, and
/// `min`, `max` and `nan` are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Curve {
    /// Name of the series.
    pub name: String,
    /// Steps, strictly rising.
    pub steps: Vec<u64>,
    /// Values, or means of buckets.
    pub values: Vec<Measured>,
    /// Least value of each bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Vec<Measured>>,
    /// Greatest value of each bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Vec<Measured>>,
    /// How many values of each bucket are not a number; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nan: Option<Vec<u64>>,
    /// Whether entries stand for buckets.
    pub reduced: bool,
    /// How many measured points lie in the range asked for.
    pub count: u64,
    /// The newest step of the whole series.
    pub last_step: Option<u64>,
}

/// A value and the step at which it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepValue {
    /// Batch number.
    pub step: u64,
    /// The value.
    pub value: Measured,
}
