//! `motif-worker export`: a checkpoint as a file that PyTorch reads.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use motif_motor::checkpoint::Checkpoint;

use crate::pth;

/// Turn a checkpoint into a .pth file, {agent_state_dict, optimizer_state_dict}, for torch.load(…, weights_only=True)
/// and Module.load_state_dict.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The checkpoint, .safetensors
    checkpoint: PathBuf,
    /// The .pth file to write
    #[arg(long, value_name = "X.pth")]
    out: PathBuf,
}

/// Runs `export`.
///
/// # Errors
/// When the checkpoint cannot be read or the file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.checkpoint;
    let checkpoint =
        Checkpoint::read_from(path).with_context(|| format!("cannot export {}", path.display()))?;
    let file = pth::export(&checkpoint)?;
    let bytes = file.to_bytes()?;
    std::fs::write(&arguments.out, &bytes)
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    println!(
        "{}: {}, {} tensors, {} bytes",
        arguments.out.display(),
        pth::summary(&checkpoint.config),
        file.state.len(),
        bytes.len()
    );
    Ok(ExitCode::SUCCESS)
}
