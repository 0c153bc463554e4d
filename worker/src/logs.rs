//! Leads what is logged within an attempt's span to the attempt's outbox, beside standard error.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use motif_proto::log::LogLevel;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::engine::chain;
use crate::outbox::{Outbox, Said};

/// The listener that does it. What standard error shows has no part in it: the story of a run is always told.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    AttemptLogs.with_filter(LevelFilter::INFO)
}

/// Leads what is logged within a span to an outbox, until the span ends.
pub fn lead(span: &Span, outbox: &Arc<Outbox>) {
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().replace(Led(outbox.clone()));
        }
    });
}

/// Where a span's lines go.
struct Led(Arc<Outbox>);

struct AttemptLogs;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for AttemptLogs {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else {
            return;
        };
        let outbox = scope
            .into_iter()
            .find_map(|span| span.extensions().get::<Led>().map(|led| led.0.clone()));
        if let Some(outbox) = outbox {
            let mut said = Said {
                level: level(*event.metadata().level()),
                target: event.metadata().target().to_owned(),
                message: String::new(),
                fields: BTreeMap::new(),
            };
            event.record(&mut Fields(&mut said));
            outbox.say(&said);
        }
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

struct Fields<'a>(&'a mut Said);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Display) {
        if field.name() == "message" {
            self.0.message = value.to_string();
        } else {
            self.0.fields.insert(field.name().to_owned(), value.to_string());
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, chain(value));
    }
}

#[cfg(test)]
mod tests {
    use motif_proto::id::{AttemptId, FencingToken};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::outbox::{Content, Limits};

    #[test]
    fn lines_of_a_span_and_of_what_happens_in_it_go_to_its_outbox_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let outbox = || {
            Arc::new(Outbox::new(
                AttemptId::new(),
                FencingToken(1),
                folder.path(),
                Limits::default(),
            ))
        };
        let (first, second) = (outbox(), outbox());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
            tracing::info!("before");
            for (number, outbox) in [&first, &second].into_iter().enumerate() {
                let span = tracing::info_span!("attempt");
                let _entered = span.enter();
                lead(&span, outbox);
                let _inner = tracing::info_span!("checkpoint.write").entered();
                tracing::info!(number, error = %"no room", "in {number}");
                tracing::debug!("a detail");
            }
        });
        for (number, outbox) in [&first, &second].into_iter().enumerate() {
            outbox
                .finish(motif_proto::worker::Outcome::Succeeded)
                .expect("open");
            let letter = outbox.front().expect("lines before the end");
            let Content::Logs(batch) = &letter.content else {
                panic!("{letter:?}")
            };
            assert_eq!(batch.lines.len(), 1);
            let line = &batch.lines[0];
            assert_eq!(
                (line.level, line.message.as_str()),
                (LogLevel::Info, &*format!("in {number}"))
            );
            assert_eq!(line.fields["number"], number.to_string());
            assert_eq!(line.fields["error"], "no room");
        }
    }
}
