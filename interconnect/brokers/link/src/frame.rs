//! The frames of a joined connection: a length of four bytes, a kind, and fields without padding. Whatever bytes come
//! in, reading ends with a frame or an error; it never panics and never reserves more than what was sent.

use crate::error::LinkError;
use crate::limits::{self, BODY_BYTES_MAX, FRAME_BYTES_USUAL};
use bytes::{Buf, BufMut, Bytes, BytesMut};
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

/// Writes a frame around what `fill` writes.
pub fn write(out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32_le(0);
    fill(out);
    // The callers close a frame long before its length exceeds 32 bits.
    let bytes = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
}

pub fn put_number(out: &mut BytesMut, mut n: u64) {
    while n >= 0x80 {
        out.put_u8(n as u8 | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}

pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Tags mostly follow each other, so each is written as the step from the one before.
fn put_tags(out: &mut BytesMut, tags: &[Tag]) {
    put_number(out, tags.len() as u64);
    let mut before = 0_u64;
    for Tag(tag) in tags {
        put_step(out, before, *tag);
        before = *tag;
    }
}

fn put_step(out: &mut BytesMut, before: u64, tag: u64) {
    let step = tag.wrapping_sub(before) as i64;
    put_number(out, ((step << 1) ^ (step >> 63)) as u64);
}

pub fn alive(out: &mut BytesMut) {
    write(out, |out| out.put_u8(ALIVE));
}

/// How many of the messages go into one frame: at least one, of those that `publish` may be given.
pub fn publish_count(messages: &[Message]) -> usize {
    fits(
        messages
            .iter()
            .map(|m| m.body.len() + m.queue.as_str().len() + 16),
    )
}

/// What a message counts against `BATCH_BYTES_MAX`: keeping it costs more than its body.
pub fn weight(message: &Message) -> usize {
    message.body.len() + 64
}

fn fits(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for size in sizes {
        bytes += size;
        if count > 0 && bytes > FRAME_BYTES_USUAL {
            break;
        }
        count += 1;
    }
    count
}

pub fn publish(out: &mut BytesMut, request: u64, part: Part, messages: &[Message]) {
    write(out, |out| {
        out.put_u8(PUBLISH);
        put_number(out, request);
        out.put_u8(u8::from(part.first) | u8::from(part.last) << 1);
        let mut rest = messages;
        while let Some(first) = rest.first() {
            let run = rest.iter().take_while(|m| m.queue == first.queue).count();
            put_bytes(out, first.queue.as_str().as_bytes());
            put_number(out, run as u64);
            for message in &rest[..run] {
                put_bytes(out, &message.body);
            }
            rest = &rest[run..];
        }
    });
}

pub fn subscribe(out: &mut BytesMut, request: u64, subscription: u64, credit: u32, queue: &Queue) {
    write(out, |out| {
        out.put_u8(SUBSCRIBE);
        put_number(out, request);
        put_number(out, subscription);
        out.put_u32_le(credit);
        put_bytes(out, queue.as_str().as_bytes());
    });
}

pub fn settle(out: &mut BytesMut, subscription: u64, settled: &Settled) {
    write(out, |out| {
        out.put_u8(SETTLE);
        put_number(out, subscription);
        match settled.credit {
            Some(credit) => {
                out.put_u8(1);
                out.put_u32_le(credit);
            }
            None => out.put_u8(0),
        }
        put_tags(out, &settled.acks);
        put_tags(out, &settled.backs);
    });
}

/// A frame of a kind and one number.
fn short(out: &mut BytesMut, kind: u8, number: u64) {
    write(out, |out| {
        out.put_u8(kind);
        put_number(out, number);
    });
}

pub fn unsubscribe(out: &mut BytesMut, subscription: u64) {
    short(out, UNSUBSCRIBE, subscription);
}

pub fn depth(out: &mut BytesMut, request: u64, queue: &Queue) {
    write(out, |out| {
        out.put_u8(DEPTH);
        put_number(out, request);
        put_bytes(out, queue.as_str().as_bytes());
    });
}

pub fn retain(out: &mut BytesMut, request: u64, key: &str, value: Option<&Bytes>) {
    write(out, |out| {
        out.put_u8(RETAIN);
        put_number(out, request);
        put_entry(out, key, value);
    });
}

fn put_entry(out: &mut BytesMut, key: &str, value: Option<&Bytes>) {
    put_bytes(out, key.as_bytes());
    match value {
        Some(value) => {
            out.put_u8(1);
            put_bytes(out, value);
        }
        None => out.put_u8(0),
    }
}

pub fn directory(out: &mut BytesMut, directory: u64, prefix: &str) {
    write(out, |out| {
        out.put_u8(DIRECTORY);
        put_number(out, directory);
        put_bytes(out, prefix.as_bytes());
    });
}

pub fn next(out: &mut BytesMut, directory: u64) {
    short(out, NEXT, directory);
}

pub fn close_directory(out: &mut BytesMut, directory: u64) {
    short(out, CLOSE_DIRECTORY, directory);
}

pub fn answer(out: &mut BytesMut, request: u64, answer: &Answer) {
    write(out, |out| {
        out.put_u8(ANSWER);
        put_number(out, request);
        match answer {
            Answer::Done => out.put_u8(0),
            Answer::Count(count) => {
                out.put_u8(1);
                put_number(out, *count);
            }
            Answer::Full { queue, depth_max } => {
                out.put_u8(2);
                put_bytes(out, queue.as_str().as_bytes());
                put_number(out, *depth_max);
            }
            Answer::Away(why) => {
                out.put_u8(3);
                put_bytes(out, clip(why, WHY_BYTES_MAX).as_bytes());
            }
        }
    });
}

/// The text's beginning of at most `max` bytes.
pub fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// How many of the deliveries go into one frame: at least one, of those whose bodies fit at all.
pub fn deliver_count(deliveries: &[Delivery]) -> usize {
    fits(deliveries.iter().map(|d| d.body.len() + 16))
}

pub fn deliver(out: &mut BytesMut, subscription: u64, deliveries: &[Delivery]) {
    write(out, |out| {
        out.put_u8(DELIVER);
        put_number(out, subscription);
        let mut before = 0;
        for delivery in deliveries {
            put_step(out, before, delivery.tag.0);
            before = delivery.tag.0;
            out.put_u8(u8::from(delivery.redelivered));
            put_bytes(out, &delivery.body);
        }
    });
}

pub fn subscription_gone(out: &mut BytesMut, subscription: u64) {
    short(out, SUBSCRIPTION_GONE, subscription);
}

/// How many of the entries go into one frame; whether a value fits at all was seen to when it was retained.
pub fn entries_count(entries: &[(String, Option<Bytes>)]) -> usize {
    fits(
        entries
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len) + 16),
    )
}

