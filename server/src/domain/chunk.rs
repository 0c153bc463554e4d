//! How the points of a series are written down, in the chunks of the database and in the journal.
//!
//! Steps and values are two packed columns ([`pack`]). Values come back bit for bit, payloads of NaN and the sign
//! of zero included: they are packed as words that are ordered as the numbers are, of 32 bits where every value
//! of the chunk is a single-precision number, as what a network computes mostly is.

use super::pack::{pack, pop_varint, push_varint, unpack};

/// Points of a chunk; only the last one of a series has fewer.
pub const POINTS: usize = 4096;

/// Steps as varints, values as they are: what was written before values were packed.
const PLAIN: u8 = 0;
/// Packed steps, packed words of 64 bits.
const DOUBLE: u8 = 1;
/// Packed steps, packed words of 32 bits.
const SINGLE: u8 = 2;

/// A step and what was measured there.
pub type Point = (u64, f64);

/// The bytes of a chunk are not those of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the points of a chunk cannot be read")]
pub struct Damaged;

/// Writes down points.
#[must_use]
pub fn encode(points: &[Point]) -> Vec<u8> {
    let is_single = points
        .iter()
        .all(|&(_, value)| f64::from(value as f32).to_bits() == value.to_bits());
    let mut bytes = Vec::with_capacity(16 + points.len() * 5);
    bytes.push(if is_single { SINGLE } else { DOUBLE });
    push_varint(&mut bytes, points.len() as u64);
    let mut column: Vec<u64> = points.iter().map(|&(step, _)| step).collect();
    pack(&column, &mut bytes);
    column.clear();
    if is_single {
        column.extend(points.iter().map(|&(_, value)| single_to_word(value as f32)));
    } else {
        column.extend(points.iter().map(|&(_, value)| double_to_word(value)));
    }
    pack(&column, &mut bytes);
    bytes
}

/// Reads points, in the order in which they were written.
///
/// # Errors
/// [`Damaged`].
pub fn decode(bytes: &[u8]) -> Result<Vec<Point>, Damaged> {
    let (&format, mut rest) = bytes.split_first().ok_or(Damaged)?;
    let points = match format {
        PLAIN => plain(&mut rest),
        DOUBLE => packed(&mut rest, word_to_double),
        SINGLE => packed(&mut rest, |word| f64::from(word_to_single(word))),
        _ => None,
    };
    points.filter(|_| rest.is_empty()).ok_or(Damaged)
}

fn packed(bytes: &mut &[u8], value: impl Fn(u64) -> f64) -> Option<Vec<Point>> {
    let count = usize::try_from(pop_varint(bytes)?).ok()?;
    let steps = unpack(bytes, count)?;
    let values = unpack(bytes, count)?;
    Some(steps.into_iter().zip(values.into_iter().map(value)).collect())
}

/// First step (8 bytes), number of points and length of the steps (4 each, big-endian), steps as differences to
/// the one before, values little-endian.
fn plain(bytes: &mut &[u8]) -> Option<Vec<Point>> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (mut steps, values) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (values, remainder) = values.as_chunks::<8>();
    *bytes = remainder;
    if values.len() != u32::from_be_bytes(*count) as usize {
        return None;
    }
    let mut step = u64::from_be_bytes(*first);
    let points = values
        .iter()
        .map(|value| {
            step = step.checked_add(pop_varint(&mut steps)?)?;
            Some((step, f64::from_le_bytes(*value)))
        })
        .collect::<Option<Vec<_>>>()?;
    steps.is_empty().then_some(points)
}

/// Words that rise with the numbers: the negative ones upside down, below the positive ones.
pub(super) const fn double_to_word(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

pub(super) const fn word_to_double(word: u64) -> f64 {
    f64::from_bits(if word >> 63 == 1 { word & !(1 << 63) } else { !word })
}

const fn single_to_word(value: f32) -> u64 {
    let bits = value.to_bits();
    (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }) as u64
}

const fn word_to_single(word: u64) -> f32 {
    let word = word as u32;
    f32::from_bits(if word >> 31 == 1 { word & !(1 << 31) } else { !word })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(points: &[Point]) -> Vec<(u64, u64)> {
        points
            .iter()
            .map(|&(step, value)| (step, value.to_bits()))
            .collect()
    }

    /// Noise that no codec can guess: the high bits of a multiplicative generator.
    fn noise(i: u64) -> f64 {
        let mut state = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 31;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn odd_values_come_back_bit_for_bit() {
        let odd = [
            f64::from_bits(0x7ff8_0000_dead_beef),
            f64::from_bits(0xfff4_0000_0000_0001),
            f64::NAN,
            -0.0,
            0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            -1e300,
            0.1,
        ];
        let points: Vec<Point> = (0..).zip(odd).collect();
        assert_eq!(bits(&decode(&encode(&points)).unwrap()), bits(&points));
    }

    #[test]
    fn a_noisy_single_precision_loss_takes_three_bytes_a_point() {
        let points: Vec<Point> = (0..4096)
            .map(|step| (step, f64::from((0.02 + 0.01 * noise(step)) as f32)))
            .collect();
        let size = encode(&points).len();
        assert!(size < 4096 * 31 / 10, "{size}");
    }

    #[test]
    fn a_constant_series_takes_next_to_nothing() {
        let points: Vec<Point> = (0..4096).map(|step| (step, 0.125)).collect();
        assert!(encode(&points).len() < 600);
    }

    #[test]
    fn what_earlier_versions_wrote_can_be_read() {
        let mut bytes = vec![PLAIN];
        bytes.extend(7u64.to_be_bytes());
        bytes.extend(2u32.to_be_bytes());
        bytes.extend(3u32.to_be_bytes());
        bytes.extend([0, 0x85, 0x02]);
        bytes.extend(0.5f64.to_le_bytes());
        bytes.extend((-0.0f64).to_le_bytes());
        assert_eq!(bits(&decode(&bytes).unwrap()), bits(&[(7, 0.5), (268, -0.0)]));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(Damaged));
    }

    #[test]
    fn bytes_that_do_not_fit_are_noticed() {
        let mut bytes = encode(&[(0, 1.0), (1, 0.1)]);
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(Damaged));
        bytes.truncate(bytes.len() - 2);
        assert_eq!(decode(&bytes), Err(Damaged));
        assert_eq!(decode(&[]), Err(Damaged));
        assert_eq!(decode(&[9]), Err(Damaged));
    }

    proptest! {
        #[test]
        fn every_series_comes_back(
            steps in prop::collection::btree_set(0u64..1 << 53, 0..300),
            values in prop::collection::vec(
                prop_oneof![any::<u64>().prop_map(f64::from_bits), any::<f32>().prop_map(f64::from), -1.0..1.0],
                300
            ),
        ) {
            let points: Vec<Point> = steps.into_iter().zip(values).collect();
            prop_assert_eq!(bits(&decode(&encode(&points)).unwrap()), bits(&points));
        }
    }
}
