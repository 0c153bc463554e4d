//! The tasks by name, and what distinguishes them but for their paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Pair;

/// A delayed movement task: one of the ten base tasks, in the order of their rule input, or a composed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    DlyHalfReach,
    DlyHalfCircleClk,
    DlyHalfCircleCClk,
    DlySinusoid,
    DlySinusoidInv,
    DlyFullReach,
    DlyFullCircleClk,
    DlyFullCircleCClk,
    DlyFigure8,
    DlyFigure8Inv,
    Composed(Pair),
}

/// Tasks that one network can be trained on together: they share the rule input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Base,
    Composed,
}

impl Family {
    /// Width of the rule input.
    pub fn rules(self) -> usize {
        match self {
            Family::Base => Task::BASE.len(),
            Family::Composed => Pair::COUNT,
        }
    }

    /// All its tasks, by rule.
    pub fn tasks(self) -> Vec<Task> {
        match self {
            Family::Base => Task::BASE.to_vec(),
            Family::Composed => (0..Pair::COUNT)
                .filter_map(Pair::of_rule)
                .map(Task::Composed)
                .collect(),
        }
    }
}

/// Conditions that trials are drawn from: those trained on, or the finer ones tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Train,
    Test,
}

impl Mode {
    /// Directions of movement, evenly around the circle.
    pub fn directions(self) -> usize {
        match self {
            Mode::Train => 8,
            Mode::Test => 32,
        }
    }

    /// Speeds of every task.
    pub fn speeds(self) -> usize {
        match self {
            Mode::Train => 3,
            Mode::Test => 10,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Train => "train",
            Mode::Test => "test",
        })
    }
}

impl Task {
    /// The ten base tasks, by rule.
    pub const BASE: [Task; 10] = [
        Task::DlyHalfReach,
        Task::DlyHalfCircleClk,
        Task::DlyHalfCircleCClk,
        Task::DlySinusoid,
        Task::DlySinusoidInv,
        Task::DlyFullReach,
        Task::DlyFullCircleClk,
        Task::DlyFullCircleCClk,
        Task::DlyFigure8,
        Task::DlyFigure8Inv,
    ];

    pub fn family(self) -> Family {
        match self {
            Task::Composed(_) => Family::Composed,
            _ => Family::Base,
        }
    }

    /// Position in the rule input of its family.
    pub fn rule(self) -> usize {
        match self {
            Task::DlyHalfReach => 0,
            Task::DlyHalfCircleClk => 1,
            Task::DlyHalfCircleCClk => 2,
            Task::DlySinusoid => 3,
            Task::DlySinusoidInv => 4,
            Task::DlyFullReach => 5,
            Task::DlyFullCircleClk => 6,
            Task::DlyFullCircleCClk => 7,
            Task::DlyFigure8 => 8,
            Task::DlyFigure8Inv => 9,
            Task::Composed(pair) => pair.rule(),
        }
    }

    /// Number of the task among those of both families.
    pub fn number(self) -> usize {
        match self.family() {
            Family::Base => self.rule(),
            Family::Composed => Family::Base.rules() + self.rule(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Task::DlyHalfReach => "DlyHalfReach",
            Task::DlyHalfCircleClk => "DlyHalfCircleClk",
            Task::DlyHalfCircleCClk => "DlyHalfCircleCClk",
            Task::DlySinusoid => "DlySinusoid",
            Task::DlySinusoidInv => "DlySinusoidInv",
            Task::DlyFullReach => "DlyFullReach",
            Task::DlyFullCircleClk => "DlyFullCircleClk",
            Task::DlyFullCircleCClk => "DlyFullCircleCClk",
            Task::DlyFigure8 => "DlyFigure8",
            Task::DlyFigure8Inv => "DlyFigure8Inv",
            Task::Composed(pair) => pair.name(),
        }
    }

    /// Whether the hand comes back to where it started (base rules 5–9, all pairs), which takes twice as long.
    pub fn returns(self) -> bool {
        self.number() >= Task::DlyFullReach.number()
    }

    /// Movement times in steps, by speed index, fastest first.
    pub fn movement_steps(self, mode: Mode) -> Vec<usize> {
        let one_way: Vec<usize> = match mode {
            Mode::Train => vec![50, 100, 150],
            Mode::Test => (50..150).step_by(10).collect(),
        };
        let ways = if self.returns() { 2 } else { 1 };
        one_way.into_iter().map(|steps| ways * steps).collect()
    }

    /// Movement time at which the speed scalar reaches zero.
    pub fn slowest_movement_steps(self) -> usize {
        if self.returns() { 300 } else { 150 }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is no task's.
#[derive(Debug, thiserror::Error)]
#[error("unknown task `{0}`")]
pub struct UnknownTask(pub String);

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(name: &str) -> Result<Self, UnknownTask> {
        match Task::BASE.into_iter().find(|task| task.name() == name) {
            Some(task) => Ok(task),
            None => Pair::from_name(name).map(Task::Composed),
        }
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_known_by_its_name_and_number() {
        let all = [Family::Base, Family::Composed].map(Family::tasks).concat();
        assert_eq!(all.len(), 30);
        for (number, task) in all.into_iter().enumerate() {
            assert_eq!(task.number(), number);
            for mode in [Mode::Train, Mode::Test] {
                assert_eq!(task.movement_steps(mode).len(), mode.speeds());
            }
            assert_eq!(task.name().parse::<Task>().expect("known"), task);
            let stored = serde_json::to_string(&task).expect("written");
            assert_eq!(stored, format!("\"{task}\""));
            assert_eq!(serde_json::from_str::<Task>(&stored).expect("read"), task);
        }
    }

    #[test]
    fn an_unknown_name_is_said() {
        for name in ["DlyReach", "forward_halfreach+backward_fullreach", ""] {
            let error = name.parse::<Task>().expect_err("no task");
            assert_eq!(error.to_string(), format!("unknown task `{name}`"));
        }
    }
}
