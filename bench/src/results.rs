//! The stream of results (`GET /v1/results`), read as it comes: when each task was seen ended, and how. It must read as
//! fast as it can, so that the moments are those of the server.

use crate::server::Server;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two events or comments; the server sends one to keep the connection alive.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// How a task ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub at: Instant,
    pub status: String,
    pub attempts: u64,
    /// `kind@version/number`, empty when nobody ran it.
    pub instance: String,
    /// Events that said so; more than one is a fault.
    pub times: u32,
    /// Its outcome as JSON, when it was not done.
    pub outcome: String,
}

/// Follows from now on.
#[derive(Debug)]
pub struct Results {
    ended: Arc<Mutex<HashMap<String, Ended>>>,
}

impl Results {
    pub fn follow(server: &Server) -> Result<Results> {
        let mut stream = TcpStream::connect(server.address).context("follow the results")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        write!(
            stream,
            "GET /v1/results HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: text/event-stream\r\n\r\n",
            server.address, server.token
        )?;
        let mut reader = BufReader::with_capacity(256 << 10, stream);
        let first = line(&mut reader)?;
        ensure!(
            first.split(' ').nth(1) == Some("200"),
            "follow the results: {first}"
        );
        let mut chunked = false;
        loop {
            let head = line(&mut reader)?.to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            chunked |= head.starts_with("transfer-encoding:") && head.ends_with("chunked");
        }
        ensure!(chunked, "the stream of results does not come in chunks");
        let ended: Arc<Mutex<HashMap<String, Ended>>> = Arc::default();
        let kept = ended.clone();
        // Ends when the server does.
        std::thread::spawn(move || {
            let mut text = Vec::new();
            while chunk(&mut reader, &mut text).is_ok() {
                let at = Instant::now();
                take(&mut text, at, &kept);
            }
        });
        Ok(Results { ended })
    }

    pub fn count(&self) -> usize {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// All that have ended so far, by task.
    pub fn all(&self) -> HashMap<String, Ended> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    let read = reader.take(64 << 10).read_line(&mut line)?;
    ensure!(read > 0, "the server closed the connection");
    Ok(line.trim_end().to_owned())
}

/// Adds the next chunk.
fn chunk(reader: &mut impl BufRead, text: &mut Vec<u8>) -> Result<()> {
    let size = usize::from_str_radix(&line(reader)?, 16).context("the size of a chunk")?;
    ensure!(
        size > 0 && size <= CHUNK_BYTES_MAX,
        "the stream has ended: {size}"
    );
    let start = text.len();
    text.resize(start + size, 0);
    reader.read_exact(&mut text[start..])?;
    line(reader)?;
    Ok(())
}

/// Takes the whole lines out; the rest waits for its end.
fn take(text: &mut Vec<u8>, at: Instant, kept: &Mutex<HashMap<String, Ended>>) {
    let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
        return;
    };
    for line in text[..end].split(|byte| *byte == b'\n') {
        let Some(data) = line.strip_prefix(b"data:") else {
            continue;
        };
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            continue;
        };
        let task = &event["data"];
        let Some(id) = task["id"].as_str() else {
            continue;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ending = &task["ending"];
        let status = text(&ending["outcome"]["status"]);
        let outcome = match &*status {
            "done" => String::new(),
            _ => ending["outcome"].to_string(),
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.entry(id.to_owned()).or_insert(Ended {
            at,
            status,
            attempts: ending["attempts"].as_u64().unwrap_or(0),
            instance: text(&ending["instance"]),
            times: 0,
            outcome,
        });
        known.times += 1;
    }
    text.drain(..=end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_across_chunks_and_counted_once_each() {
        let event = |id: &str| {
            format!(
                "event: result\nid: 1\ndata: {{\"data\":{{\"id\":\"{id}\",\"ending\":{{\"attempts\":1,\"outcome\":{{\"status\":\"done\"}}}}}}}}\n\n"
            )
        };
        let all = event("a") + ": keep\n\n" + &event("b") + &event("a");
        let (first, second) = all.split_at(70);
        let kept = Mutex::new(HashMap::new());
        let mut text = first.as_bytes().to_vec();
        take(&mut text, Instant::now(), &kept);
        assert!(kept.lock().unwrap().is_empty());
        text.extend_from_slice(second.as_bytes());
        take(&mut text, Instant::now(), &kept);
        let kept = kept.into_inner().unwrap();
        assert_eq!((kept.len(), kept["a"].times, kept["b"].times), (2, 2, 1));
        assert_eq!(kept["b"].status, "done");
    }
}
