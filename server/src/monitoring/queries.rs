//! Statements: how long each took in the database, by the operation that it belongs to.
//!
//! sqlx tells of every statement in an event, and a store function's span has the operation's name. So nothing has to
//! be said in the store.

use std::time::Duration;

use motif_proto::monitoring::coordinator::DB_QUERY_DURATION;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::observe;

/// Where sqlx tells of statements.
const STATEMENTS: &str = "sqlx::query";
/// Spans that say nothing about the operation.
const GENERAL: [&str; 2] = ["request", "task"];

/// Measures the statements of whatever is under way.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let heard = Targets::new()
        .with_target(STATEMENTS, Level::DEBUG)
        .with_target("motif_server", Level::DEBUG);
    Statements.with_filter(heard)
}

struct Statements;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != STATEMENTS {
            return;
        }
        let mut elapsed = Elapsed::default();
        event.record(&mut elapsed);
        let Some(seconds) = elapsed.0 else { return };
        let operation = context
            .lookup_current()
            .map(|span| span.metadata().name())
            .filter(|name| !GENERAL.contains(name));
        let taken = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        observe(DB_QUERY_DURATION, &[operation.unwrap_or("other")], taken);
    }
}

#[derive(Default)]
struct Elapsed(Option<f64>);

impl Visit for Elapsed {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_statement_counts_for_the_innermost_operation() {
        let statement = || tracing::debug!(target: "sqlx::query", summary = "select 1", elapsed_secs = 0.25);
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::with_default(subscriber, || {
            let request = tracing::info_span!(target: "motif_server::router", "request");
            let _request = request.enter();
            statement();
            let operation = tracing::debug_span!(target: "motif_server::store::queue", "of a test");
            let _operation = operation.enter();
            statement();
            tracing::debug!(target: "motif_server::store", elapsed_secs = 9.0, "no statement");
        });
        let text = super::super::RECORDER.render();
        for operation in ["of a test", "other"] {
            let sum = format!("motif_db_query_duration_seconds_sum{{op=\"{operation}\"}} 0.25");
            assert!(text.contains(&sum), "{text}");
        }
        assert!(!text.contains("op=\"request\""), "{text}");
    }
}
