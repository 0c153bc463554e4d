//! What becomes of a run whose attempt ended without success.

use std::time::Duration;

use motif_proto::run::FailureClass;

/// Attempts that may be lost in a row, none leaving a newer checkpoint, before the run is given up.
pub const MAX_LOST_IN_ROW: u32 = 5;
/// Attempts that may end with an internal error before the run is given up.
pub const MAX_INTERNAL_FAILURES: u32 = 3;
/// Attempts that may run out of memory, each with more room than the one before, until the run is given up.
pub const MAX_OUT_OF_MEMORY: u32 = 3;

/// The first wait before a run is tried again; every further one is three times as long.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How long a run that failed on a worker waits for another one, after the wait before its next try.
pub const AVOIDS_FOR: Duration = Duration::from_secs(60);

/// How often a run's attempts ended badly, the newest one included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Lost in a row without progress.
    pub lost_in_row: u32,
    /// Ended with an internal error.
    pub internal_failures: u32,
    /// Ran out of memory.
    pub out_of_memory_failures: u32,
}

/// What to do with the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A worker may try again after this time.
    Requeue(Duration),
    /// A worker with more room for it may try.
    MoreRoom,
    /// It failed for good.
    Fail,
}

/// Decides about a run by the class of its newest attempt's failure.
#[must_use]
pub fn after_failure(class: FailureClass, history: History) -> Next {
    match class {
        // The same spec and the same random numbers would end the same way.
        FailureClass::BadSpec | FailureClass::Diverged => Next::Fail,
        FailureClass::OutOfMemory if history.out_of_memory_failures < MAX_OUT_OF_MEMORY => Next::MoreRoom,
        // One machine that went down says nothing about the run: the next takes over at once.
        FailureClass::Lost if history.lost_in_row < MAX_LOST_IN_ROW => {
            Next::Requeue(wait(history.lost_in_row.saturating_sub(1)))
        }
        FailureClass::Internal if history.internal_failures < MAX_INTERNAL_FAILURES => {
            Next::Requeue(wait(history.internal_failures))
        }
        FailureClass::OutOfMemory | FailureClass::Lost | FailureClass::Internal => Next::Fail,
    }
}

/// Whether the next try is better made on another worker, if there is one.
#[must_use]
pub const fn rather_elsewhere(class: FailureClass) -> bool {
    match class {
        FailureClass::Internal => true,
        // What needs more room says so; a worker that fell silent is not there to be avoided.
        FailureClass::OutOfMemory | FailureClass::Lost | FailureClass::BadSpec | FailureClass::Diverged => {
            false
        }
    }
}

/// The wait before try number `failures` of its kind.
fn wait(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(before) => FIRST_WAIT
            .saturating_mul(3_u32.saturating_pow(before))
            .min(LONGEST_WAIT),
    }
}

/// What a run takes of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Slots.
    pub slots: u32,
    /// Memory of the device that it asks for.
    pub memory_bytes: Option<u64>,
}

/// The worker on which a run ran out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its slots.
    pub slots: u32,
    /// Its memory, where that is known.
    pub memory_bytes: Option<u64>,
    /// Whether other runs were on it.
    pub shared: bool,
    /// The most memory that any other worker of the kind has that is there.
    pub largest_elsewhere: Option<u64>,
}

/// More room for a run that ran out of memory: fewer neighbours on such a worker where there were some, else a
/// worker with more memory. `None` where no worker has more to give.
#[must_use]
pub fn more_room(taken: Room, place: Place) -> Option<Room> {
    if place.shared && taken.slots < place.slots {
        return Some(Room {
            slots: taken.slots.saturating_mul(2).min(place.slots),
            ..taken
        });
    }
    let more = place.memory_bytes? + 1;
    (place.largest_elsewhere? >= more).then_some(Room {
        memory_bytes: Some(more),
        ..taken
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(class: FailureClass, lost_in_row: u32, internal_failures: u32, out_of_memory: u32) -> Next {
        after_failure(
            class,
            History {
                lost_in_row,
                internal_failures,
                out_of_memory_failures: out_of_memory,
            },
        )
    }

    const fn seconds(seconds: u64) -> Next {
        Next::Requeue(Duration::from_secs(seconds))
    }

    #[test]
    fn what_would_fail_again_fails_at_once() {
        for class in [FailureClass::BadSpec, FailureClass::Diverged] {
            assert_eq!(after(class, 0, 0, 0), Next::Fail);
        }
    }

    #[test]
    fn a_run_survives_four_lost_attempts_with_longer_and_longer_waits_and_not_the_fifth() {
        let waits: Vec<Next> = (1..=5)
            .map(|lost| after(FailureClass::Lost, lost, 0, 0))
            .collect();
        assert_eq!(
            waits,
            [seconds(0), seconds(5), seconds(15), seconds(45), Next::Fail]
        );
    }

    #[test]
    fn the_third_internal_error_is_final() {
        assert_eq!(after(FailureClass::Internal, 0, 1, 0), seconds(5));
        assert_eq!(after(FailureClass::Internal, 0, 2, 0), seconds(15));
        assert_eq!(after(FailureClass::Internal, 0, 3, 0), Next::Fail);
    }

    #[test]
    fn memory_that_ran_out_is_looked_for_twice() {
        for failures in 1..=2 {
            assert_eq!(after(FailureClass::OutOfMemory, 0, 0, failures), Next::MoreRoom);
        }
        assert_eq!(after(FailureClass::OutOfMemory, 0, 0, 3), Next::Fail);
    }

    #[test]
    fn no_wait_is_longer_than_the_longest() {
        assert_eq!(wait(40), LONGEST_WAIT);
    }

    const TAKEN: Room = Room {
        slots: 1,
        memory_bytes: None,
    };
    const PLACE: Place = Place {
        slots: 4,
        memory_bytes: Some(100),
        shared: true,
        largest_elsewhere: Some(200),
    };

    #[test]
    fn a_run_with_neighbours_gets_fewer_and_one_alone_more_memory() {
        let fewer = more_room(TAKEN, PLACE);
        assert_eq!(fewer, Some(Room { slots: 2, ..TAKEN }));
        let alone = Place {
            shared: false,
            ..PLACE
        };
        let larger = more_room(TAKEN, alone);
        assert_eq!(
            larger,
            Some(Room {
                memory_bytes: Some(101),
                ..TAKEN
            })
        );
    }

    #[test]
    fn where_no_worker_has_more_there_is_nothing_to_try() {
        for place in [
            Place {
                largest_elsewhere: Some(100),
                shared: false,
                ..PLACE
            },
            Place {
                largest_elsewhere: None,
                shared: false,
                ..PLACE
            },
            Place {
                memory_bytes: None,
                shared: false,
                ..PLACE
            },
        ] {
            assert_eq!(more_room(TAKEN, place), None);
        }
    }
}
