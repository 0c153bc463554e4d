//! A muscle-driven arm, the tasks it is to do, and the networks that learn them.
//!
//! In reading order:
//!
//! - [`arm`]: skeleton, muscle paths, muscles, and one step of all three;
//! - [`tasks`]: the ten tasks, their paths and time lines;
//! - [`environment`]: what a network sees of a trial and of the arm;
//! - [`policy`]: the networks;
//! - [`random`]: random numbers as a function of where they are used;
//! - [`engine`]: running an episode;
//! - [`loss`], [`optimizer`], [`learner`], `on_card`, [`imitation`]: what training minimises, and how;
//! - [`config`], [`training`], [`evaluation`], [`checkpoint`]: a training run from start to end;
//! - [`pth`]: PyTorch's own checkpoint files;
//! - [`golden`], [`bench`]: comparison with reference tensors, and timing;
//! - [`device`], [`host_tensor`], [`error`]: what all of them share.
//!
//! Nothing here knows of networks (the other kind), files beyond checkpoints, or threads: a [`training::Trainer`]
//! belongs to one thread and every call blocks.

// libtorch counts in i64; the sizes here stay far below what either type can hold.
#![allow(clippy::cast_possible_wrap)]

pub mod arm;
pub mod bench;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod engine;
pub mod environment;
pub mod error;
pub mod evaluation;
pub mod golden;
pub mod host_tensor;
pub mod imitation;
pub mod learner;
pub mod loss;
mod on_card;
pub mod optimizer;
pub mod policy;
pub mod pth;
pub mod random;
pub mod tasks;
pub mod training;
