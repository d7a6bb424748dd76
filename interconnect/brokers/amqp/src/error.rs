//! Why RabbitMQ is not there, told apart by what a person can do about it. It is the source of `BrokerError::Away`.

use crate::limits::{NAME_BYTES_MAX, REPLY_MAX, VERSION_MIN};
use lapin::ErrorKind;
use sengu_interconnect::BrokerError;
use std::sync::Arc;
use std::time::Duration;

/// Shared, since everybody who asks is told the same.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum AmqpError {
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
    /// Its certificate is not trusted, or the authorities cannot be read.
    #[error("trust {at} by TLS")]
    Tls {
        at: String,
        #[source]
        source: Source,
    },
    #[error("{at} takes no user by this name and password")]
    Credentials { at: String },
    #[error("there is no vhost {vhost} at {at}")]
    NoVhost { at: String, vhost: String },
    /// In the server's words, which name the resource.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    #[error("RabbitMQ {found} is older than {}.{}", VERSION_MIN.0, VERSION_MIN.1)]
    Version { found: String },
    /// In the server's words, which name the argument and both values.
    #[error("queue {queue} is not as it must be: {difference}")]
    QueueDiffers { queue: String, difference: String },
    #[error("the name {0:?} is longer than {NAME_BYTES_MAX} bytes")]
    Name(String),
    #[error("the server takes no messages: {0}")]
    Blocked(String),
    #[error("{0} is not answered within {REPLY_MAX:?}")]
    Late(&'static str),
    /// Of a quorum queue this is how it looks that it has no leader.
    #[error("nothing was confirmed within {within:?} for {queues}: has it a leader?")]
    Unconfirmed { queues: String, within: Duration },
    #[error("queue {0} takes nothing and is not full: has it a leader?")]
    Refused(String),
    #[error("queue {0} is taken away as soon as it is there")]
    Vanishes(String),
    #[error("queue {0} was taken away")]
    Gone(String),
    #[error("the retained directory is not kept by AMQP: give it a broker of its own")]
    NoDirectory,
    #[error("{what}")]
    Server {
        what: &'static str,
        #[source]
        source: Source,
    },
    #[error("this end is closing")]
    Closing,
}

impl AmqpError {
    /// Only a person can mend it.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            AmqpError::Tls { .. }
                | AmqpError::Credentials { .. }
                | AmqpError::NoVhost { .. }
                | AmqpError::NotPermitted(_)
                | AmqpError::Version { .. }
                | AmqpError::QueueDiffers { .. }
                | AmqpError::Name(_)
                | AmqpError::NoDirectory
        )
    }

    /// The whole chain in one line.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

pub(crate) fn away(error: AmqpError) -> BrokerError {
    BrokerError::Away(Some(Box::new(error)))
}

pub(crate) fn source(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Source {
    Arc::from(error.into())
}

/// The code and words that the server closed a channel or connection with.
pub(crate) fn said(error: &lapin::Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(e) => Some((e.get_id(), e.get_message().as_str())),
        _ => None,
    }
}

pub(crate) const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const RESOURCE_LOCKED: u16 = 405;
pub(crate) const PRECONDITION_FAILED: u16 = 406;
pub(crate) const NOT_ALLOWED: u16 = 530;

/// What an operation on a channel ended with.
pub(crate) fn of_channel(what: &'static str, error: lapin::Error) -> AmqpError {
    match said(&error) {
        Some((ACCESS_REFUSED, words)) => AmqpError::NotPermitted(plain(words).to_owned()),
        _ => AmqpError::Server {
            what,
            source: source(error),
        },
    }
}

/// The server's words without its own name for the code.
pub(crate) fn plain(words: &str) -> &str {
    words.split_once(" - ").map_or(words, |(_, words)| words)
}
