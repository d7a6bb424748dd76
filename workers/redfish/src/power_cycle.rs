//! power.cycle, and the probe that tells whether a lost one took place.
//!
//! It must never send a second reset on its own: without an answer the outcome is unknown, and the probe speaks.

use crate::client::{Client, Resource};
use crate::http::Trouble;
use crate::limits;
use crate::links::Purpose;
use crate::monitor::End;
use crate::power::{Reset, Sent, power_state};
use crate::read_back::{Pace, Seen, read_back};
use sengu_sdk::{Context, Done, Failure, FailureCode, Outcome, Time};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clocks with whole seconds, and the way of the answer: closer than this, before and after cannot be told apart.
const CLOCK_DOUBT_MS: i64 = 2_000;

pub async fn cycle(task: &Context, client: &Client) -> Outcome {
    cycle_power(task, client)
        .await
        .unwrap_or_else(|trouble| trouble.of_read().into())
}

async fn cycle_power(task: &Context, client: &Client) -> Result<Outcome, Trouble> {
    let wanted: &[&str] = match task.params["mode"].as_str() {
        Some("graceful") => &["GracefulRestart"],
        // Both are hard and at once; which one was sent is in the result.
        _ => &["PowerCycle", "ForceRestart"],
    };
    let system = client.system(Purpose::Change).await?;
    let before = power_state(&system.body)?;
    match before.as_str() {
        "On" => {}
        "PoweringOn" | "PoweringOff" => {
            let message = format!("the system is {before}");
            return Err(Failure::busy(message, 5_000).into());
        }
        _ => {
            let message =
                format!("the system is {before}: only a running one is cycled; use power.set");
            return Err(Trouble::failed(FailureCode::Refused, message));
        }
    }
    let reset = Reset::of(client, &system).await?;
    let reset_type = reset.choose(wanted)?;
    let reset_before = last_reset(&system.body);
    if task.is_cancelled() {
        let why = "nothing had been asked of the BMC yet".to_owned();
        return Ok(Outcome::Cancelled { why });
    }
    task.checkpoint(json!({
        "resetType": reset_type, "lastResetTime": reset_before, "sentAt": now(),
    }));
    // The checkpoint must be out of this process before the effect can begin.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let told = match reset.send(task, client, reset_type).await {
        Sent::Accepted(End::Completed) => true,
        Sent::Accepted(_) => false,
        Sent::Refused(failure) => return Err(failure.into()),
        Sent::InDoubt(why) => return Ok(Outcome::Unknown { why }),
    };

    let mut was_off = false;
    let mut evidence = None;
    let restarted = |body: &Value| {
        let state = power_state(body).unwrap_or_default();
        was_off |= state == "Off" || state == "PoweringOn";
        let reset_now = last_reset(body);
        if reset_now.is_some() && reset_now != reset_before {
            evidence = Some("lastResetTime");
        } else if was_off {
            evidence = Some("powerState");
        } else if told && reset_before.is_none() {
            evidence = Some("task");
        }
        evidence.is_some() && state == "On"
    };
    let seen = read_back(task, client, &system.path, client.deadline, restarted).await;
    let state = |body: &Value| json!({"powerState": power_state(body).ok(), "lastResetTime": last_reset(body)});
    Ok(match seen {
        Seen::Reached(body) => Outcome::Done(Done {
            changed: true,
            before: Some(state(&system.body)),
            after: Some(state(&body)),
            result: Some(json!({"resetType": reset_type, "evidence": evidence})),
        }),
        Seen::NotInTime(Some(body)) if evidence.is_some() => {
            let message = "the system restarted but is not On again";
            let detail = json!({"happened": true, "evidence": evidence, "lastSeen": state(&body)});
            Failure::new(FailureCode::Timeout, message)
                .with_detail(detail)
                .into()
        }
        Seen::NotInTime(_) => Outcome::Unknown {
            why: format!("the BMC accepted {reset_type}, but no restart was seen"),
        },
        Seen::Cancelled(_) => Outcome::Unknown {
            why: format!("cancelled after the BMC had accepted {reset_type}"),
        },
        Seen::Stopped(failure) => Outcome::Unknown {
            why: format!("the BMC accepted {reset_type}, then {}", failure.message),
        },
    })
}

pub async fn probe(task: &Context, client: &Client) -> Outcome {
    match probe_cycle(task, client).await {
        Ok((happened, system)) => Outcome::Done(Done {
            changed: false,
            before: None,
            after: Some(json!({
                "powerState": power_state(&system.body).ok(), "lastResetTime": last_reset(&system.body),
            })),
            result: Some(json!({"happened": happened})),
        }),
        Err(trouble) => trouble.of_read().into(),
    }
}

