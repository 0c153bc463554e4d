//! What one batch of metrics leaves in the journal of its run: for each series its place among the journal's names,
//! the length of its points as a chunk writes them down, and these. Numbers are big-endian, as Postgres sends them.

use super::chunk::{self, Damaged, Point};

/// Most series in a journal.
pub const MAX_SERIES: usize = 4096;

/// Appends the points of the series at `place`, which is below [`MAX_SERIES`].
pub fn push(data: &mut Vec<u8>, place: usize, points: &[Point]) {
    let bytes = chunk::encode(points);
    data.extend((place as u16).to_be_bytes());
    data.extend((bytes.len() as u32).to_be_bytes());
    data.extend(bytes);
}

/// The places and points of a batch, where `wanted` asks for them.
///
/// # Errors
/// [`Damaged`].
pub fn read(mut data: &[u8], wanted: impl Fn(usize) -> bool) -> Result<Vec<(usize, Vec<Point>)>, Damaged> {
    let mut series = Vec::new();
    while !data.is_empty() {
        let (place, length, rest) = head(data).ok_or(Damaged)?;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(Damaged)?;
        if wanted(place) {
            series.push((place, chunk::decode(bytes)?));
        }
        data = rest;
    }
    Ok(series)
}

fn head(data: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (place, rest) = data.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    Some((
        u16::from_be_bytes(*place).into(),
        u32::from_be_bytes(*length) as usize,
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_read() {
        let mut data = Vec::new();
        push(&mut data, 7, &[(0, 1.0), (1, 2.0)]);
        push(&mut data, 300, &[(5, 0.1)]);
        assert_eq!(read(&data, |place| place == 300), Ok(vec![(300, vec![(5, 0.1)])]));
        assert_eq!(read(&data, |_| true).map(|series| series.len()), Ok(2));
        assert_eq!(read(&data[..data.len() - 1], |_| false), Err(Damaged));
    }
}
