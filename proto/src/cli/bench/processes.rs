//! What a process and all that it started have used of the processors, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// Ticks of the kernel's clock in a second, on every Linux that Motif runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Ticks used by itself and by those of its children that have ended.
    ticks: u64,
}

/// Seconds of processor time used so far by a process and its descendants; `None` where there is no such process.
pub(super) fn cpu_seconds(root: u32) -> Option<f64> {
    let all: HashMap<u32, Process> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            Some((
                pid,
                parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
            ))
        })
        .collect();
    all.get(&root)?;
    let ticks: u64 = all
        .iter()
        .filter(|(pid, _)| descends(**pid, root, &all))
        .map(|(_, process)| process.ticks)
        .sum();
    Some(ticks as f64 / TICKS_PER_SECOND)
}

fn descends(mut pid: u32, root: u32, all: &HashMap<u32, Process>) -> bool {
    // As many steps as there are processes: parents change while they are read.
    for _ in 0..=all.len() {
        if pid == root {
            return true;
        }
        match all.get(&pid) {
            Some(process) => pid = process.parent,
            None => return false,
        }
    }
    false
}

/// Reads a line of `/proc/PID/stat`; the name may hold anything, parentheses too.
fn parse(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_name() {
        let line = "42 (a) b) S 7 42 42 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 5";
        assert_eq!(
            parse(line),
            Some(Process {
                parent: 7,
                ticks: 100
            })
        );
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn this_process_has_used_some_time_and_one_that_is_not_there_none() {
        assert!(cpu_seconds(std::process::id()).is_some());
        assert_eq!(cpu_seconds(u32::MAX), None);
    }
}
