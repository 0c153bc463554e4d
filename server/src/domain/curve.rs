//! Reduces a series to the number of points that a picture has room for, keeping extremes.

use motif_proto::metrics::{Curve, Measured};

/// Points that a curve has where the query does not say.
pub const DEFAULT_POINTS: usize = 1000;
/// Most points of one curve in an answer.
pub const MAX_POINTS: usize = 20_000;

/// The curve of `points`, which rise in their steps, in at most `most` entries.
///
/// Where there are more, neighbours are put into `most` buckets of as equal a number as can be. A bucket's mean
/// is not a number if one of its values is not; its extremes leave such values out.
#[must_use]
pub fn reduce(name: String, points: &[(u64, f64)], most: usize, last_step: Option<u64>) -> Curve {
    let count = points.len() as u64;
    if points.len() <= most {
        return Curve {
            name,
            steps: points.iter().map(|&(step, _)| step).collect(),
            values: points.iter().map(|&(_, value)| Measured(value)).collect(),
            min: None,
            max: None,
            reduced: false,
            count,
            last_step,
        };
    }
    let mut curve = Curve {
        name,
        steps: Vec::with_capacity(most),
        values: Vec::with_capacity(most),
        min: Some(Vec::with_capacity(most)),
        max: Some(Vec::with_capacity(most)),
        reduced: true,
        count,
        last_step,
    };
    for i in 0..most {
        let bucket = &points[i * points.len() / most..(i + 1) * points.len() / most];
        let values = || bucket.iter().map(|&(_, value)| value);
        curve.steps.push(bucket[0].0);
        curve.values.push(Measured(mean(values(), bucket.len())));
        // `f64::min` and `f64::max` prefer a number to NaN.
        curve
            .min
            .get_or_insert_default()
            .push(Measured(values().fold(f64::NAN, f64::min)));
        curve
            .max
            .get_or_insert_default()
            .push(Measured(values().fold(f64::NAN, f64::max)));
    }
    curve
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a bucket has far fewer than 2^53 points"
)]
fn mean(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[Measured]) -> Vec<f64> {
        values.iter().map(|value| value.0).collect()
    }

    #[test]
    fn few_points_stay_as_they_were_measured() {
        let curve = reduce("a".into(), &[(1, 0.5), (4, 0.25)], 2, Some(9));
        assert_eq!(
            (curve.steps, numbers(&curve.values)),
            (vec![1, 4], vec![0.5, 0.25])
        );
        assert!(!curve.reduced && curve.min.is_none() && curve.max.is_none());
        assert_eq!(curve.last_step, Some(9));
    }

    #[test]
    fn a_bucket_keeps_its_first_step_its_mean_and_its_extremes() {
        let curve = reduce("a".into(), &[(0, 1.0), (1, 5.0), (2, 0.0), (3, 2.0)], 2, Some(3));
        assert_eq!(curve.steps, [0, 2]);
        assert_eq!(numbers(&curve.values), [3.0, 1.0]);
        assert_eq!(numbers(&curve.min.unwrap()), [1.0, 0.0]);
        assert_eq!(numbers(&curve.max.unwrap()), [5.0, 2.0]);
        assert_eq!(curve.count, 4);
    }

    #[test]
    fn one_spike_in_a_hundred_thousand_points_is_still_there() {
        let mut points: Vec<(u64, f64)> = (0..100_000).map(|step| (step, 1.0)).collect();
        points[54_321].1 = 777.0;
        let curve = reduce("a".into(), &points, 999, Some(99_999));
        assert_eq!(curve.steps.len(), 999);
        let greatest = numbers(&curve.max.unwrap()).into_iter().fold(0.0, f64::max);
        assert_eq!(greatest, 777.0);
    }

    #[test]
    fn a_value_that_is_not_a_number_shows_in_the_mean_and_not_in_the_extremes() {
        let curve = reduce(
            "a".into(),
            &[(0, f64::NAN), (1, 5.0), (2, 3.0), (3, 4.0)],
            1,
            Some(3),
        );
        assert!(curve.values[0].0.is_nan());
        assert_eq!(numbers(&curve.min.unwrap()), [3.0]);
        assert_eq!(numbers(&curve.max.unwrap()), [5.0]);
    }
}
