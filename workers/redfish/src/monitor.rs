//! Asynchronous Redfish Tasks: a 202 names a monitor, which is asked until it says how the work ended.

use crate::client::Client;
use crate::limits;
use crate::read_back::Pace;
use crate::reply::{Reply, path_of};
use sengu_sdk::{Context, Failure, FailureCode};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub enum End {
    Completed,
    /// The device says that it did not do it.
    Failed(Failure),
    /// Not told: the read-back decides.
    Untold,
}

/// Follows the monitor that a 202 names. Any other success has no monitor.
pub async fn follow(task: &Context, client: &Client, accepted: &Reply) -> End {
    let Some(path) = (accepted.status == 202)
        .then(|| monitor(accepted))
        .flatten()
    else {
        return End::Untold;
    };
    let mut pace = Pace::new();
    let mut asked = accepted.retry_after_ms();
    loop {
        let wait = asked
            .take()
            .map_or_else(|| pace.next(), Duration::from_millis);
        let until = Instant::now() + wait.min(limits::MONITOR_WAIT_MAX);
        if until >= client.deadline {
            return End::Untold;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = task.cancelled() => return End::Untold,
        }
        let Ok(reply) = client.get_reply(&path).await else {
            // Contact comes and goes while a BMC works; the deadline ends this.
            continue;
        };
        match judge(&reply) {
            Some(end) => return end,
            None => asked = reply.retry_after_ms(),
        }
    }
}

/// Where to ask: the Location, or what the Task in the body says of itself.
fn monitor(accepted: &Reply) -> Option<String> {
    accepted.location().or_else(|| {
        let body = accepted.json();
        let text = |name: &str| path_of(body.get(name)?.as_str()?);
        text("TaskMonitor").or_else(|| text("@odata.id"))
    })
}

/// What an answer of a monitor, or of the Task itself, says; none = still at work.
fn judge(reply: &Reply) -> Option<End> {
    if reply.status == 202 || reply.busy() {
        return None;
    }
    // Monitors vanish when the work is done and was told.
    if matches!(reply.status, 404 | 410) {
        return Some(End::Untold);
    }
    let body = reply.json();
    let state = body.get("TaskState").and_then(Value::as_str);
    match state {
        Some("Completed") => {
            // Completed means that it ended; the status tells how.
            let bad = body.get("TaskStatus").and_then(Value::as_str) == Some("Critical");
            Some(if bad {
                refused(&body, "Completed, Critical")
            } else {
                End::Completed
            })
        }
        Some(state @ ("Exception" | "Killed" | "Cancelled")) => Some(refused(&body, state)),
        Some(_) if reply.ok() => None,
        None if reply.ok() => Some(End::Completed),
        _ if (400..500).contains(&reply.status) => {
            Some(End::Failed(reply.failure("the BMC's task")))
        }
        _ => None,
    }
}

fn refused(body: &Value, state: &str) -> End {
    let said = body.pointer("/Messages/0/Message").and_then(Value::as_str);
    let said: String = said
        .unwrap_or_default()
        .chars()
        .take(limits::QUOTE_CHARS_MAX)
        .collect();
    let message = format!("the BMC's task ended as {state} {said}");
    End::Failed(Failure::new(FailureCode::Refused, message.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::HeaderMap;

    fn reply(status: u16, location: Option<&str>, body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert("location", location.parse().unwrap());
        }
        Reply {
            status,
            headers,
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn a_monitor_is_asked_until_it_tells() {
        let table = [
            (202, "", "at work"),
            (200, r#"{"TaskState":"Running"}"#, "at work"),
            (200, r#"{"TaskState":"Vendor thing"}"#, "at work"),
            (503, "", "at work"),
            (500, "", "at work"),
            (200, r#"{"TaskState":"Completed"}"#, "completed"),
            (
                200,
                r#"{"TaskState":"Completed","TaskStatus":"Critical"}"#,
                "failed",
            ),
            (
                200,
                r#"{"TaskState":"Exception","Messages":[{"Message":"no"}]}"#,
                "failed",
            ),
            (200, r#"{"TaskState":"Killed"}"#, "failed"),
            (204, "", "completed"),
            (200, "<html>", "completed"),
            (400, "", "failed"),
            (404, "", "untold"),
            (410, "", "untold"),
        ];
        for (status, body, want) in table {
            let got = match judge(&reply(status, None, body)) {
                None => "at work",
                Some(End::Completed) => "completed",
                Some(End::Failed(_)) => "failed",
                Some(End::Untold) => "untold",
            };
            assert_eq!(got, want, "{status} {body}");
        }
    }

    #[test]
    fn the_monitor_is_in_the_location_or_in_the_body() {
        let table = [
            (Some("/t/1/Monitor"), "{}", Some("/t/1/Monitor")),
            (Some("https://h/t/1"), "", Some("/t/1")),
            (
                None,
                r#"{"@odata.id":"/t/2","TaskMonitor":"/m/2"}"#,
                Some("/m/2"),
            ),
            (None, r#"{"@odata.id":"/t/2"}"#, Some("/t/2")),
            (None, "", None),
        ];
        for (location, body, want) in table {
            let got = monitor(&reply(202, location, body));
            assert_eq!(got.as_deref(), want, "{location:?} {body}");
        }
    }
}
