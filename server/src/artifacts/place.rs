//! Where bytes lie, by URL: a directory, or a bucket of S3, Google Cloud Storage or Azure.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::Artifacts;
use crate::monitoring::storage::Measured;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a bucket may send nothing.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// A request that failed is tried so often again, and not after [`RETRY_LIMIT`].
const RETRIES: usize = 4;
const RETRY_LIMIT: Duration = Duration::from_secs(15);

/// Why the artifact store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No path and no URL that we know.
    #[error(
        "`{0}` is not a place for artifacts: give a directory, file:///…, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
         az://CONTAINER/PREFIX"
    )]
    NotAPlace(String),
    /// The directory cannot be made or read.
    #[error("the artifact directory {} cannot be used: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory or what the environment says of the bucket is not accepted.
    #[error("the artifact store {place} cannot be used: {source}")]
    Refused {
        /// As it was given.
        place: String,
        /// Why.
        source: object_store::Error,
    },
}

/// A builder told what the environment says under names that begin as given.
macro_rules! configured {
    ($builder:ident, $prefix:literal, $environment:expr) => {
        $environment
            .iter()
            .filter(|(name, _)| name.starts_with($prefix))
            .fold($builder::new(), |builder, (name, value)| {
                match name.to_ascii_lowercase().parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                }
            })
    };
}

/// Opens a path or URL. A directory is made where there is none; a bucket must be there, and its credentials come
/// from the environment, under the names that its own tools have.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open(place: &str, environment: &[(String, String)]) -> Result<Artifacts, OpenError> {
    if !place.contains("://") {
        return directory(FilePath::new(place));
    }
    let unknown = || OpenError::NotAPlace(place.to_owned());
    let url = Url::parse(place).map_err(|_| unknown())?;
    if url.scheme() == "file" {
        return directory(&url.to_file_path().map_err(|()| unknown())?);
    }
    // Anything after the path would be silently without effect, a password among it in the logs.
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !bare || url.host_str().is_none_or(str::is_empty) {
        return Err(unknown());
    }
    let refused = |source| OpenError::Refused {
        place: place.to_owned(),
        source,
    };
    let prefix = Path::from_url_path(url.path()).map_err(|error| refused(error.into()))?;
    choose_tls();
    match url.scheme() {
        "s3" => {
            let builder = configured!(AmazonS3Builder, "AWS_", environment).with_url(place);
            let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
                .iter()
                .find_map(|key| builder.get_config_value(key));
            let builder = builder
                .with_client_options(client(endpoint))
                .with_retry(retries());
            Ok(bucket(builder.build().map_err(refused)?, prefix))
        }
        "gs" => {
            let builder = configured!(GoogleCloudStorageBuilder, "GOOGLE_", environment).with_url(place);
            let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
            let builder = builder
                .with_client_options(client(endpoint))
                .with_retry(retries());
            Ok(bucket(builder.build().map_err(refused)?, prefix))
        }
        "az" => {
            let builder = configured!(MicrosoftAzureBuilder, "AZURE_", environment).with_url(place);
            let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
            let builder = builder
                .with_client_options(client(endpoint))
                .with_retry(retries());
            Ok(bucket(builder.build().map_err(refused)?, prefix))
        }
        _ => Err(unknown()),
    }
}

fn directory(path: &FilePath) -> Result<Artifacts, OpenError> {
    let unusable = |source| OpenError::Unusable {
        path: path.to_path_buf(),
        source,
    };
    std::fs::create_dir_all(path).map_err(unusable)?;
    let root = path.canonicalize().map_err(unusable)?;
    let store = LocalFileSystem::new_with_prefix(&root)
        .map_err(|source| OpenError::Refused {
            place: path.display().to_string(),
            source,
        })?
        .with_automatic_cleanup(false)
        // The database names a file only once it would survive a power cut.
        .with_fsync(true);
    Ok(Artifacts::new(Arc::new(Measured(store)), None, Some(root)))
}

fn bucket<T: ObjectStore + MultipartStore>(store: T, prefix: Path) -> Artifacts {
    let store = Arc::new(Measured(PrefixStore::new(store, prefix)));
    Artifacts::new(Arc::clone(&store) as Arc<dyn ObjectStore>, Some(store), None)
}

/// Times: a transfer may be long, but not silent; what else is asked has limits of its own in [`Artifacts`]. Plain
/// HTTP is spoken to an endpoint whose address says so, as a server in the same rack may have it.
fn client(endpoint: Option<String>) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_LIMIT)
        .with_read_timeout(SILENCE_LIMIT)
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
}

fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_LIMIT,
        ..RetryConfig::default()
    }
}

/// The client of buckets is built without a TLS of its own; where somebody chose one already, that one stays.
fn choose_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_none_are_refused_by_name() {
        for place in [
            "ftp://host/x",
            "s3://",
            "s3://bucket/x?region=y",
            "s3://user@bucket/x",
            "https://bucket",
            "file://host/x",
        ] {
            let refused = open(place, &[]);
            assert!(
                matches!(refused, Err(OpenError::NotAPlace(named)) if named == place),
                "{place}"
            );
        }
    }

    #[tokio::test]
    async fn a_bucket_is_not_asked_before_it_is_used() {
        let store = open("s3://bucket/a/prefix", &[]).expect("opened");
        assert!(store.directory().is_none());
    }
}
