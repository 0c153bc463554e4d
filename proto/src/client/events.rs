//! Live streams of events that go on where they were cut.

use std::pin::Pin;
use std::time::Duration;

use eventsource_stream::{EventStreamError, Eventsource};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use reqwest::Method;
use reqwest::header::HeaderValue;

use super::http::{accepting, chunks};
use super::{Client, ClientError};
use crate::event::Event;
use crate::id::RunId;

/// How long a stream may be silent. The coordinator sends a comment more often than that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before the first try to reconnect; each further one waits twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Longest wait between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(8);

/// What a live stream delivers.
#[derive(Debug)]
pub enum StreamItem {
    /// Something happened.
    Event {
        /// What to give as `last_event_id` to go on after it; empty where the coordinator gave none.
        id: String,
        /// What happened.
        event: Event,
    },
    /// The connection was lost; the stream waits and connects again by itself.
    Interrupted {
        /// What cut it.
        error: ClientError,
        /// How long it waits.
        retry_in: Duration,
    },
}

/// A live stream. It ends only with an error that trying again cannot mend.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<StreamItem, ClientError>> + Send>>;

type RawEvents = BoxStream<'static, Result<eventsource_stream::Event, EventStreamError<ClientError>>>;

impl Client {
    /// Everything about one run, as it happens, beginning with its present state or after `last_event_id`.
    pub fn run_events(&self, run: RunId, last_event_id: Option<String>) -> EventStream {
        let path = vec!["runs".to_owned(), run.to_string(), "events".to_owned()];
        Subscription::new(self.clone(), path, last_event_id).into_stream()
    }

    /// The `run` events of all runs, beginning with the present state or after `last_event_id`.
    pub fn events(&self, last_event_id: Option<String>) -> EventStream {
        Subscription::new(self.clone(), vec!["events".to_owned()], last_event_id).into_stream()
    }

    async fn subscribe(
        &self,
        path: &[String],
        last_event_id: Option<&str>,
    ) -> Result<RawEvents, ClientError> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut request = accepting(self.request(Method::GET, &path), "text/event-stream");
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header("last-event-id", id);
        }
        let response = self.open(request).await?;
        Ok(chunks(response, self.server().to_owned(), IDLE_TIMEOUT)
            .eventsource()
            .boxed())
    }
}

/// One stream's place, across connections.
struct Subscription {
    client: Client,
    path: Vec<String>,
    last_event_id: Option<String>,
    connection: Option<RawEvents>,
    /// Tries since the last event.
    failures: u32,
    wait: Duration,
    ended: bool,
}

impl Subscription {
    fn new(client: Client, path: Vec<String>, last_event_id: Option<String>) -> Self {
        Self {
            client,
            path,
            last_event_id,
            connection: None,
            failures: 0,
            wait: Duration::ZERO,
            ended: false,
        }
    }

    fn into_stream(self) -> EventStream {
        Box::pin(stream::unfold(self, |mut subscription| async move {
            let item = subscription.next().await?;
            Some((item, subscription))
        }))
    }

    async fn next(&mut self) -> Option<Result<StreamItem, ClientError>> {
        if self.ended {
            return None;
        }
        match self.next_event().await {
            Ok((id, event)) => Some(Ok(StreamItem::Event { id, event })),
            Err(error) if error.is_transient() => {
                let retry_in = self.back_off();
                Some(Ok(StreamItem::Interrupted { error, retry_in }))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }

    /// Waits for the next event that this version knows, connecting first where needed.
    async fn next_event(&mut self) -> Result<(String, Event), ClientError> {
        loop {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => {
                    tokio::time::sleep(self.wait).await;
                    let connection = self
                        .client
                        .subscribe(&self.path, self.last_event_id.as_deref())
                        .await?;
                    self.connection.insert(connection)
                }
            };
            let raw = match connection.next().await {
                Some(Ok(raw)) => raw,
                Some(Err(error)) => return Err(self.transport_error(error)),
                None => return Err(ClientError::silent(self.client.server(), "it ended the stream")),
            };
            if !raw.id.is_empty() {
                self.last_event_id = Some(raw.id.clone());
            }
            self.failures = 0;
            if let Some(event) = decode(&raw.event, &raw.data).map_err(|error| self.unreadable(&error))? {
                return Ok((raw.id, event));
            }
        }
    }

    /// Drops the connection and says how long to stay away.
    fn back_off(&mut self) -> Duration {
        self.connection = None;
        self.wait = LONGEST_RETRY.min(FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(8)));
        self.failures = self.failures.saturating_add(1);
        self.wait
    }

    fn transport_error(&self, error: EventStreamError<ClientError>) -> ClientError {
        match error {
            EventStreamError::Transport(error) => error,
            EventStreamError::Utf8(error) => self.unreadable(&error),
            EventStreamError::Parser(error) => self.unreadable(&error),
        }
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> ClientError {
        self.client.unexpected(
            reqwest::StatusCode::OK,
            format!("an event cannot be read: {error}"),
        )
    }
}

/// The event of a name and its data; `None` for a name that only newer versions know.
fn decode(name: &str, data: &str) -> Result<Option<Event>, serde_json::Error> {
    Ok(Some(match name {
        "run" => Event::Run(serde_json::from_str(data)?),
        "metrics" => Event::Metrics(serde_json::from_str(data)?),
        "rewind" => Event::Rewind(serde_json::from_str(data)?),
        "checkpoint" => Event::Checkpoint(serde_json::from_str(data)?),
        "artifact" => Event::Artifact(serde_json::from_str(data)?),
        "log" => Event::Log(serde_json::from_str(data)?),
        "reset" => Event::Reset(serde_json::from_str(data)?),
        _ => return Ok(None),
    }))
}
