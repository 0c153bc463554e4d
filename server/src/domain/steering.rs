//! What a person may ask of a run in each of its states, and what follows.
//!
//! | state | cancel | pause | resume | retry |
//! | --- | --- | --- | --- | --- |
//! | waiting | cancelled | paused | as it is | as it is |
//! | queued | cancelled | paused | as it is | as it is; a wait before the next try ends |
//! | running | cancelled; the worker stops at its next batch | the worker is asked to hand it back, then paused | as it is; a pause that was asked is withdrawn | as it is |
//! | paused | cancelled | as it is | queued, or waiting | refused: resume it |
//! | succeeded | refused | refused | refused | refused |
//! | failed | refused | refused | refused: retry it | queued, or waiting |
//! | cancelled | as it is | refused | refused: retry it | queued, or waiting |
//! | skipped | refused | refused | refused: retry it | queued, or waiting |
//!
//! "As it is" is an answer like any other: every wish can be sent twice.

use motif_proto::run::RunState;

/// What a person asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// End it.
    Cancel,
    /// Hold it back.
    Pause,
    /// Let it go on.
    Resume,
    /// Try what ended once more.
    Retry,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The run is as it was asked to be.
    Nothing,
    /// It ends, and with it the attempt that holds it.
    End,
    /// It is paused at once: nobody works on it.
    Hold,
    /// Its worker is asked to hand it back.
    AskForHold,
    /// Its worker need not hand it back.
    WithdrawHold,
    /// It goes to where it belongs: into the queue, or to wait for what it needs.
    Enter,
    /// The same, with a new count of failures.
    EnterAnew,
    /// It can be claimed at once.
    EndWait,
}

/// Why a wish cannot be fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What to ask instead, where there is something.
    pub instead: Option<Wish>,
}

/// What a wish does to a run in this state.
///
/// # Errors
/// [`Refused`].
pub const fn step(wish: Wish, state: RunState) -> Result<Step, Refused> {
    use RunState::{Cancelled, Failed, Paused, Queued, Running, Skipped, Succeeded, Waiting};
    const NEVER: Result<Step, Refused> = Err(Refused { instead: None });
    const fn rather(instead: Wish) -> Result<Step, Refused> {
        Err(Refused {
            instead: Some(instead),
        })
    }
    match (wish, state) {
        (Wish::Cancel, Waiting | Queued | Running | Paused) => Ok(Step::End),
        (Wish::Cancel, Cancelled) => Ok(Step::Nothing),
        (Wish::Cancel, Succeeded | Failed | Skipped) => NEVER,

        (Wish::Pause, Waiting | Queued) => Ok(Step::Hold),
        (Wish::Pause, Running) => Ok(Step::AskForHold),
        (Wish::Pause, Paused) => Ok(Step::Nothing),
        (Wish::Pause, Succeeded | Failed | Cancelled | Skipped) => NEVER,

        (Wish::Resume, Waiting | Queued) => Ok(Step::Nothing),
        (Wish::Resume, Running) => Ok(Step::WithdrawHold),
        (Wish::Resume, Paused) => Ok(Step::Enter),
        (Wish::Resume, Failed | Cancelled | Skipped) => rather(Wish::Retry),
        (Wish::Resume, Succeeded) => NEVER,

        (Wish::Retry, Waiting | Running) => Ok(Step::Nothing),
        (Wish::Retry, Queued) => Ok(Step::EndWait),
        (Wish::Retry, Paused) => rather(Wish::Resume),
        (Wish::Retry, Failed | Cancelled | Skipped) => Ok(Step::EnterAnew),
        (Wish::Retry, Succeeded) => NEVER,
    }
}

impl Wish {
    /// The word used in addresses and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISHES: [Wish; 4] = [Wish::Cancel, Wish::Pause, Wish::Resume, Wish::Retry];

    #[test]
    fn a_refusal_names_a_wish_that_is_granted() {
        for wish in WISHES {
            for state in RunState::ALL {
                if let Err(Refused {
                    instead: Some(instead),
                }) = step(wish, state)
                {
                    assert!(step(instead, state).is_ok(), "{wish:?} of {state}");
                }
            }
        }
    }

    #[test]
    fn what_succeeded_stays_as_it_is() {
        for wish in WISHES {
            assert_eq!(
                step(wish, RunState::Succeeded),
                Err(Refused { instead: None }),
                "{wish:?}"
            );
        }
    }

    #[test]
    fn a_wish_that_was_fulfilled_can_be_sent_again() {
        for (wish, after) in [
            (Wish::Cancel, RunState::Cancelled),
            (Wish::Pause, RunState::Paused),
            (Wish::Resume, RunState::Queued),
            (Wish::Resume, RunState::Waiting),
            (Wish::Retry, RunState::Queued),
            (Wish::Retry, RunState::Waiting),
        ] {
            assert!(step(wish, after).is_ok(), "{wish:?} of {after}");
        }
    }

    #[test]
    fn the_table_above_is_the_one_in_force() {
        let text = include_str!("steering.rs");
        for state in RunState::ALL {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("//! | {state} |")))
                .expect("a row of the table");
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            for (wish, cell) in WISHES.into_iter().zip(&cells[2..]) {
                let said_refused = cell.starts_with("refused");
                assert_eq!(step(wish, state).is_err(), said_refused, "{wish:?} of {state}");
                let nothing = cell.starts_with("as it is") && !cell.contains(';');
                assert_eq!(
                    step(wish, state) == Ok(Step::Nothing),
                    nothing,
                    "{wish:?} of {state}"
                );
            }
        }
    }
}
