//! What can go wrong with a link. It is the source of `BrokerError::Away`, so that a person learns why.

use crate::limits;
use std::io;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("connect to {url}")]
    Connect {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("{host} is not on loopback: plain tcp ends at this machine, use tls://")]
    NotLoopback { host: String },
    #[error("tls:// needs the certificate of the authority that signed the other end's")]
    NoAuthority,
    #[error("TLS")]
    Tls(#[source] io::Error),
    #[error("the join token is not right")]
    Token,
    #[error("the other end could not prove that it knows the join token")]
    Impostor,
    #[error(
        "the other end speaks versions {min} to {max} of the link, this one {} to {}",
        limits::VERSION_MIN,
        limits::VERSION_MAX
    )]
    Version { min: u16, max: u16 },
    #[error("refused: {0}")]
    Refused(String),
    #[error("the name {0:?} is empty or too long")]
    Name(String),
    #[error("the other end did not say hello within {} s", limits::HELLO_MAX.as_secs())]
    HelloLate,
    #[error("the other end does not speak this protocol: {0}")]
    Protocol(&'static str),
    #[error("a frame of {bytes} bytes, and at most {max} are allowed")]
    FrameTooLarge { bytes: usize, max: usize },
    #[error(
        "a body of {bytes} bytes, and at most {} are allowed",
        limits::BODY_BYTES_MAX
    )]
    BodyTooLarge { bytes: usize },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the other end closed the connection")]
    Closed,
    #[error("nothing was heard of the other end for {ms} ms")]
    Silent { ms: u128 },
    #[error("the other end read nothing for {ms} ms")]
    Stuck { ms: u128 },
    #[error("no answer within {} s", limits::ANSWER_MAX.as_secs())]
    NoAnswer,
    #[error("the other end's broker: {0}")]
    Behind(String),
    #[error("it joined anew over another connection")]
    Superseded,
    #[error("this end is closing")]
    Closing,
    #[error("not joined yet")]
    NotYet,
}

impl LinkError {
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

pub(crate) fn away(error: Arc<LinkError>) -> sengu_interconnect::BrokerError {
    sengu_interconnect::BrokerError::Away(Some(Box::new(error)))
}
