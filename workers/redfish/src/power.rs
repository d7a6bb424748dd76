//! power.set: a power state is declared, read first, asked for once, and read back.
//!
//! It must never turn a graceful off into a forced one, and never send a ResetType that the BMC does not list.

use crate::client::{Client, Resource};
use crate::http::Trouble;
use crate::links::{Purpose, link};
use crate::monitor;
use crate::read_back::{Seen, read_back};
use crate::reply::{Reply, path_of};
use sengu_sdk::{Context, Failure, FailureCode, Level, Outcome};
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    On,
    Off,
    ForceOff,
}

impl Wanted {
    fn reached(self, state: &str) -> bool {
        match self {
            Wanted::On => state == "On",
            Wanted::Off | Wanted::ForceOff => state == "Off",
        }
    }

    /// Already on the way, so that asking again would only disturb.
    fn coming(self, state: &str) -> bool {
        matches!(
            (self, state),
            (Wanted::On, "PoweringOn") | (Wanted::Off, "PoweringOff")
        )
    }

    /// On the way elsewhere: what is asked now would be lost or refused.
    fn going_away(self, state: &str) -> bool {
        matches!(
            (self, state),
            (Wanted::On, "PoweringOff") | (Wanted::Off, "PoweringOn")
        )
    }

    /// ResetTypes that lead there and nowhere else, best first.
    fn reset_types(self) -> &'static [&'static str] {
        match self {
            Wanted::On => &["On", "ForceOn"],
            Wanted::Off => &["GracefulShutdown"],
            Wanted::ForceOff => &["ForceOff"],
        }
    }
}

pub async fn set(task: &Context, client: &Client) -> Outcome {
    let wanted = match task.params["state"].as_str() {
        Some("on") => Wanted::On,
        Some("off") => Wanted::Off,
        Some("forceOff") => Wanted::ForceOff,
        other => {
            let message = format!("state {other:?}: on, off or forceOff");
            return Outcome::failed(FailureCode::Refused, message);
        }
    };
    set_power(task, client, wanted)
        .await
        // Nothing that changes anything was lost on these ways out.
        .unwrap_or_else(|trouble| trouble.of_read().into())
}

async fn set_power(task: &Context, client: &Client, wanted: Wanted) -> Result<Outcome, Trouble> {
    let mut system = client.system(Purpose::Change).await?;
    let before = power_state(&system.body)?;
    if wanted.reached(&before) {
        return Ok(Outcome::already(json!({"powerState": before})));
    }
    if wanted.going_away(&before) {
        let settled = |body: &Value| power_state(body).is_ok_and(|s| !wanted.going_away(&s));
        match read_back(task, client, &system.path, client.deadline, settled).await {
            Seen::Reached(body) => system.body = body,
            Seen::Stopped(failure) => return Err(failure.into()),
            Seen::Cancelled(_) => return Ok(cancelled_before()),
            Seen::NotInTime(_) => {
                let message = format!("the system stayed {before}; nothing was asked of it");
                return Err(Trouble::failed(FailureCode::Timeout, message));
            }
        }
    }
    let now = power_state(&system.body)?;
    let mut lost = None;
    let mut reset_type = None;
    if !wanted.reached(&now) && !wanted.coming(&now) {
        let reset = Reset::of(client, &system).await?;
        let chosen = reset.choose(wanted.reset_types())?;
        if task.is_cancelled() {
            return Ok(cancelled_before());
        }
        reset_type = Some(chosen);
        match reset.send(task, client, chosen).await {
            Sent::Accepted(_) => {}
            Sent::InDoubt(why) => {
                task.log(Level::Warn, format!("{why}; reading back"));
                lost = Some(why);
            }
            // It may have come true by itself, which some BMCs answer with an error.
            Sent::Refused(failure) => match client.get(&system.path).await {
                Ok(again) if power_state(&again.body).is_ok_and(|s| wanted.reached(&s)) => {
                    return Ok(Outcome::already(
                        json!({"powerState": power_state(&again.body)?}),
                    ));
                }
                _ => return Err(failure.into()),
            },
        }
    }
    let reached = |body: &Value| power_state(body).is_ok_and(|s| wanted.reached(&s));
    let seen = read_back(task, client, &system.path, client.deadline, reached).await;
    let word = |known: Option<String>| known.unwrap_or_else(|| "unknown".into());
    let state = |body: &Option<Value>| body.as_ref().and_then(|b| power_state(b).ok());
    Ok(match (seen, lost) {
        (Seen::Reached(body), _) => {
            let after = power_state(&body)?;
            Outcome::changed(json!({"powerState": before}), json!({"powerState": after}))
        }
        (Seen::Stopped(failure), None) => failure.into(),
        (Seen::Stopped(failure), Some(why)) => Outcome::Unknown {
            why: format!("{why}; then {}", failure.message),
        },
        (Seen::NotInTime(body) | Seen::Cancelled(body), Some(why)) => Outcome::Unknown {
            why: format!("{why}; power state last seen: {}", word(state(&body))),
        },
        (Seen::Cancelled(body), None) => Outcome::Unknown {
            why: format!(
                "cancelled after the BMC had accepted {}; power state last seen: {}",
                word(reset_type.map(str::to_owned)),
                word(state(&body))
            ),
        },
        (Seen::NotInTime(body), None) => {
            let seen = state(&body);
            let hint = match wanted {
                Wanted::Off => "; the OS may ignore the request, forceOff was not tried",
                _ => "",
            };
            let (asked, now) = (word(reset_type.map(str::to_owned)), word(seen.clone()));
            let message = format!("the BMC accepted {asked}, the system is still {now}{hint}");
            let detail = json!({"before": before, "lastSeen": seen, "resetType": reset_type});
            Failure::new(FailureCode::Timeout, message)
                .with_detail(detail)
                .into()
        }
    })
}

