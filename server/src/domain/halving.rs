//! Asynchronous successive halving: which of the runs that rest at a rung go on.
//!
//! A point of a sweep reaches a rung when the runs of all its seeds do; it is compared by the mean of their values.
//! As soon as some points have reached a rung, the best of them go on, one of every `reduction`; nobody waits for the
//! others. When no further point can reach a rung, at least the best goes on and the rest are stopped.
//!
//! What is decided follows from what is stored alone, so deciding twice, or in two places, decides the same.

use motif_proto::id::RunId;
use motif_proto::run::RunState;

/// The rules of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Batches at which points are compared, rising.
    pub rungs: Vec<u64>,
    /// One of so many goes on.
    pub reduction: u32,
    /// Whether more is better.
    pub maximize: bool,
}

/// A point of the sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number.
    pub point: u32,
    /// Its runs, one for each seed.
    pub runs: Vec<TrialRun>,
}

/// A run of a point.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRun {
    /// The run.
    pub run: RunId,
    /// Where it stands.
    pub state: RunState,
    /// The batch at which it is to stop; none means its end.
    pub stop_at: Option<u64>,
    /// The rungs that it has reached, with what it measured there.
    pub reached: Vec<(u64, Option<f64>)>,
}

/// What becomes of runs that rest at a rung.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// They go on to the next rung, or to their end.
    Promote {
        /// The runs of a point.
        runs: Vec<RunId>,
        /// Where they stop next.
        stop_at: Option<u64>,
    },
    /// They end here.
    Stop {
        /// The runs of a point.
        runs: Vec<RunId>,
        /// Why.
        reason: String,
    },
}

impl TrialRun {
    fn at(&self, rung: u64) -> Option<Option<f64>> {
        let mut reached = self.reached.iter();
        reached.find(|(batch, _)| *batch == rung).map(|(_, value)| *value)
    }

    fn rests_at(&self, rung: u64) -> bool {
        self.state == RunState::Paused && self.stop_at == Some(rung) && self.at(rung).is_some()
    }

    fn is_beyond(&self, rung: u64) -> bool {
        self.stop_at.is_none_or(|stop| stop > rung)
    }

    fn is_out(&self) -> bool {
        self.state.is_final() && self.state != RunState::Succeeded
    }
}

impl Trial {
    fn has_reached(&self, rung: u64) -> bool {
        self.runs.iter().all(|run| run.at(rung).is_some())
    }

    /// Whether it has no part any more: one of its seeds failed or was ended.
    fn is_out(&self) -> bool {
        self.runs.iter().any(TrialRun::is_out)
    }

    fn is_promoted_from(&self, rung: u64) -> bool {
        self.runs.iter().any(|run| run.is_beyond(rung))
    }

    /// Mean over the seeds; none where one has no value.
    #[allow(clippy::cast_precision_loss, reason = "few seeds")]
    fn value(&self, rung: u64) -> Option<f64> {
        let values: Option<Vec<f64>> = self.runs.iter().map(|run| run.at(rung).flatten()).collect();
        let values = values?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    }

    fn resting(&self, rung: u64) -> Vec<RunId> {
        let resting = self.runs.iter().filter(|run| run.rests_at(rung));
        resting.map(|run| run.run).collect()
    }
}

/// What is to be done now; nothing where no run rests that anything can be decided about.
#[must_use]
pub fn decide(rules: &Rules, trials: &[Trial]) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for (place, &rung) in rules.rungs.iter().enumerate() {
        let next = rules.rungs.get(place + 1).copied();
        decide_at(rules, trials, rung, next, &mut decisions);
    }
    decisions
}

