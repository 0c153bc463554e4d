//! What happens by itself, every so often.

pub mod deletion;
pub mod log_retention;
pub mod lost_leases;
pub mod retention;
pub mod settling;
pub mod standing;
pub mod sweeps;
pub mod waits;
pub mod webhooks;
