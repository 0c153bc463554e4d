//! The pieces of the API's table of contents: routes that cannot be written down without saying who may use them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::Route;
use tower::{Layer, Service};
use utoipa::Modify;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use motif_proto::problem::PROBLEM_JSON;

use crate::app::AppState;
use crate::domain::access::Need;
use crate::http::access::{self, SESSION_COOKIE};

/// Names of the security schemes in the document.
const BEARER: &str = "token";
const COOKIE: &str = "session";

/// Routes, each with what it asks of its callers.
#[derive(Default)]
pub struct Table(OpenApiRouter<AppState>);

/// What stands before a route.
#[derive(Debug)]
pub struct Guarded {
    /// What it asks of its callers.
    pub need: Need,
    /// The names of its operations, for the audit trail.
    pub operations: HashMap<Method, String>,
}

impl Table {
    /// A table with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self(OpenApiRouter::new())
    }

    /// Adds routes of one path that ask this of their callers.
    #[must_use]
    pub fn routes(self, need: Need, routes: UtoipaMethodRouter<AppState>) -> Self {
        let (schemas, mut paths, methods) = routes;
        let mut operations = HashMap::new();
        for item in paths.paths.values_mut() {
            for (method, operation) in operations_of(item) {
                declare(operation, need);
                if let Some(id) = &operation.operation_id {
                    operations.insert(method, id.clone());
                }
            }
        }
        let guarded = Arc::new(Guarded { need, operations });
        let methods = methods.route_layer(middleware::from_fn_with_state(guarded, access::authorize));
        Self(self.0.routes((schemas, paths, methods)))
    }

    /// Adds another table's routes.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }

    /// Puts a layer around the routes so far.
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self(self.0.layer(layer))
    }

    /// The routes, guarded.
    #[must_use]
    pub fn into_router(self) -> OpenApiRouter<AppState> {
        self.0
    }
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
        (Method::HEAD, &mut item.head),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Writes into the document what the operation asks for, and what those get who do not have it.
fn declare(operation: &mut Operation, need: Need) {
    let scopes: Vec<&str> = match need {
        Need::Nothing => {
            operation.security = Some(Vec::new());
            return;
        }
        Need::Known => Vec::new(),
        Need::AnyOf(scopes) => scopes.iter().map(|scope| scope.as_str()).collect(),
    };
    operation.security = Some(vec![
        SecurityRequirement::new(BEARER, scopes.clone()),
        SecurityRequirement::new(COOKIE, scopes),
    ]);
    let refusals = [
        ("401", "No token, or one that opens nothing"),
        ("403", "The token lacks the scope, or the page is a stranger's"),
    ];
    for (status, description) in refusals {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| problem(description));
    }
}

fn problem(description: &str) -> RefOr<utoipa::openapi::Response> {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    RefOr::T(
        ResponseBuilder::new()
            .description(description)
            .content(PROBLEM_JSON, content)
            .build(),
    )
}

/// Adds the security schemes to the document.
#[derive(Debug)]
pub struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token. A list of scopes says that one of them is needed; `admin` is always enough, `submit` \
                 where `read` is. From this machine, a coordinator that serves this machine alone asks for none.",
            ))
            .build();
        let cookie = ApiKeyValue::with_description(
            SESSION_COOKIE,
            "A browser that signed in with a token. Writes also need the header `X-Motif-Request`, with any value.",
        );
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}
