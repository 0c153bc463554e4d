//! Whether the coordinator lives and can work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use motif_proto::health::{Component, ComponentState, Readiness};
use motif_proto::problem::Problem;

use super::problem::ApiError;
use crate::MIGRATOR;
use crate::app::Stopping;
use crate::artifacts::{Artifacts, Health};
use crate::error::{Error, chain};
use crate::store::Store;

/// How long the database may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Whether the process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "health", operation_id = "alive",
    responses((status = NO_CONTENT, description = "It does")),
)]
pub async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the coordinator can work, component by component: database, migrations, artifacts.
///
/// 503 names in `errors` what cannot; it changes by itself when that is mended.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "ready",
    responses(
        (status = OK, body = Readiness, description = "All components work"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
         description = "`errors` names the components that do not"),
    ),
)]
pub async fn ready(
    State(store): State<Store>,
    State(artifacts): State<Artifacts>,
    State(stopping): State<Stopping>,
) -> Result<Json<Readiness>, ApiError> {
    if stopping.0.is_cancelled() {
        return Err(ApiError::unavailable("The coordinator shuts down"));
    }
    let (mut components, health) = tokio::join!(of_database(&store), artifacts.health());
    components.push(match health {
        Health::Good => good("artifacts"),
        Health::Full => bad(
            "artifacts",
            ComponentState::Full,
            "the artifact store has no room left",
        ),
        Health::Away => bad(
            "artifacts",
            ComponentState::Away,
            "the artifact store does not answer",
        ),
    });
    let readiness = Readiness { components };
    if readiness.is_ready() {
        Ok(Json(readiness))
    } else {
        Err(ApiError::not_ready(&readiness))
    }
}

/// The database, which is to answer and to have room, and its migrations.
async fn of_database(store: &Store) -> Vec<Component> {
    let looks = async { Ok((store.newest_migration().await?, store.has_room().await?)) };
    match tokio::time::timeout(LIMIT, looks).await {
        Ok(Ok((applied, has_room))) => vec![of_room(has_room), of_schema(applied)],
        Ok(Err(Error::Storage(error))) => {
            tracing::warn!(error = %chain(&error), "the database does not answer");
            no_database()
        }
        Ok(Err(_)) | Err(_) => no_database(),
    }
}

fn of_room(has_room: bool) -> Component {
    if has_room {
        good("database")
    } else {
        let detail = "the database's disk has no room left";
        bad("database", ComponentState::Full, detail)
    }
}

fn of_schema(applied: Option<i64>) -> Component {
    let newest = MIGRATOR.iter().map(|migration| migration.version).max();
    if applied >= newest {
        good("migrations")
    } else {
        let detail = "the database is older than this program";
        bad("migrations", ComponentState::Away, detail)
    }
}

fn no_database() -> Vec<Component> {
    let detail = "the database does not answer";
    vec![
        bad("database", ComponentState::Away, detail),
        bad("migrations", ComponentState::Unknown, detail),
    ]
}

fn good(name: &str) -> Component {
    Component {
        name: name.to_owned(),
        state: ComponentState::Good,
        detail: None,
    }
}

fn bad(name: &str, state: ComponentState, detail: &str) -> Component {
    Component {
        name: name.to_owned(),
        state,
        detail: Some(detail.to_owned()),
    }
}
