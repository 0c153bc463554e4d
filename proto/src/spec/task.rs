//! The tasks by their names: ten delayed movements, and the twenty pairs of a forward and a backward motif.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::unknown_name;
use super::read::Choice;

/// A task. Its name is the word used in specs, in series and in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the model family")]
pub enum TaskName {
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
    /// A forward motif followed by a backward motif.
    Pair(MotifPair),
}

/// Which rule inputs a task has, and so how wide an observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskFamily {
    /// The ten base tasks: ten rules, 28 observed numbers.
    Base,
    /// The twenty composable pairs: twenty rules, 38 observed numbers.
    Composable,
}

impl TaskFamily {
    /// Numbers of an observation that are no rule: speed, go cue, target, vision, proprioception.
    const CONDITION: u32 = 18;

    /// Rule inputs.
    #[must_use]
    pub const fn rules(self) -> u32 {
        match self {
            Self::Base => 10,
            Self::Composable => 20,
        }
    }

    /// Numbers in an observation.
    #[must_use]
    pub const fn observed(self) -> u32 {
        self.rules() + Self::CONDITION
    }

    /// Its tasks in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Base => "the ten base tasks",
            Self::Composable => "the composable pairs",
        }
    }
}

/// The motifs of the way out, in the order of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the model family")]
pub enum ForwardMotif {
    HalfReach,
    HalfCircleClk,
    HalfCircleCClk,
    Sinusoid,
    SinusoidInv,
}

impl ForwardMotif {
    /// All, in the order of the rules.
    pub const ALL: [Self; 5] = [
        Self::HalfReach,
        Self::HalfCircleClk,
        Self::HalfCircleCClk,
        Self::Sinusoid,
        Self::SinusoidInv,
    ];
}

/// The motifs of the way back, in the order of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the model family")]
pub enum BackwardMotif {
    FullReach,
    FullCircleClk,
    FullCircleCClk,
    Figure8,
    Figure8Inv,
}

impl BackwardMotif {
    /// All, in the order of the rules.
    pub const ALL: [Self; 5] = [
        Self::FullReach,
        Self::FullCircleClk,
        Self::FullCircleCClk,
        Self::Figure8,
        Self::Figure8Inv,
    ];
}

/// A forward motif with a backward motif of another position: equal positions would make a base task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MotifPair {
    forward: ForwardMotif,
    backward: BackwardMotif,
}

impl MotifPair {
    /// How many pairs there are.
    pub const COUNT: usize = 20;

    /// The pair, unless both stand at the same position.
    #[must_use]
    pub const fn new(forward: ForwardMotif, backward: BackwardMotif) -> Option<Self> {
        if forward as usize == backward as usize {
            return None;
        }
        Some(Self { forward, backward })
    }

    /// The pair of that rule, from 0 to 19: for each forward motif the four backward motifs that it may have.
    const fn of_rule(rule: usize) -> Self {
        let (i, place) = (rule / 4, rule % 4);
        let j = if place < i { place } else { place + 1 };
        Self {
            forward: ForwardMotif::ALL[i],
            backward: BackwardMotif::ALL[j],
        }
    }

    /// The way out.
    #[must_use]
    pub const fn forward(self) -> ForwardMotif {
        self.forward
    }

    /// The way back.
    #[must_use]
    pub const fn backward(self) -> BackwardMotif {
        self.backward
    }

    /// The index of its rule input, from 0 to 19.
    #[must_use]
    pub const fn rule(self) -> usize {
        let (i, j) = (self.forward as usize, self.backward as usize);
        4 * i + if j < i { j } else { j - 1 }
    }
}

/// The pairs' names by their rules.
const PAIR_NAMES: [&str; MotifPair::COUNT] = [
    "forward_halfreach+backward_fullcircleclk",
    "forward_halfreach+backward_fullcirclecclk",
    "forward_halfreach+backward_figure8",
    "forward_halfreach+backward_figure8inv",
    "forward_halfcircleclk+backward_fullreach",
    "forward_halfcircleclk+backward_fullcirclecclk",
    "forward_halfcircleclk+backward_figure8",
    "forward_halfcircleclk+backward_figure8inv",
    "forward_halfcirclecclk+backward_fullreach",
    "forward_halfcirclecclk+backward_fullcircleclk",
    "forward_halfcirclecclk+backward_figure8",
    "forward_halfcirclecclk+backward_figure8inv",
    "forward_sinusoid+backward_fullreach",
    "forward_sinusoid+backward_fullcircleclk",
    "forward_sinusoid+backward_fullcirclecclk",
    "forward_sinusoid+backward_figure8inv",
    "forward_sinusoidinv+backward_fullreach",
    "forward_sinusoidinv+backward_fullcircleclk",
    "forward_sinusoidinv+backward_fullcirclecclk",
    "forward_sinusoidinv+backward_figure8",
];

