//! Backup and restoration: everything comes back, and nothing is written over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{App, Trained};
use axum::http::StatusCode;
use motif_proto::run::RunDetail;
use motif_server::artifacts::Artifacts;
use motif_server::backup::{self, BackupError, Manifest};
use motif_server::config::Database;
use motif_server::postgres::Postgres;
use motif_server::serve;
use serde_json::json;

/// A coordinator with a private Postgres of its own, as one has that is not told otherwise.
struct Site {
    folder: PathBuf,
    app: App,
    postgres: Postgres,
}

impl Site {
    async fn new(folder: &Path) -> Self {
        let postgres = Postgres::start(folder, false).await.unwrap();
        let pool = serve::pool(postgres.options("motif")).await.unwrap();
        let artifacts = Artifacts::open(folder.join("artifacts").to_str().unwrap()).unwrap();
        let app = App::over(pool, artifacts, Duration::from_secs(60)).await;
        Self {
            folder: folder.to_path_buf(),
            app,
            postgres,
        }
    }

    /// The data directory is held, as a running coordinator holds it.
    fn hold(&self) -> std::fs::File {
        let lock = std::fs::File::create(self.folder.join("lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    async fn stop(self) {
        self.app.state.stopping.0.cancel();
        self.app.pool.close().await;
        self.postgres.stop().await;
    }
}

fn database(folder: &Path) -> Database {
    Database {
        data_dir: folder.to_path_buf(),
        database_url: None,
    }
}

fn folder() -> tempfile::TempDir {
    // The user of Postgres has to be able to enter it.
    let folder = tempfile::Builder::new()
        .prefix("motif-backup-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test]
async fn what_is_saved_from_a_running_coordinator_comes_back_whole_and_only_into_an_empty_one() {
    let root = folder();
    let (old, new, saved) = (
        root.path().join("old"),
        root.path().join("new"),
        root.path().join("saved"),
    );
    for folder in [&old, &new] {
        std::fs::create_dir(folder).unwrap();
    }
    let site = Site::new(&old).await;
    let lock = site.hold();
    let trained: Trained = site.app.trained(json!({ "preset": "demo" }), 500).await;
    let running = site.app.running().await;
    site.app
        .store_metrics(&running, 0, &[("loss/total", &[(1, 0.5), (2, f64::NAN)])])
        .await;
    site.app.upload_artifact(&running, "a.csv", b"a,b").await;
    let before: RunDetail = site.app.detail(running.run).await;

    let artifacts = &site.app.state.artifacts;
    let manifest: Manifest = backup::backup(&database(&old), artifacts, &saved, true)
        .await
        .unwrap();
    assert_eq!(manifest.blobs.len(), 3);
    let again = backup::backup(&database(&old), artifacts, &saved, true).await;
    assert!(matches!(again, Err(BackupError::FolderInUse(_))));
    // Into the one that it came from: it holds something.
    let over = backup::restore(&database(&old), artifacts, &saved).await;
    assert!(matches!(over, Err(BackupError::DatabaseInUse)), "{over:?}");
    let findings = backup::check(&site.app.state.store, artifacts, true, false)
        .await
        .unwrap();
    assert_eq!(
        (findings.named, findings.missing.len(), findings.orphans.len()),
        (3, 0, 0)
    );
    drop(lock);
    site.stop().await;

    let empty = Artifacts::open(new.join("artifacts").to_str().unwrap()).unwrap();
    backup::restore(&database(&new), &empty, &saved).await.unwrap();
    let site = Site::new(&new).await;
    // As text, because a loss that is not a number is not equal to itself.
    let after = site.app.detail(running.run).await;
    assert_eq!(json!(after), json!(before));
    let points = site.app.points(running.run, "loss/total").await;
    assert_eq!(
        (points[0], points[1].0, points[1].1.is_nan()),
        ((1, 0.5), 2, true)
    );
    let content = site
        .app
        .get(&format!("/api/v1/checkpoints/{}/content", trained.best.id))
        .await;
    assert_eq!(
        (content.status, content.body.as_slice()),
        (StatusCode::OK, b"the best".as_slice())
    );
    // The worker that was at it goes on as if nothing had been.
    site.app
        .store_metrics(&running, 1, &[("loss/total", &[(3, 0.25)])])
        .await;
    site.stop().await;
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_missing_bytes_are_named() {
    let root = folder();
    let (old, new, saved) = (
        root.path().join("old"),
        root.path().join("new"),
        root.path().join("saved"),
    );
    for folder in [&old, &new] {
        std::fs::create_dir(folder).unwrap();
    }
    let site = Site::new(&old).await;
    let lock = site.hold();
    site.app.trained(json!({ "preset": "demo" }), 500).await;
    let manifest = backup::backup(&database(&old), &site.app.state.artifacts, &saved, true)
        .await
        .unwrap();
    drop(lock);
    site.stop().await;

    let empty = Artifacts::open(new.join("artifacts").to_str().unwrap()).unwrap();
    let nothing = backup::restore(&database(&new), &empty, &new).await;
    assert!(matches!(nothing, Err(BackupError::NotABackup { .. })));
    let dump = saved.join("database.dump");
    let good = std::fs::read(&dump).unwrap();
    std::fs::write(&dump, &good[..good.len() - 1]).unwrap();
    let damaged = backup::restore(&database(&new), &empty, &saved).await;
    assert!(matches!(damaged, Err(BackupError::Damaged(_))));
    std::fs::write(&dump, good).unwrap();

    let lost = &manifest.blobs[0].sha256;
    let place = saved.join("sha256").join(&lost[..2]).join(lost);
    std::fs::write(&place, b"other").unwrap();
    match backup::restore(&database(&new), &empty, &saved).await {
        Err(BackupError::Incomplete {
            missing: 1,
            named: 2,
            first,
        }) => assert_eq!(first, *lost),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_check_finds_names_without_bytes_and_bytes_without_a_name_and_deletes_only_those() {
    let app = App::start().await;
    let trained = app.trained(json!({ "preset": "demo" }), 500).await;
    let (store, artifacts) = (&app.state.store, &app.state.artifacts);
    let orphan = crate::common::stores::sha256(b"nobody's");
    let content = futures::stream::iter([Ok::<_, axum::Error>("nobody's".into())]);
    artifacts.receive(content, &orphan, 8).await.unwrap();
    artifacts.delete(&trained.best.sha256).await.unwrap();
    let damaged = artifacts
        .directory()
        .unwrap()
        .join("sha256")
        .join(&trained.last.sha256[..2])
        .join(&trained.last.sha256);
    std::fs::write(damaged, b"The last").unwrap();

    let found = backup::check(store, artifacts, false, false).await.unwrap();
    assert_eq!(found.missing, std::slice::from_ref(&trained.best.sha256));
    assert_eq!((found.damaged.len(), found.deleted), (0, 0));
    assert_eq!(
        (found.orphans.as_slice(), found.orphan_bytes),
        (&[orphan.clone()][..], 8)
    );
    let found = backup::check(store, artifacts, true, true).await.unwrap();
    assert_eq!(found.damaged, std::slice::from_ref(&trained.last.sha256));
    assert_eq!((found.missing.len(), found.deleted), (1, 1));
    assert_eq!(artifacts.size(&orphan).await.unwrap(), None);
    assert_eq!(
        backup::check(store, artifacts, false, false)
            .await
            .unwrap()
            .orphans
            .len(),
        0
    );
}
