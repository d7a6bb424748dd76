//! How a task ended. The outcome of work is data, never an exception.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The end of a task. JSON: `{"status":"done","changed":true,...}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// It is so; the worker read it back.
    Done(Done),
    /// It is not so, and why.
    Failed(Failure),
    /// It may or may not have happened: contact was lost after the effect could have begun. A person decides.
    Unknown { why: String },
    /// Ended on request before the effect began.
    Cancelled { why: String },
    /// Its deadline passed before it was started.
    Expired { why: String },
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Done {
    /// False when the target already was as wanted (or for a read).
    #[serde(default)]
    pub changed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// What the action gives back (command output, file digest), by its result schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    pub code: FailureCode,
    /// One line for a person; never a secret.
    #[serde(default)]
    pub message: String,
    /// With `busy`: do not come back before, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What else is known (remote exit code, HTTP status, extended error).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// Failure codes are few and shared by all kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The target (or worker) says no, and will say no again.
    Refused,
    /// The target says not now. Nothing was changed; retried after `retry_after_ms`.
    Busy,
    /// Nothing was sent. Retried.
    Unreachable,
    /// The credentials were refused. Quarantines the target: repeating would lock the account.
    AuthFailed,
    /// It is not the device we know (host key, certificate, serial, engine id). Quarantines the target.
    IdentityMismatch,
    /// The deadline passed and nothing had changed, or the action only reads.
    Timeout,
    /// The worker died.
    Crashed,
    /// The target (or worker) answered what cannot be understood.
    BadReply,
}

impl FailureCode {
    pub const ALL: [FailureCode; 8] = [
        FailureCode::Refused,
        FailureCode::Busy,
        FailureCode::Unreachable,
        FailureCode::AuthFailed,
        FailureCode::IdentityMismatch,
        FailureCode::Timeout,
        FailureCode::Crashed,
        FailureCode::BadReply,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            FailureCode::Refused => "refused",
            FailureCode::Busy => "busy",
            FailureCode::Unreachable => "unreachable",
            FailureCode::AuthFailed => "auth_failed",
            FailureCode::IdentityMismatch => "identity_mismatch",
            FailureCode::Timeout => "timeout",
            FailureCode::Crashed => "crashed",
            FailureCode::BadReply => "bad_reply",
        }
    }

    /// Whether nothing happened on the target, so that any action may be tried again.
    pub fn retried_blindly(self) -> bool {
        matches!(self, FailureCode::Unreachable | FailureCode::Busy)
    }

    /// Whether further contact would do harm until a person has looked.
    pub fn quarantines(self) -> bool {
        matches!(
            self,
            FailureCode::AuthFailed | FailureCode::IdentityMismatch
        )
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Failure {
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
            detail: None,
        }
    }

    pub fn busy(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(FailureCode::Busy, message)
        }
    }

    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }
}

impl Outcome {
    /// Done, and the target was changed (`before` and `after` by the action's meaning).
    pub fn changed(before: Value, after: Value) -> Self {
        Outcome::Done(Done {
            changed: true,
            before: Some(before),
            after: Some(after),
            result: None,
        })
    }

    /// Done, and it already was so.
    pub fn already(state: Value) -> Self {
        Outcome::Done(Done {
            changed: false,
            before: Some(state.clone()),
            after: Some(state),
            result: None,
        })
    }

    /// Done with something to give back.
    pub fn result(changed: bool, result: Value) -> Self {
        Outcome::Done(Done {
            changed,
            result: Some(result),
            ..Done::default()
        })
    }

    pub fn failed(code: FailureCode, message: impl Into<String>) -> Self {
        Outcome::Failed(Failure::new(code, message))
    }

    pub fn status(&self) -> Status {
        match self {
            Outcome::Done(_) => Status::Done,
            Outcome::Failed(_) => Status::Failed,
            Outcome::Unknown { .. } => Status::Unknown,
            Outcome::Cancelled { .. } => Status::Cancelled,
            Outcome::Expired { .. } => Status::Expired,
        }
    }

    /// The failure code, for failures.
    pub fn code(&self) -> Option<FailureCode> {
        match self {
            Outcome::Failed(f) => Some(f.code),
            _ => None,
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Outcome::Failed(failure)
    }
}

/// An outcome without its content, as kept in indexes. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Done = 1,
    Failed = 2,
    Unknown = 3,
    Cancelled = 4,
    Expired = 5,
}

impl Status {
    pub const ALL: [Status; 5] = [
        Status::Done,
        Status::Failed,
        Status::Unknown,
        Status::Cancelled,
        Status::Expired,
    ];

    pub fn from_number(n: u8) -> Option<Status> {
        Self::ALL.into_iter().find(|s| *s as u8 == n)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Unknown => "unknown",
            Status::Cancelled => "cancelled",
            Status::Expired => "expired",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_is_flat_and_tagged() {
        let o = Outcome::Failed(Failure::busy("503", 2000));
        let text = serde_json::to_string(&o).unwrap();
        assert_eq!(
            text,
            r#"{"status":"failed","code":"busy","message":"503","retry_after_ms":2000}"#
        );
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), o);
        assert!(serde_json::from_str::<Outcome>(r#"{"status":"fine"}"#).is_err());
    }
}
