//! Reduces a series to the number of points that a picture has room for, keeping extremes.

use motif_proto::metrics::{Curve, Measured};

use super::summary::Bucket;

/// Points that a curve has where the query does not say.
pub const DEFAULT_POINTS: usize = 1000;
/// Most points of one curve in an answer.
pub const MAX_POINTS: usize = 20_000;

/// The curve in at most `most` entries. `parts` are points and wider buckets, in the order of their steps.
///
/// Where there are more, neighbours are joined, so that every entry stands for as equal a number of points as can
/// be. Values that are not a number are counted and left out of an entry's mean and extremes.
#[must_use]
pub fn reduce(name: String, parts: &[Bucket], most: usize, last_step: Option<u64>) -> Curve {
    let count = parts.iter().map(|part| part.points).sum();
    let is_measured = parts.len() <= most && parts.iter().all(|part| part.points == 1);
    let entries = if parts.len() <= most {
        parts.to_vec()
    } else {
        join(parts, count, most as u64)
    };
    let column =
        |value: fn(&Bucket) -> f64| -> Vec<Measured> { entries.iter().map(value).map(Measured).collect() };
    let has_nan = entries.iter().any(|entry| entry.nan > 0);
    Curve {
        name,
        steps: entries.iter().map(|entry| entry.first).collect(),
        // Of one point, the extremes are the value itself; its mean would lose what kind of NaN it is.
        values: if is_measured {
            column(|entry| entry.min)
        } else {
            column(Bucket::mean)
        },
        min: (!is_measured).then(|| column(|entry| entry.min)),
        max: (!is_measured).then(|| column(|entry| entry.max)),
        nan: (!is_measured && has_nan).then(|| entries.iter().map(|entry| entry.nan).collect()),
        reduced: !is_measured,
        count,
        last_step,
    }
}

/// Joins the parts into `most` entries at most: a part goes where the first of its points belongs.
fn join(parts: &[Bucket], count: u64, most: u64) -> Vec<Bucket> {
    let mut entries: Vec<Bucket> = Vec::new();
    let mut before = 0;
    let mut newest = None;
    for part in parts {
        let place = u128::from(before) * u128::from(most) / u128::from(count);
        match entries.last_mut() {
            Some(entry) if newest == Some(place) => entry.add(part),
            _ => entries.push(*part),
        }
        newest = Some(place);
        before += part.points;
    }
    entries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::chunk::Point;
    use crate::domain::summary;

    fn numbers(values: &[Measured]) -> Vec<f64> {
        values.iter().map(|value| value.0).collect()
    }

    fn parts(points: &[Point]) -> Vec<Bucket> {
        points.iter().copied().map(Bucket::of).collect()
    }

    #[test]
    fn few_points_stay_as_they_were_measured() {
        let curve = reduce("a".into(), &parts(&[(1, 0.5), (4, f64::NAN)]), 2, Some(9));
        assert_eq!(curve.steps, [1, 4]);
        assert!(curve.values[0].0 == 0.5 && curve.values[1].0.is_nan());
        assert!(!curve.reduced && curve.min.is_none() && curve.max.is_none() && curve.nan.is_none());
        assert_eq!(curve.last_step, Some(9));
    }

    #[test]
    fn an_entry_keeps_its_first_step_its_mean_and_its_extremes() {
        let points = parts(&[(0, 1.0), (1, 5.0), (2, 0.0), (3, 2.0)]);
        let curve = reduce("a".into(), &points, 2, Some(3));
        assert_eq!(curve.steps, [0, 2]);
        assert_eq!(numbers(&curve.values), [3.0, 1.0]);
        assert_eq!(numbers(&curve.min.unwrap()), [1.0, 0.0]);
        assert_eq!(numbers(&curve.max.unwrap()), [5.0, 2.0]);
        assert_eq!(curve.count, 4);
    }

    #[test]
    fn one_spike_in_a_hundred_thousand_points_is_still_there() {
        let mut points: Vec<Point> = (0..100_000).map(|step| (step, 1.0)).collect();
        points[54_321].1 = 777.0;
        let curve = reduce("a".into(), &parts(&points), 999, Some(99_999));
        assert_eq!(curve.steps.len(), 999);
        let greatest = numbers(&curve.max.unwrap()).into_iter().fold(0.0, f64::max);
        assert_eq!(greatest, 777.0);
    }

    #[test]
    fn a_value_that_is_not_a_number_is_counted_and_spoils_nothing() {
        let points = parts(&[
            (0, f64::NAN),
            (1, 5.0),
            (2, 3.0),
            (3, 4.0),
            (4, f64::NAN),
            (5, f64::NAN),
        ]);
        let curve = reduce("a".into(), &points, 2, Some(5));
        assert_eq!(curve.nan, Some(vec![1, 2]));
        assert_eq!(numbers(&curve.values), [4.0, 4.0]);
        assert_eq!(numbers(&curve.min.unwrap()), [3.0, 4.0]);
        let none = reduce("a".into(), &points[4..], 1, Some(5));
        assert!(none.values[0].0.is_nan() && none.max.unwrap()[0].0.is_nan());
    }

    proptest! {
        #[test]
        fn a_curve_of_buckets_says_what_its_points_say(
            values in prop::collection::vec(
                prop_oneof![20 => -1e3..1e3, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)],
                1..9000
            ),
            most in 1usize..300,
        ) {
            let points: Vec<Point> = (0..).zip(values).collect();
            let (whole, rest) = points.split_at(points.len() / 4096 * 4096);
            let mut mixed: Vec<Bucket> = whole.chunks(4096).flat_map(summary::of_chunk).collect();
            mixed.extend(parts(rest));
            let curve = reduce("a".into(), &mixed, most, None);
            prop_assert!(curve.steps.len() <= most);
            prop_assert_eq!(curve.count, points.len() as u64);
            prop_assert!(curve.steps.is_sorted_by(|a, b| a < b));
            for (i, &first) in curve.steps.iter().enumerate() {
                let end = curve.steps.get(i + 1).map_or(points.len(), |&next| next as usize);
                let brute = Bucket::join(parts(&points[first as usize..end])).unwrap();
                let value = curve.values[i].0;
                if !curve.reduced {
                    prop_assert_eq!(value.to_bits(), points[i].1.to_bits());
                    continue;
                }
                let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
                prop_assert!(same(curve.min.as_ref().unwrap()[i].0, brute.min));
                prop_assert!(same(curve.max.as_ref().unwrap()[i].0, brute.max));
                prop_assert_eq!(curve.nan.as_ref().map_or(0, |nan| nan[i]), brute.nan);
                let mean = brute.mean();
                prop_assert!(same(value, mean) || (value - mean).abs() < 1e-9);
            }
        }
    }
}
