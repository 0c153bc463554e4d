//! `batches.csv`: what every batch was asked to do and what came of it, a line each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use motif_motor::training::BatchReport;

const HEADER: &str = "batch,task,speed,movement_steps,delay_steps,directions,backward_directions,total,position,rate,\
                      weight,muscle,dynamics,imitation,grad_norm\n";

/// A batch's line. Numbers have the digits that read back exactly; directions stand in the order of the trials.
pub(super) fn line(report: &BatchReport) -> String {
    let conditions = &report.conditions;
    let movement_steps = conditions.task.movement_steps(conditions.mode)[conditions.speed];
    let directions = |directions: &[usize]| -> String {
        let words: Vec<String> = directions.iter().map(ToString::to_string).collect();
        words.join(" ")
    };
    let losses = &report.losses;
    let terms = [
        losses.total,
        losses.position,
        losses.rate,
        losses.weight,
        losses.muscle,
        losses.dynamics,
    ];
    let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
    format!(
        "{},{},{},{movement_steps},{},{},{},{},{},{}\n",
        report.batch,
        conditions.task,
        conditions.speed,
        conditions.delay_steps,
        directions(&conditions.directions),
        directions(conditions.backward_directions.as_deref().unwrap_or_default()),
        terms.join(","),
        losses
            .imitation
            .map_or_else(String::new, |value| value.to_string()),
        report.grad_norm,
    )
}

/// Leaves the header and the lines of the batches before `next_batch`, and goes to the end.
///
/// Lines may be missing (folders of before there was this file): each says which batch it is about.
pub(super) fn keep_before(file: &mut File, next_batch: u64) -> io::Result<()> {
    file.rewind()?;
    let kept = bytes_before(&mut BufReader::new(&mut *file), next_batch)?;
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    if kept == 0 {
        file.write_all(HEADER.as_bytes())?;
    }
    Ok(())
}

/// Replaces what a file holds by the lines of another of the batches before `next_batch`, if there is such a file.
pub(super) fn copy_before(from: &Path, next_batch: u64, to: &mut File) -> io::Result<()> {
    to.set_len(0)?;
    to.rewind()?;
    let mut from = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return to.write_all(HEADER.as_bytes()),
        Err(error) => return Err(error),
    };
    let kept = bytes_before(&mut BufReader::new(&mut from), next_batch)?;
    from.rewind()?;
    io::copy(&mut from.take(kept), to)?;
    Ok(())
}

/// Length of the header and the lines that follow it, up to the first that is not whole, or of a later batch. 0
/// without a header.
fn bytes_before(reader: &mut impl BufRead, next_batch: u64) -> io::Result<u64> {
    let (mut kept, mut line) = (0, Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let belongs = if kept == 0 {
            line == HEADER.as_bytes()
        } else {
            line.last() == Some(&b'\n') && batch_of(&line).is_some_and(|batch| batch < next_batch)
        };
        if !belongs {
            return Ok(kept);
        }
        kept += line.len() as u64;
    }
}

fn batch_of(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use motif_motor::loss::Losses;
    use motif_motor::tasks::{Mode, Task, TrialConditions};

    use super::*;

    fn report(batch: u64) -> BatchReport {
        BatchReport {
            batch,
            conditions: TrialConditions {
                task: Task::DlyFullReach,
                mode: Mode::Train,
                speed: 1,
                delay_steps: 75,
                directions: vec![3, 0],
                backward_directions: None,
            },
            losses: Losses {
                total: 0.3,
                position: 0.1,
                dynamics: 1e-9,
                ..Losses::default()
            },
            grad_norm: 2.5,
        }
    }

    #[test]
    fn a_line_has_conditions_losses_and_norm_under_their_headings() {
        let line = line(&report(7));
        assert_eq!(
            line,
            "7,DlyFullReach,1,200,75,3 0,,0.3,0.1,0,0,0,0.000000001,,2.5\n"
        );
        assert_eq!(line.split(',').count(), HEADER.split(',').count());
    }

    #[test]
    fn what_a_killed_process_left_beyond_its_checkpoint_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("batches.csv");
        let open = || {
            let mut options = File::options();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let text = || std::fs::read_to_string(&path).expect("text");
        keep_before(&mut open().expect("open"), 5).expect("an empty file gets its heading");
        assert_eq!(text(), HEADER);
        let whole: String = (0..4).map(|batch| line(&report(batch))).collect();
        std::fs::write(&path, format!("{HEADER}{whole}4,DlyF")).expect("written");
        keep_before(&mut open().expect("open"), 9).expect("cut");
        assert_eq!(text(), format!("{HEADER}{whole}"), "a torn line goes");
        keep_before(&mut open().expect("open"), 2).expect("cut");
        assert_eq!(text().lines().count(), 3);
        let mut copy = File::options();
        let to = folder.path().join("copy.csv");
        let mut to = copy.write(true).create_new(true).open(&to).expect("open");
        copy_before(&path, 1, &mut to).expect("copied");
        copy_before(&folder.path().join("none"), 1, &mut to).expect("nothing to copy");
    }
}
