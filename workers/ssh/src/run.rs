//! One command on one channel, from the request to how it ended.
//!
//! It must never take silence for success or failure: without an exit status nothing is known.

use crate::host::Host;
use crate::kept::{Kept, Lease, Leased};
use crate::output::Stream;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use sengu_sdk::{Context, Failure};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Kept back from the task's time, so that our own words about the deadline still get out.
const MARGIN_MAX: Duration = Duration::from_millis(750);
/// A login is given up this much before the deadline, to say how far it came.
const EXPLAIN: Duration = Duration::from_millis(50);
/// After the exit status: a child left in the background may hold the streams open for ever.
const AFTER_EXIT_MAX: Duration = Duration::from_secs(2);
/// From KILL to the exit it should cause.
const KILL_WAIT: Duration = Duration::from_millis(400);
/// Connections tried for one command, as long as it was not sent.
const SENDS_MAX: u32 = 2;

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Exit(u32),
    Signal(String),
    /// The server said no to running anything.
    NotRun,
    /// It was sent, and no exit status came. Anything may have happened.
    Lost(String),
    /// Its time is over; whether the remote process is gone, in words.
    Deadline(String),
    Cancelled(String),
}

/// Why no command was sent.
#[derive(Debug)]
pub enum NotSent {
    Failed(Failure),
    Cancelled,
}

pub struct Job<'a> {
    pub kept: &'a Arc<Kept>,
    pub host: &'a Host,
    /// Called when a session is there, so that the time it gives the command is the time that is left.
    pub line: &'a (dyn Fn() -> String + Sync),
    pub stdin: &'a [u8],
    pub on_stop: OnStop,
}

/// What becomes of the remote process at the deadline or on cancel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnStop {
    Kill,
    /// It does less harm when it comes to its end (package tools). Cancel is not obeyed once it runs.
    LetRun,
}

/// The moment by which a command of this task must be over.
pub fn deadline(task: &Context) -> Instant {
    let margin = (task.remaining() / 10).min(MARGIN_MAX);
    earlier(task.deadline(), margin)
}

fn earlier(at: Instant, by: Duration) -> Instant {
    at.checked_sub(by).unwrap_or(at)
}

