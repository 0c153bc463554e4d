//! The program's commands: their arguments, and what they print.

pub mod bench;
pub mod export;
pub mod golden;
pub mod import;
pub mod progress;
pub mod run;
pub mod stitch;
pub mod train;
pub mod verify;
