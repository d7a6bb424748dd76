//! Looking whether it is so: once before a change, and again after it until the deadline.

use crate::client::{Call, Client, JSON, Reply};
use crate::declared::{Look, Want};
use crate::limits;
use crate::outcome::Failure;
use crate::params::same;
use crate::reply::Trouble;
use serde_json::Value;

/// How the looking ended; with the value as last seen.
pub enum Seen {
    Reached(Value),
    NotInTime(Option<Value>),
    Cancelled(Option<Value>),
    /// Looking further would do harm (credentials or identity refused).
    Stopped(Failure),
}

/// Waits between looks: short first, since most servers are quick, then longer, since some are slow and weak.
struct Pace(u64);

impl Pace {
    fn next(&mut self) -> u64 {
        let now = self.0;
        self.0 = (now * 8 / 5).min(limits::READ_BACK_LONGEST_MS);
        now
    }
}

impl Look {
    /// Whether `now` proves it, given what was there before.
    pub fn reached(&self, before: &Value, now: &Value) -> bool {
        match &self.want {
            Want::Equals(wanted) => same(wanted, now),
            // A counter that is gone has not counted.
            Want::Changes => !now.is_null() && !same(before, now),
        }
    }
}

/// The value now; null when there is none, or no such resource.
///
/// # Errors
/// Trouble; or the failure that the status means.
pub async fn look(client: &Client, look: &Look, any_content_type: bool) -> Result<Value, Trouble> {
    let call = Call {
        expect: &[404, 410],
        ..Call::get(&look.path, &[], JSON)
    };
    let reply: Reply = client.send(&call).await?;
    match reply.response.status {
        404 | 410 => return Ok(Value::Null),
        _ if !reply.response.ok() => return Err(client.unexpected(&call, &reply.response).into()),
        _ => {}
    }
    let document = client.json(&reply, any_content_type)?;
    Ok(look.pointer.one(&document).cloned().unwrap_or_default())
}

/// Looks until `reached` says so, or `until_ms`. Busy answers and lost connections are waited out.
pub async fn read_back(
    client: &Client,
    at: &Look,
    any_content_type: bool,
    until_ms: u64,
    reached: impl Fn(&Value) -> bool,
) -> Seen {
    let until_ms = until_ms.min(client.deadline_ms);
    let mut pace = Pace(limits::READ_BACK_FIRST_MS);
    let mut last = None;
    loop {
        let mut wait_ms = pace.next();
        match look(client, at, any_content_type).await {
            Ok(value) if reached(&value) => return Seen::Reached(value),
            Ok(value) => last = Some(value),
            Err(Trouble::Failed(failure)) if failure.quarantines() => {
                return Seen::Stopped(failure);
            }
            Err(Trouble::Failed(failure)) => {
                wait_ms = failure.retry_after_ms.unwrap_or(0).max(wait_ms);
            }
            Err(_) => {}
        }
        let now_ms = client.io.now_ms();
        if now_ms >= until_ms {
            return Seen::NotInTime(last);
        }
        client
            .io
            .wait_until(now_ms.saturating_add(wait_ms).min(until_ms))
            .await;
        if client.io.cancelled() {
            return Seen::Cancelled(last);
        }
    }
}
