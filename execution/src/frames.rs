//! Lines to and from workers as bytes: frames are built into one buffer per instance, and chunks of output are cut into
//! lines. Nothing here knows what a line means.

use crate::lease::Fence;
use crate::redact::MARK;
use sengu_model::wire::envelope::TaskEnvelope;
use sengu_model::{TaskId, limits};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Appends the task frame with its newline.
///
/// # Errors
/// When the frame is longer than a worker may be sent; nothing was appended.
pub fn write_task(
    out: &mut Vec<u8>,
    task: &TaskEnvelope,
    secrets: Option<&BTreeMap<String, String>>,
) -> Result<(), FrameTooLong> {
    #[derive(Serialize)]
    struct Line<'a> {
        r#type: &'a str,
        id: TaskId,
        #[serde(serialize_with = "as_text")]
        fence: Fence,
        action: &'a str,
        params: &'a RawValue,
        target: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        secrets: Option<&'a BTreeMap<String, String>>,
        timeout_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        probe: Option<&'a RawValue>,
    }
    let line = Line {
        r#type: "task",
        id: task.task,
        fence: Fence {
            epoch: task.epoch,
            attempt: task.attempt,
        },
        action: &task.action,
        params: task.params,
        target: task.target,
        secrets,
        timeout_ms: task.timeout_ms,
        probe: task.probe,
    };
    append(out, &line)
}

/// The task frame as it may be shown: the names of the secrets, and `***` for each value. Without its newline.
pub fn task_without_secrets(
    task: &TaskEnvelope,
    secrets: Option<&BTreeMap<String, String>>,
) -> Vec<u8> {
    let masked = secrets.map(|secrets| {
        let masked = secrets.keys().map(|key| (key.clone(), MARK.to_owned()));
        masked.collect::<BTreeMap<_, _>>()
    });
    let mut out = Vec::new();
    // It is no longer than the one that was sent, but for values shorter than the mark.
    let _ = write_task(&mut out, task, masked.as_ref());
    out.pop();
    out
}

pub fn write_cancel(out: &mut Vec<u8>, id: TaskId) {
    #[derive(Serialize)]
    struct Line {
        r#type: &'static str,
        id: TaskId,
    }
    let line = Line {
        r#type: "cancel",
        id,
    };
    // Far below the limit.
    let _ = append(out, &line);
}

pub fn write_drain(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"drain\"}\n");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the task frame has {bytes} bytes, more than {}",
    limits::WORKER_LINE_BYTES_MAX
)]
pub struct FrameTooLong {
    pub bytes: usize,
}

fn as_text<S: Serializer>(fence: &Fence, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(fence)
}

fn append(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), FrameTooLong> {
    let start = out.len();
    // A Vec takes all writes, and frames have no maps with keys that are not text.
    let written = serde_json::to_writer(&mut *out, line).is_ok();
    let bytes = out.len() - start;
    if !written || bytes >= limits::WORKER_LINE_BYTES_MAX {
        out.truncate(start);
        return Err(FrameTooLong { bytes });
    }
    // Raw parts may have come with line breaks between their tokens; within JSON text there can be none.
    let mut from = start;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[from..]) {
        out[from + at] = b' ';
        from += at + 1;
    }
    out.push(b'\n');
    Ok(())
}

/// Cuts a stream of chunks into lines of at most `WORKER_LINE_BYTES_MAX` bytes.
#[derive(Debug, Default)]
pub struct Lines {
    /// What was read and has no newline yet, at the front.
    pub buffer: Vec<u8>,
    /// Bytes at the front of `buffer` known to hold no newline.
    searched: usize,
    /// Within a line that is too long: skip to its end.
    skipping: bool,
}

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Line(&'a [u8]),
    /// A line was longer than allowed and is dropped.
    TooLong,
}

