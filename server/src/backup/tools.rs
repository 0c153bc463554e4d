//! Postgres' own `pg_dump` and `pg_restore`, which know every kind of object that a schema can have.

use std::path::Path;
use std::process::Stdio;

use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

use super::BackupError;

/// A tool that talks to this database. The password goes by the environment, where `ps` does not show it.
pub(super) fn tool(program: &Path, target: &Target) -> Command {
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    match target {
        Target::Options(options) => {
            command
                .env_remove("PGPASSWORD")
                .arg("--host")
                .arg(options.get_socket().map_or_else(
                    || options.get_host().into(),
                    |socket| socket.as_os_str().to_owned(),
                ))
                .arg("--port")
                .arg(options.get_port().to_string())
                .arg("--username")
                .arg(options.get_username())
                .arg("--dbname")
                .arg(options.get_database().unwrap_or("motif"));
        }
        Target::Url(url) => {
            let mut bare = url.clone();
            if let Some(password) = url.password() {
                let password = percent_decoded(password);
                command.env("PGPASSWORD", password);
                // An address that has a password can be without one.
                let _ = bare.set_password(None);
            }
            command.arg("--dbname").arg(bare.as_str());
        }
    }
    command
}

/// A database, as the tools are told of it.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A private Postgres.
    Options(Box<PgConnectOptions>),
    /// Somebody else's.
    Url(url::Url),
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("p={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

/// Runs a tool to its end, and says what it said when it fails.
pub(super) async fn run(name: &'static str, mut command: Command) -> Result<(), BackupError> {
    let failed = |reason: String| BackupError::Tool {
        program: name,
        reason,
    };
    let output = command
        .output()
        .await
        .map_err(|error| failed(format!("it cannot be started: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let line = words
        .lines()
        .rev()
        .find(|line| line.contains("error"))
        .or(words.lines().last());
    Err(failed(line.unwrap_or("it said nothing").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_among_the_arguments() {
        let url = url::Url::parse("postgres://me:p%40ss+word@host:5433/db?sslmode=require").expect("a URL");
        let command = tool(Path::new("pg_dump"), &Target::Url(url));
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(
            arguments,
            ["--dbname", "postgres://me@host:5433/db?sslmode=require"]
        );
        let password = command
            .as_std()
            .get_envs()
            .find(|(name, _)| *name == "PGPASSWORD");
        assert_eq!(password.and_then(|(_, value)| value), Some("p@ss+word".as_ref()));
    }
}
