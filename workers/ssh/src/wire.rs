//! A byte stream with a switch and a memory of its first bytes.
//!
//! The SSH library does not notice that nobody wants a connection while a handshake hangs, so the stream itself has to
//! end; and it does not tell what a server said that speaks no SSH. The twin cuts its connections the same way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Enough for a greeting or a refusal in words.
const HEAD_BYTES_MAX: usize = 256;

/// Dropping it ends the stream.
pub struct Switch(#[expect(dead_code, reason = "its drop is what counts")] oneshot::Sender<()>);

/// The first bytes that came in.
#[derive(Clone, Default)]
pub struct Head(Arc<Mutex<Vec<u8>>>);

impl Head {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().map(|h| h.clone()).unwrap_or_default()
    }

    fn clear(&self) {
        if let Ok(mut head) = self.0.lock() {
            head.clear();
        }
    }
}

pub struct Wire<S> {
    stream: S,
    switch: oneshot::Receiver<()>,
    head: Head,
    head_full: bool,
    is_cut: bool,
}

impl<S> Wire<S> {
    /// `head` is emptied and then holds what this stream begins with.
    pub fn new(stream: S, head: &Head) -> (Wire<S>, Switch) {
        let (sender, switch) = oneshot::channel();
        head.clear();
        let wire = Wire {
            stream,
            switch,
            head: head.clone(),
            head_full: false,
            is_cut: false,
        };
        (wire, Switch(sender))
    }

    fn cut_now(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_cut = self.is_cut || Pin::new(&mut self.switch).poll(cx).is_ready();
        self.is_cut
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut_now(cx) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.head_full
            && polled.is_ready()
            && let Some(new) = buf.filled().get(before..)
        {
            let mut full = false;
            if let Ok(mut head) = self.head.0.lock() {
                let room = HEAD_BYTES_MAX - head.len().min(HEAD_BYTES_MAX);
                head.extend_from_slice(&new[..new.len().min(room)]);
                full = head.len() >= HEAD_BYTES_MAX;
            }
            self.head_full = full;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cut_now(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
