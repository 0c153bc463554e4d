//! Lengths of time as people write them: `30m`, `12h`, `90d`, `2w`.

use std::time::Duration;

/// A hundred years are for ever.
const LONGEST: u64 = 100 * 366 * 24 * 3600;

/// Reads a length of time.
///
/// # Errors
/// What would be right, as a sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time: 90d, 12h, 30m and 2w are");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count
        .checked_mul(seconds)
        .filter(|length| (1..=LONGEST).contains(length))
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_with_their_unit() {
        assert_eq!(parse("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse("2w"), Ok(Duration::from_secs(14 * 86_400)));
        for wrong in ["", "d", "90", "-1d", "0h", "1 d", "9999999999w", "3 µ"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
