//! Spans for an OpenTelemetry collector: OTLP over HTTP, as JSON.
//!
//! A span that ends is put into a bounded queue, and a task sends what has gathered. Where the collector is away or too
//! slow, spans are dropped, never work held up. A span belongs to the trace that its field `trace.id` names, or that its
//! `attempt.id` stands for, or to its parent's: so what a worker and the coordinators did for an attempt is one trace.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

/// Ended spans that may wait to be sent.
const BACKLOG: usize = 4096;
/// Most spans of one request.
const MAX_BATCH: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const LIMIT: Duration = Duration::from_secs(10);
/// What is exported: Motif's own spans.
const TARGETS: [&str; 4] = ["motif_server", "motif_worker", "motif_motor", "motif_proto"];

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address is none.
    #[error("`{given}` is not the address of a collector, such as http://127.0.0.1:4318: {reason}")]
    Endpoint {
        /// The address.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No client can be made.
    #[error("no client for the collector: {0}")]
    Client(#[from] reqwest::Error),
}

/// Sends ended spans; to be [run](Exporter::run) by the program.
#[derive(Debug)]
pub struct Exporter {
    http: reqwest::Client,
    address: Url,
    service: &'static str,
    version: &'static str,
    ended: Receiver<Value>,
}

/// The listener of spans and what sends them to a collector, such as `http://127.0.0.1:4318`.
///
/// # Errors
/// [`OtlpError`].
pub fn export<S: Subscriber + for<'a> LookupSpan<'a>>(
    endpoint: &str,
    service: &'static str,
    version: &'static str,
) -> Result<(impl Layer<S> + use<S>, Exporter), OtlpError> {
    let wrong = |reason: String| OtlpError::Endpoint {
        given: endpoint.to_owned(),
        reason,
    };
    let whole = format!("{}/v1/traces", endpoint.trim().trim_end_matches('/'));
    let address = Url::parse(&whole).map_err(|error| wrong(error.to_string()))?;
    if !matches!(address.scheme(), "http" | "https") {
        return Err(wrong("it begins with http:// or https://".to_owned()));
    }
    let (sender, ended) = channel(BACKLOG);
    let exporter = Exporter {
        http: reqwest::Client::builder().timeout(LIMIT).build()?,
        address,
        service,
        version,
        ended,
    };
    let heard = Targets::new().with_targets(TARGETS.map(|target| (target, Level::DEBUG)));
    Ok((Spans(sender).with_filter(heard), exporter))
}

impl Exporter {
    /// Sends spans as they end, for as long as there is anybody who makes some.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let left = MAX_BATCH - batch.len();
            let more = timeout(GATHER, self.ended.recv_many(&mut batch, left)).await;
            let is_over = more == Ok(0) && batch.len() < MAX_BATCH;
            if batch.len() == MAX_BATCH || (more.is_err() || is_over) && !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            }
            if is_over {
                return;
            }
            if more.is_ok() {
                // Others end at about the same time.
                sleep(GATHER / 10).await;
            }
        }
    }

    async fn send(&self, spans: Vec<Value>) {
        let count = spans.len();
        let body = json!({ "resourceSpans": [{
            "resource": { "attributes": [
                attribute("service.name", self.service),
                attribute("service.version", self.version),
            ] },
            "scopeSpans": [{ "scope": { "name": "motif" }, "spans": spans }],
        }] });
        let sent = self.http.post(self.address.clone()).json(&body).send().await;
        if let Err(error) = sent.and_then(reqwest::Response::error_for_status) {
            // Not of a target that is exported: a collector that is away must not make spans of its own.
            tracing::warn!(target: "otlp", error = %error.without_url(), count, "spans were not taken by the collector");
        }
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

struct Spans(Sender<Value>);

/// What is known of a span that has not ended.
struct Open {
    trace: String,
    span: String,
    parent: Option<String>,
    begun: SystemTime,
    fields: BTreeMap<&'static str, String>,
    failure: Option<String>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            let open = extensions.get::<Open>()?;
            Some((open.trace.clone(), open.span.clone()))
        });
        let (parents_trace, parent) = parent.unzip();
        let trace = named_trace(&fields.0).or(parents_trace);
        span.extensions_mut().insert(Open {
            trace: trace.unwrap_or_else(|| Uuid::now_v7().simple().to_string()),
            span: format!("{:016x}", Uuid::now_v7().as_u64_pair().1),
            parent,
            begun: SystemTime::now(),
            fields: fields.0,
            failure: None,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            if let Some(trace) = named_trace(&fields.0) {
                open.trace = trace;
            }
            open.fields.append(&mut fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR
            && let Some(span) = context.event_span(event)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            let mut fields = Fields::default();
            event.record(&mut fields);
            open.failure = Some(fields.0.remove("message").unwrap_or_default());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(open) = span.extensions_mut().remove::<Open>() {
            // Full: the collector is too slow, and work goes on.
            let _ = self.0.try_send(ended(span.name(), open));
        }
    }
}

fn ended(name: &str, open: Open) -> Value {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        since.as_nanos().to_string()
    };
    // 2 is what serves, 1 what happens within.
    let kind = if name == "request" { 2 } else { 1 };
    let attributes: Vec<Value> = open
        .fields
        .iter()
        .map(|(key, value)| attribute(key, value))
        .collect();
    let mut span = json!({
        "traceId": open.trace,
        "spanId": open.span,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(open.begun),
        "endTimeUnixNano": nanoseconds(SystemTime::now()),
        "attributes": attributes,
    });
    if let Some(parent) = open.parent {
        span["parentSpanId"] = parent.into();
    }
    if let Some(message) = open.failure {
        span["status"] = json!({ "code": 2, "message": message });
    }
    span
}

