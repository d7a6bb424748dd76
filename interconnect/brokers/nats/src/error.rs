//! Why NATS is not there, told apart by what a person can do about it.

use sengu_interconnect::BrokerError;
use std::sync::Arc;
use std::time::Duration;

/// Shared, since everybody who asks is told the same.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

pub fn source(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Source {
    Arc::from(error.into())
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum NatsError {
    #[error("no attempt to reach {0} has ended yet")]
    NotYet(String),
    #[error("reach {at}")]
    Reach {
        at: String,
        #[source]
        source: Source,
    },
    #[error("{at} does not answer within {within:?}")]
    Silent { at: String, within: Duration },
    /// Its certificate is not trusted, or ours cannot be read.
    #[error("trust {at} by TLS")]
    Tls {
        at: String,
        #[source]
        source: Source,
    },
    #[error("{at} takes no user by this name and password")]
    Credentials { at: String },
    #[error("NATS {found} is older than {}.{}", crate::limits::VERSION_MIN.0, crate::limits::VERSION_MIN.1)]
    Version { found: String },
    #[error("JetStream is not enabled at {at}")]
    NoJetStream { at: String },
    /// It is enabled, but starting, without a leader, or without the stream.
    #[error("JetStream does not answer at {at}")]
    Unready { at: String },
    /// What the server said to it, which names the subject.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// A stream of that name exists with another configuration.
    #[error("stream {stream} exists with {found}, and must have {wanted}")]
    Stream {
        stream: String,
        found: String,
        wanted: String,
    },
    #[error("{what}: {description} ({code})")]
    Refused {
        what: String,
        code: u64,
        description: String,
    },
    #[error("{what} is not answered within {within:?}")]
    Late { what: String, within: Duration },
    #[error("{what}: the answer is not understood")]
    Answer {
        what: String,
        #[source]
        source: Source,
    },
    #[error("the connection to {0} is gone")]
    Gone(String),
    #[error("this end is closing")]
    Closing,
    /// It was subscribed over a connection that is gone, or was forgotten by the server.
    #[error("the subscription is over")]
    Over,
}

impl NatsError {
    /// Whether it may be mended by waiting; else only by a person.
    pub fn may_pass(&self) -> bool {
        !matches!(
            self,
            NatsError::Tls { .. }
                | NatsError::Credentials { .. }
                | NatsError::Version { .. }
                | NatsError::NoJetStream { .. }
                | NatsError::NotPermitted(_)
                | NatsError::Stream { .. }
        )
    }

    /// The error and its sources in one line.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let part = error.to_string();
            // Some errors say their source as well.
            if !text.contains(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            source = error.source();
        }
        text
    }
}

pub fn away(error: NatsError) -> BrokerError {
    BrokerError::Away(Some(Box::new(error)))
}
