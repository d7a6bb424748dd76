//! Looking again until the device is as wanted: a 202 or 204 is a promise, not a result.

use crate::client::Client;
use crate::http::Trouble;
use crate::limits;
use sengu_sdk::{Context, Failure, FailureCode};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How the looking ended; with the resource as last seen.
pub enum Seen {
    Reached(Value),
    NotInTime(Option<Value>),
    Cancelled(Option<Value>),
    /// Looking further would do harm (credentials or identity refused).
    Stopped(Failure),
}

/// Waits between looks: short first, since most BMCs are quick, then longer, since some are slow and weak.
pub struct Pace(Duration);

impl Pace {
    pub fn new() -> Pace {
        Pace(limits::READ_BACK_FIRST)
    }

    pub fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 8 / 5).min(limits::READ_BACK_LONGEST);
        now
    }
}

/// Reads `path` until `reached` says so, or `until`. Busy answers and lost connections are waited out.
pub async fn read_back(
    task: &Context,
    client: &Client,
    path: &str,
    until: Instant,
    mut reached: impl FnMut(&Value) -> bool,
) -> Seen {
    let until = until.min(client.deadline);
    let mut pace = Pace::new();
    let mut last = None;
    let mut wait = pace.next();
    loop {
        let now = Instant::now();
        if now >= until {
            return Seen::NotInTime(last);
        }
        tokio::select! {
            () = tokio::time::sleep_until((now + wait).min(until)) => {}
            () = task.cancelled() => return Seen::Cancelled(last),
        }
        wait = pace.next();
        match client.get(path).await {
            Ok(resource) if reached(&resource.body) => return Seen::Reached(resource.body),
            Ok(resource) => last = Some(resource.body),
            Err(Trouble::Failed(failure)) if stops(failure.code) => return Seen::Stopped(failure),
            Err(Trouble::Failed(failure)) => {
                let asked = failure.retry_after_ms.map(Duration::from_millis);
                wait = asked.unwrap_or(wait).max(wait);
            }
            Err(_) => {}
        }
    }
}

fn stops(code: FailureCode) -> bool {
    matches!(
        code,
        FailureCode::AuthFailed | FailureCode::IdentityMismatch
    )
}
