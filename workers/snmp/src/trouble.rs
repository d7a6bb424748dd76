//! What can go wrong with a device, and which outcome that is. The only place where codes are chosen.

use async_snmp::v3::ReportStatus;
use async_snmp::{Error, ErrorStatus, WalkAbortReason};
use sengu_sdk::{Failure, FailureCode, Outcome};

/// Rest that is asked for when a device is short of something, in milliseconds.
const BUSY_MS: u64 = 5_000;

const SOCKET_LOST: &str = "the worker's socket failed and is opened anew";

#[derive(Debug)]
pub enum Trouble {
    /// No answer, or none that could be understood as one.
    Silent(String),
    /// The socket of this instance is gone, with all targets behind it. Nothing arrived anywhere.
    SocketLost,
    /// The answer does not fit into a message, even for one row.
    TooBig,
    Failed(Failure),
}

impl Trouble {
    pub fn refused(message: impl Into<String>) -> Trouble {
        Trouble::Failed(Failure::new(FailureCode::Refused, message))
    }

    pub fn bad_reply(message: impl Into<String>) -> Trouble {
        Trouble::Failed(Failure::new(FailureCode::BadReply, message))
    }

    /// The outcome when nothing was changed on the device.
    pub fn failure(self) -> Failure {
        match self {
            Trouble::Silent(message) => Failure::new(FailureCode::Unreachable, message),
            Trouble::SocketLost => Failure::new(FailureCode::Unreachable, SOCKET_LOST),
            Trouble::TooBig => {
                Failure::new(FailureCode::BadReply, "tooBig, even for a single value")
            }
            Trouble::Failed(failure) => failure,
        }
    }

    /// One line for logs.
    pub fn message(&self) -> String {
        match self {
            Trouble::Silent(message) => message.clone(),
            Trouble::SocketLost => SOCKET_LOST.to_owned(),
            Trouble::TooBig => "tooBig, even for a single row".to_owned(),
            Trouble::Failed(failure) => failure.message.clone(),
        }
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Outcome {
        Outcome::Failed(trouble.failure())
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failed(failure)
    }
}

/// What an SNMP error means. Messages name addresses and states, never a community, user or password.
impl From<Box<Error>> for Trouble {
    fn from(error: Box<Error>) -> Trouble {
        let fail = |code, message: String| Trouble::Failed(Failure::new(code, message));
        match error.exchange_source() {
            Error::Timeout {
                target, retries, ..
            } => Trouble::Silent(format!(
                "no valid answer from {target} to {} requests: down, filtered, or a wrong community or privPassword (devices do not answer to those)",
                retries + 1
            )),
            Error::Closed { .. } => Trouble::SocketLost,
            Error::Network { .. } | Error::RequestIdInUse { .. } => {
                Trouble::Silent(error.exchange_source().to_string())
            }
            Error::Report { status, .. } => match status.as_ref() {
                ReportStatus::NotInTimeWindow { .. } => fail(
                    FailureCode::BadReply,
                    "the device's boots and time do not settle (usmStatsNotInTimeWindows twice)"
                        .to_owned(),
                ),
                ReportStatus::UnknownUserName { .. } => {
                    fail(FailureCode::AuthFailed, "unknown user name".to_owned())
                }
                ReportStatus::WrongDigest { .. } => fail(
                    FailureCode::AuthFailed,
                    "wrong digest: authPassword or authProtocol is wrong".to_owned(),
                ),
                ReportStatus::DecryptionError { .. } => fail(
                    FailureCode::AuthFailed,
                    "decryption error: privPassword or privProtocol is wrong".to_owned(),
                ),
                ReportStatus::UnsupportedSecurityLevel { .. } => fail(
                    FailureCode::AuthFailed,
                    "the device does not take this security level for this user".to_owned(),
                ),
                other => fail(FailureCode::BadReply, format!("report: {other}")),
            },
            Error::Auth { target } => fail(
                FailureCode::AuthFailed,
                format!("an answer of {target} failed authentication"),
            ),
            Error::Snmp { status, oid, .. } => of_status(*status, oid.as_deref()),
            Error::WalkAborted { reason, .. } => fail(
                FailureCode::BadReply,
                match reason {
                    WalkAbortReason::NonIncreasing => "OIDs do not increase".to_owned(),
                    other => other.to_string(),
                },
            ),
            Error::OutboundMessageTooLarge { .. } => Trouble::TooBig,
            Error::Config(_) | Error::InvalidOid(_) | Error::InvalidMessage(_) => {
                fail(FailureCode::Refused, error.exchange_source().to_string())
            }
            Error::Privacy(_) | Error::RandomSource { .. } => {
                fail(FailureCode::Crashed, error.exchange_source().to_string())
            }
            other => fail(FailureCode::BadReply, other.to_string()),
        }
    }
}

fn of_status(status: ErrorStatus, oid: Option<&async_snmp::Oid>) -> Trouble {
    let place = oid.map_or(String::new(), |oid| format!(" at {oid}"));
    let message = format!("the device says {status}{place}");
    match status {
        ErrorStatus::TooBig => Trouble::TooBig,
        ErrorStatus::ResourceUnavailable | ErrorStatus::CommitFailed => {
            Trouble::Failed(Failure::busy(message, BUSY_MS))
        }
        ErrorStatus::GenErr | ErrorStatus::Unknown(_) | ErrorStatus::UndoFailed => {
            Trouble::bad_reply(message)
        }
        // noAccess, readOnly, notWritable, wrongValue and kin: it will say so again.
        _ => Trouble::refused(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: Error) -> FailureCode {
        Trouble::from(Box::new(error)).failure().code
    }

    #[test]
    fn every_kind_of_error_has_its_code() {
        let target = "127.0.0.1:161".parse().unwrap();
        let report = |status| Error::Report {
            target,
            status: Box::new(status),
            metadata: Box::default(),
        };
        let snmp = |status| Error::Snmp {
            target,
            status,
            index: 1,
            oid: None,
            metadata: Box::default(),
        };
        let table = [
            (
                Error::Timeout {
                    target,
                    elapsed: std::time::Duration::ZERO,
                    retries: 2,
                },
                FailureCode::Unreachable,
            ),
            (
                report(ReportStatus::WrongDigest { counter: 1 }),
                FailureCode::AuthFailed,
            ),
            (
                report(ReportStatus::UnknownUserName { counter: 1 }),
                FailureCode::AuthFailed,
            ),
            (
                report(ReportStatus::DecryptionError { counter: 1 }),
                FailureCode::AuthFailed,
            ),
            (
                report(ReportStatus::UnsupportedSecurityLevel { counter: 1 }),
                FailureCode::AuthFailed,
            ),
            (
                report(ReportStatus::NotInTimeWindow { counter: 1 }),
                FailureCode::BadReply,
            ),
            (snmp(ErrorStatus::NoAccess), FailureCode::Refused),
            (snmp(ErrorStatus::ReadOnly), FailureCode::Refused),
            (snmp(ErrorStatus::NotWritable), FailureCode::Refused),
            (snmp(ErrorStatus::AuthorizationError), FailureCode::Refused),
            (snmp(ErrorStatus::WrongValue), FailureCode::Refused),
            (snmp(ErrorStatus::ResourceUnavailable), FailureCode::Busy),
            (snmp(ErrorStatus::GenErr), FailureCode::BadReply),
            (Error::MalformedResponse { target }, FailureCode::BadReply),
            (Error::Config("x".into()), FailureCode::Refused),
        ];
        for (error, expected) in table {
            let shown = error.to_string();
            assert_eq!(code(error), expected, "{shown}");
        }
    }
}
