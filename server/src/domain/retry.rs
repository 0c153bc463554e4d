//! What becomes of a run whose attempt ended without success.

use motif_proto::run::FailureClass;

/// Attempts that may be lost in a row, none leaving a newer checkpoint, before the run is given up.
pub const MAX_LOST_IN_ROW: u32 = 5;
/// Attempts that may end with an internal error before the run is given up.
pub const MAX_INTERNAL_FAILURES: u32 = 3;

/// How often a run's attempts ended badly, the newest one included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Lost in a row without progress.
    pub lost_in_row: u32,
    /// Ended with an internal error.
    pub internal_failures: u32,
}

/// What to do with the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another worker may try.
    Requeue,
    /// It failed for good.
    Fail,
}

/// Decides about a run by the class of its newest attempt's failure.
#[must_use]
pub const fn after_failure(class: FailureClass, history: History) -> Next {
    match class {
        // The same spec and the same random numbers would end the same way.
        FailureClass::BadSpec | FailureClass::Diverged => Next::Fail,
        // Whether a larger device is worth waiting for is for a person to say.
        FailureClass::OutOfMemory => Next::Fail,
        FailureClass::Lost if history.lost_in_row < MAX_LOST_IN_ROW => Next::Requeue,
        FailureClass::Internal if history.internal_failures < MAX_INTERNAL_FAILURES => Next::Requeue,
        FailureClass::Lost | FailureClass::Internal => Next::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(class: FailureClass, lost_in_row: u32, internal_failures: u32) -> Next {
        after_failure(
            class,
            History {
                lost_in_row,
                internal_failures,
            },
        )
    }

    #[test]
    fn what_would_fail_again_fails_at_once() {
        for class in [
            FailureClass::BadSpec,
            FailureClass::Diverged,
            FailureClass::OutOfMemory,
        ] {
            assert_eq!(after(class, 0, 0), Next::Fail);
        }
    }

    #[test]
    fn a_run_survives_four_lost_attempts_and_not_the_fifth() {
        assert_eq!(after(FailureClass::Lost, 4, 0), Next::Requeue);
        assert_eq!(after(FailureClass::Lost, 5, 0), Next::Fail);
    }

    #[test]
    fn the_third_internal_error_is_final() {
        assert_eq!(after(FailureClass::Internal, 0, 2), Next::Requeue);
        assert_eq!(after(FailureClass::Internal, 0, 3), Next::Fail);
    }
}
