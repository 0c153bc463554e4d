//! `motif-worker stitch`: trained networks put side by side.

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use motif_motor::checkpoint::{Checkpoint, read_bounded};
use motif_motor::device::{Numerics, Precision};
use motif_motor::policy::{InputBlocks, Member, SideBySideFile};
use sha2::{Digest, Sha256};

/// Put trained networks of one region side by side as one network, block by block, nothing in between.
///
/// The file is a state dict with the outputs in it; its metadata names the members.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Checkpoints of the members, in their order
    #[arg(required = true, value_name = "CHECKPOINT")]
    checkpoints: Vec<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "X.safetensors")]
    out: PathBuf,
    /// Draw the input weights anew instead of copying them, as the original does
    #[arg(long)]
    fresh_input_blocks: bool,
    /// Seed of that draw
    #[arg(long, default_value_t = 0, requires = "fresh_input_blocks")]
    seed: u64,
}

/// Runs `stitch`.
///
/// # Errors
/// When a checkpoint cannot be read, the networks do not go together, or the file cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let members = arguments
        .checkpoints
        .iter()
        .map(|path| read_member(path).with_context(|| format!("cannot use {}", path.display())))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let input_blocks = if arguments.fresh_input_blocks {
        InputBlocks::Fresh { seed: arguments.seed }
    } else {
        InputBlocks::Copied
    };
    let stitched = SideBySideFile::stitch(members, input_blocks, Numerics::cpu(Precision::F32))?;
    stitched.write_to(&arguments.out)?;
    let config = stitched.network.network().config();
    println!(
        "{}: {} networks side by side, {} units, {} outputs",
        arguments.out.display(),
        stitched.members.len(),
        config.hidden,
        stitched.network.output_bias().numel()
    );
    Ok(ExitCode::SUCCESS)
}

/// A file's name with its folder's: a run's checkpoints are all called alike.
fn name_of(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        })
        .collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

fn read_member(path: &Path) -> anyhow::Result<(Member, Checkpoint)> {
    let bytes = read_bounded(path)?;
    let checkpoint = Checkpoint::from_bytes(&bytes)?;
    let digest = Sha256::digest(&bytes);
    let member = Member {
        name: name_of(path),
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        hidden: checkpoint.config.network.hidden(),
        batches: checkpoint.next_batch,
    };
    Ok((member, checkpoint))
}
