//! Means, spreads and confidence intervals of few values.

use std::f64::consts::FRAC_PI_2;

use motif_proto::statistics::Spread;

/// A run's curve: steps and the values there.
pub type Series = Vec<(u64, f64)>;

/// What the values come to, with the interval in which their mean lies with this confidence.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "few values")]
pub fn spread(values: &[f64], confidence: f64) -> Spread {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let n = finite.len();
    let mut spread = Spread {
        from: None,
        to: None,
        n: n as u64,
        not_finite: (values.len() - n) as u64,
        mean: None,
        sd: None,
        low: None,
        high: None,
        min: finite.iter().copied().reduce(f64::min),
        max: finite.iter().copied().reduce(f64::max),
    };
    if n == 0 {
        return spread;
    }
    let mean = finite.iter().sum::<f64>() / n as f64;
    spread.mean = Some(mean);
    if n > 1 {
        let sum: f64 = finite.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (sum / (n - 1) as f64).sqrt();
        let half = t_quantile(confidence, n - 1) * sd / (n as f64).sqrt();
        (spread.sd, spread.low, spread.high) = (Some(sd), Some(mean - half), Some(mean + half));
    }
    spread
}

/// The number between whose negative and itself a t distributed number lies with this probability.
///
/// For whole degrees of freedom the distribution is a finite sum in θ = atan(t / √ν), exact for few values and many:
/// no library is needed, only its root.
/// Source: Abramowitz & Stegun (1964), 26.7.3 and 26.7.4.
#[allow(clippy::cast_precision_loss, reason = "few values")]
fn t_quantile(probability: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    // Halving finds the last bit of a double.
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if probability_within(middle, freedom) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    (freedom as f64).sqrt() * f64::midpoint(low, high).tan()
}

/// The probability that |t| is at most √ν tan θ.
#[allow(clippy::cast_precision_loss, reason = "few values")]
fn probability_within(theta: f64, freedom: usize) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let is_odd = freedom % 2 == 1;
    // Even: 1 + 1/2 cos² + (1·3)/(2·4) cos⁴ + …; odd: cos + 2/3 cos³ + (2·4)/(3·5) cos⁵ + …
    let mut term = if is_odd { cos } else { 1.0 };
    let mut sum = 0.0;
    let first = if is_odd { 3 } else { 2 };
    for divisor in (first..=freedom).step_by(2) {
        sum += term;
        term *= (divisor - 1) as f64 / divisor as f64 * cos * cos;
    }
    if is_odd {
        (theta + sin * sum) / FRAC_PI_2
    } else {
        sin * sum
    }
}

/// Puts the curves on common steps: their own where these are few, else as many even ranges of steps, in each of
/// which a curve has the mean of its entries. Answers the ranges, and for each the values of the curves there.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "few values")]
pub fn common(curves: &[Series], most: usize) -> Vec<(u64, u64, Vec<Option<f64>>)> {
    let mut steps: Vec<u64> = curves.iter().flatten().map(|&(step, _)| step).collect();
    steps.sort_unstable();
    steps.dedup();
    let (Some(&first), Some(&last)) = (steps.first(), steps.last()) else {
        return Vec::new();
    };
    let ranges: Vec<(u64, u64)> = if steps.len() <= most {
        steps.into_iter().map(|step| (step, step)).collect()
    } else {
        let width = (last - first + 1).div_ceil(most as u64);
        (first..=last)
            .step_by(usize::try_from(width).unwrap_or(usize::MAX))
            .map(|from| (from, (from + width - 1).min(last)))
            .collect()
    };
    let within = |curve: &Series, from: u64, to: u64| {
        let begin = curve.partition_point(|&(step, _)| step < from);
        let end = curve.partition_point(|&(step, _)| step <= to);
        let entries = &curve[begin..end];
        let sum: f64 = entries.iter().map(|&(_, value)| value).sum();
        (!entries.is_empty()).then(|| sum / entries.len() as f64)
    };
    ranges
        .into_iter()
        .map(|(from, to)| {
            (
                from,
                to,
                curves.iter().map(|curve| within(curve, from, to)).collect(),
            )
        })
        .filter(|(_, _, values): &(u64, u64, Vec<Option<f64>>)| values.iter().any(Option::is_some))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap_or(f64::NAN);
        assert!(
            (found - expected).abs() < 1e-8 * expected.abs().max(1.0),
            "{found} {expected}"
        );
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Two-sided 95 % and 99 %, from the tables of the t distribution.
        for (freedom, at_95, at_99) in [
            (1, 12.706_204_736_432_095, 63.656_741_162_871_58),
            (2, 4.302_652_729_911_275, 9.924_843_200_918_07),
            (4, 2.776_445_105_198_793, 4.604_094_871_349_993),
            (9, 2.262_157_162_740_992, 3.249_835_541_592_126),
            (63, 1.998_340_542_520_741, 2.656_145_025_099_84),
        ] {
            close(Some(t_quantile(0.95, freedom)), at_95);
            close(Some(t_quantile(0.99, freedom)), at_99);
        }
    }

    #[test]
    fn a_small_sample_has_the_interval_of_its_textbook() {
        // Five values: mean 3, variance 2.5, half width 2.776… · √(2.5 / 5).
        let spread = spread(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.95);
        close(spread.mean, 3.0);
        close(spread.sd, 2.5_f64.sqrt());
        close(spread.low, 3.0 - 2.776_445_105_198_793 * 0.5_f64.sqrt());
        close(spread.high, 3.0 + 2.776_445_105_198_793 * 0.5_f64.sqrt());
        assert_eq!((spread.n, spread.min, spread.max), (5, Some(1.0), Some(5.0)));
    }

    #[test]
    fn one_value_has_no_spread_and_what_is_not_finite_is_counted() {
        let one = spread(&[2.0, f64::NAN, f64::INFINITY], 0.95);
        assert_eq!(
            (one.n, one.not_finite, one.mean, one.sd, one.low),
            (1, 2, Some(2.0), None, None)
        );
        let none = spread(&[], 0.95);
        assert_eq!((none.n, none.mean, none.min), (0, None, None));
    }

    #[test]
    fn curves_meet_at_their_own_steps_or_in_even_ranges() {
        let a: Series = (0..10).map(|step| (step, step as f64)).collect();
        let b: Series = vec![(0, 1.0), (9, 3.0)];
        let own = common(&[a.clone(), b.clone()], 10);
        assert_eq!(own.len(), 10);
        assert_eq!(own[9], (9, 9, vec![Some(9.0), Some(3.0)]));
        assert_eq!(own[4], (4, 4, vec![Some(4.0), None]));
        let halves = common(&[a, b], 2);
        assert_eq!(
            halves,
            [
                (0, 4, vec![Some(2.0), Some(1.0)]),
                (5, 9, vec![Some(7.0), Some(3.0)])
            ]
        );
        assert!(common(&[Vec::new()], 5).is_empty());
    }
}
