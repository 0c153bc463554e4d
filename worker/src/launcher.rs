//! `motif-worker`: sees to it that libtorch is there, then becomes the worker's own program.
//!
//! The dynamic linker looks for libraries before any code of a program runs, and what it says about a missing
//! one helps nobody. So this small program, which needs none of them, asks it first and says in a sentence
//! what is missing. It then replaces itself: signals and exit codes are the worker's own.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The worker's own program, which lies beside this one.
const PROGRAM: &str = "motif-worker-engine";
/// Names the code path of Intel's mathematics library, which libtorch multiplies with.
const MKL_PATH: &str = "MKL_CBWR";
/// Hardware queues of a card that CUDA's driver uses, at most 32.
const QUEUES: &str = "CUDA_DEVICE_MAX_CONNECTIONS";

fn main() -> ExitCode {
    let problem = match program() {
        Ok(program) => become_it(&program),
        Err(problem) => problem,
    };
    eprintln!("motif-worker: {problem}");
    ExitCode::FAILURE
}

fn program() -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| format!("cannot tell where this program lies: {error}"))?;
    Ok(own.with_file_name(PROGRAM))
}

/// Returns only with the reason why it could not.
fn become_it(program: &Path) -> String {
    match missing_libraries(program) {
        Ok(missing) if missing.is_empty() => {
            let mut command = Command::new(program);
            command.arg0("motif-worker").args(env::args_os().skip(1));
            if env::args_os().nth(1).is_some_and(|name| name == "golden") {
                compare_alike_everywhere(&mut command);
            }
            give_streams_queues(&mut command);
            let error = command.exec();
            format!("cannot start {}: {error}", program.display())
        }
        Ok(missing) => format!(
            "libtorch is not where it was at build time ({} not found): run the set-up again, or name its lib folder in LD_LIBRARY_PATH",
            missing.join(", ")
        ),
        Err(error) => format!("cannot start {}: {error}", program.display()),
    }
}

/// Lets the mathematics library take the same code path on every processor, unless somebody chose one.
///
/// Rounding differs between these paths, and one trial of the evaluation's reference data grazes a joint's limit: in
/// single precision its last position differs by centimetres from processor to processor, by nothing else than that.
fn compare_alike_everywhere(command: &mut Command) {
    if env::var_os(MKL_PATH).is_none() {
        command.env(MKL_PATH, "COMPATIBLE");
    }
}

/// Has CUDA's driver give a card as many hardware queues as it can, unless somebody chose a number.
///
/// Runs that share a card have a stream each. By default the driver has eight queues, and streams that share one wait
/// for each other.
fn give_streams_queues(command: &mut Command) {
    if env::var_os(QUEUES).is_none() {
        command.env(QUEUES, "32");
    }
}

/// Libraries that the dynamic linker does not find for a program.
fn missing_libraries(program: &Path) -> io::Result<Vec<String>> {
    // With this variable glibc's linker lists what it would load, and ends.
    let listing = Command::new(program)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .output()?;
    Ok(not_found(&String::from_utf8_lossy(&listing.stdout)))
}

fn not_found(listing: &str) -> Vec<String> {
    let missing = listing
        .lines()
        .filter_map(|line| line.trim().strip_suffix("=> not found"));
    let mut names: Vec<String> = missing.map(|name| name.trim().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::not_found;

    #[test]
    fn only_libraries_that_the_linker_did_not_find_are_missing() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibtorch_cpu.so => not found\n\tlibc10.so => not found\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\tlibc10.so => not found\n";
        assert_eq!(not_found(listing), ["libc10.so", "libtorch_cpu.so"]);
        assert!(not_found("\tlibc.so.6 => /lib/libc.so.6 (0x1)\n").is_empty());
    }
}