/// "No" is said only after the time in which a reset that was accepted may still be about to come.
async fn probe_cycle(task: &Context, client: &Client) -> Result<(Option<bool>, Resource), Trouble> {
    let lost = task.probe.as_ref().map(|probe| Lost {
        since_ms: probe.since.0,
        checkpoint: probe.checkpoint.clone(),
    });
    let mut pace = Pace::new();
    let mut was_running = true;
    loop {
        let system = client.system(Purpose::Read).await?;
        let Some(lost) = &lost else {
            return Ok((None, system));
        };
        let running = power_state(&system.body).is_ok_and(|state| state == "On");
        was_running &= running;
        let verdict = lost.verdict(last_reset(&system.body).as_deref(), system.date_ms, now().0);
        let settled = now().0 >= lost.settled_at_ms();
        match verdict {
            Some(true) | None if running || settled => return Ok((verdict, system)),
            // A system that went down meanwhile and shows no reset contradicts itself.
            Some(false) if settled => return Ok((was_running.then_some(false), system)),
            _ => {}
        }
        let wait = pace.next();
        if client.remaining() <= wait {
            return Ok((verdict.filter(|happened| *happened), system));
        }
        tokio::time::sleep(wait).await;
    }
}

/// What is left of a lost attempt.
struct Lost {
    since_ms: i64,
    checkpoint: Option<Value>,
}

impl Lost {
    fn settled_at_ms(&self) -> i64 {
        let sent_at = self.checkpoint.as_ref().and_then(|c| c.get("sentAt"));
        let sent_at = sent_at
            .and_then(Value::as_str)
            .and_then(|t| Time::parse(t).ok());
        let begun = sent_at.map_or(self.since_ms, |t| t.0.max(self.since_ms));
        begun.saturating_add(limits::CYCLE_SETTLE.as_millis() as i64)
    }

    /// Whether the BMC's LastResetTime tells of a reset by the lost attempt; `bmc_ms` is the BMC's own clock.
    fn verdict(&self, last_reset: Option<&str>, bmc_ms: Option<i64>, now_ms: i64) -> Option<bool> {
        let last_reset = last_reset?;
        let before = self
            .checkpoint
            .as_ref()
            .and_then(|c| c.get("lastResetTime"));
        if let Some(before) = before.and_then(Value::as_str) {
            return Some(before != last_reset);
        }
        // No checkpoint: compare by the BMC's clock, which is rarely ours.
        let reset_ms = Time::parse(last_reset).ok()?.0;
        let since_ms = self.since_ms.saturating_add(bmc_ms?.saturating_sub(now_ms));
        match reset_ms.saturating_sub(since_ms) {
            after if after >= 0 => Some(true),
            before if before < -CLOCK_DOUBT_MS => Some(false),
            _ => None,
        }
    }
}

/// The time of the last reset as the BMC tells it; some say "" or the epoch when they do not know.
fn last_reset(body: &Value) -> Option<String> {
    let text = body.get("LastResetTime")?.as_str()?;
    (!text.is_empty() && !text.starts_with("1970-01-01")).then(|| text.to_owned())
}

fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_says_only_what_the_bmc_tells() {
        let at = |s: i64| Time(1_800_000_000_000 + s * 1_000);
        let text = |s: i64| at(s).to_string();
        let with = |value: Value| Some(json!({"lastResetTime": value, "resetType": "PowerCycle"}));
        // (checkpoint, since, LastResetTime, the BMC's clock, our clock) -> happened
        let table = [
            (
                with(json!(text(0))),
                10,
                Some(text(12)),
                None,
                20,
                Some(true),
            ),
            (
                with(json!(text(0))),
                10,
                Some(text(0)),
                None,
                20,
                Some(false),
            ),
            (with(json!(text(0))), 10, None, None, 20, None),
            // Without a time in the checkpoint the clocks are compared; here they agree.
            (
                with(Value::Null),
                10,
                Some(text(12)),
                Some(at(20).0),
                20,
                Some(true),
            ),
            (None, 10, Some(text(0)), Some(at(20).0), 20, Some(false)),
            (None, 10, Some(text(9)), Some(at(20).0), 20, None),
            // The BMC is an hour behind: its reset at 12 is shown as 12 - 3600.
            (
                None,
                10,
                Some(text(12 - 3600)),
                Some(at(20 - 3600).0),
                20,
                Some(true),
            ),
            (None, 10, Some(text(12)), None, 20, None),
            (
                None,
                10,
                Some("yesterday".to_owned()),
                Some(at(20).0),
                20,
                None,
            ),
        ];
        for (checkpoint, since, last_reset, bmc_ms, now, want) in table {
            let lost = Lost {
                since_ms: at(since).0,
                checkpoint: checkpoint.clone(),
            };
            let got = lost.verdict(last_reset.as_deref(), bmc_ms, at(now).0);
            assert_eq!(got, want, "{checkpoint:?} {since} {last_reset:?}");
        }
    }

    #[test]
    fn unknown_reset_times_are_none() {
        let table = [
            (json!({"LastResetTime": "2026-01-01T00:00:00Z"}), true),
            (json!({"LastResetTime": ""}), false),
            (json!({"LastResetTime": "1970-01-01T00:00:00Z"}), false),
            (json!({"LastResetTime": null}), false),
            (json!({}), false),
        ];
        for (body, want) in table {
            assert_eq!(last_reset(&body).is_some(), want, "{body}");
        }
    }
}
