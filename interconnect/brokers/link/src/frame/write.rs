//! Frames as bytes. A writer is given what fits; how much that is, the `..._count` functions tell.

use super::*;
use crate::limits::FRAME_BYTES_USUAL;
use bytes::BufMut;

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
