//! From what a training did to the points of its curves.

use std::sync::Arc;

use motif_motor::evaluation::Evaluation;
use motif_motor::training::BatchReport;
use motif_proto::metrics::series;
use motif_proto::spec::ExperimentSpec;

use crate::driver::{Recorder, State};
use crate::outbox::{Closed, Outbox, Point};

/// Records into an attempt's outbox.
#[derive(Debug)]
pub struct Reporter {
    outbox: Arc<Outbox>,
    dynamics: bool,
}

impl Reporter {
    /// A recorder for an experiment, on which depends which losses there are.
    #[must_use]
    pub fn new(outbox: Arc<Outbox>, spec: &ExperimentSpec) -> Self {
        Self {
            outbox,
            dynamics: spec.network.has_dynamics_loss(),
        }
    }
}

impl Recorder for Reporter {
    type Error = Closed;

    fn batch(&mut self, report: &BatchReport, batches_per_second: f64) -> Result<(), Closed> {
        let losses = &report.losses;
        let mut values = vec![
            (series::LOSS_TOTAL, losses.total),
            match losses.imitation {
                Some(imitation) => (series::LOSS_IMITATION, imitation),
                None => (series::LOSS_POSITION, losses.position),
            },
            (series::LOSS_RATE, losses.rate),
            (series::LOSS_WEIGHT, losses.weight),
            (series::LOSS_MUSCLE, losses.muscle),
            (series::GRAD_NORM, report.grad_norm),
            (series::BATCHES_PER_SECOND, batches_per_second),
        ];
        if self.dynamics {
            values.push((series::LOSS_DYNAMICS, losses.dynamics));
        }
        let points = values.into_iter().map(|(series, value)| Point {
            series: series.to_owned(),
            step: report.batch,
            value,
        });
        self.outbox.record(points.collect())
    }

    fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), Closed> {
        let best = if evaluation.is_best {
            ", the best so far"
        } else {
            ""
        };
        tracing::info!(
            batch = evaluation.batch,
            validation = evaluation.total,
            "evaluated: {:.5} m over {} tasks{best}",
            evaluation.total,
            evaluation.per_task.len()
        );
        let of_task = |(task, value): &(motif_motor::tasks::Task, f64)| Point {
            series: series::validation_of(task.name()),
            step: evaluation.batch,
            value: *value,
        };
        let mut points: Vec<Point> = evaluation.per_task.iter().map(of_task).collect();
        points.push(Point {
            series: series::VALIDATION_TOTAL.to_owned(),
            step: evaluation.batch,
            value: evaluation.total,
        });
        self.outbox.record(points)
    }

    fn checkpoint(&mut self, state: State) -> Result<(), Closed> {
        let _span = tracing::info_span!("checkpoint.write", step = state.next_batch).entered();
        self.outbox.checkpoint(&state)?;
        tracing::info!(
            kind = state.kind.as_str(),
            batches = state.next_batch,
            size_bytes = state.bytes.len(),
            "checkpoint kept"
        );
        Ok(())
    }

    fn artifact(&mut self, name: &str, bytes: &[u8]) -> Result<(), Closed> {
        self.outbox.artifact(name, bytes)?;
        tracing::info!(name, size_bytes = bytes.len(), "file kept");
        Ok(())
    }
}
