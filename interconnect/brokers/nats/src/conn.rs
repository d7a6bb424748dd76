//! One connection with all that is asked over it. It lives until the connection is lost, and is never used again then.

use crate::error::{NatsError, source};
use crate::limits::{API_MAX, CONFIRM_MAX, IN_FLIGHT_MAX, MAKING_MAX};
use crate::names::Names;
use async_nats::client::{Request, RequestErrorKind};
use async_nats::header::{HeaderMap, NATS_EXPECTED_STREAM};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// A complaint that has arrived is heard within this.
const COMPLAINT_MAX: Duration = Duration::from_millis(200);

/// What the server or the connection says by itself.
#[derive(Debug, Default)]
pub struct Signals {
    lost: watch::Sender<bool>,
    /// The last thing the server complained about: it does so when something is not permitted, and does not answer.
    complaint: watch::Sender<Option<String>>,
}

impl Signals {
    pub fn lost(&self) {
        self.lost.send_replace(true);
    }

    pub fn complained(&self, text: String) {
        tracing::debug!(complaint = text, "NATS complains");
        self.complaint.send_replace(Some(text));
    }

    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Resolves when the connection is lost.
    pub async fn until_lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as `self`.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// What was not permitted last.
    pub fn denied(&self) -> Option<String> {
        let complaint = self.complaint.borrow();
        let text = complaint.as_deref().filter(|text| is_denial(text))?;
        Some(text.trim_start_matches("nats: ").to_owned())
    }

    /// Resolves when the server refuses something with `subject`, or the inbox that an answer would come to.
    async fn until_denied(&self, subject: &str) -> String {
        let mut complaints = self.complaint.subscribe();
        let denied = complaints.wait_for(|text| {
            text.as_deref().is_some_and(|text| {
                is_denial(text)
                    && (text.contains(&format!("\"{subject}\"")) || text.contains("\"_INBOX."))
            })
        });
        let text = match denied.await.as_deref() {
            Ok(text) => text.clone(),
            Err(_) => None,
        };
        match text {
            Some(text) => text.trim_start_matches("nats: ").to_owned(),
            None => std::future::pending().await,
        }
    }
}

fn is_denial(text: &str) -> bool {
    text.to_lowercase().contains("permissions violation")
}

pub struct Conn {
    pub client: Client,
    pub js: Context,
    pub names: Arc<Names>,
    pub signals: Arc<Signals>,
    /// Publishes that wait for their confirms.
    pub in_flight: Semaphore,
    /// Consumers that are being made: the server writes each to its disk.
    pub making: Semaphore,
    /// As people know it.
    at: String,
}

/// What JetStream answers when it refuses something.
#[derive(Debug, Clone, Deserialize)]
pub struct ApiError {
    #[serde(default)]
    pub err_code: u64,
    #[serde(default)]
    pub description: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<ApiError>,
}

/// Error codes of JetStream that are told apart here.
pub mod code {
    pub const CONSUMER_NOT_FOUND: u64 = 10_014;
    pub const STREAM_NOT_FOUND: u64 = 10_059;
    pub const STREAM_NAME_IN_USE: u64 = 10_058;
    pub const NOT_ENABLED: u64 = 10_076;
    pub const NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
}

impl Conn {
    pub fn new(client: Client, names: Arc<Names>, signals: Arc<Signals>, at: String) -> Conn {
        // The semaphore here keeps the bound, so that no call holds part of what it needs and waits for the rest. The
        // client's own only must never be the smaller one.
        let js = ContextBuilder::new()
            .timeout(CONFIRM_MAX)
            .ack_timeout(CONFIRM_MAX)
            .max_ack_inflight(4 * IN_FLIGHT_MAX)
            .build(client.clone());
        Conn {
            client,
            js,
            names,
            signals,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            making: Semaphore::new(MAKING_MAX),
            at,
        }
    }

    pub fn gone(&self) -> NatsError {
        NatsError::Gone(self.at.clone())
    }

    /// Nobody answers for JetStream: it is not enabled, or is not ready, which the server tells.
    pub fn no_jetstream(&self) -> NatsError {
        let at = self.at.clone();
        match self.client.server_info().jetstream {
            true => NatsError::Unready { at },
            false => NatsError::NoJetStream { at },
        }
    }

