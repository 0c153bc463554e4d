//! The program's commands: their arguments, and what they print.

pub mod bench;
pub mod golden;
pub mod run;
pub mod stitch;
pub mod train;
