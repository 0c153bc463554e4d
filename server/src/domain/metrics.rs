//! Checks a batch of metrics before anything of it is stored, and takes out what a list shows of a run.

use std::collections::HashSet;

use motif_proto::metrics::{
    MAX_POINTS_PER_BATCH, MAX_SERIES_NAME, MAX_SERIES_PER_BATCH, MetricsBatch, series,
};

use super::chunk::Point;

/// Greatest step: what a signed 64-bit column and every JSON reader can hold.
pub const MAX_STEP: u64 = (1 << 53) - 1;

/// Checks what can be checked without the stored series.
///
/// # Errors
/// What is wrong, as a sentence that names the series.
pub fn check(batch: &MetricsBatch) -> Result<(), String> {
    if batch.series.len() > MAX_SERIES_PER_BATCH {
        let given = batch.series.len();
        return Err(format!(
            "{given} series are more than the {MAX_SERIES_PER_BATCH} that one batch may have"
        ));
    }
    let points: usize = batch.series.iter().map(|series| series.steps.len()).sum();
    if points > MAX_POINTS_PER_BATCH {
        return Err(format!(
            "{points} points are more than the {MAX_POINTS_PER_BATCH} that one batch may have"
        ));
    }
    let mut names = HashSet::new();
    for series in &batch.series {
        let name = &series.name;
        if name.is_empty()
            || name.len() > MAX_SERIES_NAME
            || name.contains([',', '\0'])
            || !is_printable(name)
        {
            return Err(format!(
                "a series' name has 1 to {MAX_SERIES_NAME} bytes without commas and control characters, not {name:?}"
            ));
        }
        if !names.insert(name) {
            return Err(format!("series `{name}` stands in the batch twice"));
        }
        if series.steps.len() != series.values.len() {
            let (steps, values) = (series.steps.len(), series.values.len());
            return Err(format!("series `{name}` has {steps} steps and {values} values"));
        }
        if !series.steps.is_sorted_by(|a, b| a < b) {
            return Err(format!("the steps of series `{name}` do not rise"));
        }
        if series.steps.last().is_some_and(|&last| last > MAX_STEP) {
            return Err(format!("series `{name}` has a step above {MAX_STEP}"));
        }
    }
    Ok(())
}

/// What a run's row says of its curves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Newest {
    /// The newest loss.
    pub loss: Option<Point>,
    /// The newest evaluation.
    pub validation: Option<Point>,
    /// The best evaluation, of those that are finite.
    pub best: Option<Point>,
    /// The newest speed of training.
    pub batches_per_second: Option<f64>,
}

impl Newest {
    /// Takes it out of the points of the series named.
    pub fn of(points: impl Fn(&str) -> Vec<Point>) -> Self {
        let validations = points(series::VALIDATION_TOTAL);
        let finite = validations.iter().filter(|(_, value)| value.is_finite());
        Self {
            loss: points(series::LOSS_TOTAL).last().copied(),
            validation: validations.last().copied(),
            best: finite.min_by(|(_, a), (_, b)| a.total_cmp(b)).copied(),
            batches_per_second: points(series::BATCHES_PER_SECOND).last().map(|&(_, value)| value),
        }
    }
}

fn is_printable(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use motif_proto::id::{AttemptId, FencingToken};
    use motif_proto::metrics::{Measured, SeriesPoints};

    use super::*;

    fn batch(series: &[(&str, &[u64], usize)]) -> MetricsBatch {
        let series = series.iter().map(|&(name, steps, values)| SeriesPoints {
            name: name.to_owned(),
            steps: steps.to_vec(),
            values: vec![Measured(1.0); values],
        });
        MetricsBatch {
            attempt: AttemptId::new(),
            token: FencingToken(1),
            sequence: 0,
            series: series.collect(),
        }
    }

    #[test]
    fn a_sound_batch_passes() {
        assert_eq!(
            check(&batch(&[("loss/total", &[0, 1, 5], 3), ("empty", &[], 0)])),
            Ok(())
        );
    }

    #[test]
    fn each_defect_is_named() {
        for (series, word) in [
            (&[("a", &[0u64, 1][..], 1)][..], "2 steps and 1 values"),
            (&[("a", &[1, 1], 2)], "do not rise"),
            (&[("a", &[0], 1), ("a", &[1], 1)], "twice"),
            (&[("", &[0], 1)], "1 to 120 bytes"),
            (&[("a,b", &[0], 1)], "without commas"),
            (&[("a", &[MAX_STEP + 1], 1)], "above"),
        ] {
            let problem = check(&batch(series)).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
