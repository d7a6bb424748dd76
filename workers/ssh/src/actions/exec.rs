//! `exec`: a command line of the caller, run once.
//!
//! The caller declares what it does to the host; here it counts as `once`. So it must never be sent a second time
//! after the first could have reached the host, and only an exit status is a result.

use super::{not_sent, remote_limit};
use crate::command::{self, GUARD};
use crate::host::{Host, Shell};
use crate::kept::Kept;
use crate::output::{self, Tails};
use crate::run::{self, End, Job, OnStop};
use sengu_sdk::{Context, Failure, FailureCode, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What timeout(1) exits with when it had to end the command: coreutils after TERM, either after KILL, busybox after
/// TERM.
const TIMEOUT_EXITS: [u32; 3] = [124, 137, 143];
const REMOTE_LIMIT_EARLY_MAX: Duration = Duration::from_millis(1_200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    command: String,
    #[serde(default)]
    stdin: String,
    creates: Option<String>,
    unless: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

pub async fn exec(task: &Context, kept: &Arc<Kept>, host: &Host) -> Result<Outcome, Failure> {
    let params: Params = task.params()?;
    let wrong_env = |name: &&String| {
        let mut bytes = name.bytes();
        let first = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        !(first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    if let Some(name) = params.env.keys().find(wrong_env) {
        let why = format!("env: {name:?} is no name of a variable");
        return Err(Failure::new(FailureCode::Refused, why));
    }
    let guarded = params.creates.is_some() || params.unless.is_some() || !params.env.is_empty();
    if guarded && host.shell == Shell::Raw {
        let why = "creates, unless and env need a POSIX shell, and config.shell is raw";
        return Err(Failure::new(FailureCode::Refused, why));
    }

    let deadline = run::deadline(task);
    let mark = guarded.then(|| format!("##sengu-{}", task.id));
    let job = Job {
        kept,
        host,
        line: &|| line(&params, mark.as_deref(), host, deadline),
        stdin: params.stdin.as_bytes(),
        on_stop: OnStop::Kill,
    };
    let mut output = output::into_log(task, mark.clone());
    let ran = run::run(task, deadline, &job, &mut |stream, bytes| {
        output.take(stream, bytes);
    })
    .await;
    let tails = output.finish();
    let end = match ran {
        Ok((end, _)) => end,
        Err(why) => return Ok(not_sent(why)),
    };
    // timeout(1) on the host is given whole seconds, so it strikes within the last one.
    let time_left = deadline.saturating_duration_since(Instant::now());
    let timed_out = host.shell == Shell::Posix && time_left < REMOTE_LIMIT_EARLY_MAX;
    Ok(outcome(host, end, tails, timed_out))
}

fn line(params: &Params, mark: Option<&str>, host: &Host, deadline: Instant) -> String {
    if host.shell == Shell::Raw {
        return params.command.clone();
    }
    let limit = remote_limit(deadline);
    let Some(mark) = mark else {
        return command::line(&params.command, &[], limit, host.sudo);
    };
    let env: Vec<String> = params.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut args = vec![
        mark,
        params.creates.as_deref().unwrap_or_default(),
        params.unless.as_deref().unwrap_or_default(),
        &params.command,
    ];
    args.extend(env.iter().map(String::as_str));
    command::line(&GUARD, &args, limit, host.sudo)
}

fn outcome(host: &Host, end: End, tails: Tails, timed_out: bool) -> Outcome {
    let at = host.at();
    let (exit_code, signal) = match end {
        End::Exit(code) if timed_out && TIMEOUT_EXITS.contains(&code) => {
            return Outcome::Unknown {
                why: format!(
                    "{at}: the command was ended at the deadline; what it had done by then is not known"
                ),
            };
        }
        End::Exit(code) => (Some(code), None),
        End::Signal(_) if timed_out => {
            return Outcome::Unknown {
                why: format!(
                    "{at}: the command was killed at the deadline; what it had done by then is not known"
                ),
            };
        }
        End::Signal(name) => (None, Some(name)),
        End::NotRun => {
            let why = format!("{at} refuses to run commands for {:?}", host.username);
            return Outcome::failed(FailureCode::Refused, why);
        }
        End::Lost(why) => {
            return Outcome::Unknown {
                why: format!("{at}: {why}; the command was sent and may have run or still run"),
            };
        }
        End::Deadline(why) => {
            return Outcome::Unknown {
                why: format!("{at}: still running at the deadline; {why}"),
            };
        }
        End::Cancelled(why) => {
            return Outcome::Unknown {
                why: format!("{at}: cancelled while it ran; {why}"),
            };
        }
    };
    let mut result = json!({
        "exitCode": exit_code,
        "stdout": tails.stdout,
        "stderr": tails.stderr,
        "truncated": tails.truncated,
    });
    if let Value::Object(result) = &mut result {
        match (&signal, exit_code) {
            (Some(signal), _) => {
                result.remove("exitCode");
                result.insert("signal".to_owned(), json!(signal));
            }
            (None, Some(0)) => {
                if let Some(guard) = tails.marked {
                    result.insert("skipped".to_owned(), json!(guard));
                }
            }
            (None, _) => {}
        }
    }
    if exit_code == Some(0) {
        let changed = result.get("skipped").is_none();
        return Outcome::result(changed, result);
    }
    let last = tails.stderr.trim().lines().next_back().unwrap_or_default();
    let last: String = last.chars().take(200).collect();
    let how = match signal {
        Some(name) => format!("ended by signal {name}"),
        None => format!("exit code {}", exit_code.unwrap_or_default()),
    };
    let message = if last.is_empty() {
        format!("{at}: {how}")
    } else {
        format!("{at}: {how}: {last}")
    };
    Failure::new(FailureCode::Refused, message)
        .with_detail(result)
        .into()
}
