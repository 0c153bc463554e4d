//! Whether a worker that shows a fencing token still holds the run.

use motif_proto::id::FencingToken;
use motif_proto::run::{AttemptState, RunState};

/// What the database says about an attempt and its run, read under the run's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// State of the attempt.
    pub attempt: AttemptState,
    /// The attempt's own token.
    pub attempt_token: FencingToken,
    /// State of the run.
    pub run: RunState,
    /// The run's newest token.
    pub run_token: FencingToken,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The attempt holds the run.
    Live,
    /// The lease ran out, but nobody has taken the run over: the attempt may have it back. If the run was paused
    /// meanwhile, it may have it back to leave a checkpoint.
    Revivable,
    /// The run was cancelled in this attempt's hands.
    Cancelled,
    /// The attempt itself ended, by this token's own report.
    Over(AttemptState),
    /// The run is in other hands or was never this token's.
    Stale,
}

impl Standing {
    /// What `held` is worth.
    #[must_use]
    pub fn judge(self, held: FencingToken) -> Holding {
        if held != self.attempt_token {
            return Holding::Stale;
        }
        let newest = self.attempt_token == self.run_token;
        match self.attempt {
            AttemptState::Running => Holding::Live,
            AttemptState::Lost if newest && matches!(self.run, RunState::Queued | RunState::Paused) => {
                Holding::Revivable
            }
            AttemptState::Lost => Holding::Stale,
            AttemptState::Cancelled => Holding::Cancelled,
            AttemptState::Succeeded | AttemptState::Failed | AttemptState::Released => {
                Holding::Over(self.attempt)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing {
        attempt: AttemptState::Running,
        attempt_token: FencingToken(3),
        run: RunState::Running,
        run_token: FencingToken(3),
    };

    #[test]
    fn only_the_attempts_own_token_counts() {
        assert_eq!(STANDING.judge(FencingToken(3)), Holding::Live);
        assert_eq!(STANDING.judge(FencingToken(2)), Holding::Stale);
        assert_eq!(STANDING.judge(FencingToken(4)), Holding::Stale);
    }

    #[test]
    fn a_lost_lease_can_be_had_back_until_somebody_takes_the_run() {
        let lost = Standing {
            attempt: AttemptState::Lost,
            run: RunState::Queued,
            ..STANDING
        };
        assert_eq!(lost.judge(FencingToken(3)), Holding::Revivable);
        let paused = Standing {
            run: RunState::Paused,
            ..lost
        };
        assert_eq!(paused.judge(FencingToken(3)), Holding::Revivable);
        let taken = Standing {
            run: RunState::Running,
            run_token: FencingToken(4),
            ..lost
        };
        assert_eq!(taken.judge(FencingToken(3)), Holding::Stale);
        // Taken over and lost again by the other worker: still not ours.
        let requeued = Standing {
            run_token: FencingToken(4),
            ..lost
        };
        assert_eq!(requeued.judge(FencingToken(3)), Holding::Stale);
        let given_up = Standing {
            run: RunState::Failed,
            ..lost
        };
        assert_eq!(given_up.judge(FencingToken(3)), Holding::Stale);
    }
}
