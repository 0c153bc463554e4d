//! Artifact stores: what each of them has to do, and what a full one gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::stores::{bytes, conforms, open_uploads};
use crate::common::{App, artifact_upload, fresh_database, upload};
use async_trait::async_trait;
use axum::http::{StatusCode, header};
use futures::stream::BoxStream;
use motif_proto::health::Readiness;
use motif_proto::run::{CheckpointKind, CheckpointList};
use motif_server::artifacts::Artifacts;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[tokio::test]
async fn a_directory_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(Artifacts::open(folder.path().to_str().unwrap()).unwrap()).await;
}

#[tokio::test]
async fn a_store_in_memory_conforms() {
    let store = Arc::new(InMemory::new());
    conforms(Artifacts::new(store.clone(), Some(store), None)).await;
}

/// A store with room for so many bytes more; what is deleted makes no room, until somebody makes some.
#[derive(Debug)]
struct Bounded {
    inner: InMemory,
    room: AtomicU64,
}

impl Bounded {
    fn take(&self, bytes: u64) -> Result<()> {
        let taken = self
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(bytes));
        taken.map(drop).map_err(|_| object_store::Error::Generic {
            store: "bounded",
            source: std::io::Error::from(std::io::ErrorKind::StorageFull).into(),
        })
    }
}

impl std::fmt::Display for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bounded")
    }
}

#[async_trait]
impl ObjectStore for Bounded {
    async fn put_opts(&self, place: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.take(payload.content_length() as u64)?;
        self.inner.put_opts(place, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        place: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.take(u64::MAX)?;
        self.inner.put_multipart_opts(place, options).await
    }

    async fn get_opts(&self, place: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(place, options).await
    }

    fn delete_stream(&self, places: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(places)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_full_store_refuses_uploads_names_nothing_and_recovers_by_itself() {
    let store = Arc::new(Bounded {
        inner: InMemory::new(),
        room: AtomicU64::new(100_000),
    });
    let artifacts = Artifacts::new(store.clone(), None, None);
    let app = App::over(fresh_database().await, artifacts, Duration::from_secs(60)).await;
    let claim = app.running().await;
    app.upload(&claim, CheckpointKind::Last, 1, b"one").await;

    // Room for what a look writes, but not for the file that found none.
    let large = bytes(90_000);
    let (checkpoint, artifact) = (
        upload(&claim, CheckpointKind::Last, 2, &large),
        artifact_upload(&claim, "a.bin", &large),
    );
    app.upload_artifact(&claim, "b.bin", &bytes(50_000)).await;
    for answer in [
        app.upload_as(&checkpoint, &large).await,
        app.upload_artifact_as(&artifact, &large).await,
    ] {
        answer.problem(StatusCode::INSUFFICIENT_STORAGE, "storage_full");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
    }
    let listed = app.get(&format!("/api/v1/runs/{}/checkpoints", claim.run)).await;
    let listed: CheckpointList = listed.expect(StatusCode::OK);
    assert_eq!(listed.checkpoints.len(), 1);
    assert_eq!(listed.checkpoints[0].next_batch, 1);
    assert_eq!(
        (
            app.state.artifacts.count().await.unwrap(),
            open_uploads(&app).await
        ),
        (2, 0)
    );
    // Training goes on meanwhile.
    app.store_metrics(&claim, 0, &[("loss/total", &[(1, 0.5)])]).await;
    app.assert_full("/artifacts").await;
    assert_eq!(app.get("/healthz").await.status, StatusCode::NO_CONTENT);

    store.room.store(1 << 30, Ordering::SeqCst);
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while app.get("/readyz").await.status != StatusCode::OK {
        assert!(std::time::Instant::now() < limit, "it did not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _: Readiness = app.get("/readyz").await.expect(StatusCode::OK);
    app.upload(&claim, CheckpointKind::Last, 2, &large).await;
}
