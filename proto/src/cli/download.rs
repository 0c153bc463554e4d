//! Downloads that are whole and right, or nothing.
//!
//! The bytes go to a temporary file beside their place and take their name only when they have the length and the
//! hash that they should have, so a download that breaks off leaves nothing.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::CliError;
use crate::client::Content;

/// Writes content to `path`, all of it or nothing.
pub(super) async fn write(
    content: Content,
    sha256: &str,
    size_bytes: u64,
    path: &Path,
) -> Result<(), CliError> {
    let failed = |source: io::Error| CliError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let mut file = temporary_beside(path).map_err(failed)?;
    let bar = bar(size_bytes);
    let mut hash = Sha256::new();
    let mut length = 0;
    let mut stream = std::pin::pin!(content.stream());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        length += chunk.len() as u64;
        if length > size_bytes {
            break;
        }
        hash.update(&chunk);
        file.write_all(&chunk).map_err(failed)?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    if length != size_bytes || !hex(&hash.finalize()).eq_ignore_ascii_case(sha256) {
        return Err(CliError::Failed(format!(
            "the content arrived damaged ({length} of {size_bytes} bytes, or the wrong SHA-256); nothing was written"
        )));
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A file in the same directory that vanishes unless it gets its name.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".motif-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the process's umask decides who may read it.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30.cyan/dim} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style.progress_chars("━━╌"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
