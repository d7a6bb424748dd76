//! The streams of a container, taken apart: the engine sends stdout and stderr over one connection, in pieces.

use bollard::container::{AttachContainerResults, LogOutput};
use futures::StreamExt;
use sengu_execution::runtime::{Input, Output};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncWrite, AsyncWriteExt, DuplexStream};

/// What may be read and not yet taken, per stream. Beyond it the worker has to wait.
const BUFFER_BYTES: usize = 256 << 10;

/// Both outputs and the input of one container.
pub struct Streams {
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Output,
}

/// Takes an attached connection apart; the pieces are sorted by a task that ends with the connection.
pub fn take_apart(attached: AttachContainerResults) -> Streams {
    let (stdout, to_stdout) = tokio::io::duplex(BUFFER_BYTES);
    let (stderr, to_stderr) = tokio::io::duplex(BUFFER_BYTES);
    tokio::spawn(sort(attached.output, to_stdout, to_stderr));
    Streams {
        stdin: Box::pin(Stdin(attached.input)),
        stdout: Box::pin(stdout),
        stderr: Box::pin(stderr),
    }
}

async fn sort(
    mut pieces: Pin<
        Box<dyn futures::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>,
    >,
    mut stdout: DuplexStream,
    mut stderr: DuplexStream,
) {
    while let Some(Ok(piece)) = pieces.next().await {
        let (to, bytes) = match piece {
            LogOutput::StdOut { message } => (&mut stdout, message),
            LogOutput::StdErr { message } => (&mut stderr, message),
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => continue,
        };
        // Nobody reads that one any more; the worker must not block on it.
        let _ = to.write_all(&bytes).await;
    }
}

/// The input; dropping it is the end of the worker's stdin.
struct Stdin(Pin<Box<dyn AsyncWrite + Send>>);

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // The half that reads keeps the connection open. On a socket this is one call that never waits.
        let mut nobody = Context::from_waker(Waker::noop());
        let _ = self.0.as_mut().poll_shutdown(&mut nobody);
    }
}
