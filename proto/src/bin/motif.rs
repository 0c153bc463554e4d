//! The command `motif`: see [`motif_proto::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    motif_proto::cli::main()
}
