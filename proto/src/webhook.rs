//! Webhooks: who is told when runs and studies end.
//!
//! A delivery is a `POST` with a JSON body `{"type", "timestamp", "data"}`, signed as the
//! [Standard Webhooks](https://www.standardwebhooks.com) specification has it, so that a receiver can use a library
//! of its language. By hand: take the headers `webhook-id`, `webhook-timestamp` (seconds since 1970) and
//! `webhook-signature`; the key is the secret after `whsec_`, decoded from base64; the signature is `v1,` and the
//! base64 of the HMAC-SHA256 of `{id}.{timestamp}.{body}`. Compare in constant time, refuse a timestamp that is more
//! than five minutes off, and remember the ids of those five minutes: a delivery may come twice.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{DeliveryId, WebhookId};

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WebhookEvent {
    /// A run has succeeded.
    #[serde(rename = "run.succeeded")]
    RunSucceeded,
    /// A run was given up.
    #[serde(rename = "run.failed")]
    RunFailed,
    /// A run was cancelled by somebody.
    #[serde(rename = "run.cancelled")]
    RunCancelled,
    /// A run will never begin, because one that it depends on did not succeed.
    #[serde(rename = "run.skipped")]
    RunSkipped,
    /// All that a study was to do was done; a sweep may have ended some of its runs early.
    #[serde(rename = "study.succeeded")]
    StudySucceeded,
    /// All runs of a study have ended, and some failed.
    #[serde(rename = "study.failed")]
    StudyFailed,
    /// All runs of a study have ended; none failed, and somebody cancelled some.
    #[serde(rename = "study.cancelled")]
    StudyCancelled,
    /// Somebody tries the webhook; always told.
    #[serde(rename = "test")]
    Test,
}

impl WebhookEvent {
    /// What a webhook can ask for.
    pub const OFFERED: [Self; 7] = [
        Self::RunSucceeded,
        Self::RunFailed,
        Self::RunCancelled,
        Self::RunSkipped,
        Self::StudySucceeded,
        Self::StudyFailed,
        Self::StudyCancelled,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunSucceeded => "run.succeeded",
            Self::RunFailed => "run.failed",
            Self::RunCancelled => "run.cancelled",
            Self::RunSkipped => "run.skipped",
            Self::StudySucceeded => "study.succeeded",
            Self::StudyFailed => "study.failed",
            Self::StudyCancelled => "study.cancelled",
            Self::Test => "test",
        }
    }
}

/// What a new webhook is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where deliveries go: `https://…` or `http://…`.
    pub url: String,
    /// What is told; one event at least.
    pub events: Vec<WebhookEvent>,
    /// Only what happens in this project; in all of your token's where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// What is to change in a webhook; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeWebhook {
    /// Where deliveries go from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What is told from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether anything is told; `false` gives up what was still to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// A webhook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookInfo {
    /// Its id.
    pub id: WebhookId,
    /// Where deliveries go.
    pub url: String,
    /// What is told.
    pub events: Vec<WebhookEvent>,
    /// The project that it is limited to; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether anything is told.
    pub active: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
}

/// A new webhook with its secret, which is never shown again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookCreated {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookInfo,
    /// What deliveries are signed with: `whsec_` and the key as base64.
    pub secret: String,
}

impl fmt::Debug for WebhookCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookCreated")
            .field("webhook", &self.webhook)
            .finish_non_exhaustive()
    }
}

/// Webhooks, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookList {
    /// The webhooks.
    pub webhooks: Vec<WebhookInfo>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Pending,
    /// The receiver answered with a status of success.
    Delivered,
    /// It was tried often enough, or the webhook was switched off.
    GivenUp,
}

/// Something that a webhook is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// The `webhook-id` that it is sent with, every time.
    pub id: DeliveryId,
    /// What happened.
    pub event: WebhookEvent,
    /// The body.
    pub payload: serde_json::Value,
    /// How it stands.
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// When it is sent next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
    /// The status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// The beginning of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<String>,
    /// Why there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A page of deliveries, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryList {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
}