/// The trace that fields name, or that their attempt stands for.
fn named_trace(fields: &BTreeMap<&'static str, String>) -> Option<String> {
    let trace = fields.get("trace.id").or_else(|| fields.get("attempt.id"))?;
    let trace: Uuid = trace.parse().ok()?;
    (!trace.is_nil()).then(|| trace.simple().to_string())
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use axum::{Json, Router};
    use tokio::sync::mpsc;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn spans_of_an_attempt_reach_the_collector_as_one_trace() {
        let (sender, mut received) = mpsc::unbounded_channel::<Value>();
        let take = post(async move |Json(body): Json<Value>| {
            let _ = sender.send(body);
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let endpoint = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/traces", take)).await });

        let (layer, exporter) = export(&endpoint, "motif-test", "1").expect("an address");
        let attempt = Uuid::now_v7();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let outer =
                tracing::info_span!(target: "motif_worker::attempt", "attempt", attempt.id = %attempt);
            let _outer = outer.enter();
            let inner = tracing::info_span!(target: "motif_worker::report", "checkpoint.write", step = 7);
            inner.in_scope(|| tracing::error!(target: "motif_worker::report", "no room"));
            let _foreign = tracing::info_span!(target: "hyper", "connection").entered();
        });
        // Nobody makes spans any more: what is left is sent, and that is the end.
        timeout(Duration::from_secs(20), exporter.run())
            .await
            .expect("an end");
        let body = received.recv().await.expect("spans");
        let service = &body["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"];
        assert_eq!(service, "motif-test");
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .expect("spans");
        let [inner, outer] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        assert_eq!(
            (&inner["name"], &outer["name"]),
            (&json!("checkpoint.write"), &json!("attempt"))
        );
        for span in [inner, outer] {
            assert_eq!(span["traceId"], attempt.simple().to_string());
            assert_eq!(span["spanId"].as_str().map(str::len), Some(16));
        }
        assert_eq!(inner["parentSpanId"], outer["spanId"]);
        assert_eq!(inner["status"], json!({ "code": 2, "message": "no room" }));
        assert_eq!(inner["attributes"], json!([attribute("step", "7")]));
        assert!(outer["parentSpanId"].is_null() && outer["status"].is_null());
    }

    #[test]
    fn what_is_no_address_of_a_collector_is_refused() {
        for wrong in ["", "collector:4318", "ftp://a"] {
            let refused = export::<tracing_subscriber::Registry>(wrong, "s", "1");
            assert!(refused.is_err(), "{wrong}");
        }
    }
}
