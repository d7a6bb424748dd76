//! The frames of a joined connection: a length of four bytes, a kind, and fields without padding. Whatever bytes come
//! in, reading ends with a frame or an error; it never panics and never reserves more than what was sent.

mod read;
mod write;

pub use read::Fields;
pub use write::*;

use crate::error::LinkError;
use bytes::{Buf, Bytes, BytesMut};
use sengu_interconnect::{Delivery, Entries, Message, Queue, Tag};

/// What the joining end says.
#[derive(Debug)]
pub enum Ask {
    Alive,
    /// A batch, or a part of one that is too long for a frame.
    Publish {
        request: u64,
        part: Part,
        messages: Vec<Message>,
    },
    Subscribe {
        request: u64,
        subscription: u64,
        credit: u32,
        queue: Queue,
    },
    /// All that one subscription has to say, settled at once.
    Settle {
        subscription: u64,
        settled: Settled,
    },
    Unsubscribe {
        subscription: u64,
    },
    Depth {
        request: u64,
        queue: Queue,
    },
    Retain {
        request: u64,
        key: String,
        value: Option<Bytes>,
    },
    /// Opens a directory and asks for the first entries.
    Directory {
        directory: u64,
        prefix: String,
    },
    Next {
        directory: u64,
    },
    CloseDirectory {
        directory: u64,
    },
}

