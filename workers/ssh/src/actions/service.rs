//! `service.set`: a systemd unit as wanted, told by systemd's own words before and after.

use super::{Call, call};
use crate::command::SERVICE_SET;
use crate::host::Host;
use crate::kept::Kept;
use crate::run::OnStop;
use sengu_sdk::{Context, Done, Effect, Failure, FailureCode, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    name: String,
    state: Option<String>,
    enabled: Option<bool>,
}

pub async fn set(task: &Context, kept: &Arc<Kept>, host: &Host) -> Result<Outcome, Failure> {
    let params: Params = task.params()?;
    let wanted = params.state.as_deref().unwrap_or_default();
    let enabled = match params.enabled {
        Some(true) => "enabled",
        Some(false) => "disabled",
        None => "",
    };
    let reply = call(
        task,
        kept,
        host,
        Call {
            script: &SERVICE_SET,
            args: &[&params.name, wanted, enabled],
            stdin: &[],
            effect: Effect::Idempotent,
            // systemd itself does the work; our script only waits for it.
            on_stop: OnStop::Kill,
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
    let exit = match reply.exit(host, Effect::Idempotent) {
        Ok(exit) => exit,
        Err(outcome) => return Ok(outcome),
    };
    let text = String::from_utf8_lossy(&reply.stdout).into_owned();
    let (before, after) = (section(&text, "before"), section(&text, "after"));
    let at = format!("{}: {}", host.at(), params.name);
    let failed = |why: String| {
        Failure::new(FailureCode::Refused, format!("{at}: {why}"))
            .with_detail(json!({ "before": state(&before), "after": state(&after) }))
    };
    if after.is_empty() {
        return Err(failed(format!(
            "systemctl exited {exit}: {}",
            reply.last_words()
        )));
    }
    let active = after.get("ActiveState").map(String::as_str).unwrap_or("");
    let right = match wanted {
        "started" => matches!(active, "active" | "reloading"),
        "stopped" => matches!(active, "inactive" | "failed"),
        _ => true,
    };
    let file = after.get("UnitFileState").map(String::as_str).unwrap_or("");
    // Units that cannot be enabled (static, generated) count as enabled: systemd starts them when they are needed.
    let right_file = match params.enabled {
        Some(true) => !matches!(file, "disabled" | "masked" | ""),
        Some(false) => !file.starts_with("enabled"),
        None => true,
    };
    if !right || !right_file || exit != 0 {
        let words = reply.last_words();
        return Err(failed(format!(
            "is {active} and {file}, not as wanted (systemctl exited {exit}: {words})"
        )));
    }
    let (before, after) = (state(&before), state(&after));
    Ok(Outcome::Done(Done {
        changed: before != after,
        before: Some(before),
        after: Some(after),
        result: None,
    }))
}

/// `Key=value` lines between `@@name` and the next mark.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mark = format!("@@{name}");
    let mut found = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("@@") {
            inside = line.trim_end() == mark;
        } else if inside && let Some((key, value)) = line.split_once('=') {
            found.insert(key.to_owned(), value.trim().to_owned());
        }
    }
    found
}

fn state(section: &BTreeMap<String, String>) -> Value {
    let get = |key: &str| section.get(key).cloned().unwrap_or_default();
    json!({ "active": get("ActiveState"), "sub": get("SubState"), "unitFile": get("UnitFileState") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_hold_systemds_words() {
        let text = "noise=1\n@@before\nLoadState=loaded\nActiveState=inactive\n@@after\nActiveState=active\nSubState=running\n";
        assert_eq!(section(text, "before")["ActiveState"], "inactive");
        let after = state(&section(text, "after"));
        assert_eq!(
            after,
            json!({"active": "active", "sub": "running", "unitFile": ""})
        );
        assert!(section(text, "end").is_empty());
    }
}
