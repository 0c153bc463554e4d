//! `motif-worker import`: a checkpoint from a file of PyTorch's.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use motif_motor::checkpoint::read_bounded;
use serde_json::json;

use crate::pth;

/// Turn a .pth file of the model family (weights, and Adam's state where there is one) into a checkpoint of Motif.
///
/// Settings come from the hp.json beside it. The file is read without running anything that it says.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The .pth file
    file: PathBuf,
    /// The checkpoint to write
    #[arg(long, value_name = "X.safetensors")]
    out: PathBuf,
    /// softplus, relu, tanh, sigmoid or linear, where no hp.json says
    #[arg(long)]
    activation: Option<String>,
}

/// Runs `import`.
///
/// # Errors
/// When the file is refused or the checkpoint cannot be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.file;
    let cannot = || format!("cannot import {}", path.display());
    let bytes = read_bounded(path).with_context(cannot)?;
    let hints = arguments
        .activation
        .as_ref()
        .map(|name| json!({ "activation": name }));
    let checkpoint = pth::import(&bytes, path, hints.as_ref()).map_err(|error| match error {
        pth::ImportError::Activation => {
            anyhow::anyhow!(
                "no hp.json beside it says which activation function its units have: give --activation"
            )
        }
        error => error.into(),
    });
    let checkpoint = checkpoint.with_context(cannot)?;
    checkpoint.write_to(&arguments.out)?;
    let optimizer = match checkpoint.adam_step {
        0 => "no optimizer".to_owned(),
        steps => format!("Adam after {steps} updates"),
    };
    println!(
        "{}: {}, {} tensors, {optimizer}",
        arguments.out.display(),
        pth::summary(&checkpoint.config),
        checkpoint.state.len()
    );
    Ok(ExitCode::SUCCESS)
}
