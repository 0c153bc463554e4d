//! `[evaluation]`: under which conditions a network is measured.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::read::{Choice, Table};
use super::task::TaskName;
use super::training::{check_family, read_tasks};
use super::{ExperimentKind, is_default};

/// Most delays of one evaluation.
const MAX_DELAYS: usize = 16;
/// Longest delay, in steps.
const MAX_DELAY: u32 = 300;

/// From which set speeds and directions are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrialMode {
    /// Ten speeds and 32 directions.
    #[default]
    Test,
    /// The three speeds and eight directions of training.
    Train,
}

impl TrialMode {
    /// How many speeds there are.
    #[must_use]
    pub const fn speeds(self) -> u32 {
        match self {
            Self::Test => 10,
            Self::Train => 3,
        }
    }

    /// How many directions there are.
    #[must_use]
    pub const fn directions(self) -> u32 {
        match self {
            Self::Test => 32,
            Self::Train => 8,
        }
    }
}

impl Choice for TrialMode {
    const ALL: &'static [Self] = &[Self::Test, Self::Train];

    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Train => "train",
        }
    }
}

/// How long the delay of an evaluated trial is. On the wire `"random"` or the number of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delay {
    /// One of the three of training, drawn for each task and speed.
    #[default]
    Random,
    /// That many steps.
    Steps(u32),
}

impl Delay {
    const RANDOM: &'static str = "random";
    /// The delays of training, in steps.
    pub const TRAINED: [u32; 3] = [25, 50, 75];

    fn from_json(value: &Value) -> Option<Self> {
        if value.as_str() == Some(Self::RANDOM) {
            return Some(Self::Random);
        }
        let steps = u32::try_from(value.as_u64()?).ok()?;
        Self::TRAINED.contains(&steps).then_some(Self::Steps(steps))
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Random => serializer.serialize_str(Self::RANDOM),
            Self::Steps(steps) => serializer.serialize_u32(*steps),
        }
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value).ok_or_else(|| {
            serde::de::Error::custom(format!("{value} is neither \"random\" nor 25, 50 or 75"))
        })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Delay {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        OneOfBuilder::new()
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some([Self::RANDOM])),
            )
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .enum_values(Some(Self::TRAINED)),
            )
            .description(Some(
                "One of the three delays of training, drawn, or that many steps.",
            ))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Delay {}

/// Under which conditions a network is measured: every task at every speed, in all directions at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// The tasks; absent means those of the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<TaskName>>,
    /// From which set speeds and directions are taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: TrialMode,
    /// Indices of the speeds, 0 the fastest; absent means all of the mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speeds: Option<Vec<u32>>,
    /// Indices of the directions, counter-clockwise from +x; absent means all of the mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directions: Option<Vec<u32>>,
    /// The delay before the movement.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delay: Delay,
    /// For `evaluate`, several delays in steps, every condition under each; absent means `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delays: Option<Vec<u32>>,
    /// Whether the network's noise is on.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub noise: bool,
}

impl Default for EvaluationSpec {
    fn default() -> Self {
        Self {
            tasks: None,
            mode: TrialMode::Test,
            speeds: None,
            directions: None,
            delay: Delay::Random,
            delays: None,
            noise: true,
        }
    }
}

impl EvaluationSpec {
    /// Reads the table; `trained` are the tasks of the training or of the base, where they are known.
    pub(super) fn read(table: &mut Table<'_>, kind: ExperimentKind, trained: Option<&[TaskName]>) -> Self {
        let tasks = read_tasks(table, trained.unwrap_or(TaskName::BASE));
        if let Some(trained) = trained {
            check_family(table, &tasks, trained);
        }
        let mode = table.choice("mode", TrialMode::Test);
        let mut indices = |field, count: u32| {
            table
                .numbers(field, 1..=count as usize, &(0..=count - 1))
                .map(|mut indices| {
                    indices.sort_unstable();
                    indices
                })
                .filter(|indices| indices.len() < count as usize)
        };
        let speeds = indices("speeds", mode.speeds());
        let directions = indices("directions", mode.directions());
        let both = table.is_given("delay") && table.is_given("delays");
        let delay = table.json(
            "delay",
            Delay::Random,
            "\"random\", 25, 50 or 75",
            Delay::from_json,
        );
        let delays = if kind == ExperimentKind::Evaluate {
            if both {
                table.refuse("delays", "`delay` is given too: either one or several");
            }
            table.numbers("delays", 1..=MAX_DELAYS, &(1..=MAX_DELAY))
        } else {
            table.refuse("delays", "the evaluations of a training have one `delay`");
            None
        };
        Self {
            // An evaluation says what it is about; a training's own evaluations say only what differs.
            tasks: (kind == ExperimentKind::Evaluate || Some(tasks.as_slice()) != trained).then_some(tasks),
            mode,
            speeds,
            directions,
            delay,
            delays,
            noise: table.flag("noise", true),
        }
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}
