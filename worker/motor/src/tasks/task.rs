//! The ten tasks by name, and what distinguishes them but for their paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the ten delayed movement tasks. The order is that of the rule input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    pub const ALL: [Task; 10] = [
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

    /// Position in the rule input.
    pub fn rule(self) -> usize {
        self as usize
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
        }
    }

    /// Whether the hand comes back to where it started (rules 5–9), which takes twice as long.
    pub fn returns(self) -> bool {
        self.rule() >= Task::DlyFullReach.rule()
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

/// The name is none of the ten.
#[derive(Debug, thiserror::Error)]
#[error("unknown task `{0}`")]
pub struct UnknownTask(pub String);

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(name: &str) -> Result<Self, UnknownTask> {
        let found = Task::ALL.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| UnknownTask(name.to_owned()))
    }
}
