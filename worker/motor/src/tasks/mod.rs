//! The ten delayed movement tasks: names, paths, time lines.

mod path;
mod task;
mod trial;

pub use path::{EXTENT_M, Point};
pub use task::{Mode, Task, UnknownTask};
pub use trial::{
    ConditionError, DELAY_STEPS, Epochs, HOLD_STEPS, STABLE_STEPS, Trial, TrialConditions, delay_steps,
};