/// What the serving end says.
#[derive(Debug)]
pub enum Say {
    Alive,
    Answer {
        request: u64,
        answer: Answer,
    },
    Deliver {
        subscription: u64,
        deliveries: Vec<Delivery>,
    },
    /// The broker gave the subscription up.
    SubscriptionGone {
        subscription: u64,
    },
    Entries {
        directory: u64,
        more: bool,
        entries: Entries,
    },
    DirectoryGone {
        directory: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    pub first: bool,
    pub last: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    pub credit: Option<u32>,
    pub acks: Vec<Tag>,
    pub backs: Vec<Tag>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Count(u64),
    Full { queue: Queue, depth_max: u64 },
    Away(String),
}

const ALIVE: u8 = 1;
const PUBLISH: u8 = 2;
const SUBSCRIBE: u8 = 3;
const SETTLE: u8 = 4;
const UNSUBSCRIBE: u8 = 5;
const DEPTH: u8 = 6;
const RETAIN: u8 = 7;
const DIRECTORY: u8 = 8;
const NEXT: u8 = 9;
const CLOSE_DIRECTORY: u8 = 10;
const ANSWER: u8 = 33;
const DELIVER: u8 = 34;
const SUBSCRIPTION_GONE: u8 = 35;
const ENTRIES: u8 = 36;
const DIRECTORY_GONE: u8 = 37;

/// Messages, deliveries or entries of one frame: those who write it stay far below, as each counts 16 bytes at least.
const ITEMS_MAX: usize = 65_536;
/// Text in an answer, in bytes.
const WHY_BYTES_MAX: usize = 1_024;

/// Takes the first whole frame, without its length, out of what was read.
///
/// # Errors
/// `FrameTooLarge` as soon as its length says so.
pub fn split(read: &mut BytesMut, max: usize) -> Result<Option<Bytes>, LinkError> {
    let Some(head) = read.first_chunk::<4>() else {
        return Ok(None);
    };
    let bytes = u32::from_le_bytes(*head) as usize;
    if bytes > max {
        return Err(LinkError::FrameTooLarge { bytes, max });
    }
    if read.len() < 4 + bytes {
        return Ok(None);
    }
    read.advance(4);
    Ok(Some(read.split_to(bytes).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(write: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut out = BytesMut::new();
        write(&mut out);
        let frame = split(&mut out, usize::MAX).unwrap().unwrap();
        assert!(out.is_empty(), "one frame");
        frame
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn message(queue: Queue, body: &'static [u8]) -> Message {
        let body = Bytes::from_static(body);
        Message { queue, body }
    }

    /// Version 1 byte for byte: another end may be older or newer than this one.
    #[test]
    fn frames_of_version_1_never_change() {
        let part = Part {
            first: true,
            last: true,
        };
        let (a, b) = (Queue::wee("a"), Queue::reports());
        let batch = [
            message(a.clone(), b"x"),
            message(a.clone(), b""),
            message(b.clone(), b"yz"),
        ];
        let settled = Settled {
            credit: Some(258),
            acks: vec![Tag(1), Tag(2), Tag(u64::MAX)],
            backs: vec![Tag(300)],
        };
        let deliveries = [
            Delivery {
                tag: Tag(9),
                body: Bytes::from_static(b"x"),
                redelivered: false,
            },
            Delivery {
                tag: Tag(8),
                body: Bytes::from_static(b""),
                redelivered: true,
            },
        ];
        let value = Bytes::from_static(b"v");
        let listed = [
            ("a".to_owned(), Some(value.clone())),
            ("b".to_owned(), None),
        ];
        let asks = [
            (one(alive), "01"),
            (
                one(|out| publish(out, 300, part, &batch)),
                "02ac0203057765652e61020178000\
                 67265706f727401027\
                 97a",
            ),
            (
                one(|out| subscribe(out, 1, 2, 258, &a)),
                "0301020201000005\
                 7765652e61",
            ),
            (
                one(|out| settle(out, 2, &settled)),
                "04020102010000030202\
                 0501d804",
            ),
            (one(|out| unsubscribe(out, 2)), "0502"),
            (one(|out| depth(out, 1, &b)), "0601067265706f7274"),
            (
                one(|out| retain(out, 1, "k", Some(&value))),
                "0701016b010176",
            ),
            (one(|out| retain(out, 1, "k", None)), "0701016b00"),
            (one(|out| directory(out, 3, "p/")), "080302702f"),
            (one(|out| next(out, 3)), "0903"),
            (one(|out| close_directory(out, 3)), "0a03"),
        ];
        for (frame, expected) in asks {
            assert_eq!(hex(&frame), expected);
            Ask::read(frame).unwrap();
        }
        let full = Answer::Full {
            queue: b,
            depth_max: 7,
        };
        let says = [
            (one(alive), "01"),
            (one(|out| answer(out, 1, &Answer::Done)), "210100"),
            (one(|out| answer(out, 1, &Answer::Count(300))), "210101ac02"),
            (one(|out| answer(out, 1, &full)), "210102067265706f727407"),
            (
                one(|out| answer(out, 1, &Answer::Away("w".to_owned()))),
                "2101030177",
            ),
            (
                one(|out| deliver(out, 2, &deliveries)),
                "2202120001780101\
                 00",
            ),
            (one(|out| subscription_gone(out, 2)), "2302"),
            (
                one(|out| entries(out, 3, true, &listed)),
                "240301016101017601\
                 6200",
            ),
            (one(|out| directory_gone(out, 3)), "2503"),
        ];
        for (frame, expected) in says {
            assert_eq!(hex(&frame), expected);
            Say::read(frame).unwrap();
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let settled = Settled {
            credit: None,
            acks: (0..1_000).map(|n| Tag(n * n * 7)).collect(),
            backs: vec![Tag(u64::MAX), Tag(0), Tag(1 << 63)],
        };
        match Ask::read(one(|out| settle(out, u64::MAX, &settled))).unwrap() {
            Ask::Settle {
                subscription,
                settled: read,
            } => assert_eq!((subscription, read), (u64::MAX, settled)),
            other => panic!("{other:?}"),
        }
        let queue = Queue::wee("a");
        let large = Bytes::from(vec![3; 100_000]);
        let batch: Vec<Message> = [large, Bytes::new(), Bytes::from_static(b"z")]
            .into_iter()
            .map(|body| {
                let queue = queue.clone();
                Message { queue, body }
            })
            .collect();
        let part = Part {
            first: false,
            last: true,
        };
        match Ask::read(one(|out| publish(out, 5, part, &batch))).unwrap() {
            Ask::Publish {
                request: 5,
                part: read,
                messages,
            } => {
                assert_eq!(read, part);
                let same = |(a, b): (&Message, &Message)| a.queue == b.queue && a.body == b.body;
                assert!(messages.len() == 3 && messages.iter().zip(&batch).all(same));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error() {
        let mut seed = 7_u64;
        let mut dice = move || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (seed >> 33) as u8
        };
        let part = Part::default();
        let batch = vec![message(Queue::wee("a"), b"some body"); 3];
        let settled = Settled {
            credit: Some(1),
            acks: vec![Tag(5); 3],
            backs: vec![Tag(6)],
        };
        let good = [
            one(|out| publish(out, 300, part, &batch)),
            one(|out| settle(out, 2, &settled)),
            one(|out| retain(out, 2, "key", None)),
            one(|out| entries(out, 2, false, &[("key".to_owned(), Some(Bytes::new()))])),
        ];
        let mut read = 0;
        for n in 0..200_000_usize {
            let mut bytes = good[n % good.len()].to_vec();
            for _ in 0..=dice() % 4 {
                let at = usize::from(dice()) % bytes.len();
                bytes[at] = dice();
            }
            if dice() % 4 == 0 {
                bytes.truncate(usize::from(dice()) % bytes.len());
            }
            let bytes = Bytes::from(bytes);
            read += usize::from(Ask::read(bytes.clone()).is_ok());
            read += usize::from(Say::read(bytes).is_ok());
        }
        assert!(read > 1_000, "some changes make no difference: {read}");
        // A count of very many, and nothing behind it.
        let lie = [4, 2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(Ask::read(Bytes::copy_from_slice(&lie)).is_err());
    }

    #[test]
    fn a_frame_is_split_off_when_it_is_whole() {
        let mut read = BytesMut::new();
        let mut whole = BytesMut::new();
        next(&mut whole, 3);
        next(&mut whole, 4);
        for byte in &whole[..whole.len() - 1] {
            read.extend_from_slice(&[*byte]);
        }
        assert_eq!(&split(&mut read, 10).unwrap().unwrap()[..], [9, 3]);
        assert!(split(&mut read, 10).unwrap().is_none());
        let mut long = BytesMut::from(&[11, 0, 0, 0][..]);
        assert!(matches!(
            split(&mut long, 10),
            Err(LinkError::FrameTooLarge { bytes: 11, max: 10 })
        ));
    }
}