fn cancelled_before() -> Outcome {
    Outcome::Cancelled {
        why: "nothing had been asked of the BMC yet".to_owned(),
    }
}

/// # Errors
/// `bad_reply` when the system does not say.
pub fn power_state(body: &Value) -> Result<String, Failure> {
    let state = body.get("PowerState").and_then(Value::as_str);
    state.map(str::to_owned).ok_or_else(|| {
        let message = "the system reports no PowerState";
        Failure::new(FailureCode::BadReply, message)
    })
}

/// The reset action as this system offers it.
pub struct Reset {
    target: String,
    allowed: Vec<String>,
}

/// How a changing request went.
pub enum Sent {
    Accepted(monitor::End),
    /// The device said no; nothing happened.
    Refused(Failure),
    /// No answer, or one from which nothing can be told.
    InDoubt(String),
}

/// Sorts the answer to a changing request; follows its Task when there is one.
pub async fn sort_answer(
    task: &Context,
    client: &Client,
    what: &str,
    answer: Result<Reply, Trouble>,
) -> Sent {
    let reply = match answer {
        Ok(reply) => reply,
        Err(Trouble::Failed(failure)) => return Sent::Refused(failure),
        Err(trouble) => return Sent::InDoubt(trouble.message().to_owned()),
    };
    if !reply.ok() {
        let failure = reply.failure(what);
        // An internal error or a gateway that gave up does not say whether the work began.
        return match reply.status {
            500 | 502 | 504 if !reply.busy() => Sent::InDoubt(failure.message),
            _ => Sent::Refused(failure),
        };
    }
    match monitor::follow(task, client, &reply).await {
        monitor::End::Failed(failure) => Sent::Refused(failure),
        end => Sent::Accepted(end),
    }
}

impl Reset {
    /// # Errors
    /// `refused` when the system offers no reset; trouble reading its ActionInfo.
    pub async fn of(client: &Client, system: &Resource) -> Result<Reset, Trouble> {
        let action = system.body.pointer("/Actions/#ComputerSystem.Reset");
        let target = action
            .and_then(|a| a.get("target"))
            .and_then(Value::as_str)
            .and_then(path_of);
        let (Some(action), Some(target)) = (action, target) else {
            let message = "the BMC offers no reset of this system";
            return Err(Trouble::failed(FailureCode::Refused, message));
        };
        let inline = strings(action.get("ResetType@Redfish.AllowableValues"));
        let allowed = match (inline.is_empty(), action_info(action)) {
            (true, Some(path)) => allowed_in_info(&client.get(&path).await?.body),
            _ => inline,
        };
        Ok(Reset { target, allowed })
    }

