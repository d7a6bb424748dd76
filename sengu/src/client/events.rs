//! Streams of server-sent events, as the server keeps them open.

use super::{ClientError, Result};
use futures::StreamExt as _;
use std::time::Duration;

/// An event stream that says nothing this long (not even a comment) is opened again.
const STREAM_SILENCE_MAX: Duration = Duration::from_secs(60);
/// A stream line beyond this is no event of ours.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: String,
}

type Chunks = futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>;

pub struct Events {
    pub(super) url: String,
    pub(super) chunks: Chunks,
    pub(super) reader: EventReader,
}

impl Events {
    /// The next event; none when the server closed the stream or fell silent (open it again).
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.reader.pop() {
                return Ok(Some(event));
            }
            match tokio::time::timeout(STREAM_SILENCE_MAX, self.chunks.next()).await {
                Err(_) | Ok(None) => return Ok(None),
                Ok(Some(Ok(chunk))) => self.reader.push(&chunk),
                Ok(Some(Err(source))) => {
                    let source = source.without_url();
                    return Err(ClientError::Broken {
                        url: self.url.clone(),
                        source,
                    });
                }
            }
        }
    }
}

/// Cuts a byte stream into events (WHATWG, "Server-sent events").
#[derive(Debug, Default)]
pub struct EventReader {
    bytes: Vec<u8>,
    event: Event,
    ready: std::collections::VecDeque<Event>,
}

impl EventReader {
    pub fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        let mut start = 0;
        while let Some(end) = self.bytes[start..].iter().position(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(&self.bytes[start..start + end]).into_owned();
            start += end + 1;
            self.line(line.trim_end_matches('\r'));
        }
        self.bytes.drain(..start);
        if self.bytes.len() > EVENT_BYTES_MAX {
            self.bytes.clear();
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() || !event.name.is_empty() {
                self.ready.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // An empty field is a comment: the server's sign of life.
            _ => {}
        }
    }

    pub fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }
}
