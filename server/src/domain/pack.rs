//! Columns of whole numbers in few bits, without loss.
//!
//! A column is written in blocks of [`BLOCK`] numbers. A block holds its first number; the others are differences,
//! either to the first or each to the one before, whichever needs fewer bits. What all differences share is taken
//! out (their trailing zero bits, then the least of them), and the rest is written with as many bits as the
//! greatest needs. So numbers at equal distances cost nothing beyond the block's head, neighbouring floats about
//! as many bits as they really differ in, and every word comes back as it was: the arithmetic wraps.

/// Numbers in one block.
const BLOCK: usize = 128;
/// Set in a block's first byte if each difference is to the number before.
const CHAINED: u8 = 0x80;

/// Appends the column to `out`.
pub fn pack(column: &[u64], out: &mut Vec<u8>) {
    for block in column.chunks(BLOCK) {
        pack_block(block, out);
    }
}

/// Takes a column of `count` numbers from the front of `bytes`; `None` if it is not there.
#[must_use]
pub fn unpack(bytes: &mut &[u8], count: usize) -> Option<Vec<u64>> {
    let mut column = Vec::with_capacity(count.min(1 << 16));
    while column.len() < count {
        unpack_block(bytes, (count - column.len()).min(BLOCK), &mut column)?;
    }
    Some(column)
}

/// How the differences of a block are written.
struct Plan {
    least: i64,
    width: u32,
}

impl Plan {
    fn of(differences: &[i64]) -> Self {
        let least = differences.iter().copied().min().unwrap_or(0);
        let span = differences
            .iter()
            .fold(0, |span, &difference| span.max(rest(difference, least)));
        Self {
            least,
            width: u64::BITS - span.leading_zeros(),
        }
    }
}

fn rest(difference: i64, least: i64) -> u64 {
    difference.wrapping_sub(least).cast_unsigned()
}

fn pack_block(block: &[u64], out: &mut Vec<u8>) {
    let first = block[0];
    let shared = block
        .iter()
        .fold(0, |bits, &number| bits | number.wrapping_sub(first));
    let shift = if shared == 0 { 0 } else { shared.trailing_zeros() };

    let mut differences = [0i64; BLOCK];
    let mut chained = [0i64; BLOCK];
    let count = block.len() - 1;
    let mut before = 0;
    for (i, &number) in block[1..].iter().enumerate() {
        let difference = number.wrapping_sub(first).cast_signed() >> shift;
        differences[i] = difference;
        chained[i] = difference.wrapping_sub(before);
        before = difference;
    }
    let to_first = Plan::of(&differences[..count]);
    let to_before = Plan::of(&chained[..count]);
    let (plan, differences, mark) = if to_before.width < to_first.width {
        (to_before, &chained[..count], CHAINED)
    } else {
        (to_first, &differences[..count], 0)
    };

    out.extend([plan.width as u8 | mark, shift as u8]);
    push_varint(out, first);
    push_varint(out, zigzag(plan.least));
    let mut bits = 0u128;
    let mut held = 0;
    for &difference in differences {
        bits |= u128::from(rest(difference, plan.least)) << held;
        held += plan.width;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(bits as u8);
    }
}

fn unpack_block(bytes: &mut &[u8], count: usize, column: &mut Vec<u64>) -> Option<()> {
    let (&[mark, shift], rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    let is_chained = mark & CHAINED != 0;
    let (width, shift) = (u32::from(mark & !CHAINED), u32::from(shift));
    if width > u64::BITS || shift >= u64::BITS {
        return None;
    }
    let first = pop_varint(bytes)?;
    let least = unzigzag(pop_varint(bytes)?);
    column.push(first);
    let length = ((count - 1) * width as usize).div_ceil(8);
    let (mut packed, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;

    let mask = if width == u64::BITS {
        u64::MAX
    } else {
        (1 << width) - 1
    };
    let mut bits = 0u128;
    let mut held = 0;
    let mut before = 0i64;
    for _ in 1..count {
        while held < width {
            if let Some((word, rest)) = packed.split_first_chunk() {
                bits |= u128::from(u32::from_le_bytes(*word)) << held;
                packed = rest;
                held += 32;
            } else {
                let (&byte, rest) = packed.split_first()?;
                bits |= u128::from(byte) << held;
                packed = rest;
                held += 8;
            }
        }
        let mut difference = (bits as u64 & mask).cast_signed().wrapping_add(least);
        bits >>= width;
        held -= width;
        if is_chained {
            difference = difference.wrapping_add(before);
            before = difference;
        }
        column.push(first.wrapping_add((difference << shift).cast_unsigned()));
    }
    Some(())
}

/// Seven bits a byte, low bits first.
pub fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front of `bytes`.
pub fn pop_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Numbers near zero on either side become small.
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(column: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        pack(column, &mut out);
        out
    }

    #[test]
    fn numbers_at_equal_distances_cost_only_the_heads_of_their_blocks() {
        let column: Vec<u64> = (0..4096).map(|i| 75_000 + 3 * i).collect();
        assert!(packed(&column).len() <= 4096 / BLOCK * 6);
    }

    #[test]
    fn bytes_that_are_cut_are_noticed() {
        let bytes = packed(&[7, 1 << 40, 3, u64::MAX]);
        for length in 0..bytes.len() {
            assert_eq!(unpack(&mut &bytes[..length], 4), None);
        }
    }

    proptest! {
        #[test]
        fn every_column_comes_back(
            column in prop_oneof![
                prop::collection::vec(any::<u64>(), 1..300),
                prop::collection::vec(0u64..1000, 1..300),
                prop::collection::vec(any::<u32>().prop_map(|n| u64::from(n) << 29), 1..300),
            ]
        ) {
            let mut bytes = packed(&column);
            bytes.push(0xaa);
            let mut rest = &bytes[..];
            prop_assert_eq!(unpack(&mut rest, column.len()), Some(column));
            prop_assert_eq!(rest, &[0xaa][..]);
        }

        #[test]
        fn strange_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 1usize..500) {
            let _ = unpack(&mut &bytes[..], count);
        }
    }
}
