//! The program `motif-worker`: it trains networks, one alone or many for a coordinator.
//!
//! In reading order:
//!
//! - [`spec`]: from what an experiment asks for to what the science is told; [`origin`]: and back;
//! - [`spec_file`], [`base`], [`pth`]: specs and networks on this machine's disk;
//! - [`engine`]: the door to the science, and what can come back through it;
//! - [`driver`]: batches, evaluations and checkpoints of one run, in their order;
//! - [`local`]: a run whose results are files of a folder; [`table`]: those of an evaluation; [`verify`]: recomputing
//!   them;
//! - [`daemon`]: runs for a coordinator; [`canary`] shows that it may, [`claim`] gets them, [`lease`]
//!   keeps them, [`attempt`] carries them out;
//! - [`report`], [`outbox`], [`sender`], [`spool`]: what was measured, in order, on disk until it was told;
//! - [`logs`], [`monitoring`]: what is logged and measured meanwhile;
//! - [`machine`], [`backoff`]: facts about the machine, and patience;
//! - [`commands`]: the program's commands, as people call them.

pub mod attempt;
pub mod backoff;
pub mod base;
pub mod canary;
pub mod claim;
pub mod commands;
pub mod daemon;
pub mod driver;
pub mod engine;
pub mod lease;
pub mod local;
pub mod logs;
pub mod machine;
pub mod monitoring;
pub mod origin;
pub mod outbox;
pub mod pth;
pub mod report;
pub mod sender;
pub mod spec;
pub mod spec_file;
pub mod spool;
pub mod table;
pub mod verify;
