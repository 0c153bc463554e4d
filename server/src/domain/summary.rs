//! The pyramid over a series: what a picture needs to know of many points at once.
//!
//! Every complete chunk has a row of [`BUCKETS`] buckets, level 0; every [`FAN_OUT`] rows of a level are summed up
//! in a row of the next one, whose buckets are [`FAN_OUT`] times as wide. A row is written once, when the last of
//! its points is there, so whatever range is read at whatever width, some level has about as many buckets as the
//! picture needs.

use super::chunk::{self, Damaged, Point};
use super::pack::{pack, pop_varint, push_varint, unpack};

/// Buckets of a row.
pub const BUCKETS: usize = 64;
/// Buckets that make one of the next level, and rows that make a row there.
pub const FAN_OUT: usize = 8;

const POINTS_PER_BUCKET: usize = chunk::POINTS / BUCKETS;
/// Levels that any series can have: the widest bucket then has more points than there are steps.
const LEVELS: u32 = 16;
/// Buckets to read for one entry of the picture, at least: enough to share them out evenly.
const BUCKETS_PER_ENTRY: u64 = 2;

/// What is known of neighbouring points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Step of the first point.
    pub first: u64,
    /// Step of the last point.
    pub last: u64,
    /// How many points there are.
    pub points: u64,
    /// How many of them are not a number.
    pub nan: u64,
    /// Least number; NaN where there is none.
    pub min: f64,
    /// Greatest number; NaN where there is none.
    pub max: f64,
    /// Sum of the numbers.
    pub sum: f64,
}

impl Bucket {
    /// One point.
    #[must_use]
    pub fn of((step, value): Point) -> Self {
        Self {
            first: step,
            last: step,
            points: 1,
            nan: value.is_nan().into(),
            min: value,
            max: value,
            sum: if value.is_nan() { 0.0 } else { value },
        }
    }

    /// Adds what follows.
    pub fn add(&mut self, next: &Self) {
        self.last = next.last;
        self.points += next.points;
        self.nan += next.nan;
        // `f64::min` and `f64::max` prefer a number to NaN.
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.sum += next.sum;
    }

    /// All of them together; `None` if there are none.
    pub fn join(buckets: impl IntoIterator<Item = Self>) -> Option<Self> {
        buckets.into_iter().reduce(|mut all, next| {
            all.add(&next);
            all
        })
    }

    /// Mean of the numbers; NaN where there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "far fewer points than 2^53")]
    pub fn mean(&self) -> f64 {
        self.sum / (self.points - self.nan) as f64
    }
}

/// The level-0 row of a complete chunk.
#[must_use]
pub fn of_chunk(points: &[Point]) -> Vec<Bucket> {
    join_every(points.iter().copied().map(Bucket::of), POINTS_PER_BUCKET)
}

/// The row over [`FAN_OUT`] rows of the level below.
#[must_use]
pub fn of_rows(rows: impl IntoIterator<Item = Vec<Bucket>>) -> Vec<Bucket> {
    join_every(rows.into_iter().flatten(), FAN_OUT)
}

fn join_every(buckets: impl Iterator<Item = Bucket>, count: usize) -> Vec<Bucket> {
    let mut buckets = buckets.peekable();
    let mut joined = Vec::with_capacity(BUCKETS);
    while buckets.peek().is_some() {
        joined.extend(Bucket::join(buckets.by_ref().take(count)));
    }
    joined
}

/// The level to begin with for a picture of `points` points in `most` entries; none means the points themselves.
#[must_use]
pub fn level_for(points: u64, most: u64) -> Option<u32> {
    let wanted = most.saturating_mul(BUCKETS_PER_ENTRY);
    (0..LEVELS)
        .rev()
        .find(|&level| points / points_per_bucket(level) >= wanted)
}

const fn points_per_bucket(level: u32) -> u64 {
    POINTS_PER_BUCKET as u64 * (FAN_OUT as u64).pow(level)
}

/// Writes down a row.
#[must_use]
pub fn encode(buckets: &[Bucket]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(buckets.len() * 16);
    push_varint(&mut bytes, buckets.len() as u64);
    let mut column = |number: fn(&Bucket) -> u64| {
        pack(&buckets.iter().map(number).collect::<Vec<_>>(), &mut bytes);
    };
    column(|bucket| bucket.first);
    column(|bucket| bucket.last);
    column(|bucket| bucket.points);
    column(|bucket| bucket.nan);
    column(|bucket| chunk::double_to_word(bucket.min));
    column(|bucket| chunk::double_to_word(bucket.max));
    column(|bucket| chunk::double_to_word(bucket.sum));
    bytes
}

/// Reads a row.
///
/// # Errors
/// [`Damaged`].
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Bucket>, Damaged> {
    let buckets = columns(&mut bytes).ok_or(Damaged)?;
    if bytes.is_empty() {
        Ok(buckets)
    } else {
        Err(Damaged)
    }
}

fn columns(bytes: &mut &[u8]) -> Option<Vec<Bucket>> {
    let count = usize::try_from(pop_varint(bytes)?).ok()?;
    let mut column = || unpack(bytes, count);
    let (first, last, points, nan) = (column()?, column()?, column()?, column()?);
    let (min, max, sum) = (column()?, column()?, column()?);
    let bucket = |i: usize| Bucket {
        first: first[i],
        last: last[i],
        points: points[i],
        nan: nan[i],
        min: chunk::word_to_double(min[i]),
        max: chunk::word_to_double(max[i]),
        sum: chunk::word_to_double(sum[i]),
    };
    Some((0..count).map(bucket).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(count: usize) -> Vec<Point> {
        (0..count as u64).map(|step| (step, step as f64)).collect()
    }

    #[test]
    fn a_row_comes_back() {
        let mut points = points(chunk::POINTS);
        points[70].1 = f64::NAN;
        points[99].1 = f64::INFINITY;
        for point in &mut points[256..320] {
            point.1 = f64::NAN;
        }
        let row = of_chunk(&points);
        assert_eq!(row.len(), BUCKETS);
        assert_eq!((row[1].nan, row[1].min, row[1].max), (1, 64.0, f64::INFINITY));
        assert!(row[4].nan == 64 && row[4].mean().is_nan() && row[4].max.is_nan());
        let back = decode(&encode(&row)).unwrap();
        // NaN is no equal of itself; what is written is.
        assert_eq!(format!("{back:?}"), format!("{row:?}"));
        assert_eq!(decode(&encode(&row)[1..]), Err(Damaged));
    }

    #[test]
    fn a_row_of_the_next_level_says_what_eight_below_say() {
        let points = points(8 * chunk::POINTS);
        let row = of_rows(points.chunks(chunk::POINTS).map(of_chunk));
        assert_eq!(row.len(), BUCKETS);
        let wide = POINTS_PER_BUCKET * FAN_OUT;
        for (bucket, points) in row.iter().zip(points.chunks(wide)) {
            let brute = Bucket::join(points.iter().copied().map(Bucket::of)).unwrap();
            assert_eq!(*bucket, brute);
        }
    }

    #[test]
    fn the_number_of_buckets_to_read_is_bounded_at_every_length() {
        assert_eq!(level_for(100_000, 1000), None);
        for exponent in 17..53 {
            let points = 1u64 << exponent;
            let buckets = points / level_for(points, 1000).map_or(1, points_per_bucket);
            assert!(
                (2000..16_000).contains(&buckets),
                "{points} points: {buckets} buckets"
            );
        }
    }
}