fn decide_at(rules: &Rules, trials: &[Trial], rung: u64, next: Option<u64>, decisions: &mut Vec<Decision>) {
    // A point that lost a seed cannot be compared: what is left of it ends where it rests.
    for trial in trials.iter().filter(|trial| trial.is_out()) {
        let runs = trial.resting(rung);
        if !runs.is_empty() {
            let reason = format!("a run of the same point with another seed ended before batch {rung}");
            decisions.push(Decision::Stop { runs, reason });
        }
    }
    let reached: Vec<&Trial> = trials
        .iter()
        .filter(|trial| trial.has_reached(rung) && (!trial.is_out() || trial.is_promoted_from(rung)))
        .collect();
    let closed = trials
        .iter()
        .all(|trial| trial.has_reached(rung) || trial.is_out());
    let mut ranked: Vec<(&Trial, f64)> = reached
        .iter()
        .filter_map(|trial| Some((*trial, trial.value(rung)?)))
        .collect();
    ranked.sort_by(|(a, x), (b, y)| {
        let order = if rules.maximize {
            y.total_cmp(x)
        } else {
            x.total_cmp(y)
        };
        order.then(a.point.cmp(&b.point))
    });
    let share = reached.len() / rules.reduction as usize;
    let places = if closed { share.max(1) } else { share };
    for (place, (trial, value)) in ranked.iter().enumerate() {
        let runs = trial.resting(rung);
        if trial.is_promoted_from(rung) || trial.is_out() || runs.len() < trial.runs.len() {
            continue;
        }
        if place < places {
            decisions.push(Decision::Promote { runs, stop_at: next });
        } else if closed {
            let reason = format!(
                "stopped by the sweep at batch {rung}: {} of {} with {value:.6}, and {places} went on",
                place + 1,
                ranked.len()
            );
            decisions.push(Decision::Stop { runs, reason });
        }
    }
    for trial in reached {
        let runs = trial.resting(rung);
        if closed && trial.value(rung).is_none() && !trial.is_out() && !runs.is_empty() {
            let reason = format!("stopped by the sweep at batch {rung}: it has no value of the metric there");
            decisions.push(Decision::Stop { runs, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            rungs: vec![10, 30],
            reduction: 3,
            maximize: false,
        }
    }

    fn trial(point: u32, state: RunState, stop_at: Option<u64>, values: &[f64]) -> Trial {
        let reached = [10, 30].into_iter().zip(values.iter().map(|&value| Some(value)));
        Trial {
            point,
            runs: vec![TrialRun {
                run: RunId(uuid::Uuid::from_u128(point.into())),
                state,
                stop_at,
                reached: reached.collect(),
            }],
        }
    }

    fn resting(point: u32, value: f64) -> Trial {
        trial(point, RunState::Paused, Some(10), &[value])
    }

    fn running(point: u32) -> Trial {
        trial(point, RunState::Running, Some(10), &[])
    }

    fn points(decisions: &[Decision]) -> (Vec<u128>, Vec<u128>) {
        let (mut on, mut off) = (Vec::new(), Vec::new());
        for decision in decisions {
            match decision {
                Decision::Promote { runs, .. } => on.extend(runs.iter().map(|run| run.0.as_u128())),
                Decision::Stop { runs, .. } => off.extend(runs.iter().map(|run| run.0.as_u128())),
            }
        }
        (on, off)
    }

    #[test]
    fn the_best_of_three_goes_on_without_waiting_for_the_others() {
        let mut trials = vec![resting(1, 0.5), resting(2, 0.3), running(3), running(4)];
        assert!(decide(&rules(), &trials).is_empty(), "two are too few");
        trials[2] = resting(3, 0.4);
        let decisions = decide(&rules(), &trials);
        assert_eq!(points(&decisions), (vec![2], vec![]));
        assert!(matches!(
            decisions[0],
            Decision::Promote {
                stop_at: Some(30),
                ..
            }
        ));
        trials[1] = trial(2, RunState::Queued, Some(30), &[0.3]);
        assert!(decide(&rules(), &trials).is_empty(), "once");
        trials[3] = resting(4, 0.1);
        // Four have a place for one, and that is the newest now; nobody else can come.
        assert_eq!(points(&decide(&rules(), &trials)), (vec![4], vec![3, 1]));
    }

    #[test]
    fn nobody_is_stopped_while_another_can_still_come() {
        let trials = [resting(1, 0.5), resting(2, 0.3), resting(3, 0.4), running(4)];
        assert_eq!(points(&decide(&rules(), &trials)).1, Vec::<u128>::new());
    }

    #[test]
    fn the_last_rung_leads_to_the_end_and_at_least_one_gets_there() {
        let trials = [
            trial(1, RunState::Paused, Some(30), &[0.5, 0.2]),
            trial(2, RunState::Failed, Some(30), &[0.4]),
            trial(3, RunState::Cancelled, Some(10), &[0.9]),
        ];
        let decisions = decide(&rules(), &trials);
        assert_eq!(points(&decisions), (vec![1], vec![]));
        assert!(matches!(decisions[0], Decision::Promote { stop_at: None, .. }));
    }

    #[test]
    fn a_point_without_a_value_never_goes_on_and_more_can_be_better() {
        let mut trials = vec![resting(1, 0.5), resting(2, 0.3), resting(3, 0.4)];
        trials[1].runs[0].reached[0].1 = None;
        assert_eq!(points(&decide(&rules(), &trials)), (vec![3], vec![1, 2]));
        let rules = Rules {
            maximize: true,
            ..rules()
        };
        assert_eq!(points(&decide(&rules, &trials)), (vec![1], vec![3, 2]));
    }

    #[test]
    fn seeds_of_a_point_are_compared_by_their_mean_and_move_together() {
        let seeds = |point: u32, values: [f64; 2]| {
            let (mut a, b) = (resting(point, values[0]), resting(point + 100, values[1]));
            a.runs.extend(b.runs);
            a
        };
        let trials = [seeds(1, [0.1, 0.9]), seeds(2, [0.4, 0.4]), seeds(3, [0.5, 0.7])];
        assert_eq!(
            points(&decide(&rules(), &trials)),
            (vec![2, 102], vec![1, 101, 3, 103])
        );
        let mut half = trials.clone();
        half[1].runs[1].state = RunState::Running;
        half[1].runs[1].reached.clear();
        assert!(decide(&rules(), &half).is_empty());
        half[1].runs[1].state = RunState::Failed;
        assert_eq!(points(&decide(&rules(), &half)), (vec![1, 101], vec![2, 3, 103]));
    }
}
