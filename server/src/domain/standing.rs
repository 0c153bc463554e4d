//! Whether a worker is to be trusted with runs, by what happened to those it had.
//!
//! A run that fails says little: it may be the run's own fault. A run that fails here and goes well elsewhere speaks
//! against the worker, and so do failures of different runs in a row while others bring theirs to an end.

use std::time::Duration;

use motif_proto::id::RunId;

/// Runs that failed on a worker and went well on another one, from which on it is set aside.
const FAILED_HERE_ALONE: usize = 2;
/// Different runs in a row that failed on a worker while others succeeded, from which on it is set aside.
const FAILED_IN_ROW: usize = 3;
/// Ends of attempts that are looked at.
pub const LOOKED_AT: i64 = 50;
/// How long a worker waits until it may prove itself; twice as long each further time.
const FIRST_TRIAL: Duration = Duration::from_secs(600);
const LONGEST_TRIAL: Duration = Duration::from_secs(4 * 3600);

/// How an attempt on the worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose run.
    pub run: RunId,
    /// How.
    pub how: How,
}

/// How an attempt ended, as far as it speaks for or against its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It succeeded, or left a checkpoint: the worker works.
    Well,
    /// It failed in a way that may be the worker's fault, and has not been tried elsewhere, or not with success.
    Badly,
    /// It failed in such a way, and the run went well on another worker since.
    BadlyHereAlone,
    /// It says nothing: handed back, cancelled, lost, or a fault of the spec.
    Neither,
}

/// What is known about a worker.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The newest ends of its attempts, newest first.
    pub ended: Vec<Ended>,
    /// Runs that other workers brought to success since the oldest of the failures in a row.
    pub succeeded_elsewhere: u64,
}

/// The different runs that failed one after the other, newest first, without one that went well.
#[must_use]
pub fn failures_in_row(ended: &[Ended]) -> Vec<RunId> {
    let mut runs = Vec::new();
    for end in ended.iter().take_while(|end| end.how != How::Well) {
        if matches!(end.how, How::Badly | How::BadlyHereAlone) && !runs.contains(&end.run) {
            runs.push(end.run);
        }
    }
    runs
}

/// Why the worker is to be set aside; `None` where it may go on.
#[must_use]
pub fn judge(evidence: &Evidence) -> Option<String> {
    let mut here_alone: Vec<RunId> = Vec::new();
    for end in evidence.ended.iter().filter(|end| end.how == How::BadlyHereAlone) {
        if !here_alone.contains(&end.run) {
            here_alone.push(end.run);
        }
    }
    if here_alone.len() >= FAILED_HERE_ALONE {
        return Some(format!(
            "{} runs failed here and went well on other workers, such as {}",
            here_alone.len(),
            here_alone[0]
        ));
    }
    let in_row = failures_in_row(&evidence.ended);
    (in_row.len() >= FAILED_IN_ROW && evidence.succeeded_elsewhere > 0).then(|| {
        format!(
            "{} different runs failed here one after the other, {} among them, while other workers succeeded",
            in_row.len(),
            in_row[0]
        )
    })
}

/// How long a worker that was set aside so many times waits until it may prove itself.
#[must_use]
pub fn until_trial(times_set_aside: u32) -> Duration {
    FIRST_TRIAL
        .saturating_mul(2_u32.saturating_pow(times_set_aside.saturating_sub(1)))
        .min(LONGEST_TRIAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(how: &[How], succeeded_elsewhere: u64) -> Evidence {
        Evidence {
            ended: how
                .iter()
                .map(|&how| Ended {
                    run: RunId::new(),
                    how,
                })
                .collect(),
            succeeded_elsewhere,
        }
    }

    #[test]
    fn one_run_that_went_well_elsewhere_may_be_chance_and_two_are_not() {
        assert_eq!(judge(&evidence(&[How::BadlyHereAlone], 9)), None);
        let two = [How::BadlyHereAlone, How::Well, How::BadlyHereAlone];
        let reason = judge(&evidence(&two, 9)).expect("set aside");
        assert!(reason.contains("went well on other workers"), "{reason}");
    }

    #[test]
    fn three_failures_in_a_row_count_only_while_others_succeed() {
        let three = [How::Badly, How::Neither, How::Badly, How::Badly, How::Well];
        assert!(judge(&evidence(&three, 1)).is_some());
        assert_eq!(judge(&evidence(&three, 0)), None);
        let broken = [How::Badly, How::Badly, How::Well, How::Badly];
        assert_eq!(judge(&evidence(&broken, 1)), None);
    }

    #[test]
    fn the_same_run_again_and_again_speaks_against_the_run() {
        let mut same = evidence(&[How::Badly; 5], 9);
        let run = RunId::new();
        same.ended.iter_mut().for_each(|end| end.run = run);
        assert_eq!(judge(&same), None);
        same.ended
            .iter_mut()
            .for_each(|end| end.how = How::BadlyHereAlone);
        assert_eq!(judge(&same), None);
    }

    #[test]
    fn trials_become_rarer() {
        assert_eq!(until_trial(1), Duration::from_secs(600));
        assert_eq!(until_trial(2), Duration::from_secs(1200));
        assert_eq!(until_trial(40), LONGEST_TRIAL);
    }
}
