//! Server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as Message, KeepAlive};
use chrono::{DateTime, TimeDelta, Utc};
use futures::Stream;
use motif_proto::event::{Event, Reset};
use motif_proto::id::RunId;
use motif_proto::monitoring::coordinator::EVENT_STREAMS;
use motif_proto::problem::Problem;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::extract::Id;
use super::problem::ApiError;
use crate::access::Access;
use crate::app::AppState;
use crate::domain::access::{Principal, Projects};
use crate::error::{Error, chain};
use crate::monitoring::http::Counted;
use crate::store::Store;
use crate::store::events::Resume;
use crate::store::runs::Versioned;

/// Where browsers say what they have seen.
const LAST_EVENT_ID: &str = "last-event-id";
/// How often a stream looks by itself, should a notice be lost.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Messages on their way to a client before the reader of the database waits for it.
const BACKLOG: usize = 64;
/// How long a client may take nothing before its stream ends.
const MAX_STANDSTILL: Duration = Duration::from_secs(60);
/// The least time between two looks of the stream of all runs.
const GATHER: Duration = Duration::from_millis(250);
/// How long a change may stay uncommitted after its time was taken: as long as the longest statement.
const SLACK: TimeDelta = TimeDelta::seconds(20);
/// Runs that a stream of all runs begins with, beside those that run.
const NEWEST: u32 = 200;
/// Changed runs that are read at once; a client that missed more fetches everything anew.
const MAX_CHANGED: u32 = 1000;

/// Follow one run.
///
/// The stream begins with the current state (`run`); then come `metrics`, `rewind`, `checkpoint`, `artifact`, `log` and
/// `run` as they happen. A client that comes back with `Last-Event-ID` gets what it missed, or `reset` if that is gone.
#[utoipa::path(
    get, path = "/runs/{id}/events", tag = "runs", operation_id = "run_events",
    params(
        ("id" = RunId, Path, description = "The run"),
        ("Last-Event-ID" = Option<String>, Header, description = "The newest event seen"),
    ),
    responses(
        (status = OK, body = Event, content_type = "text/event-stream"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn of_run(
    State(state): State<AppState>,
    principal: Principal,
    Id(run): Id<RunId>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, ApiError> {
    // Before the first look, so that nothing in between is missed.
    let news = state.signals.subscribe();
    let current = state.store.run_summary(run).await?;
    let guard = Guard::of(&state, &principal);
    Ok(stream(&["run"], guard, move |sink| async move {
        let seen = last_event_id(&headers).map(|id| id.parse().unwrap_or(-1));
        RunStream {
            store: state.store,
            run,
            sink,
            news,
        }
        .follow(current, seen)
        .await
    }))
}

/// Follow all runs: only their `run` events.
///
/// The stream begins with the current state of the runs that run and the newest others, or after `Last-Event-ID`
/// of those that changed since; `reset` says that too many did.
#[utoipa::path(
    get, path = "/events", tag = "runs", operation_id = "all_events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The newest event seen")),
    responses((status = OK, body = Event, content_type = "text/event-stream")),
)]
pub async fn of_all(
    State(state): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let news = state.signals.subscribe();
    let guard = Guard::of(&state, &principal);
    stream(&["all"], guard, move |sink| async move {
        let since =
            last_event_id(&headers).map(|id| id.parse().ok().and_then(DateTime::from_timestamp_micros));
        AllStream {
            store: state.store,
            visible: principal.projects.clone(),
            sink,
            news,
            sent: HashMap::new(),
        }
        .follow(since)
        .await
    })
}

/// What ends a stream, whatever it tells.
struct Guard {
    stop: CancellationToken,
    access: Access,
    principal: Principal,
}

impl Guard {
    fn of(state: &AppState, principal: &Principal) -> Self {
        Self {
            stop: state.stopping.0.clone(),
            access: state.access.clone(),
            principal: principal.clone(),
        }
    }
}

/// Why a stream ends.
enum Ended {
    /// The client is gone or takes nothing.
    Client,
    /// The database does not answer: the client comes back and resumes.
    Store(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(LAST_EVENT_ID)?
        .to_str()
        .ok()
        .filter(|id| !id.is_empty())
}

/// Runs `follow` until it ends, the client goes or may see it no more, or the coordinator stops, and hands its
/// messages on.
fn stream<F>(
    kind: &'static [&'static str],
    guard: Guard,
    follow: impl FnOnce(Sink) -> F,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>>
where
    F: Future<Output = Result<Infallible, Ended>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let gone = sender.clone();
    let follow = follow(Sink(sender));
    tokio::spawn(async move {
        let _open = Counted::up(EVENT_STREAMS, kind);
        tokio::select! {
            () = guard.stop.cancelled() => {}
            () = guard.access.ended(&guard.principal) => {}
            () = gone.closed() => {}
            Err(ended) = follow => if let Ended::Store(error) = ended {
                tracing::warn!(error = %chain(&error), "an event stream broke off");
            },
        }
    });
    let messages = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|message| (Ok(message), receiver))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

struct Sink(mpsc::Sender<Message>);

