//! The program `motif-worker`: it trains networks, one alone or many for a coordinator.
//!
//! In reading order:
//!
//! - [`spec`]: from what an experiment asks for to what the science is told;
//! - [`engine`]: the door to the science, and what can come back through it;
//! - [`driver`]: batches, evaluations and checkpoints of one run, in their order;
//! - [`local`]: a run whose results are files of a folder;
//! - [`commands`]: the program's commands, as people call them.

pub mod commands;
pub mod driver;
pub mod engine;
pub mod local;
pub mod spec;
