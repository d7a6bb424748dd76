//! Frames as they come in. Whoever is silent for too long is given up here; time spent on a frame does not count.

use crate::error::LinkError;
use crate::frame;
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Read at once.
const READ_BYTES: usize = 256 << 10;
/// Kept free at least.
const SPARE_BYTES: usize = 16 << 10;

pub struct Inbound<R> {
    stream: R,
    read: BytesMut,
    /// It had to grow for a large frame, and is not kept like that.
    grown: bool,
}

impl<R: AsyncRead + Unpin> Inbound<R> {
    pub fn new(stream: R) -> Inbound<R> {
        Inbound {
            stream,
            read: BytesMut::new(),
            grown: false,
        }
    }

    /// The next frame of at most `max` bytes; bytes must come at least every `silence_max`.
    ///
    /// # Errors
    /// `Closed` at the end, and `Broken`, `Silent`, `FrameTooLarge`.
    pub async fn frame(&mut self, max: usize, silence_max: Duration) -> Result<Bytes, LinkError> {
        loop {
            if let Some(frame) = frame::split(&mut self.read, max)? {
                return Ok(frame);
            }
            if self.read.is_empty() && self.grown {
                (self.read, self.grown) = (BytesMut::new(), false);
            }
            if self.read.capacity() - self.read.len() < SPARE_BYTES {
                // Never for more than was sent: a length alone reserves nothing.
                let there = self.read.len();
                self.grown |= there > READ_BYTES;
                self.read.reserve(READ_BYTES.min(max + 4).max(there));
            }
            match timeout(silence_max, self.stream.read_buf(&mut self.read)).await {
                Ok(Ok(0)) => return Err(LinkError::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(e)) => return Err(LinkError::Broken(e)),
                Err(_) => {
                    let ms = silence_max.as_millis();
                    return Err(LinkError::Silent { ms });
                }
            }
        }
    }
}