const ALL: [TaskName; 30] = {
    let mut all = [TaskName::DlyHalfReach; 30];
    let base = TaskName::BASE;
    let mut i = 0;
    while i < base.len() {
        all[i] = base[i];
        i += 1;
    }
    while i < all.len() {
        all[i] = TaskName::Pair(MotifPair::of_rule(i - base.len()));
        i += 1;
    }
    all
};

impl TaskName {
    /// The ten base tasks, in the order of their rules.
    pub const BASE: &'static [Self] = &[
        Self::DlyHalfReach,
        Self::DlyHalfCircleClk,
        Self::DlyHalfCircleCClk,
        Self::DlySinusoid,
        Self::DlySinusoidInv,
        Self::DlyFullReach,
        Self::DlyFullCircleClk,
        Self::DlyFullCircleCClk,
        Self::DlyFigure8,
        Self::DlyFigure8Inv,
    ];

    /// The twenty composable pairs, in the order of their rules.
    pub const PAIRS: &'static [Self] = ALL.split_at(10).1;

    /// Which rule inputs it has.
    #[must_use]
    pub const fn family(self) -> TaskFamily {
        match self {
            Self::Pair(_) => TaskFamily::Composable,
            _ => TaskFamily::Base,
        }
    }
}

impl Choice for TaskName {
    const ALL: &'static [Self] = &ALL;

    fn name(self) -> &'static str {
        match self {
            Self::DlyHalfReach => "DlyHalfReach",
            Self::DlyHalfCircleClk => "DlyHalfCircleClk",
            Self::DlyHalfCircleCClk => "DlyHalfCircleCClk",
            Self::DlySinusoid => "DlySinusoid",
            Self::DlySinusoidInv => "DlySinusoidInv",
            Self::DlyFullReach => "DlyFullReach",
            Self::DlyFullCircleClk => "DlyFullCircleClk",
            Self::DlyFullCircleCClk => "DlyFullCircleCClk",
            Self::DlyFigure8 => "DlyFigure8",
            Self::DlyFigure8Inv => "DlyFigure8Inv",
            Self::Pair(pair) => PAIR_NAMES[pair.rule()],
        }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for TaskName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TaskName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            let names = ALL.iter().map(|task| task.name());
            serde::de::Error::custom(unknown_name("", "task", &name, names).detail)
        })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for TaskName {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(
                "The ten delayed movements, then the twenty pairs of a forward and a backward motif.",
            ))
            .enum_values(Some(ALL.iter().map(|task| task.name())))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for TaskName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_s_name_says_its_motifs_and_its_rule_is_its_place() {
        for (rule, task) in TaskName::PAIRS.iter().enumerate() {
            let TaskName::Pair(pair) = task else {
                panic!("{task} is no pair")
            };
            let motifs = format!("forward_{:?}+backward_{:?}", pair.forward(), pair.backward());
            assert_eq!(task.name(), motifs.to_lowercase());
            assert_eq!(pair.rule(), rule);
            assert_eq!(MotifPair::new(pair.forward(), pair.backward()), Some(*pair));
        }
        assert_eq!(
            MotifPair::new(ForwardMotif::Sinusoid, BackwardMotif::Figure8),
            None
        );
    }

    #[test]
    fn a_task_s_name_survives_the_wire() {
        for &task in TaskName::ALL {
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(serde_json::from_str::<TaskName>(&json).unwrap(), task);
        }
        assert!(serde_json::from_str::<TaskName>("\"DlyHalfReech\"").is_err());
    }

    #[test]
    fn the_families_have_28_and_38_observed_numbers() {
        assert_eq!(TaskName::DlyFigure8.family().observed(), 28);
        assert_eq!(TaskName::PAIRS[0].family().observed(), 38);
    }
}
