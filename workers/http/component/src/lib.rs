//! The http worker as a component: its driver decides, the host sends. It must do what the program's native side does,
//! and it reaches one origin only: a token endpoint elsewhere needs the process.

use sengu_sdk_wasm::{
    FailureCode, HttpCode, Outcome, Reading, Request as HttpRequest, Task, Trouble as Lost, Worker,
    worker,
};
use sengu_worker_http::address::Origin;
use sengu_worker_http::{
    Driver, End, Failure, FailureCode as Code, Memory, Request, Response, Step, Trouble, task,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

struct Http;

impl Worker for Http {
    fn run(task: &Task) -> Outcome {
        let frame = json!({
            "id": task.id, "action": task.action, "params": task.params,
            "target": {
                "name": task.target, "address": task.address, "config": task.config,
                "identity": task.identity,
            },
            "secrets": task.secrets(),
            "timeout_ms": u64::try_from(task.remaining().as_millis()).unwrap_or(u64::MAX),
            "probe": task.probe.as_ref().map(|(since, checkpoint)| {
                json!({"since": since, "checkpoint": checkpoint})
            }),
        });
        let taken = match task::Task::from_frame(&frame.to_string()) {
            Ok(taken) => taken,
            Err(e) => return Outcome::failed(FailureCode::Refused, format!("the task: {e}")),
        };
        let end = drive(task, taken);
        let readings = end.readings.into_iter().map(|reading| Reading {
            name: reading.name,
            value: reading.value,
            unit: reading.unit,
            labels: reading.labels,
        });
        task.observed(readings.collect(), &end.facts);
        // Both have the protocol's JSON form.
        let outcome = serde_json::to_value(&end.outcome).and_then(serde_json::from_value);
        outcome.unwrap_or_else(|e| Outcome::Unknown {
            why: format!("the outcome: {e}"),
        })
    }
}

fn drive(task: &Task, taken: task::Task) -> End {
    let (began_ms, began) = (task.now_ms(), task.monotonic());
    // Wall time that never steps: read once, then counted on.
    let now_ms = || {
        let since = task.monotonic().saturating_sub(began).as_millis();
        began_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    };
    let origin = Origin::parse(&taken.target.address);
    // The instance ends with its task, so what is remembered serves this task alone.
    let mut driver = Driver::new(taken, Arc::<Memory>::default(), now_ms());
    let mut cancelled = false;
    loop {
        if !cancelled && task.is_cancelled() {
            cancelled = true;
            driver.cancel();
        }
        match driver.next(now_ms()) {
            Step::Fetch(request) => driver.feed(fetch(task, origin.as_ref().ok(), request)),
            Step::Wait { ms } => {
                task.sleep(Duration::from_millis(ms.max(1)));
            }
            Step::Checkpoint(value) => task.checkpoint(&value),
            Step::End(end) => return end,
        }
    }
}

fn fetch(task: &Task, origin: Option<&Origin>, request: Request) -> Result<Response, Trouble> {
    let refused = |why: String| Trouble::Failed(Failure::refused(why));
    let (to, path) = Origin::split(&request.url).map_err(refused)?;
    if origin != Some(&to) {
        return Err(refused(format!(
            "{}: a component reaches its target only; run the process for what is elsewhere",
            to.authority()
        )));
    }
    let request = HttpRequest {
        method: request.method,
        path,
        headers: request.headers,
        body: request.body.unwrap_or_default(),
        // Zero would be the host's choice.
        timeout_ms: request.timeout_ms.max(1),
        response_bytes_max: u32::try_from(request.body_bytes_max)
            .unwrap_or(u32::MAX)
            .max(1),
    };
    let answer = task.http(&request).map_err(lost)?;
    let headers = answer.headers.into_iter();
    Ok(Response {
        status: answer.status,
        headers: headers
            .filter_map(|(name, value)| Some((name, String::from_utf8(value).ok()?)))
            .collect(),
        body: answer.body,
    })
}

fn lost(trouble: Lost) -> Trouble {
    match trouble {
        Lost::NotSent(failure) => {
            let code = match failure.code {
                HttpCode::Refused => Code::Refused,
                HttpCode::Unreachable => Code::Unreachable,
                HttpCode::IdentityMismatch => Code::IdentityMismatch,
                HttpCode::Timeout => Code::Timeout,
            };
            let detail = failure.detail.as_deref();
            Trouble::Failed(Failure {
                detail: detail.and_then(|detail| serde_json::from_str(detail).ok()),
                ..Failure::new(code, failure.message)
            })
        }
        Lost::Silent(what) => Trouble::Silent(what),
        Lost::Cut(what) => Trouble::Cut(what),
        Lost::Garbled(what) => Trouble::Garbled(what),
    }
}

worker!(Http);