impl Sink {
    async fn send(&self, id: Option<i64>, event: &Event) -> Result<(), Ended> {
        let mut message = Message::default().event(event.name());
        if let Some(id) = id {
            message = message.id(id.to_string());
        }
        let message = match event {
            Event::Run(data) => json(message, data),
            Event::Metrics(data) => json(message, data),
            Event::Rewind(data) => json(message, data),
            Event::Checkpoint(data) => json(message, data),
            Event::Artifact(data) => json(message, data),
            Event::Log(data) => json(message, data),
            Event::Reset(data) => json(message, data),
        }?;
        let sent = timeout(MAX_STANDSTILL, self.0.send(message)).await;
        sent.map_err(|_| Ended::Client)?.map_err(|_| Ended::Client)
    }
}

fn json(message: Message, data: &impl Serialize) -> Result<Message, Ended> {
    message
        .json_data(data)
        .map_err(|error| Ended::Store(Error::Damaged(error.to_string())))
}

struct RunStream {
    store: Store,
    run: RunId,
    sink: Sink,
    news: Receiver<RunId>,
}

impl RunStream {
    async fn follow(mut self, current: Versioned, seen: Option<i64>) -> Result<Infallible, Ended> {
        let mut seen = self.begin(current, seen).await?;
        loop {
            let events = self.store.events_after(self.run, seen).await?;
            let Some(&(last, _)) = events.last() else {
                if !self.store.has_run(&Projects::All, self.run).await? {
                    // Whoever comes back is told that the run is gone.
                    self.sink.send(None, &Event::Reset(Reset {})).await?;
                    return Err(Ended::Client);
                }
                self.wait().await;
                continue;
            };
            for (id, event) in &events {
                if let Some(event) = event {
                    self.sink.send(Some(*id), event).await?;
                }
            }
            // One summary stands for all changes of the run so far.
            let summary = self.store.run_summary(self.run).await?.summary;
            self.sink.send(Some(last), &Event::Run(Box::new(summary))).await?;
            seen = last;
        }
    }

    /// Sends the current state, and says after which event to go on.
    async fn begin(&self, current: Versioned, seen: Option<i64>) -> Result<i64, Ended> {
        let resume = match seen {
            Some(seen) => self.store.resume_events(self.run, seen).await?,
            None => Resume::After(current.last_event),
        };
        let (after, is_lost) = match resume {
            Resume::After(seen) => (seen, false),
            Resume::Lost => (current.last_event, true),
        };
        if is_lost {
            self.sink.send(Some(after), &Event::Reset(Reset {})).await?;
        }
        self.sink
            .send(Some(after), &Event::Run(Box::new(current.summary)))
            .await?;
        Ok(after)
    }

    async fn wait(&mut self) {
        let news = async {
            loop {
                match self.news.recv().await {
                    Ok(run) if run != self.run => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        // Whether there is news or not, the next look tells.
        let _ = timeout(LOOK_ANYWAY, news).await;
    }
}

/// Follows changes by their time. A transaction may commit later than one that took its time after it, so each
/// look goes back a little, and what was sent already is remembered.
struct AllStream {
    store: Store,
    visible: Projects,
    sink: Sink,
    news: Receiver<RunId>,
    /// Newest event that was sent of each run that changed of late.
    sent: HashMap<RunId, (i64, DateTime<Utc>)>,
}

impl AllStream {
    async fn follow(mut self, since: Option<Option<DateTime<Utc>>>) -> Result<Infallible, Ended> {
        let mut newest = match since {
            Some(Some(since)) => since,
            Some(None) => {
                self.sink.send(None, &Event::Reset(Reset {})).await?;
                self.begin().await?
            }
            None => self.begin().await?,
        };
        let mut deleted = self.store.newest_deletion().await?;
        loop {
            let newest_deletion = self.store.newest_deletion().await?;
            if newest_deletion > deleted {
                // What is gone has no event: whoever has a list fetches it anew.
                self.sink.send(None, &Event::Reset(Reset {})).await?;
                deleted = newest_deletion;
            }
            let changed = self
                .store
                .changed_runs(&self.visible, newest - SLACK, MAX_CHANGED)
                .await?;
            if changed.len() == MAX_CHANGED as usize {
                self.sink.send(None, &Event::Reset(Reset {})).await?;
                newest = self.begin().await?.max(newest);
                sleep(GATHER).await;
                continue;
            }
            for run in changed {
                newest = newest.max(run.updated_at);
                self.tell(run).await?;
            }
            self.sent
                .retain(|_, (_, updated_at)| *updated_at >= newest - SLACK * 2);
            self.wait().await;
        }
    }

    async fn begin(&mut self) -> Result<DateTime<Utc>, Ended> {
        let mut newest = DateTime::UNIX_EPOCH;
        for run in self.store.current_runs(&self.visible, NEWEST).await? {
            newest = newest.max(run.updated_at);
            self.tell(run).await?;
        }
        Ok(newest)
    }

    async fn tell(&mut self, run: Versioned) -> Result<(), Ended> {
        let id = run.summary.id;
        if self
            .sent
            .get(&id)
            .is_some_and(|(event, _)| *event >= run.last_event)
        {
            return Ok(());
        }
        self.sent.insert(id, (run.last_event, run.updated_at));
        let time = run.updated_at.timestamp_micros();
        self.sink
            .send(Some(time), &Event::Run(Box::new(run.summary)))
            .await
    }

    async fn wait(&mut self) {
        let earliest = Instant::now() + GATHER;
        let _ = timeout(LOOK_ANYWAY, self.news.recv()).await;
        tokio::time::sleep_until(earliest).await;
        // What came in the meantime is seen by the next look as well.
        self.news = self.news.resubscribe();
    }
}