pub fn entries(
    out: &mut BytesMut,
    directory: u64,
    more: bool,
    entries: &[(String, Option<Bytes>)],
) {
    write(out, |out| {
        out.put_u8(ENTRIES);
        put_number(out, directory);
        out.put_u8(u8::from(more));
        for (key, value) in entries {
            put_entry(out, key, value.as_ref());
        }
    });
}

pub fn directory_gone(out: &mut BytesMut, directory: u64) {
    short(out, DIRECTORY_GONE, directory);
}

type Read<T> = Result<T, LinkError>;
const SHORT: LinkError = LinkError::Protocol("a frame ends too early");

fn few(items: usize) -> Read<()> {
    if items > ITEMS_MAX {
        return Err(LinkError::Protocol("a frame holds too many"));
    }
    Ok(())
}

/// Reads the fields of one frame.
pub struct Fields {
    frame: Bytes,
    whole: usize,
}

impl Fields {
    pub fn new(frame: Bytes) -> Fields {
        let whole = frame.len();
        Fields { frame, whole }
    }

    pub fn byte(&mut self) -> Read<u8> {
        self.frame.try_get_u8().map_err(|_| SHORT)
    }

    fn flag(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(LinkError::Protocol("a flag is neither 0 nor 1")),
        }
    }

    fn short(&mut self) -> Read<u32> {
        self.frame.try_get_u32_le().map_err(|_| SHORT)
    }

    pub fn number(&mut self) -> Read<u64> {
        let mut n = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(LinkError::Protocol("a number is too great"))
    }

    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        self.frame
            .try_copy_to_slice(&mut array)
            .map_err(|_| SHORT)?;
        Ok(array)
    }

    fn bytes(&mut self, max: usize) -> Read<Bytes> {
        let bytes = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if bytes > self.frame.len() {
            return Err(SHORT);
        }
        if bytes > max {
            return Err(LinkError::Protocol("a field is too long"));
        }
        Ok(self.frame.split_to(bytes))
    }

    pub fn text(&mut self, max: usize) -> Read<String> {
        let bytes = self.bytes(max)?;
        let text = std::str::from_utf8(&bytes);
        text.map(str::to_owned)
            .map_err(|_| LinkError::Protocol("a text is not UTF-8"))
    }

    /// A body that outlives the frame. A small one is copied, so that it doesn't keep all that came with it.
    fn body(&mut self) -> Read<Bytes> {
        let body = self.bytes(BODY_BYTES_MAX)?;
        if body.len() > self.whole / 2 {
            Ok(body)
        } else {
            Ok(Bytes::copy_from_slice(&body))
        }
    }

    fn queue(&mut self) -> Read<Queue> {
        let name = self.bytes(limits::QUEUE_BYTES_MAX)?;
        let name = std::str::from_utf8(&name).ok();
        name.and_then(Queue::parse)
            .ok_or(LinkError::Protocol("no such queue"))
    }

    fn tags(&mut self) -> Read<Vec<Tag>> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.frame.len() {
            return Err(SHORT); // each takes a byte
        }
        let mut tags = Vec::with_capacity(count);
        let mut before = 0;
        for _ in 0..count {
            before = self.step(before)?;
            tags.push(Tag(before));
        }
        Ok(tags)
    }

    fn step(&mut self, before: u64) -> Read<u64> {
        let step = self.number()?;
        let step = (step >> 1) as i64 ^ -((step & 1) as i64);
        Ok(before.wrapping_add(step as u64))
    }

    fn entry(&mut self) -> Read<(String, Option<Bytes>)> {
        let key = self.text(limits::KEY_BYTES_MAX)?;
        let value = if self.flag()? {
            Some(self.body()?)
        } else {
            None
        };
        Ok((key, value))
    }

    fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    pub fn end(&self) -> Read<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(LinkError::Protocol("a frame is too long for its kind"))
        }
    }
}

