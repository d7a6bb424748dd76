//! One task in a fresh instance of the component: begun, bounded, and its end put into honest words.
//!
//! What the host knows and a process runtime does not: whether anything was sent to the target. Where nothing was, a crash
//! or a deadline has changed nothing, whatever the action's effect.

use crate::budget::{Budget, Meter, Share};
use crate::component::Ready;
use crate::engine::Machine;
use crate::guest::Host;
use crate::guest::sengu::worker::types::{Probe, Target, Task};
use crate::http::Wires;
use crate::instance::Slot;
use crate::keep::Keep;
use crate::limits;
use crate::out::Out;
use futures::FutureExt;
use sengu_model::wire::worker::{Level, WorkerLine};
use sengu_model::{Effect, FailureCode, Outcome, TaskId};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use wasmtime::component::ResourceTable;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

/// A limit that is told later than this was not noticed in time: the process was stopped, or its machine was.
const HELD_MIN: Duration = Duration::from_millis(250);

/// What the tasks of one instance share.
pub struct Shared {
    pub machine: Arc<Machine>,
    pub ready: Arc<Ready>,
    pub budget: Arc<Budget>,
    pub share: Arc<Share>,
    pub keep: Arc<Keep>,
    pub wires: Arc<Wires>,
    pub out: Out,
}

/// A line from the host; what is handed on stays as it came.
#[derive(Deserialize)]
pub struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(default)]
    pub id: Option<TaskId>,
    #[serde(default)]
    pub fence: Option<String>,
    #[serde(default)]
    pub action: Option<String>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    target: Option<TargetLine<'a>>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    timeout_ms: u64,
    #[serde(default, borrow)]
    probe: Option<ProbeLine<'a>>,
}

#[derive(Deserialize)]
struct TargetLine<'a> {
    name: String,
    address: String,
    #[serde(default, borrow)]
    config: Option<&'a RawValue>,
    #[serde(default)]
    identity: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ProbeLine<'a> {
    since: String,
    #[serde(default, borrow)]
    checkpoint: Option<&'a RawValue>,
}

impl Line<'_> {
    /// The task of a task frame, with its fence. None when a part that every task has is not there.
    pub fn task(self) -> Option<(TaskId, String, Task)> {
        let id = self.id?;
        let target = self.target?;
        let task = Task {
            id: id.to_string(),
            action: self.action?,
            params: self.params.map_or("null", RawValue::get).to_owned(),
            target: Target {
                name: target.name,
                address: target.address,
                config: target.config.map_or("null", RawValue::get).to_owned(),
                identity: target.identity.into_iter().collect(),
            },
            secrets: self.secrets.into_iter().collect(),
            timeout_ms: self.timeout_ms,
            probe: self.probe.map(|probe| Probe {
                since: probe.since,
                checkpoint: probe.checkpoint.map(|value| value.get().to_owned()),
            }),
        };
        Some((id, self.fence?, task))
    }
}

/// How the guest's part of a task ended.
#[derive(Debug)]
enum End {
    Said(String),
    /// With the reason.
    Trapped(String),
    Late,
    /// It computed on after a cancel.
    Cancelled,
}

/// Does one task and writes its outcome.
pub async fn one(
    shared: Arc<Shared>,
    slot: Slot,
    id: TaskId,
    fence: String,
    task: Task,
    cancel: watch::Receiver<Option<Instant>>,
) {
    let effect = shared.ready.effect(&task.action);
    // A defect of ours must not leave a task without an answer.
    let work = AssertUnwindSafe(work(&shared, id, task, cancel)).catch_unwind();
    let (end, sent) = match work.await {
        Ok(ended) => ended,
        Err(_) => (End::Trapped("the runtime panicked".to_owned()), true),
    };
    let outcome = outcome(end, effect, sent);
    // Whoever reads the outcome may send the next task at once.
    drop(slot);
    let line = |outcome| WorkerLine::Outcome {
        id,
        fence: fence.clone(),
        outcome,
    };
    if let Err(e) = shared.out.line(&line(outcome)).await {
        // Either nobody listens, or this shorter one can be said.
        let outcome = Outcome::failed(FailureCode::BadReply, format!("the outcome: {e}"));
        let _ = shared.out.line(&line(outcome)).await;
    }
}

