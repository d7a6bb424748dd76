//! The program's side: takes tasks from the SDK, walks each driver through its steps, and does the sending.

mod tls;
mod wire;

use crate::driver::{Driver, End, Request, Step};
use crate::memory::Memory;
use crate::outcome::{self, FailureCode as Code};
use crate::reply::{Response, Trouble};
use crate::task::{self, Task};
use sengu_sdk::{Context, Done, Failure, FailureCode, Outcome, Reading, Start, Worker};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use wire::Fleet;

pub use tls::{PROVIDER, fingerprint, hex};

/// Keys that may be in the target's Secret, as worker.toml names them.
const SECRET_KEYS: [&str; 5] = ["username", "password", "token", "clientId", "clientSecret"];

pub struct Http {
    fleet: Arc<Fleet>,
    memory: Arc<Memory>,
    clock: Clock,
}

/// # Errors
/// Never; the SDK allows for it.
pub fn make(start: &Start) -> Result<Http, String> {
    let connections = usize::from(start.manifest.limits.sessions);
    Ok(Http {
        fleet: Fleet::new(connections),
        memory: Arc::default(),
        clock: Clock::new(),
    })
}

/// Wall time that never steps: read once, then counted on.
#[derive(Clone, Copy)]
struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    fn new() -> Clock {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            began: Instant::now(),
            began_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn now_ms(&self) -> u64 {
        let since = self.began.elapsed().as_millis();
        self.began_ms
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

impl Worker for Http {
    async fn run(&self, task: Context) -> Outcome {
        let end = self.drive(&task).await;
        let readings: Vec<Reading> = end.readings.into_iter().map(reading).collect();
        if !readings.is_empty() || !end.facts.is_empty() {
            task.observed(readings, end.facts);
        }
        converted(end.outcome)
    }

    async fn drain(&self) {
        self.fleet.close();
    }
}

impl Http {
    async fn drive(&self, task: &Context) -> End {
        let mut driver = Driver::new(taken(task), self.memory.clone(), self.clock.now_ms());
        let mut cancelled = false;
        loop {
            if !cancelled && task.is_cancelled() {
                cancelled = true;
                driver.cancel();
            }
            match driver.next(self.clock.now_ms()) {
                Step::Fetch(request) => {
                    let reply = self.fetch(task, request, cancelled).await;
                    driver.feed(reply);
                }
                Step::Wait { ms } => {
                    let wait = tokio::time::sleep(Duration::from_millis(ms.max(1)));
                    tokio::select! {
                        () = wait => {}
                        () = task.cancelled(), if !cancelled => {}
                    }
                }
                Step::Checkpoint(value) => task.checkpoint(value),
                Step::End(end) => return end,
            }
        }
    }

    /// A read is given up when the task is cancelled; a change is waited for, since half of it cannot be taken back.
    async fn fetch(
        &self,
        task: &Context,
        request: Request,
        cancelled: bool,
    ) -> Result<Response, Trouble> {
        let give_up = request.repeatable && !cancelled;
        let fetch = self.fleet.fetch(request);
        tokio::select! {
            reply = fetch => reply,
            () = task.cancelled(), if give_up => Err(Trouble::Silent("cancelled".to_owned())),
        }
    }
}

fn taken(task: &Context) -> Task {
    let secrets = SECRET_KEYS.iter().filter_map(|key| {
        let value = task.secret(key)?.expose().to_owned();
        Some(((*key).to_owned(), value))
    });
    Task {
        id: task.id.to_string(),
        action: task.action.clone(),
        params: task.params.clone(),
        target: task::Target {
            name: task.target.name.clone(),
            address: task.target.address.clone(),
            config: task.target.config.clone(),
            identity: task.target.identity.clone(),
        },
        secrets: secrets.collect(),
        timeout_ms: u64::try_from(task.remaining().as_millis()).unwrap_or(u64::MAX),
        probe: task.probe.as_ref().map(|probe| task::Probe {
            since_ms: u64::try_from(probe.since.0).unwrap_or(0),
            checkpoint: probe.checkpoint.clone(),
        }),
    }
}

fn reading(reading: outcome::Reading) -> Reading {
    Reading {
        name: reading.name,
        value: reading.value,
        unit: reading.unit,
        labels: reading.labels,
    }
}

fn converted(ended: outcome::Outcome) -> Outcome {
    match ended {
        outcome::Outcome::Done(done) => Outcome::Done(Done {
            changed: done.changed,
            before: done.before,
            after: done.after,
            result: done.result,
        }),
        outcome::Outcome::Failed(failure) => Outcome::Failed(Failure {
            code: code(failure.code),
            message: failure.message,
            retry_after_ms: failure.retry_after_ms,
            detail: failure.detail,
        }),
        outcome::Outcome::Unknown { why } => Outcome::Unknown { why },
        outcome::Outcome::Cancelled { why } => Outcome::Cancelled { why },
    }
}

fn code(code: Code) -> FailureCode {
    match code {
        Code::Refused => FailureCode::Refused,
        Code::Busy => FailureCode::Busy,
        Code::Unreachable => FailureCode::Unreachable,
        Code::AuthFailed => FailureCode::AuthFailed,
        Code::IdentityMismatch => FailureCode::IdentityMismatch,
        Code::Timeout => FailureCode::Timeout,
        Code::Crashed => FailureCode::Crashed,
        Code::BadReply => FailureCode::BadReply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn outcomes_have_the_protocols_json_form() {
        let done = outcome::Done {
            changed: true,
            before: Some(json!(1)),
            after: Some(json!(2)),
            result: Some(json!({"httpStatus": 200})),
        };
        let failure = outcome::Failure {
            retry_after_ms: Some(7),
            detail: Some(json!({"httpStatus": 503})),
            ..outcome::Failure::new(Code::Busy, "m")
        };
        let codes = [
            Code::Refused,
            Code::Unreachable,
            Code::AuthFailed,
            Code::IdentityMismatch,
            Code::Timeout,
            Code::Crashed,
            Code::BadReply,
        ];
        let mut all = vec![
            outcome::Outcome::Done(done),
            outcome::Outcome::Done(outcome::Done::default()),
            outcome::Outcome::Failed(failure),
            outcome::Outcome::Unknown {
                why: "w".to_owned(),
            },
            outcome::Outcome::Cancelled {
                why: "w".to_owned(),
            },
        ];
        all.extend(codes.map(|c| outcome::Outcome::Failed(outcome::Failure::new(c, "m"))));
        for ours in all {
            assert_eq!(json!(ours), json!(converted(ours.clone())));
        }
        let ours = outcome::Reading {
            name: "a".to_owned(),
            value: 1.5,
            unit: "W".to_owned(),
            labels: BTreeMap::from([("b".to_owned(), "c".to_owned())]),
        };
        assert_eq!(json!(ours), json!(reading(ours.clone())));
    }

    #[test]
    fn a_frame_of_the_protocol_is_a_task() {
        let frame = json!({
            "type": "task", "id": "t-1m7wrepnk0003", "fence": "1.1", "action": "request.change.probe",
            "params": {"request": "x"}, "timeout_ms": 30_000,
            "target": {"name": "t", "address": "https://a", "config": {}, "identity": {"certSha256": "x"}},
            "secrets": {"token": "s"}, "probe": {"since": "2026-09-21T14:13:20.123Z", "checkpoint": {"before": 1}},
        });
        let task = Task::from_frame(&frame.to_string()).unwrap();
        assert_eq!(task.probe.unwrap().since_ms, 1_790_000_000_123);
        assert_eq!(task.secrets["token"], "s");
    }
}
