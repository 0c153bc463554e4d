//! The database of a coordinator that may be running, for commands that are none.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, PgPool};
use url::Url;

use crate::config::Database;
use crate::error::chain;
use crate::postgres::{self, Postgres};
use crate::serve::{self, StartError};

/// A database that can be connected to. A private one that nobody serves is served for as long as this lives.
pub struct Reached {
    options: PgConnectOptions,
    url: Option<Url>,
    programs: PathBuf,
    postgres: Option<Postgres>,
    _lock: Option<Flock<File>>,
}

impl Reached {
    /// Finds the database, whoever serves it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn new(database: &Database) -> Result<Self, StartError> {
        if let Some(text) = &database.database_url {
            let url = Url::parse(text).map_err(|error| StartError::DatabaseUrl(error.to_string()))?;
            return Ok(Self {
                options: serve::parse_options(text)?,
                url: Some(url),
                programs: postgres::tools()?,
                postgres: None,
                _lock: None,
            });
        }
        match serve::hold(database) {
            Ok(lock) => {
                let data_dir = database.data_dir.canonicalize()?;
                let postgres = Postgres::start(&data_dir, true).await?;
                Ok(Self {
                    options: postgres.options(serve::DATABASE),
                    url: None,
                    programs: postgres.programs().to_path_buf(),
                    postgres: Some(postgres),
                    _lock: Some(lock),
                })
            }
            Err(StartError::Held(_)) => {
                let (options, programs) = Postgres::of_another(&database.data_dir, serve::DATABASE)?;
                Ok(Self {
                    options,
                    url: None,
                    programs,
                    postgres: None,
                    _lock: None,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// A connection without limits of time, which are for requests.
    ///
    /// # Errors
    /// [`StartError::Unreachable`].
    pub async fn connect(&self) -> Result<PgConnection, StartError> {
        self.options
            .clone()
            .application_name("motif-server backup")
            .connect()
            .await
            .map_err(|error| StartError::Unreachable(chain(&error)))
    }

    /// A pool of connections as a coordinator has it.
    ///
    /// # Errors
    /// [`StartError::Unreachable`].
    pub async fn pool(&self) -> Result<PgPool, StartError> {
        serve::pool(self.options.clone())
            .await
            .map_err(|error| StartError::Unreachable(chain(&error)))
    }

    /// Where Postgres' own tools are.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// How to connect.
    #[must_use]
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The URL that was given, where one was.
    #[must_use]
    pub fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }

    /// Stops what was started.
    pub async fn close(self) {
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}