async fn work(
    shared: &Shared,
    id: TaskId,
    task: Task,
    cancel: watch::Receiver<Option<Instant>>,
) -> (End, bool) {
    let now = Instant::now();
    // A day is beyond every task, and can be added to any moment.
    let timeout = Duration::from_millis(task.timeout_ms).min(Duration::from_secs(86_400));
    let host = Host {
        id,
        out: shared.out.clone(),
        began: now,
        deadline: now + timeout,
        cancel,
        meter: Meter::new(shared.budget.clone()),
        share: shared.share.clone(),
        computes_since: now,
        keep: shared.keep.clone(),
        wires: shared.wires.clone(),
        target: task.target.clone(),
        wire: None,
        table: ResourceTable::new(),
        connections: 0,
        sent: false,
        last_words: None,
    };
    let mut over = host.deadline + limits::LAST_WORD;
    let _beat = shared.machine.pulse().beat();
    let mut store = Store::new(&shared.machine.engine, host);
    store.limiter(|host| &mut host.meter);
    store.set_hostcall_fuel(limits::CALL_BYTES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(look);
    let ended = {
        let mut run = pin!(async {
            let guest = shared.ready.pre.instantiate_async(&mut store).await?;
            guest.call_run(&mut store, &task).await
        });
        let first = timeout_at(over, &mut run).await;
        if first.is_err() && Instant::now() > over + HELD_MIN {
            // This process was held, and the guest with it: it has not had its time for a last word yet.
            over = Instant::now() + limits::LAST_WORD;
            timeout_at(over, run).await
        } else {
            first
        }
    };
    let end = match ended {
        Ok(Ok(said)) => End::Said(said),
        Ok(Err(e)) if e.is::<ComputesOn>() => End::Cancelled,
        Ok(Err(e)) => End::Trapped(why(&e, store.data())),
        Err(_) => End::Late,
    };
    let mut host = store.into_data();
    host.rests();
    let sent = host.sent;
    drop(host);
    if let End::Trapped(why) = &end {
        let line = WorkerLine::Log {
            id,
            level: Level::Error,
            message: format!("the component trapped: {why}"),
        };
        let _ = shared.out.line(&line).await;
    }
    (end, sent)
}

#[derive(Debug, thiserror::Error)]
#[error("it computed on after it was cancelled")]
struct ComputesOn;

/// Called at each tick that meets the guest computing.
fn look(mut context: StoreContextMut<Host>) -> wasmtime::Result<UpdateDeadline> {
    let now = Instant::now();
    let host = context.data_mut();
    let cancelled = *host.cancel.borrow();
    if cancelled.is_some_and(|at| now.duration_since(at) > limits::CANCEL_GRACE) {
        return Err(ComputesOn.into());
    }
    let computed = now.saturating_duration_since(host.computes_since);
    let pause = host.share.charge(computed, now);
    host.computes_since = now + pause.unwrap_or_default();
    // Others have their turn in any case; the deadline ends the whole from outside, at such a moment.
    Ok(match pause {
        Some(pause) => UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(pause))),
        None => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
    })
}

/// One line for people on why a guest trapped.
fn why(error: &wasmtime::Error, host: &Host) -> String {
    let mut text = match &host.last_words {
        Some(words) => words.clone(),
        None => error.root_cause().to_string(),
    };
    if let Some(complaint) = host.meter.complaint() {
        text = format!("{complaint}: {text}");
    }
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>();
    let names = frames.into_iter().flat_map(|trace| trace.frames());
    let names: Vec<&str> = names
        .filter_map(|frame| frame.func_name())
        .take(4)
        .collect();
    if host.last_words.is_none() && !names.is_empty() {
        text.push_str(&format!(" (in {})", names.join(", called by ")));
    }
    text.replace('\n', "; ")
}

