//! How the points of a series are written down in chunks.
//!
//! Steps are differences to the step before, as variable-length integers of seven bits a byte, low bits first;
//! the first is the difference to the chunk's own first step. Values are 64-bit floats, little endian, so every
//! value comes back bit for bit. Both columns can be appended to without being read.

/// Most points in one chunk: an append rewrites at most this many.
pub const MAX_POINTS: usize = 1024;

/// The bytes of a chunk do not fit its number of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunk that begins at step {first_step} is damaged")]
pub struct Damaged {
    /// The first step of the chunk.
    pub first_step: u64,
}

/// Steps and values as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Differences of the steps.
    pub steps: Vec<u8>,
    /// Values.
    pub values: Vec<u8>,
}

/// Encodes points that follow `previous`: the last step of the chunk, or the first of a new one.
#[must_use]
pub fn encode(previous: u64, steps: &[u64], values: &[f64]) -> Encoded {
    let mut encoded = Encoded {
        steps: Vec::with_capacity(steps.len()),
        values: Vec::with_capacity(values.len() * 8),
    };
    let mut previous = previous;
    for &step in steps {
        push_varint(&mut encoded.steps, step - previous);
        previous = step;
    }
    for value in values {
        encoded.values.extend_from_slice(&value.to_le_bytes());
    }
    encoded
}

/// Decodes a chunk, point by point in the order of the steps.
///
/// # Errors
/// [`Damaged`] if the bytes are not those of `points` points.
pub fn decode(
    first_step: u64,
    points: usize,
    steps: &[u8],
    values: &[u8],
) -> Result<Vec<(u64, f64)>, Damaged> {
    let damaged = Damaged { first_step };
    let (values, rest) = values.as_chunks::<8>();
    if values.len() != points || !rest.is_empty() {
        return Err(damaged);
    }
    let mut bytes = steps.iter().copied();
    let mut step = first_step;
    let decoded = values
        .iter()
        .map(|value| {
            step = step.checked_add(pop_varint(&mut bytes)?)?;
            Some((step, f64::from_le_bytes(*value)))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or(damaged)?;
    if bytes.next().is_some() {
        return Err(damaged);
    }
    Ok(decoded)
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn pop_varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back_bit_for_bit() {
        let steps = [7, 8, 9, 300, 1 << 40, (1 << 53) - 1];
        let values = [0.1, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, -1e300];
        let encoded = encode(7, &steps, &values);
        let decoded = decode(7, 6, &encoded.steps, &encoded.values).unwrap();
        for (i, (step, value)) in decoded.into_iter().enumerate() {
            assert_eq!(step, steps[i]);
            assert_eq!(value.to_bits(), values[i].to_bits());
        }
    }

    #[test]
    fn an_append_needs_only_the_last_step() {
        let whole = encode(3, &[3, 5, 900], &[1.0, 2.0, 3.0]);
        let mut head = encode(3, &[3, 5], &[1.0, 2.0]);
        let tail = encode(5, &[900], &[3.0]);
        head.steps.extend(tail.steps);
        head.values.extend(tail.values);
        assert_eq!(head, whole);
    }

    #[test]
    fn consecutive_steps_cost_one_byte_each() {
        let steps: Vec<u64> = (75_000..76_000).collect();
        assert_eq!(encode(75_000, &steps, &vec![0.0; 1000]).steps.len(), 1000);
    }

    #[test]
    fn bytes_that_do_not_fit_are_noticed() {
        let good = encode(0, &[0, 1], &[1.0, 2.0]);
        let damaged = Err(Damaged { first_step: 0 });
        assert_eq!(decode(0, 3, &good.steps, &good.values), damaged);
        assert_eq!(decode(0, 2, &good.steps[..1], &good.values), damaged);
        assert_eq!(decode(0, 1, &good.steps, &good.values[..8]), damaged);
        assert_eq!(decode(0, 2, &[0, 0xff], &good.values), damaged);
    }
}
