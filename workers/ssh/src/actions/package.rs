//! `package.set`: a package present or absent, by the host's own tool, asked first and read back.
//!
//! It must never end a package tool half-way: neither the deadline nor a cancel kills it.

use super::{Call, call};
use crate::command::PACKAGE_SET;
use crate::host::Host;
use crate::kept::Kept;
use crate::run::OnStop;
use sengu_sdk::{Context, Done, Effect, Failure, FailureCode, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Another package tool holds the lock; they take their time.
const LOCKED_RETRY_MS: u64 = 15_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    name: String,
    state: String,
    version: Option<String>,
    #[serde(default)]
    refresh: bool,
}

pub async fn set(task: &Context, kept: &Arc<Kept>, host: &Host) -> Result<Outcome, Failure> {
    let params: Params = task.params()?;
    let version = params.version.as_deref().unwrap_or_default();
    if params.state == "absent" && !version.is_empty() {
        let why = "version goes with state present only";
        return Err(Failure::new(FailureCode::Refused, why));
    }
    let reply = call(
        task,
        kept,
        host,
        Call {
            script: &PACKAGE_SET,
            args: &[
                &params.name,
                &params.state,
                version,
                if params.refresh { "refresh" } else { "" },
            ],
            stdin: &[],
            effect: Effect::Idempotent,
            on_stop: OnStop::LetRun,
        },
    )
    .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(outcome) => return Ok(outcome),
    };
    if let Some(refusal) = reply.refusal(host) {
        return Ok(refusal);
    }
    let at = format!("{}: {}", host.at(), params.name);
    if reply.line("busy").is_some() {
        return Err(Failure::busy(
            format!("{at}: another package tool holds the lock"),
            LOCKED_RETRY_MS,
        ));
    }
    let exit = match reply.exit(host, Effect::Idempotent) {
        Ok(exit) => exit,
        Err(outcome) => return Ok(outcome),
    };
    let (Some(before), Some(after), Some(changed)) = (
        reply.line("before"),
        reply.line("after"),
        reply.line("changed"),
    ) else {
        let words = reply.last_words();
        return Err(Failure::new(
            FailureCode::BadReply,
            format!("{at}: exit code {exit}, not understood: {words}"),
        ));
    };
    let right = match params.state.as_str() {
        "absent" => after == "-",
        _ => after != "-" && (version.is_empty() || after == version),
    };
    if !right || exit != 0 {
        let detail =
            json!({ "before": version_of(&before), "after": version_of(&after), "exitCode": exit });
        let why = format!(
            "{at}: version is {after}, not as wanted (exit code {exit}): {}",
            reply.last_words()
        );
        return Err(Failure::new(FailureCode::Refused, why).with_detail(detail));
    }
    Ok(Outcome::Done(Done {
        changed: changed == "yes" && before != after,
        before: Some(version_of(&before)),
        after: Some(version_of(&after)),
        result: None,
    }))
}

fn version_of(text: &str) -> Value {
    match text {
        "-" => json!({ "installed": false }),
        version => json!({ "installed": true, "version": version }),
    }
}
