//! What a delivery of JetStream tells about itself by the subject that its ack goes to.

use async_nats::Subject;

/// The answers to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Ack,
    /// Give it to somebody else.
    Nak,
    /// Never deliver it again, though nobody did it.
    Term,
    /// Still at work on it.
    Beat,
}

impl Answer {
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Answer::Ack => b"+ACK",
            Answer::Nak => b"-NAK",
            Answer::Term => b"+TERM",
            Answer::Beat => b"+WPI",
        }
    }
}

/// An answer with where it goes.
pub type Answered = (Subject, Answer);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How often it was delivered, this time included.
    pub delivered: u64,
    pub stream_seq: u64,
    pub consumer_seq: u64,
    /// When it was published, in nanoseconds since 1970.
    pub published_ns: i128,
    /// Messages that the consumer has yet to deliver.
    pub pending: u64,
}

/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`; newer servers put a domain
/// and an account before the stream and something random at the end.
pub fn facts(ack: &str) -> Option<Facts> {
    let tokens: Vec<&str> = ack.strip_prefix("$JS.ACK.")?.split('.').collect();
    let numbers = match tokens.len() {
        7 => &tokens[2..7],
        9.. => &tokens[4..9],
        _ => return None,
    };
    Some(Facts {
        delivered: numbers[0].parse().ok()?,
        stream_seq: numbers[1].parse().ok()?,
        consumer_seq: numbers[2].parse().ok()?,
        published_ns: numbers[3].parse().ok()?,
        pending: numbers[4].parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_subjects_are_read_and_others_are_not() {
        let expected = Facts {
            delivered: 2,
            stream_seq: 30,
            consumer_seq: 4,
            published_ns: 1_700_000_000_000_000_000,
            pending: 6,
        };
        let numbers = "2.30.4.1700000000000000000.6";
        for ack in [
            format!("$JS.ACK.lab-work.blob.{numbers}"),
            format!("$JS.ACK._.ACCT.lab-work.blob.{numbers}"),
            format!("$JS.ACK.hub.ACCT.lab-work.blob.{numbers}.rAnD"),
        ] {
            assert_eq!(facts(&ack), Some(expected), "{ack}");
        }
        for ack in [
            "",
            "$JS.ACK.",
            "$JS.ACK.a.b.c.d.e.f.g",
            "$JS.ACK.a.b.1.2.3",
            "_INBOX.x",
        ] {
            assert_eq!(facts(ack), None, "{ack}");
        }
    }
}