    /// Asks JetStream's API.
    ///
    /// # Errors
    /// `Refused` with JetStream's code, and whatever else keeps the answer from coming.
    pub async fn api<T: DeserializeOwned>(
        &self,
        subject: &str,
        question: &impl Serialize,
    ) -> Result<T, NatsError> {
        let what = subject.to_owned();
        let body = serde_json::to_vec(question).map_err(|e| NatsError::Answer {
            what: what.clone(),
            source: source(e),
        })?;
        let answer = self.ask(subject, body.into()).await?;
        let not_understood = |e: serde_json::Error| NatsError::Answer {
            what: what.clone(),
            source: source(e),
        };
        let refusal: Refusal = serde_json::from_slice(&answer).map_err(not_understood)?;
        if let Some(error) = refusal.error {
            return Err(self.refused(what, error));
        }
        serde_json::from_slice(&answer).map_err(not_understood)
    }

    pub fn refused(&self, what: String, error: ApiError) -> NatsError {
        match error.err_code {
            code::NOT_ENABLED | code::NOT_ENABLED_FOR_ACCOUNT => NatsError::NoJetStream {
                at: self.at.clone(),
            },
            code => NatsError::Refused {
                what,
                code,
                description: error.description,
            },
        }
    }

    async fn ask(&self, subject: &str, body: Bytes) -> Result<Bytes, NatsError> {
        let full = format!("$JS.API.{subject}");
        let request = Request::new().payload(body).timeout(Some(API_MAX));
        let answer = tokio::select! {
            biased;
            answer = self.client.send_request(full.clone(), request) => answer,
            text = self.signals.until_denied(&full) => return Err(NatsError::NotPermitted(text)),
            () = self.signals.until_lost() => return Err(self.gone()),
        };
        match answer {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::NoResponders => self.no_jetstream(),
                RequestErrorKind::TimedOut => NatsError::Late {
                    what: subject.to_owned(),
                    within: API_MAX,
                },
                _ => self.gone(),
            }),
        }
    }

    /// Resolves when the server has taken whatever was said to it before: it reads a connection in order, and what is
    /// sent to an inbox of our own comes back.
    pub async fn echo(&self) -> Result<(), NatsError> {
        let inbox = Subject::from(self.client.new_inbox());
        let there_and_back = async {
            let gone = |_| self.gone();
            let mut sub = self.client.subscribe(inbox.clone()).await.map_err(gone)?;
            sub.unsubscribe_after(1).await.map_err(|_| self.gone())?;
            let sent = self.client.publish(inbox.clone(), Bytes::new()).await;
            sent.map_err(|_| self.gone())?;
            sub.next().await.map(|_| ()).ok_or_else(|| self.gone())
        };
        tokio::select! {
            biased;
            done = timeout(CONFIRM_MAX, there_and_back) => match done {
                Ok(done) => done,
                Err(_) => Err(NatsError::Late {
                    what: "an echo".to_owned(),
                    within: CONFIRM_MAX,
                }),
            },
            text = self.signals.until_denied(&inbox) => Err(NatsError::NotPermitted(text)),
            () = self.signals.until_lost() => Err(self.gone()),
        }
    }

    /// Whether we may publish to `subject`, found out with a message that no stream takes: it demands one that is not.
    pub async fn may_publish(&self, subject: &str) -> Result<(), NatsError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, "none");
        // With somewhere to answer to, so that a stream tells its refusal to nobody.
        let reply = self.client.new_inbox();
        let sent = self.client.publish_with_reply_and_headers(
            subject.to_owned(),
            reply,
            headers,
            Bytes::new(),
        );
        sent.await.map_err(|_| self.gone())?;
        // The server complains before it echoes, but complaints take another way through the client.
        self.echo().await?;
        match timeout(COMPLAINT_MAX, self.signals.until_denied(subject)).await {
            Ok(text) => Err(NatsError::NotPermitted(text)),
            Err(_) => Ok(()),
        }
    }
}
