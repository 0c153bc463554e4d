//! The histories of a folder, `losses.txt` and `test_losses.txt`: one number a line.
//!
//! A continued run's histories begin with those of its base, as far as the base has them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use motif_motor::checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};

/// Where a run's own batches begin, and how many lines stood in its histories before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Began {
    /// Batches trained before.
    pub batch: u64,
    /// Last batch evaluated before.
    pub evaluated: Option<u64>,
    /// Lines of `losses.txt`.
    pub losses: u64,
    /// Lines of `test_losses.txt`.
    pub test_losses: u64,
}

/// Lines that both histories have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    pub losses: u64,
    pub test_losses: u64,
}

impl Began {
    pub fn is_at_batch_0(&self) -> bool {
        *self == Self::default()
    }

    /// Lines of the histories that belong to a state of the run; to its beginning without one.
    pub fn lines(&self, state: Option<&Checkpoint>, save_every: u64) -> Lines {
        let trained = state.map_or(0, |state| state.next_batch.saturating_sub(self.batch));
        let evaluated = state.and_then(|state| state.evaluated);
        Lines {
            losses: self.losses + trained,
            test_losses: self.test_losses + evaluations_between(self.evaluated, evaluated, save_every),
        }
    }
}

/// How many evaluations came after that of one batch, up to and with that of another: one every `save_every` batches
/// from batch 0 on, and one after the last batch.
pub fn evaluations_between(before: Option<u64>, through: Option<u64>, save_every: u64) -> u64 {
    let Some(through) = through else {
        return 0;
    };
    if before.is_some_and(|before| before >= through) {
        return 0;
    }
    let regular = |through: Option<u64>| through.map_or(0, |batch| batch / save_every + 1);
    regular(Some(through)) - regular(before) + u64::from(!through.is_multiple_of(save_every))
}

/// Cuts a file after so many lines and goes to its end. The inner error is the number of lines that there are.
pub fn keep_lines(file: &mut File, lines: u64) -> io::Result<Result<(), u64>> {
    file.rewind()?;
    let mut reader = BufReader::new(&mut *file);
    let (mut bytes, mut line) = (0, Vec::new());
    for found in 0..lines {
        line.clear();
        bytes += reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Ok(Err(found));
        }
    }
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes))?;
    Ok(Ok(()))
}

/// Replaces what a file holds by the first lines of another, which has at least as many.
pub fn copy_lines(from: &Path, lines: u64, to: &mut File) -> io::Result<()> {
    to.set_len(0)?;
    to.rewind()?;
    let mut reader = BufReader::new(File::open(from)?);
    let mut line = Vec::new();
    for _ in 0..lines {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        to.write_all(&line)?;
    }
    Ok(())
}

/// Complete lines of a file.
pub fn count_lines(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut lines, mut line) = (0, Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(lines);
        }
        lines += 1;
    }
}

/// The numbers of a history.
pub fn read_numbers(path: &Path) -> io::Result<Vec<f64>> {
    let number = |line: io::Result<String>| {
        let line = line?;
        line.trim()
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("`{line}` is no number")))
    };
    BufReader::new(File::open(path)?).lines().map(number).collect()
}

/// C's `%.18e`: Rust's exponent has neither a sign nor a leading zero.
pub fn like_printf(value: f64) -> String {
    let text = format!("{value:.18e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent
                .strip_prefix('-')
                .map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_printf_writes_them() {
        for (value, text) in [
            (0.0, "0.000000000000000000e+00"),
            (1.0, "1.000000000000000000e+00"),
            (0.1, "1.000000000000000056e-01"),
            (-12_345.678, "-1.234567799999999988e+04"),
            (1e-300, "1.000000000000000025e-300"),
        ] {
            assert_eq!(like_printf(value), text);
            assert_eq!(text.parse::<f64>().expect("a number"), value);
        }
    }

    #[test]
    fn evaluations_are_counted_with_that_of_the_last_batch() {
        for (batch, save_every, count) in [(0, 500, 1), (500, 500, 2), (749, 500, 3), (1, 1, 2), (6, 3, 3)] {
            assert_eq!(evaluations_between(None, Some(batch), save_every), count);
        }
        assert_eq!(evaluations_between(None, None, 500), 0);
        for (before, batch, count) in [
            (0, 500, 1),
            (749, 1000, 1),
            (749, 749, 0),
            (500, 999, 1),
            (1000, 500, 0),
        ] {
            assert_eq!(
                evaluations_between(Some(before), Some(batch), 500),
                count,
                "{before} {batch}"
            );
        }
    }

    #[test]
    fn lines_are_counted_copied_and_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, "1.5\n2\n3\n4").expect("written");
        assert_eq!(count_lines(&from).expect("read"), 3);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&to)
            .expect("open");
        copy_lines(&from, 3, &mut file).expect("copied");
        assert_eq!(read_numbers(&to).expect("numbers"), [1.5, 2.0, 3.0]);
        assert_eq!(keep_lines(&mut file, 2).expect("cut"), Ok(()));
        assert_eq!(keep_lines(&mut file, 3).expect("read"), Err(2));
        assert_eq!(std::fs::read_to_string(&to).expect("text"), "1.5\n2\n");
    }
}
