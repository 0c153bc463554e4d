//! What lies in a project that the caller does not see is not there: 404, as if it never was.
//!
//! The check is in the extractor of ids, so a handler cannot forget it: an id whose type says nothing here does
//! not compile as one.

use motif_proto::access::Scope;
use motif_proto::id::{ArtifactId, CheckpointId, RunId, StudyId, TokenId, UploadId, WebhookId, WorkerId};
use serde::de::DeserializeOwned;

use crate::domain::access::Principal;
use crate::error::Error;
use crate::store::Store;

/// An id in a path, of something that not everybody may see.
pub trait Owned: Copy + DeserializeOwned + Send + Sync {
    /// What is said where it is not there, or not for this caller.
    fn unknown(self) -> Error;

    /// Whether the caller may see it, should it be there.
    fn is_visible(
        self,
        store: &Store,
        principal: &Principal,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}

impl Owned for RunId {
    fn unknown(self) -> Error {
        Error::UnknownRun(self)
    }

    async fn is_visible(self, store: &Store, principal: &Principal) -> Result<bool, Error> {
        match principal.projects.filter() {
            None => Ok(true),
            Some(projects) => store.is_run_in(self, projects).await,
        }
    }
}

impl Owned for StudyId {
    fn unknown(self) -> Error {
        Error::UnknownStudy(self)
    }

    async fn is_visible(self, store: &Store, principal: &Principal) -> Result<bool, Error> {
        match principal.projects.filter() {
            None => Ok(true),
            Some(projects) => store.is_study_in(self, projects).await,
        }
    }
}

impl Owned for CheckpointId {
    fn unknown(self) -> Error {
        Error::UnknownCheckpoint(self)
    }

    /// A worker also gets what a run of its projects starts from, wherever that comes from.
    async fn is_visible(self, store: &Store, principal: &Principal) -> Result<bool, Error> {
        match principal.projects.filter() {
            None => Ok(true),
            Some(projects) => Ok(store.is_checkpoint_in(self, projects).await?
                || (principal.has(Scope::Worker) && store.is_base_in(self, projects).await?)),
        }
    }
}

impl Owned for ArtifactId {
    fn unknown(self) -> Error {
        Error::UnknownArtifact(self)
    }

    async fn is_visible(self, store: &Store, principal: &Principal) -> Result<bool, Error> {
        match principal.projects.filter() {
            None => Ok(true),
            Some(projects) => store.is_artifact_in(self, projects).await,
        }
    }
}

impl Owned for UploadId {
    fn unknown(self) -> Error {
        Error::UnknownUpload(self)
    }

    async fn is_visible(self, store: &Store, principal: &Principal) -> Result<bool, Error> {
        match principal.projects.filter() {
            None => Ok(true),
            Some(projects) => store.is_upload_in(self, projects).await,
        }
    }
}

impl Owned for WebhookId {
    fn unknown(self) -> Error {
        Error::UnknownWebhook(self)
    }

    async fn is_visible(self, store: &Store, principal: &Principal) -> Result<bool, Error> {
        match principal.projects.filter() {
            None => Ok(true),
            Some(projects) => store.is_webhook_in(self, projects).await,
        }
    }
}

impl Owned for WorkerId {
    fn unknown(self) -> Error {
        Error::UnknownWorker(self)
    }

    /// Workers serve all projects, or those of their tokens; everybody sees who works.
    async fn is_visible(self, _: &Store, _: &Principal) -> Result<bool, Error> {
        Ok(true)
    }
}

impl Owned for TokenId {
    fn unknown(self) -> Error {
        Error::UnknownToken(self.to_string())
    }

    /// The store's own statements look at a token's projects.
    async fn is_visible(self, _: &Store, _: &Principal) -> Result<bool, Error> {
        Ok(true)
    }
}
