//! The delayed movement tasks, ten base ones and twenty composed of a way there and a way back: names, paths, time
//! lines.

mod pair;
mod path;
mod task;
mod trial;

pub use pair::{Backward, Forward, Pair};
pub use path::{EXTENT_M, Point};
pub use task::{Family, Mode, Task, UnknownTask};
pub use trial::{
    ConditionError, DELAY_STEPS, Epochs, HOLD_STEPS, STABLE_STEPS, Trial, TrialConditions, delay_steps,
};
