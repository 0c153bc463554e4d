//! What every request has in common: address, token, time limits, and how answers are read.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ClientError;
use super::servers::Servers;
use crate::problem::Problem;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ordinary call may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a download may stand still.
const CONTENT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most of an error's body that is read.
const MAX_PROBLEM_BYTES: usize = 1 << 20;

/// A client of one coordinator, or of several over one database, any of which will do. Clones share their
/// connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    servers: Servers,
}

/// A file that the coordinator sends.
#[derive(Debug)]
pub struct Content {
    /// Its length, where the coordinator said it.
    pub size_bytes: Option<u64>,
    response: Response,
    server: String,
}

impl Content {
    /// The bytes as they arrive. A transfer that stands still for a minute is an error.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
        chunks(self.response, self.server, CONTENT_IDLE_TIMEOUT)
    }
}

impl Client {
    /// A client of the coordinator at an address such as `http://127.0.0.1:8080`. Connects to nothing yet.
    ///
    /// Several addresses, with commas between, are of coordinators over one database. The first is asked as long as it
    /// answers, then the next.
    ///
    /// # Errors
    /// [`ClientError::InvalidServer`] and [`ClientError::InvalidToken`].
    pub fn new(addresses: &str, token: Option<String>) -> Result<Self, ClientError> {
        let servers = Servers::parse(addresses)?;
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::InvalidToken)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("motif/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .default_headers(headers);
        if servers.are_on_this_machine() {
            // A proxy that the environment names cannot know this machine's own addresses.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| ClientError::InvalidServer {
            given: addresses.to_owned(),
            reason: source.to_string(),
        })?;
        Ok(Self { http, servers })
    }

    /// The address of the coordinator that is asked now, without a slash at its end.
    #[must_use]
    pub fn server(&self) -> &str {
        self.servers.current().1
    }

    /// A request for `path`, segment by segment, under `/api/v1`.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.servers.current().0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        self.http.request(method, url).timeout(CALL_TIMEOUT)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a request whose answer is JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        self.decode(response).await
    }

    /// Sends a request and passes on the answer if it is a success.
    ///
    /// Where no connection comes about, nothing was asked of anybody, and the next coordinator is tried at once. From
    /// one that is reached and fails, only the next call turns away.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unsendable = |error: reqwest::Error| ClientError::Unsendable(error.without_url().to_string());
        let mut request = request.build().map_err(unsendable)?;
        for tries_left in (0..self.servers.count()).rev() {
            let asked = self.servers.of(request.url());
            let again = request.try_clone();
            match self.http.execute(request).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let refusal = self.refusal(response).await;
                    if refusal.is_transient() {
                        self.servers.turn_away_from(asked);
                    }
                    return Err(refusal);
                }
                Err(source) => {
                    self.servers.turn_away_from(asked);
                    match again {
                        Some(mut again) if source.is_connect() && tries_left > 0 => {
                            *again.url_mut() = self.servers.moved(again.url(), asked);
                            request = again;
                        }
                        _ => return Err(ClientError::unreachable(self.servers.name(asked), source)),
                    }
                }
            }
        }
        Err(ClientError::silent(self.server(), "no coordinator was asked"))
    }

    pub(super) async fn decode<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|source| ClientError::unreachable(self.server(), source))?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(status, error.to_string()))
    }

    /// A file's bytes, as a stream that only ends by itself, by an error, or by standing still.
    pub(super) async fn content(&self, path: &[&str]) -> Result<Content, ClientError> {
        let response = self.open(self.request(Method::GET, path)).await?;
        Ok(Content {
            size_bytes: response.content_length(),
            response,
            server: self.server().to_owned(),
        })
    }

    /// Sends a request whose body may take any time, while its head must come soon.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unlimited = request.timeout(Duration::from_secs(u64::from(u32::MAX)));
        tokio::time::timeout(CALL_TIMEOUT, self.send(unlimited))
            .await
            .unwrap_or_else(|_| Err(ClientError::silent(self.server(), "it did not answer in time")))
    }

    pub(super) fn unexpected(&self, status: StatusCode, reason: String) -> ClientError {
        ClientError::UnexpectedAnswer {
            server: self.server().to_owned(),
            status: status.as_u16(),
            reason,
        }
    }

    /// The error that an answer without success stands for.
    async fn refusal(&self, mut response: Response) -> ClientError {
        let status = response.status();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            if body.len() + chunk.len() > MAX_PROBLEM_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Problem {
                status: status.as_u16(),
                problem: Box::new(problem),
            },
            Err(_) => {
                let media_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
                self.unexpected(
                    status,
                    format!(
                        "no problem document but {}",
                        media_type.unwrap_or("an unnamed kind of body")
                    ),
                )
            }
        }
    }
}

/// The chunks of an answer's body; none for `idle` is an error.
pub(super) fn chunks(
    response: Response,
    server: String,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
    stream::try_unfold((response, server), move |(mut response, server)| async move {
        match tokio::time::timeout(idle, response.chunk()).await {
            Ok(Ok(Some(chunk))) => Ok(Some((chunk, (response, server)))),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(source)) => Err(ClientError::unreachable(&server, source)),
            Err(_) => Err(ClientError::silent(&server, "it stopped sending")),
        }
    })
}

/// Names the media type that a request wants back.
pub(super) fn accepting(request: RequestBuilder, media_type: &'static str) -> RequestBuilder {
    request.header(ACCEPT, HeaderValue::from_static(media_type))
}