/// What is known after the end. `sent`: something was sent to the target.
fn outcome(end: End, effect: Effect, sent: bool) -> Outcome {
    let nothing_changed = effect == Effect::Read || !sent;
    let end_or_unknown = |code, why: String| match nothing_changed {
        true => Outcome::failed(code, why),
        false => Outcome::Unknown { why },
    };
    match end {
        End::Said(json) => match serde_json::from_str(&json) {
            Ok(outcome) => outcome,
            Err(e) => {
                let why = format!("the worker's answer is no outcome: {e}");
                end_or_unknown(FailureCode::BadReply, why)
            }
        },
        End::Trapped(why) => end_or_unknown(FailureCode::Crashed, why),
        End::Late => {
            let why = "no answer before the deadline".to_owned();
            end_or_unknown(FailureCode::Timeout, why)
        }
        End::Cancelled if nothing_changed => Outcome::Cancelled {
            why: ComputesOn.to_string(),
        },
        End::Cancelled => Outcome::Unknown {
            why: ComputesOn.to_string(),
        },
    }
}

/// For answers that need no guest.
pub fn refusal(fence: String, id: TaskId, code: FailureCode, why: &str) -> WorkerLine {
    WorkerLine::Outcome {
        id,
        fence,
        outcome: Outcome::failed(code, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(end: End, effect: Effect, sent: bool) -> String {
        let outcome = outcome(end, effect, sent);
        let code = outcome.code().map(|code| format!(" {code}"));
        format!("{}{}", outcome.status().as_str(), code.unwrap_or_default())
    }

    #[test]
    fn a_lost_change_is_unknown_only_when_something_was_sent() {
        let trapped = || End::Trapped("unreachable".to_owned());
        for effect in [Effect::Idempotent, Effect::Probe, Effect::Once] {
            assert_eq!(word(trapped(), effect, true), "unknown");
            assert_eq!(word(End::Late, effect, true), "unknown");
            assert_eq!(word(End::Cancelled, effect, true), "unknown");
            assert_eq!(word(End::Said("{}".to_owned()), effect, true), "unknown");
        }
        for (effect, sent) in [(Effect::Read, true), (Effect::Once, false)] {
            assert_eq!(word(trapped(), effect, sent), "failed crashed");
            assert_eq!(word(End::Late, effect, sent), "failed timeout");
            assert_eq!(word(End::Cancelled, effect, sent), "cancelled");
            assert_eq!(
                word(End::Said(String::new()), effect, sent),
                "failed bad_reply"
            );
        }
        let done = End::Said(r#"{"status":"done","changed":true}"#.to_owned());
        assert_eq!(word(done, Effect::Once, true), "done");
    }

    #[test]
    fn frames_are_read_as_far_as_they_are_tasks() {
        let text = r#"{"type":"task","id":"t-0000000000007","fence":"1.2","action":"say","new":1,
            "params":{"a": [1]},"target":{"name":"n","address":"a","also":2},"timeout_ms":5,
            "probe":{"since":"2026-01-01T00:00:00Z","checkpoint":{"n":1}}}"#;
        let line: Line = serde_json::from_str(text).unwrap();
        let (id, fence, task) = line.task().unwrap();
        assert_eq!((id, fence.as_str()), (TaskId(7), "1.2"));
        assert_eq!(task.params, r#"{"a": [1]}"#);
        assert_eq!(task.target.config, "null");
        assert_eq!(task.probe.unwrap().checkpoint.unwrap(), r#"{"n":1}"#);
        let line: Line = serde_json::from_str(r#"{"type":"drain"}"#).unwrap();
        assert!(line.task().is_none());
    }
}
