//! What can go wrong with an MQTT broker. It is the source of `BrokerError::Away`, so that a person learns why.

use crate::limits::{ENTRIES_MAX, KEY_BYTES_MAX, KEYS_MAX};
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, PubAckReason, SubscribeReasonCode,
};
use sengu_interconnect::BrokerError;
use std::{io, sync::Arc};

#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("TLS with {address}")]
    Tls {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("the certificates of the authorities")]
    Authorities(#[source] rustls::Error),
    #[error("the certificates of the authorities cannot be read")]
    AuthoritiesForm,
    #[error("{address} is no MQTT broker's address")]
    Scheme { address: String },
    #[error("the broker does not know this user and password")]
    SignIn,
    #[error("the broker does not let this user in")]
    NotAuthorised,
    #[error("the broker does not speak MQTT 5")]
    Version,
    #[error("the broker refused the connection: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the broker keeps no retained messages")]
    NoRetained,
    #[error("the broker does not take messages that are acknowledged (QoS 1)")]
    NoQos,
    #[error("the other end does not speak MQTT: {0}")]
    Protocol(String),
    #[error("nothing was heard of the broker for {ms} ms")]
    Silent { ms: u128 },
    #[error("no answer within {ms} ms")]
    Late { ms: u128 },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker ended the connection: {0:?}")]
    Ended(DisconnectReasonCode),
    #[error("the broker does not let this user publish {topic}: {reason:?}")]
    Publish { topic: String, reason: PubAckReason },
    #[error("the broker does not let this user subscribe to {filter}: {reason:?}")]
    Subscribe {
        filter: String,
        reason: SubscribeReasonCode,
    },
    #[error("a message of {bytes} bytes, and the broker takes {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("a key of {bytes} bytes, and at most {KEY_BYTES_MAX} are allowed")]
    Key { bytes: usize },
    #[error("an empty value of {key}: MQTT keeps none")]
    Empty { key: String },
    #[error("{KEYS_MAX} keys are retained already")]
    Keys,
    #[error("the directory holds more than {ENTRIES_MAX} entries")]
    Entries,
    #[error("listen for followers")]
    Listen(#[source] io::Error),
    #[error("{address} is not on loopback: MQTT without TLS ends at this machine")]
    PlainListener { address: String },
    #[error("not connected yet")]
    NotYet,
    #[error("this end is closing")]
    Closing,
}

impl MqttError {
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

    /// Only a person can mend it.
    pub fn is_hopeless(&self) -> bool {
        match self {
            MqttError::SignIn
            | MqttError::NotAuthorised
            | MqttError::Version
            | MqttError::NoRetained
            | MqttError::NoQos
            | MqttError::Authorities(_)
            | MqttError::AuthoritiesForm
            | MqttError::Scheme { .. } => true,
            // A certificate that is not trusted now will not be trusted later; a broken handshake may mend.
            MqttError::Tls { source, .. } => {
                let inner = source.get_ref().and_then(|e| e.downcast_ref());
                matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
            }
            _ => false,
        }
    }
}

pub(crate) fn away(error: Arc<MqttError>) -> BrokerError {
    match *error {
        MqttError::TooLarge { bytes, bytes_max } => BrokerError::TooLarge { bytes, bytes_max },
        _ => BrokerError::Away(Some(Box::new(error))),
    }
}