/// Runs `job`, giving its output to `sink` as it comes. Gives the end and the host key of the connection.
///
/// # Errors
/// When nothing was sent to the host, so that nothing can have happened.
pub async fn run(
    task: &Context,
    deadline: Instant,
    job: &Job<'_>,
    sink: &mut impl FnMut(Stream, &[u8]),
) -> Result<(End, String), NotSent> {
    let mut sends = 0;
    let (mut running, host_key) = loop {
        sends += 1;
        let leased = tokio::select! {
            leased = job.kept.channel(job.host, earlier(deadline, EXPLAIN)) => leased.map_err(NotSent::Failed)?,
            () = task.cancelled() => return Err(NotSent::Cancelled),
            () = tokio::time::sleep_until(deadline) => {
                let why = format!("{}: no session before the deadline; nothing was sent", job.host.at());
                return Err(NotSent::Failed(crate::dial::unreachable(why)));
            }
        };
        let host_key = leased.host_key().to_owned();
        match Running::start(leased, (job.line)(), job.on_stop).await {
            Ok(running) => break (running, host_key),
            // The connection had died before it took the request: nothing was executed.
            Err(_) if sends < SENDS_MAX => {}
            Err(e) => {
                let why = format!("{}: {e}; nothing was sent", job.host.at());
                return Err(NotSent::Failed(crate::dial::unreachable(why)));
            }
        }
    };
    let cancelled = async {
        match job.on_stop {
            OnStop::Kill => task.cancelled().await,
            OnStop::LetRun => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = running.wait(job.stdin, sink) => return Ok((end, host_key)),
        () = cancelled => End::Cancelled as fn(String) -> End,
        () = tokio::time::sleep_until(deadline) => End::Deadline as fn(String) -> End,
    };
    let left = running.stop(sink).await;
    Ok((end(left), host_key))
}

/// A command that was sent. Dropping it kills what runs and closes the channel.
struct Running {
    read: ChannelReadHalf,
    write: Option<(ChannelWriteHalf<Msg>, Lease)>,
    on_stop: OnStop,
}

impl Running {
    async fn start(leased: Leased, line: String, on_stop: OnStop) -> Result<Running, russh::Error> {
        let (channel, lease) = leased.split();
        channel.exec(true, line).await?;
        let (read, write) = channel.split();
        Ok(Running {
            read,
            write: Some((write, lease)),
            on_stop,
        })
    }

    async fn wait(&mut self, stdin: &[u8], sink: &mut impl FnMut(Stream, &[u8])) -> End {
        let end = self.listen(stdin, sink).await;
        self.close().await;
        end.unwrap_or_else(|| End::Lost("the channel ended without an exit status".to_owned()))
    }

    /// Feeds and listens until the channel ends; gives the exit if one came.
    async fn listen(&mut self, stdin: &[u8], sink: &mut impl FnMut(Stream, &[u8])) -> Option<End> {
        let (write, _) = self.write.as_ref()?;
        let feed = async {
            if !stdin.is_empty() {
                let _ = write.data_bytes(stdin.to_vec()).await;
            }
            let _ = write.eof().await;
        };
        let mut feed = std::pin::pin!(feed);
        let (mut fed, mut end, mut silent_until) = (false, None, None);
        loop {
            let message = tokio::select! {
                () = &mut feed, if !fed => { fed = true; continue }
                message = self.read.wait() => message,
                () = sleep_until_some(silent_until), if silent_until.is_some() => break,
            };
            match message {
                Some(ChannelMsg::Data { data }) => sink(Stream::Stdout, &data),
                Some(ChannelMsg::ExtendedData { data, .. }) => sink(Stream::Stderr, &data),
                Some(ChannelMsg::ExitStatus { exit_status }) => end = Some(End::Exit(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    end = Some(End::Signal(signal_name_of(&signal_name)));
                }
                Some(ChannelMsg::Failure) if end.is_none() => {
                    end = Some(End::NotRun);
                    break;
                }
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
            if end.is_some() {
                silent_until = Some(Instant::now() + AFTER_EXIT_MAX);
            }
        }
        end
    }

    /// Ends it as far as we can; gives what is known of the remote process.
    async fn stop(&mut self, sink: &mut impl FnMut(Stream, &[u8])) -> String {
        if self.on_stop == OnStop::LetRun {
            self.close().await;
            return "the remote process was left to come to its end".to_owned();
        }
        if let Some((write, _)) = &self.write {
            let _ = write.signal(Sig::KILL).await;
        }
        let end = Instant::now() + KILL_WAIT;
        let mut gone = false;
        while let Ok(Some(message)) = tokio::time::timeout_at(end, self.read.wait()).await {
            match message {
                ChannelMsg::Data { data } => sink(Stream::Stdout, &data),
                ChannelMsg::ExtendedData { data, .. } => sink(Stream::Stderr, &data),
                ChannelMsg::ExitStatus { .. } | ChannelMsg::ExitSignal { .. } => {
                    gone = true;
                    break;
                }
                _ => {}
            }
        }
        self.close().await;
        if gone {
            "the remote process was killed".to_owned()
        } else {
            "KILL was sent to the remote process, but its end was not seen: it may live on"
                .to_owned()
        }
    }

    async fn close(&mut self) {
        if let Some((write, _lease)) = self.write.take() {
            let _ = write.close().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((write, lease)) = self.write.take() else {
            return;
        };
        let on_stop = self.on_stop;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if on_stop == OnStop::Kill {
                    let _ = write.signal(Sig::KILL).await;
                }
                let _ = write.close().await;
                drop(lease);
            });
        }
    }
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn signal_name_of(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.chars().take(32).collect(),
        known => format!("{known:?}"),
    }
}
