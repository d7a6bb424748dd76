//! What nobody could make sense of, as one message for people: where it came from, why it was put aside, and its bytes.
//!
//! A message that is only logged and acked is lost, and one that is not acked comes again for ever. It must never hold
//! up work, and never be read by anything but a person: whatever is in the body is somebody else's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub const VERSION: u32 = 1;
/// Bytes kept of a body: enough to see what it is. The whole length is told beside it.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Bytes kept of a reason, which may cite the body.
pub const REASON_BYTES_MAX: usize = 1 << 10;

/// One message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked<'a> {
    pub v: u32,
    /// The queue that it came by.
    #[serde(borrow)]
    pub queue: Cow<'a, str>,
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// Milliseconds since 1970.
    pub at: i64,
    /// Length of the whole body.
    pub bytes: u64,
    /// Its beginning, in base64.
    #[serde(borrow)]
    pub body: Cow<'a, str>,
}

/// The body of a message for `Queue::parked()`.
pub fn parked_body(queue: &str, reason: &str, at_ms: i64, body: &[u8]) -> Bytes {
    let head = &body[..body.len().min(BODY_BYTES_MAX)];
    let parked = Parked {
        v: VERSION,
        queue: queue.into(),
        reason: clip(reason).into(),
        at: at_ms,
        bytes: body.len() as u64,
        body: BASE64_STANDARD.encode(head).into(),
    };
    serde_json::to_vec(&parked)
        .expect("numbers and texts are JSON")
        .into()
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(REASON_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_any_bytes_and_length_is_put_aside_with_its_reason() {
        let long = vec![0xFF; BODY_BYTES_MAX + 7];
        let table: [(&[u8], &str, usize); 4] = [
            (b"", "", 0),
            (b"\"{\n\x00", "expected value at line 1", 4),
            (&long, "not UTF-8: \u{fffd}\"", BODY_BYTES_MAX),
            (b"x", &"\u{e9}".repeat(REASON_BYTES_MAX), 1),
        ];
        for (body, reason, kept) in table {
            let message = parked_body("task.a\"b", reason, -5, body);
            let parked: Parked = serde_json::from_slice(&message).unwrap();
            assert_eq!((parked.v, &*parked.queue, parked.at), (1, "task.a\"b", -5));
            assert_eq!(parked.bytes, body.len() as u64);
            let bytes = BASE64_STANDARD.decode(&*parked.body).unwrap();
            assert_eq!(bytes, &body[..kept]);
            assert!(reason.starts_with(&*parked.reason));
            assert!(parked.reason.len() <= REASON_BYTES_MAX);
        }
    }
}
