//! A started and greeted mirror.

use sengu_execution::runtime::{Exit, Handle, Image, Input, Output, Runtime, RuntimeError};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Live {
    pub handle: Handle,
    pub stdin: Input,
    pub stdout: BufReader<Output>,
    pub exit: futures::future::BoxFuture<'static, Exit>,
}

impl Live {
    pub async fn try_start(runtime: &dyn Runtime, image: &Image) -> Result<Live, RuntimeError> {
        let handle = runtime
            .start(image.clone(), "mirror@1.0.0/1".to_owned())
            .await?;
        let attached = runtime.attach(handle.clone()).await?;
        let mut live = Live {
            handle,
            stdin: attached.stdin,
            stdout: BufReader::new(attached.stdout),
            exit: attached.exit,
        };
        let hello = live.line().await;
        assert!(hello.contains("hello"), "{hello:?}");
        Ok(live)
    }

    pub async fn start(runtime: &dyn Runtime, image: &Image) -> Live {
        within("a start", Live::try_start(runtime, image))
            .await
            .expect("start")
    }

    pub async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        let written = self.stdin.write_all(line.as_bytes());
        within("a write", written).await.expect("write");
    }

    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        within("a line", read).await.expect("read");
        line.trim_end().to_owned()
    }

    pub async fn answer(&mut self, line: &str) -> String {
        self.say(line).await;
        self.line().await
    }

    /// Waits for the exit, then reads what is left.
    pub async fn end(mut self) -> (Exit, String) {
        let exit = within("the exit", self.exit).await;
        let mut rest = String::new();
        let read = self.stdout.read_to_string(&mut rest);
        within("the end of stdout", read).await.expect("read");
        (exit, rest)
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {LIMIT:?}"),
    }
}

/// Waits until it holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