    /// The first of `wanted` that the BMC lists.
    ///
    /// # Errors
    /// `refused`, with what is listed.
    pub fn choose(&self, wanted: &[&'static str]) -> Result<&'static str, Failure> {
        let listed = |name: &&&'static str| self.allowed.iter().any(|a| a == **name);
        wanted.iter().find(listed).copied().ok_or_else(|| {
            let offer = match self.allowed.is_empty() {
                true => "does not say which ResetTypes it allows".to_owned(),
                false => format!("allows only {}", self.allowed.join(", ")),
            };
            let message = format!("{} is wanted, but the BMC {offer}", wanted.join(" or "));
            Failure::new(FailureCode::Refused, message)
        })
    }

    pub async fn send(&self, task: &Context, client: &Client, reset_type: &str) -> Sent {
        let body = json!({"ResetType": reset_type});
        let answer = client.post(&self.target, &body).await;
        sort_answer(task, client, &format!("reset {reset_type}"), answer).await
    }
}

fn action_info(action: &Value) -> Option<String> {
    // A string by the standard; some give a link object.
    let info = action.get("@Redfish.ActionInfo")?;
    info.as_str()
        .and_then(path_of)
        .or_else(|| link(action, "@Redfish.ActionInfo"))
}

fn allowed_in_info(info: &Value) -> Vec<String> {
    let parameters = info.get("Parameters").and_then(Value::as_array);
    let reset_type = parameters
        .into_iter()
        .flatten()
        .find(|p| p.get("Name").and_then(Value::as_str) == Some("ResetType"));
    strings(reset_type.and_then(|p| p.get("AllowableValues")))
}

pub fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|i| i.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(allowed: &[&str]) -> Reset {
        Reset {
            target: "/r".to_owned(),
            allowed: allowed.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    #[test]
    fn only_listed_reset_types_are_sent() {
        let table: [(&[&str], Wanted, Option<&str>); 8] = [
            (&["On", "ForceOn"], Wanted::On, Some("On")),
            (&["ForceOn"], Wanted::On, Some("ForceOn")),
            (&["PushPowerButton"], Wanted::On, None),
            (
                &["ForceOff", "GracefulShutdown"],
                Wanted::Off,
                Some("GracefulShutdown"),
            ),
            (&["ForceOff"], Wanted::Off, None),
            (&["GracefulShutdown"], Wanted::ForceOff, None),
            (&["ForceOff"], Wanted::ForceOff, Some("ForceOff")),
            (&[], Wanted::On, None),
        ];
        for (allowed, wanted, want) in table {
            let got = reset(allowed).choose(wanted.reset_types());
            assert_eq!(got.as_ref().ok().copied(), want, "{allowed:?} {wanted:?}");
            if let Err(failure) = got {
                assert_eq!(failure.code, FailureCode::Refused);
            }
        }
    }

    #[test]
    fn allowable_values_are_also_found_in_action_info() {
        let info = json!({"Parameters": [
            {"Name": "Other", "AllowableValues": ["x"]},
            {"Name": "ResetType", "AllowableValues": ["On", 7, "ForceOff"]},
        ]});
        assert_eq!(allowed_in_info(&info), ["On", "ForceOff"]);
        assert_eq!(allowed_in_info(&json!({"Parameters": {}})), [""; 0]);
        let table = [
            (json!({"@Redfish.ActionInfo": "/i"}), Some("/i")),
            (
                json!({"@Redfish.ActionInfo": {"@odata.id": "/j"}}),
                Some("/j"),
            ),
            (json!({"@Redfish.ActionInfo": 3}), None),
            (json!({}), None),
        ];
        for (action, want) in table {
            assert_eq!(action_info(&action).as_deref(), want, "{action}");
        }
    }

    #[test]
    fn states_on_the_way_are_waited_for() {
        let table = [
            (Wanted::On, "PoweringOn", "coming"),
            (Wanted::On, "PoweringOff", "going away"),
            (Wanted::Off, "PoweringOff", "coming"),
            (Wanted::ForceOff, "PoweringOff", "ask"),
            (Wanted::Off, "On", "ask"),
            (Wanted::Off, "Off", "reached"),
            (Wanted::On, "Paused", "ask"),
        ];
        for (wanted, state, want) in table {
            let got = if wanted.reached(state) {
                "reached"
            } else if wanted.coming(state) {
                "coming"
            } else if wanted.going_away(state) {
                "going away"
            } else {
                "ask"
            };
            assert_eq!(got, want, "{wanted:?} {state}");
        }
    }
}
