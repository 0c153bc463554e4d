//! An engine that trains nothing: its losses are the numbers of the batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use motif_motor::evaluation::Evaluation;
use motif_motor::loss::Losses;
use motif_motor::tasks::{Mode, Task, TrialConditions};
use motif_motor::training::BatchReport;
use motif_proto::run::{Failure, FailureClass};
use motif_proto::spec::ExperimentSpec;
use motif_worker::engine::{Engine, Training, Watch};

/// Name of an experiment whose third batch panics.
pub(crate) const PANICS: &str = "panics";
/// Name of an experiment that there is no memory for.
pub(crate) const FINDS_NO_MEMORY: &str = "finds no memory";
/// Name of an experiment whose evaluations end only when they are asked to.
pub(crate) const EVALUATES_FOR_EVER: &str = "evaluates for ever";

#[derive(Clone, Default)]
pub(crate) struct Pretend {
    /// Batches trained by all trainings but canaries.
    pub(crate) trained: Arc<AtomicU64>,
}

impl Engine for Pretend {
    fn open(
        &self,
        spec: &ExperimentSpec,
        base: Option<&[u8]>,
        resume: Option<&[u8]>,
    ) -> Result<Box<dyn Training>, Failure> {
        if spec.name == FINDS_NO_MEMORY {
            return Err(Failure {
                class: FailureClass::OutOfMemory,
                message: "out of pretended memory".to_owned(),
            });
        }
        let (next_batch, evaluated) = resume.or(base).map_or((0, None), |bytes| {
            serde_json::from_slice(bytes).expect("a pretended checkpoint")
        });
        Ok(Box::new(PretendTraining {
            spec: spec.clone(),
            next_batch,
            evaluated,
            trained: self.trained.clone(),
        }))
    }
}

struct PretendTraining {
    spec: ExperimentSpec,
    next_batch: u64,
    evaluated: Option<u64>,
    trained: Arc<AtomicU64>,
}

impl Training for PretendTraining {
    fn next_batch(&self) -> u64 {
        self.next_batch
    }

    fn is_finished(&self) -> bool {
        self.next_batch == self.spec.training.as_ref().expect("it trains").batches
    }

    fn evaluation_pending(&self) -> bool {
        let Some(newest) = self.next_batch.checked_sub(1) else {
            return false;
        };
        let due = newest.is_multiple_of(self.spec.training.as_ref().expect("it trains").save_every)
            || self.is_finished();
        due && self.evaluated != Some(newest)
    }

    fn train_batch(&mut self) -> Result<BatchReport, Failure> {
        let batch = self.next_batch;
        assert!(self.spec.name != PANICS || batch < 2, "out of pretence");
        std::thread::sleep(Duration::from_millis(2));
        self.next_batch += 1;
        if self.spec.name != motif_proto::canary::spec().name {
            self.trained.fetch_add(1, Ordering::SeqCst);
        }
        Ok(BatchReport {
            batch,
            conditions: TrialConditions {
                task: Task::DlyHalfReach,
                mode: Mode::Train,
                speed: 0,
                delay_steps: 25,
                directions: vec![0],
                backward_directions: None,
            },
            losses: Losses {
                total: batch as f64,
                ..Losses::default()
            },
            grad_norm: 1.0,
        })
    }

    fn evaluate(&mut self, watch: &mut Watch<'_>) -> Result<Option<Evaluation>, Failure> {
        if self.spec.name == EVALUATES_FOR_EVER {
            while !watch(0.0) {
                std::thread::sleep(Duration::from_millis(1));
            }
            return Ok(None);
        }
        let batch = self.next_batch - 1;
        self.evaluated = Some(batch);
        Ok(Some(Evaluation {
            batch,
            total: 1.0 / (batch + 1) as f64,
            per_task: vec![(Task::DlyHalfReach, 1.0 / (batch + 1) as f64)],
            conditions: Vec::new(),
            is_best: true,
        }))
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Failure> {
        Ok(serde_json::to_vec(&(self.next_batch, self.evaluated)).expect("JSON"))
    }
}
