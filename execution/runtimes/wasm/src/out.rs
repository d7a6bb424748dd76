//! The way out of an instance: lines from many tasks, written in batches by one writer. Whoever says more than is read
//! waits.

use crate::limits;
use sengu_model::limits::WORKER_LINE_BYTES_MAX;
use sengu_model::wire::worker::WorkerLine;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct Out(mpsc::Sender<Vec<u8>>);

/// A line that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Unsaid {
    #[error("a line of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("nobody listens any more")]
    Closed,
}

impl Out {
    pub fn new() -> (Out, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel(limits::LINES_WAITING_MAX);
        (Out(sender), receiver)
    }

    /// # Errors
    /// When the line is too long, or the reader is gone.
    pub async fn line(&self, line: &WorkerLine) -> Result<(), Unsaid> {
        // Frames have no maps with keys that are not text, and a Vec takes all writes.
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        if bytes.len() >= WORKER_LINE_BYTES_MAX {
            return Err(Unsaid::TooLong(bytes.len()));
        }
        bytes.push(b'\n');
        self.0.send(bytes).await.map_err(|_| Unsaid::Closed)
    }
}

/// Writes until all `Out`s are gone, or the reader is.
pub async fn write(mut lines: mpsc::Receiver<Vec<u8>>, mut stdout: DuplexStream) {
    let (mut batch, mut buffer) = (Vec::new(), Vec::new());
    while lines.recv_many(&mut batch, limits::LINES_WAITING_MAX).await > 0 {
        buffer.clear();
        for line in batch.drain(..) {
            buffer.extend_from_slice(&line);
        }
        if stdout.write_all(&buffer).await.is_err() {
            return;
        }
        // An answer of a megabyte need not be remembered by an idle instance.
        if buffer.capacity() > 4 * limits::PIPE_BYTES {
            buffer = Vec::new();
        }
    }
}
