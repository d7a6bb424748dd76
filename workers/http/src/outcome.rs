//! How a task ends, in the words of worker protocol v1.
//!
//! The protocol's own types live behind the SDK, which cannot be had where there are no sockets; these have the same JSON
//! form, and a test of the program says so.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// It is so; it was read back, or the record says that the answer is proof.
    Done(Done),
    Failed(Failure),
    /// The effect may have begun, and nothing shows whether it did.
    Unknown {
        why: String,
    },
    /// Ended on request; nothing had been sent.
    Cancelled {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Done {
    #[serde(default)]
    pub changed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    Refused,
    Busy,
    Unreachable,
    AuthFailed,
    IdentityMismatch,
    Timeout,
    Crashed,
    BadReply,
}

/// One measured value; units are UCUM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub name: String,
    pub value: f64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Failure {
    pub fn new(code: FailureCode, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            retry_after_ms: None,
            detail: None,
        }
    }

    pub fn refused(message: impl Into<String>) -> Failure {
        Failure::new(FailureCode::Refused, message)
    }

    pub fn bad_reply(message: impl Into<String>) -> Failure {
        Failure::new(FailureCode::BadReply, message)
    }

    /// Whether further contact would do harm until a person has looked.
    pub fn quarantines(&self) -> bool {
        matches!(
            self.code,
            FailureCode::AuthFailed | FailureCode::IdentityMismatch
        )
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        Outcome::Failed(failure)
    }
}

impl Outcome {
    pub fn result(result: Value) -> Outcome {
        Outcome::Done(Done {
            result: Some(result),
            ..Done::default()
        })
    }
}