impl Ask {
    /// # Errors
    /// When the bytes are no frame of the joining end.
    pub fn read(frame: Bytes) -> Read<Ask> {
        let mut fields = Fields::new(frame);
        let ask = match fields.byte()? {
            ALIVE => Ask::Alive,
            PUBLISH => {
                let request = fields.number()?;
                let flags = fields.byte()?;
                let part = Part {
                    first: flags & 1 != 0,
                    last: flags & 2 != 0,
                };
                let mut messages = Vec::new();
                while !fields.is_empty() {
                    let queue = fields.queue()?;
                    for _ in 0..fields.number()? {
                        let body = fields.body()?;
                        let queue = queue.clone();
                        messages.push(Message { queue, body });
                        few(messages.len())?;
                    }
                }
                Ask::Publish {
                    request,
                    part,
                    messages,
                }
            }
            SUBSCRIBE => Ask::Subscribe {
                request: fields.number()?,
                subscription: fields.number()?,
                credit: fields.short()?,
                queue: fields.queue()?,
            },
            SETTLE => {
                let subscription = fields.number()?;
                let credit = if fields.flag()? {
                    Some(fields.short()?)
                } else {
                    None
                };
                let (acks, backs) = (fields.tags()?, fields.tags()?);
                let settled = Settled {
                    credit,
                    acks,
                    backs,
                };
                Ask::Settle {
                    subscription,
                    settled,
                }
            }
            UNSUBSCRIBE => Ask::Unsubscribe {
                subscription: fields.number()?,
            },
            DEPTH => Ask::Depth {
                request: fields.number()?,
                queue: fields.queue()?,
            },
            RETAIN => {
                let request = fields.number()?;
                let (key, value) = fields.entry()?;
                Ask::Retain {
                    request,
                    key,
                    value,
                }
            }
            DIRECTORY => Ask::Directory {
                directory: fields.number()?,
                prefix: fields.text(limits::KEY_BYTES_MAX)?,
            },
            NEXT => Ask::Next {
                directory: fields.number()?,
            },
            CLOSE_DIRECTORY => Ask::CloseDirectory {
                directory: fields.number()?,
            },
            _ => return Err(LinkError::Protocol("a frame of an unknown kind")),
        };
        fields.end()?;
        Ok(ask)
    }
}

impl Say {
    /// # Errors
    /// When the bytes are no frame of the serving end.
    pub fn read(frame: Bytes) -> Read<Say> {
        let mut fields = Fields::new(frame);
        let say = match fields.byte()? {
            ALIVE => Say::Alive,
            ANSWER => {
                let request = fields.number()?;
                let answer = match fields.byte()? {
                    0 => Answer::Done,
                    1 => Answer::Count(fields.number()?),
                    2 => Answer::Full {
                        queue: fields.queue()?,
                        depth_max: fields.number()?,
                    },
                    3 => Answer::Away(fields.text(WHY_BYTES_MAX)?),
                    _ => return Err(LinkError::Protocol("an answer of an unknown kind")),
                };
                Say::Answer { request, answer }
            }
            DELIVER => {
                let subscription = fields.number()?;
                let mut deliveries = Vec::new();
                let mut before = 0;
                while !fields.is_empty() {
                    before = fields.step(before)?;
                    deliveries.push(Delivery {
                        tag: Tag(before),
                        redelivered: fields.flag()?,
                        body: fields.body()?,
                    });
                    few(deliveries.len())?;
                }
                Say::Deliver {
                    subscription,
                    deliveries,
                }
            }
            SUBSCRIPTION_GONE => Say::SubscriptionGone {
                subscription: fields.number()?,
            },
            ENTRIES => {
                let directory = fields.number()?;
                let more = fields.flag()?;
                let mut entries = Vec::new();
                while !fields.is_empty() {
                    entries.push(fields.entry()?);
                    few(entries.len())?;
                }
                Say::Entries {
                    directory,
                    more,
                    entries,
                }
            }
            DIRECTORY_GONE => Say::DirectoryGone {
                directory: fields.number()?,
            },
            _ => return Err(LinkError::Protocol("a frame of an unknown kind")),
        };
        fields.end()?;
        Ok(say)
    }
}
