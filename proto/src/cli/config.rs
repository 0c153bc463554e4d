//! Which coordinator to talk to: command line, environment, then `~/.config/motif/config.toml`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::Deserialize;

use super::CliError;

/// Where a coordinator listens that was started without any settings.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// What is needed to talk to a coordinator.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) server: String,
    pub(super) token: Option<String>,
}

/// `config.toml`: what holds where neither the command line nor the environment says anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    pub(super) server: Option<String>,
    pub(super) token: Option<String>,
}

impl Settings {
    /// Fills in what was not given from the user's file.
    pub(super) fn find(server: Option<String>, token: Option<String>) -> Result<Self, CliError> {
        let file = match config_path() {
            Some(path) => ConfigFile::read(&path)?,
            None => ConfigFile::default(),
        };
        Ok(Self::resolve(server, token, file))
    }

    /// What was given, where it is not empty, before what the file says.
    ///
    /// The file's token belongs to the file's server: it is never sent to another one.
    pub(super) fn resolve(server: Option<String>, token: Option<String>, file: ConfigFile) -> Self {
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let same = |a: &str, b: &str| a.trim_end_matches('/') == b.trim_end_matches('/');
        let file_server = file.server.unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let server = given(server).unwrap_or_else(|| file_server.clone());
        let file_token = file.token.filter(|_| same(&server, &file_server));
        Self {
            token: given(token).or(file_token),
            server,
        }
    }
}

impl ConfigFile {
    /// Reads the file; one that does not exist says nothing.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(CliError::File {
                    action: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        // The parser's own message would quote the line, and with it perhaps the token.
        toml::from_str(&text)
            .map_err(|error| CliError::Usage(format!("{} is not right: {}", path.display(), error.message())))
    }
}

fn config_path() -> Option<PathBuf> {
    let base = match env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => env::home_dir()?.join(".config"),
    };
    Some(base.join("motif").join("config.toml"))
}
