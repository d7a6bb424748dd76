//! A task as this worker takes it, and the way from its action to what does it.

use crate::client::Client;
use crate::config::Config;
use crate::declared::{Declared, Effect, Planned};
use crate::driver::{End, Io};
use crate::memory::Memory;
use crate::outcome::{Failure, Outcome};
use crate::params::RESERVED;
use crate::secrets::Secrets;
use crate::{observe, run as running};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parts of worker protocol v1's `task` frame that matter here.
#[derive(Deserialize)]
pub struct Task {
    pub id: String,
    pub action: String,
    #[serde(default)]
    pub params: Value,
    pub target: Target,
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    pub timeout_ms: u64,
    #[serde(default)]
    pub probe: Option<Probe>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    pub name: String,
    pub address: String,
    #[serde(default)]
    pub config: Value,
    #[serde(default)]
    pub identity: BTreeMap<String, String>,
}

/// What a lost attempt left behind.
#[derive(Debug, Clone, Deserialize)]
pub struct Probe {
    /// When it was handed over, in milliseconds since the Unix epoch.
    #[serde(rename = "since", deserialize_with = "rfc3339")]
    pub since_ms: u64,
    #[serde(default)]
    pub checkpoint: Option<Value>,
}

impl Task {
    /// Reads a `task` frame.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_frame(frame: &str) -> Result<Task, String> {
        serde_json::from_str(frame).map_err(|e| e.to_string())
    }
}

/// The whole of a task.
pub async fn run(task: Task, memory: Arc<Memory>, io: Io, deadline_ms: u64) -> End {
    let secrets = Arc::new(Secrets::new(task.secrets));
    let config = match Config::read(&task.target, &secrets) {
        Ok(config) => config,
        Err(failure) => return scrubbed(End::of(failure), &secrets),
    };
    let client = Client {
        io,
        config,
        secrets: secrets.clone(),
        memory,
        deadline_ms,
    };
    let end = match task.action.as_str() {
        "observe" => observe::observe(&client).await,
        action => End::of(
            requested(&client, action, &task.id, task.params, task.probe.as_ref())
                .await
                .unwrap_or_else(Outcome::from),
        ),
    };
    scrubbed(end, &secrets)
}

async fn requested(
    client: &Client,
    action: &str,
    id: &str,
    params: Value,
    lost: Option<&Probe>,
) -> Result<Outcome, Failure> {
    if !matches!(
        action,
        "request.read" | "request.set" | "request.change" | "request.change.probe" | "request.run"
    ) {
        return Err(Failure::refused(format!("unknown action {action:?}")));
    }
    let mut params = match params {
        Value::Object(params) => params,
        Value::Null => Map::new(),
        _ => return Err(Failure::refused("params: an object is wanted")),
    };
    let name = match params.remove(RESERVED) {
        Some(Value::String(name)) => name,
        _ => {
            return Err(Failure::refused(
                "params.request names a request of the target's config",
            ));
        }
    };
    let declared = client.config.request(&name)?;
    fits(action, &name, &declared)?;
    let mut planned = declared
        .plan(&name, &params)
        .map_err(|e| Failure::refused(format!("request {name}: {e}")))?;
    if planned.idempotency_key {
        // All attempts of a task carry the same one.
        let key = ("idempotency-key".to_owned(), format!("\"{id}\""));
        planned.headers.push(key);
    }
    let planned: &Planned = &planned;
    Ok(match action {
        "request.read" => running::read(client, planned).await,
        "request.change.probe" => running::probe(client, planned, lost).await,
        _ => running::change(client, planned).await,
    })
}

/// What happens when contact is lost goes by the action, so the action has to be as careful as the request needs.
fn fits(action: &str, name: &str, declared: &Declared) -> Result<(), Failure> {
    let effect = declared.effect;
    let right = effect.action();
    let ok = match action {
        "request.run" => effect != Effect::Read,
        "request.change.probe" => effect == Effect::Probe,
        action => action == right,
    };
    match ok {
        true => Ok(()),
        false => Err(Failure::refused(format!(
            "request {name} has effect {}: run it by {right}",
            effect.as_str()
        ))),
    }
}

/// Nothing that leaves may hold a secret, wherever it came from.
fn scrubbed(end: End, secrets: &Secrets) -> End {
    let value = |v: Option<Value>| v.map(|v| secrets.scrub_value(v));
    let outcome = match end.outcome {
        Outcome::Done(mut done) => {
            done.before = value(done.before);
            done.after = value(done.after);
            done.result = value(done.result);
            Outcome::Done(done)
        }
        Outcome::Failed(mut failure) => {
            failure.message = secrets.scrub(&failure.message);
            failure.detail = value(failure.detail);
            Outcome::Failed(failure)
        }
        Outcome::Unknown { why } => Outcome::Unknown {
            why: secrets.scrub(&why),
        },
        Outcome::Cancelled { why } => Outcome::Cancelled { why },
    };
    let mut readings = end.readings;
    for label in readings.iter_mut().flat_map(|r| r.labels.values_mut()) {
        *label = secrets.scrub(label);
    }
    let facts = end.facts.into_iter();
    End {
        outcome,
        readings,
        facts: facts.map(|(k, v)| (k, secrets.scrub_value(v))).collect(),
    }
}

/// RFC 3339 in UTC, as the protocol writes it: `2026-09-21T14:13:20.123Z`.
fn rfc3339<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    parse_utc(&text).ok_or_else(|| serde::de::Error::custom("a time in UTC is wanted"))
}

fn parse_utc(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':');
    let hour: i64 = time.next()?.parse().ok()?;
    let minute: i64 = time.next()?.parse().ok()?;
    let seconds: f64 = time.next()?.parse().ok()?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..61.0).contains(&seconds) {
        return None;
    }
    // Days since 1970 of a civil date: years begin in March, so that the leap day is the last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let minutes = (days * 24 + hour) * 60 + minute;
    let ms = minutes * 60_000 + (seconds * 1_000.0).round() as i64;
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_protocol_are_read() {
        let table = [
            ("2026-09-21T14:13:20.123Z", Some(1_790_000_000_123)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T23:59:59.999Z", Some(1_709_251_199_999)),
            ("2026-09-21T14:13:20.123+02:00", None),
            ("2026-13-21T14:13:20Z", None),
            ("soon", None),
        ];
        for (text, want) in table {
            assert_eq!(parse_utc(text), want, "{text}");
        }
    }
}
