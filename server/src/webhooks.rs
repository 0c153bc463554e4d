//! Sends deliveries to whoever is behind a webhook.
//!
//! The address was given by a person, so nothing is taken for granted: names are resolved here and only public
//! addresses are connected to, those that were checked and no others; redirects are not followed, proxies of the
//! environment not used; the answer is read for a few kilobytes and seconds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::sync::Notify;

use crate::domain::webhook::{self, Private};
use crate::error::chain;
use crate::store::webhooks::{Due, Sent};

/// How long a receiver has for its whole answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read and kept.
const MAX_ANSWER: usize = 2048;

/// The way to receivers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Webhooks {
    http: Option<reqwest::Client>,
    private: Private,
    hurry: Arc<Notify>,
}

impl Webhooks {
    /// A way to public receivers, and to private ones where that is allowed.
    #[must_use]
    pub fn new(private: Private) -> Self {
        let http = reqwest::Client::builder()
            .user_agent(concat!("motif/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(Resolver(private)))
            .build()
            .inspect_err(|error| tracing::error!(error = %chain(error), "webhooks cannot be told"))
            .ok();
        Self {
            http,
            private,
            hurry: Arc::default(),
        }
    }

    /// Whether private addresses may be asked.
    #[must_use]
    pub const fn private(&self) -> Private {
        self.private
    }

    /// Wakes the sender of this coordinator.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Waits until somebody is in a hurry.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Sends a delivery and says what became of it.
    pub async fn send(&self, due: &Due) -> Sent {
        let failed = |error: String| Sent {
            error: Some(error),
            ..Sent::default()
        };
        // What was allowed when the webhook was made may not be any more.
        let url = match webhook::read_url(&due.url, self.private) {
            Ok(url) => url,
            Err(reason) => return failed(format!("the address cannot be asked: {reason}")),
        };
        let Some(http) = &self.http else {
            return failed("this coordinator cannot ask anybody".to_owned());
        };
        let (id, timestamp) = (due.id.to_string(), Utc::now().timestamp());
        let body = due.payload.0.to_string();
        let Some(signature) = webhook::signature(&due.secret, &id, timestamp, &body) else {
            return failed("the webhook's secret is damaged".to_owned());
        };
        let answer = http
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await;
        match answer {
            Ok(answer) => Sent {
                status: Some(answer.status().as_u16()),
                answer: Some(beginning(answer).await),
                error: None,
            },
            // Without the address, which may hold the receiver's own secret.
            Err(error) => failed(chain(&error.without_url())),
        }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self::new(Private::default())
    }
}

/// What an answer begins with, as text.
async fn beginning(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        let room = MAX_ANSWER - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if bytes.len() == MAX_ANSWER {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).replace('\0', "")
}

/// Finds the addresses of a name, and hands on those that may be asked.
#[derive(Debug)]
struct Resolver(Private);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|address| private.admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(webhook::NOT_PUBLIC.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}
