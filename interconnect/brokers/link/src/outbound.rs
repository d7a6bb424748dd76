//! What waits to be written to one connection. All that is said while one write is under way goes out with the next, so
//! many small frames cost few writes. It holds a bounded number of bytes: who has more to say waits for room.

use crate::error::LinkError;
use crate::frame;
use crate::limits::{CLOSE_MAX, OUTBOUND_BYTES_MAX, Pace};
use bytes::BytesMut;
use parking_lot::Mutex;
use std::future::Future;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A buffer that had to grow beyond this is not kept.
const KEPT_BYTES_MAX: usize = 2 * OUTBOUND_BYTES_MAX;

#[derive(Default)]
pub struct Outbound {
    waiting: Mutex<Waiting>,
    /// There is something to write, or it ends.
    filled: Notify,
    /// There is room again.
    drained: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: BytesMut,
    ended: bool,
}

impl Outbound {
    pub fn new() -> Outbound {
        Outbound::default()
    }

    /// Says it now, room or not: only for what is bounded by its nature.
    pub fn say(&self, write: impl FnOnce(&mut BytesMut)) {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return;
        }
        let was_empty = waiting.bytes.is_empty();
        write(&mut waiting.bytes);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Resolves when something may be said. Dropping the future is harmless.
    pub async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let waiting = self.waiting.lock();
                if waiting.ended || waiting.bytes.len() < OUTBOUND_BYTES_MAX {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Says it when there is room. Dropped before that, nothing was said.
    pub async fn say_with_room(&self, write: impl FnOnce(&mut BytesMut)) {
        self.room().await;
        self.say(write);
    }

    /// Makes the writer look for what `more` of `run` has to say.
    pub fn poke(&self) {
        self.filled.notify_one();
    }

    /// Nothing more is said; what was said is still written.
    pub fn end(&self) {
        self.waiting.lock().ended = true;
        self.filled.notify_one();
        self.drained.notify_waiters();
    }

    /// Writes until `end`. `more` adds what is kept elsewhere, right before each write.
    ///
    /// # Errors
    /// When the connection broke, or the other end reads nothing.
    pub async fn run(
        &self,
        mut stream: impl AsyncWrite + Unpin,
        pace: Pace,
        mut more: impl FnMut(&mut BytesMut),
    ) -> Result<(), LinkError> {
        let mut writing = BytesMut::new();
        loop {
            let ended = {
                let mut waiting = self.waiting.lock();
                // Under the lock, so that it never goes out before what was said before it.
                more(&mut waiting.bytes);
                std::mem::swap(&mut writing, &mut waiting.bytes);
                waiting.ended
            };
            self.drained.notify_waiters();
            if writing.is_empty() {
                if ended {
                    // The other end may be gone already; it is told all the same.
                    let _ = timeout(CLOSE_MAX, stream.shutdown()).await;
                    return Ok(());
                }
                if timeout(pace.alive_every, self.filled.notified())
                    .await
                    .is_err()
                {
                    // Idle ends keep no buffers.
                    writing = BytesMut::new();
                    let mut waiting = self.waiting.lock();
                    if waiting.bytes.is_empty() {
                        waiting.bytes = BytesMut::new();
                    }
                    frame::alive(&mut waiting.bytes);
                }
                continue;
            }
            let mut at = 0;
            while at < writing.len() {
                let written = within(&pace, stream.write(&writing[at..])).await?;
                if written == 0 {
                    return Err(LinkError::Closed);
                }
                at += written;
            }
            within(&pace, stream.flush()).await?;
            if writing.capacity() > KEPT_BYTES_MAX {
                writing = BytesMut::new();
            } else {
                writing.clear();
            }
        }
    }
}

async fn within<T>(
    pace: &Pace,
    step: impl Future<Output = std::io::Result<T>>,
) -> Result<T, LinkError> {
    match timeout(pace.silence_max, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(LinkError::Broken(e)),
        Err(_) => Err(LinkError::Stuck {
            ms: pace.silence_max.as_millis(),
        }),
    }
}
