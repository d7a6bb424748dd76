//! One file per action; here what they share: running one of our own scripts and reading its answer.
//!
//! A script says what it did in lines that begin with `@@`; whatever a login shell prints around them is ignored.

pub mod exec;
pub mod file;
pub mod observe;
pub mod package;
pub mod service;

use crate::command::{self, RemoteLimit, Sudo};
use crate::host::{Host, Shell};
use crate::kept::Kept;
use crate::output::Stream;
use crate::run::{self, End, Job, NotSent, OnStop};
use sengu_sdk::{Context, Effect, Failure, FailureCode, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a script may print: a file of the greatest size and some words.
const STDOUT_BYTES_MAX: usize = 1 << 20;
const STDERR_BYTES_MAX: usize = 16 << 10;
/// A lost script that may be repeated is repeated at once when this much time is left.
const REPEAT_MIN: Duration = Duration::from_secs(1);

/// A script to run on the host of a task.
pub struct Call<'a> {
    pub script: &'a str,
    pub args: &'a [&'a str],
    pub stdin: &'a [u8],
    pub effect: Effect,
    pub on_stop: OnStop,
}

/// What a script answered.
pub struct Reply {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub host_key: String,
    /// An earlier try was sent and its answer lost, so the change may have been ours.
    pub repeated: bool,
}

/// Runs a script; one whose answer was lost is run once more if that is harmless.
///
/// # Errors
/// The outcome, when nothing was sent.
pub async fn call(
    task: &Context,
    kept: &Arc<Kept>,
    host: &Host,
    call: Call<'_>,
) -> Result<Reply, Outcome> {
    if host.shell == Shell::Raw {
        let why = format!(
            "{} needs a POSIX shell, and config.shell is raw",
            task.action
        );
        return Err(Outcome::failed(FailureCode::Refused, why));
    }
    let deadline = run::deadline(task);
    let mut repeated = false;
    loop {
        let line = || {
            let limit = match call.on_stop {
                OnStop::Kill => remote_limit(deadline),
                OnStop::LetRun => RemoteLimit::None,
            };
            command::line(call.script, call.args, limit, host.sudo)
        };
        let job = Job {
            kept,
            host,
            line: &line,
            stdin: call.stdin,
            on_stop: call.on_stop,
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut sink = |stream: Stream, bytes: &[u8]| {
            let (kept, most) = match stream {
                Stream::Stdout => (&mut stdout, STDOUT_BYTES_MAX),
                Stream::Stderr => (&mut stderr, STDERR_BYTES_MAX),
            };
            let room = most.saturating_sub(kept.len());
            kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        };
        let (end, host_key) = run::run(task, deadline, &job, &mut sink)
            .await
            .map_err(not_sent)?;
        let time_left = deadline.saturating_duration_since(Instant::now());
        if matches!(end, End::Lost(_))
            && call.effect.repeatable()
            && !repeated
            && time_left > REPEAT_MIN
            && !task.is_cancelled()
        {
            repeated = true;
            continue;
        }
        return Ok(Reply {
            end,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            host_key,
            repeated,
        });
    }
}

/// The time the host itself gives a command: whole seconds, a little before our own deadline.
pub fn remote_limit(deadline: Instant) -> RemoteLimit {
    let left = deadline.saturating_duration_since(Instant::now());
    RemoteLimit::Seconds(left.as_secs().max(1))
}

pub fn not_sent(why: NotSent) -> Outcome {
    match why {
        NotSent::Failed(failure) => failure.into(),
        NotSent::Cancelled => Outcome::Cancelled {
            why: "cancelled before anything was sent to the host".to_owned(),
        },
    }
}

impl Reply {
    /// The exit code, or the outcome that the lack of one means for an action of this effect.
    pub fn exit(&self, host: &Host, effect: Effect) -> Result<u32, Outcome> {
        let reads = effect == Effect::Read;
        let at = host.at();
        let failed = |code, why: String| Err(Outcome::failed(code, why));
        match &self.end {
            End::Exit(127 | 126) if !self.stdout.windows(2).any(|w| w == b"@@") => failed(
                FailureCode::Refused,
                format!("{at} has no POSIX shell for us: {}", self.last_words()),
            ),
            End::Exit(1) if host.sudo == Sudo::Yes && self.stderr.contains("sudo: ") => failed(
                FailureCode::Refused,
                format!(
                    "{at}: sudo -n is not allowed for {:?}: {}",
                    host.username,
                    self.last_words()
                ),
            ),
            // timeout(1) on the host came first.
            End::Exit(124 | 137 | 143) if reads => failed(
                FailureCode::Timeout,
                format!("{at}: not done before the deadline"),
            ),
            End::Exit(124 | 137 | 143) => Err(Outcome::Unknown {
                why: format!("{at}: ended at the deadline, half-way"),
            }),
            End::Exit(code) => Ok(*code),
            End::NotRun => failed(
                FailureCode::Refused,
                format!("{at} refuses to run commands for {:?}", host.username),
            ),
            End::Signal(name) if reads => failed(
                FailureCode::BadReply,
                format!("{at}: our script was ended by signal {name}"),
            ),
            End::Signal(name) => Err(Outcome::Unknown {
                why: format!("{at}: our script was ended by signal {name}"),
            }),
            End::Lost(why) if reads => failed(FailureCode::Unreachable, format!("{at}: {why}")),
            End::Lost(why) => Err(Outcome::Unknown {
                why: format!("{at}: {why}"),
            }),
            End::Deadline(why) if reads => failed(
                FailureCode::Timeout,
                format!("{at}: no answer before the deadline; {why}"),
            ),
            End::Deadline(why) => Err(Outcome::Unknown {
                why: format!("{at}: no answer before the deadline; {why}"),
            }),
            End::Cancelled(why) if reads => Err(Outcome::Cancelled { why: why.clone() }),
            End::Cancelled(why) => Err(Outcome::Unknown {
                why: format!("{at}: cancelled while it ran; {why}"),
            }),
        }
    }

    /// What follows the first line `@@<name> `.
    pub fn line(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stdout);
        text.lines()
            .filter_map(|line| line.strip_prefix("@@"))
            .find_map(|line| {
                let rest = line.strip_prefix(name)?;
                (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim().to_owned())
            })
    }

    /// Our script's own refusal, as an outcome.
    pub fn refusal(&self, host: &Host) -> Option<Outcome> {
        let why = self.line("refused")?;
        let words = self.last_words();
        let mut message = format!("{}: {why}", host.at());
        if !words.is_empty() {
            message.push_str(&format!(" ({words})"));
        }
        let code = FailureCode::Refused;
        Some(Failure::new(code, message).into())
    }

    /// The end of what it wrote to stderr, in one line.
    pub fn last_words(&self) -> String {
        let words = self.stderr.trim();
        let skip = words.chars().count().saturating_sub(400);
        words
            .chars()
            .skip(skip)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}
