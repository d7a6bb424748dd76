//! What a device's exception codes mean for a read and for a write. Pure; the only place where that is decided.

use sengu_sdk::{Failure, FailureCode};

/// Rest that is asked for when a device is busy, in milliseconds.
const BUSY_MS: u64 = 5_000;

/// What is known after a write was answered by an exception.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterWrite {
    /// It was not done, and this is why.
    NotDone(Failure),
    /// It may have been done, or is still being done: look. `settled` when the device has said its last word, so that a
    /// value which still reads as before means that it was not done.
    Look { why: String, settled: bool },
}

/// Modbus Application Protocol V1.1b3, section 7.
fn named(code: u8) -> String {
    let name = match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledged, still working on it",
        6 => "device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway: the device behind it does not answer",
        _ => "unknown",
    };
    format!("exception {code} ({name})")
}

/// The failure of a read.
pub fn of_read(code: u8, what: &str) -> Failure {
    let message = format!("{what}: {}", named(code));
    match code {
        1..=3 => Failure::new(FailureCode::Refused, message),
        5 | 6 => Failure::busy(message, BUSY_MS),
        10 | 11 => Failure::new(FailureCode::Unreachable, message),
        _ => Failure::new(FailureCode::BadReply, message),
    }
}

/// Whether a smaller request may succeed where this one was refused.
pub fn may_be_split(code: u8) -> bool {
    matches!(code, 2 | 3)
}

pub fn of_write(code: u8, what: &str) -> AfterWrite {
    let why = format!("{what}: {}", named(code));
    match code {
        1..=3 => AfterWrite::NotDone(Failure::new(FailureCode::Refused, why)),
        6 => AfterWrite::NotDone(Failure::busy(why, BUSY_MS)),
        // The gateway has not passed it on.
        10 => AfterWrite::NotDone(Failure::new(FailureCode::Unreachable, why)),
        // 5: the device works on it. 11: the gateway has passed it on and heard nothing.
        5 | 11 => AfterWrite::Look {
            why,
            settled: false,
        },
        // It failed in the midst of it, and says so at its end.
        _ => AfterWrite::Look { why, settled: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_outcome() {
        use FailureCode::{BadReply, Busy, Refused, Unreachable};
        let table = [
            (1, Refused, Some(Refused)),
            (2, Refused, Some(Refused)),
            (3, Refused, Some(Refused)),
            (4, BadReply, None),
            (5, Busy, None),
            (6, Busy, Some(Busy)),
            (8, BadReply, None),
            (10, Unreachable, Some(Unreachable)),
            // A read is lost, a write may have arrived: never to be repeated blindly.
            (11, Unreachable, None),
            (0, BadReply, None),
            (200, BadReply, None),
        ];
        for (code, read, write) in table {
            assert_eq!(of_read(code, "x").code, read, "{code}");
            let written = match of_write(code, "x") {
                AfterWrite::NotDone(failure) => Some(failure.code),
                AfterWrite::Look { .. } => None,
            };
            assert_eq!(written, write, "{code}");
        }
    }
}