impl Lines {
    /// Calls `each` for every line that is complete in `buffer`, and keeps the rest.
    pub fn cut(&mut self, mut each: impl FnMut(Piece)) {
        let mut start = 0;
        let mut from = self.searched;
        while let Some(at) = memchr::memchr(b'\n', &self.buffer[from..]) {
            let end = from + at;
            let line = &self.buffer[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if std::mem::take(&mut self.skipping) {
                // The end of what was already complained about.
            } else if line.len() > limits::WORKER_LINE_BYTES_MAX {
                each(Piece::TooLong);
            } else if !line.is_empty() {
                each(Piece::Line(line));
            }
            start = end + 1;
            from = start;
        }
        self.buffer.drain(..start);
        if self.buffer.len() > limits::WORKER_LINE_BYTES_MAX {
            if !self.skipping {
                each(Piece::TooLong);
            }
            self.skipping = true;
        }
        if self.skipping {
            self.buffer.clear();
        }
        self.searched = self.buffer.len();
    }

    /// The stream is over: what is left may be a last line without a newline.
    pub fn finish(&mut self, each: impl FnMut(Piece)) {
        if !self.buffer.is_empty() {
            self.buffer.push(b'\n');
            self.cut(each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_model::wire::worker::ToWorker;

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        let mut each = |piece: Piece| match piece {
            Piece::Line(line) => got.push(String::from_utf8_lossy(line).into_owned()),
            Piece::TooLong => got.push("too long".to_owned()),
        };
        for chunk in chunks {
            lines.buffer.extend_from_slice(chunk);
            lines.cut(&mut each);
        }
        lines.finish(each);
        got
    }

    #[test]
    fn lines_are_cut_wherever_the_chunks_end() {
        assert_eq!(cut(&[b"a\nb\n"]), ["a", "b"]);
        assert_eq!(cut(&[b"a", b"b", b"\n", b"c\r\n\n\nd"]), ["ab", "c", "d"]);
        assert_eq!(cut(&[b"", b"\n"]), [""; 0]);
    }

    #[test]
    fn a_line_too_long_is_dropped_once_and_the_next_is_whole() {
        let long = vec![b'x'; limits::WORKER_LINE_BYTES_MAX + 1];
        assert_eq!(
            cut(&[b"a\n", &long, &long, b"x\nb\n"]),
            ["a", "too long", "b"]
        );
        let whole = [&long[..], b"\nb\n"].concat();
        assert_eq!(cut(&[&whole]), ["too long", "b"]);
        assert_eq!(cut(&[&long]), ["too long"]);
        let most = &long[1..];
        assert_eq!(cut(&[most, b"\n"])[0].len(), limits::WORKER_LINE_BYTES_MAX);
    }

    #[test]
    fn a_frame_is_one_line_whatever_the_raw_parts_look_like() {
        let body = "{\"v\":1,\"task\":\"t-0000000000007\",\"epoch\":3,\"attempt\":2,\"kind\":\"echo\",\
            \"version\":\"1.0.0\",\"action\":\"say\",\"effect\":\"read\",\"timeout_ms\":5,\"sticky\":1,\
            \"params\":{\n  \"text\": \"a\\nb\"\r\n},\"target\":{\"name\":\"n\",\"address\":\"a\"}}";
        let task: TaskEnvelope = serde_json::from_str(body).unwrap();
        let secrets = BTreeMap::from([("password".to_owned(), "hunter2".to_owned())]);
        let mut out = Vec::new();
        write_task(&mut out, &task, Some(&secrets)).unwrap();
        write_cancel(&mut out, task.task);
        write_drain(&mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<ToWorker> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [
            ToWorker::Task(frame),
            ToWorker::Cancel { id },
            ToWorker::Drain,
        ] = &lines[..]
        else {
            panic!("{text}");
        };
        assert_eq!((frame.fence.as_str(), frame.id), ("3.2", *id));
        assert_eq!(frame.params["text"], "a\nb");
        assert_eq!(frame.secrets, secrets);
    }

    #[test]
    fn a_frame_too_long_leaves_nothing_behind() {
        let params = format!("\"{}\"", "x".repeat(limits::WORKER_LINE_BYTES_MAX));
        let body = format!(
            "{{\"v\":1,\"task\":\"t-0000000000007\",\"epoch\":3,\"attempt\":2,\"kind\":\"echo\",\
            \"version\":\"1.0.0\",\"action\":\"say\",\"effect\":\"read\",\"timeout_ms\":5,\"sticky\":1,\
            \"params\":{params},\"target\":{{}}}}"
        );
        let task: TaskEnvelope = serde_json::from_str(&body).unwrap();
        let mut out = b"before".to_vec();
        assert!(write_task(&mut out, &task, None).is_err());
        assert_eq!(out, b"before");
    }
}
