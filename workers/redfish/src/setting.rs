//! Settings that are declared and read back: boot device, locator light, power limit.
//!
//! It must never report a setting as done that the BMC took and then kept otherwise (some turn Once into Continuous).

use crate::client::{Client, Resource};
use crate::http::Trouble;
use crate::links::{Purpose, link, links};
use crate::power::{Sent, sort_answer, strings};
use crate::read_back::{Seen, read_back};
use crate::{limits, links};
use sengu_sdk::{Context, Failure, FailureCode, Level, Outcome};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What is to be done to a resource as it is now.
#[derive(Debug, PartialEq)]
pub enum Plan {
    Already,
    Patch(Value),
}

/// One declared setting of one resource.
pub trait Setting {
    /// The setting as it is, in the words of the action.
    fn current(&self, body: &Value) -> Value;
    /// # Errors
    /// `refused` when the resource does not offer it.
    fn plan(&self, body: &Value) -> Result<Plan, Failure>;
}

pub async fn boot(task: &Context, client: &Client) -> Outcome {
    let setting = Boot {
        device: task.params["device"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        once: task.params["once"].as_bool().unwrap_or(true),
        mode: task.params["mode"].as_str().map(str::to_owned),
    };
    let done = async {
        let system = client.system(Purpose::Change).await?;
        apply(task, client, system, &setting).await
    };
    done.await.unwrap_or_else(|t: Trouble| t.of_read().into())
}

pub async fn led(task: &Context, client: &Client) -> Outcome {
    let setting = Led {
        state: task.params["state"].as_str().unwrap_or_default().to_owned(),
    };
    let done = async {
        let system = client.system(Purpose::Change).await?;
        let mut resource = system;
        if !Led::offered(&resource.body) {
            let chassis = links(&resource.body, "/Links/Chassis");
            if let Some(path) = chassis.first() {
                resource = client.get(path).await?;
            }
        }
        apply(task, client, resource, &setting).await
    };
    done.await.unwrap_or_else(|t: Trouble| t.of_read().into())
}

pub async fn powercap(task: &Context, client: &Client) -> Outcome {
    let setting = PowerCap {
        watts: task.params["watts"].as_f64(),
    };
    let done = async {
        let resource = find_power_limit(client).await?;
        apply(task, client, resource, &setting).await
    };
    done.await.unwrap_or_else(|t: Trouble| t.of_read().into())
}

/// Reads, plans, changes with the ETag of that very reading, reads back.
async fn apply(
    task: &Context,
    client: &Client,
    mut resource: Resource,
    setting: &impl Setting,
) -> Result<Outcome, Trouble> {
    let before = setting.current(&resource.body);
    let mut lost = None;
    let mut changed_meanwhile = false;
    loop {
        let patch = match setting.plan(&resource.body)? {
            Plan::Already => return Ok(Outcome::already(setting.current(&resource.body))),
            Plan::Patch(patch) => patch,
        };
        if task.is_cancelled() {
            let why = "nothing had been asked of the BMC yet".to_owned();
            return Ok(Outcome::Cancelled { why });
        }
        let etag = resource.etag.as_deref();
        let answer = client.patch(&resource.path, &patch, etag).await;
        let what = format!("PATCH {}", resource.path);
        match sort_answer(task, client, &what, answer).await {
            Sent::Accepted(_) => break,
            Sent::InDoubt(why) => {
                task.log(Level::Warn, format!("{why}; reading back"));
                lost = Some(why);
                break;
            }
            Sent::Refused(failure) if links::http_status(&failure) == Some(412) => {
                if changed_meanwhile {
                    let hint = "; if nobody else changes it, try config.etag: strip_weak or omit";
                    let failure = Failure {
                        message: failure.message + hint,
                        ..failure
                    };
                    return Err(failure.into());
                }
                // Someone changed it since: look again and decide anew, once.
                changed_meanwhile = true;
                resource = client.get(&resource.path).await?;
            }
            Sent::Refused(failure) => return Err(failure.into()),
        }
    }
    let until = Instant::now() + limits::SETTLE_MAX;
    let reached = |body: &Value| matches!(setting.plan(body), Ok(Plan::Already));
    let seen = read_back(task, client, &resource.path, until, reached).await;
    let unknown = |why: String| Outcome::Unknown { why };
    Ok(match (seen, lost) {
        (Seen::Reached(body), _) => Outcome::changed(before, setting.current(&body)),
        (Seen::Stopped(failure), None) => failure.into(),
        (Seen::Stopped(failure), Some(why)) => unknown(format!("{why}; then {}", failure.message)),
        (Seen::NotInTime(_) | Seen::Cancelled(_), Some(why)) => unknown(why),
        (Seen::Cancelled(_), None) => unknown("cancelled after the BMC had accepted it".to_owned()),
        (Seen::NotInTime(body), None) => {
            let now = body.as_ref().map(|body| setting.current(body));
            let detail = json!({"before": before, "lastSeen": now});
            let (code, message) = match &now {
                Some(now) if *now != before => (
                    FailureCode::Refused,
                    format!("the BMC accepted it and made {now} of it"),
                ),
                _ => (
                    FailureCode::Timeout,
                    "the BMC accepted it, but nothing changed".to_owned(),
                ),
            };
            Failure::new(code, message).with_detail(detail).into()
        }
    })
}

fn refused(message: String) -> Failure {
    Failure::new(FailureCode::Refused, message)
}

struct Boot {
    device: String,
    once: bool,
    mode: Option<String>,
}

impl Setting for Boot {
    fn current(&self, body: &Value) -> Value {
        let boot = body.get("Boot");
        let part = |name: &str| boot.and_then(|b| b.get(name)).cloned().unwrap_or_default();
        json!({
            "device": part("BootSourceOverrideTarget"),
            "enabled": part("BootSourceOverrideEnabled"),
            "mode": part("BootSourceOverrideMode"),
        })
    }

    fn plan(&self, body: &Value) -> Result<Plan, Failure> {
        let Some(boot) = body.get("Boot").filter(|b| b.is_object()) else {
            return Err(refused("the BMC offers no boot override".to_owned()));
        };
        let text = |name: &str| boot.get(name).and_then(Value::as_str);
        let allowed = |name: &str| strings(boot.get(format!("{name}@Redfish.AllowableValues")));
        let (target, enabled) = (
            text("BootSourceOverrideTarget"),
            text("BootSourceOverrideEnabled"),
        );
        // Some refuse the target None, so an override is ended by Disabled.
        if self.device.eq_ignore_ascii_case("none") {
            if enabled == Some("Disabled") || target == Some("None") {
                return Ok(Plan::Already);
            }
            let patch = json!({"Boot": {"BootSourceOverrideEnabled": "Disabled"}});
            return Ok(Plan::Patch(patch));
        }
        let offered = allowed("BootSourceOverrideTarget");
        let same = |offer: &&String| offer.eq_ignore_ascii_case(&self.device);
        let device = match offered.iter().find(same) {
            Some(offer) => offer.clone(),
            None if offered.is_empty() => self.device.clone(),
            None => {
                let (device, offer) = (&self.device, offered.join(", "));
                return Err(refused(format!(
                    "boot device {device:?}: the BMC offers {offer}"
                )));
            }
        };
        let wanted = if self.once { "Once" } else { "Continuous" };
        let offered = allowed("BootSourceOverrideEnabled");
        if !offered.is_empty() && !offered.iter().any(|o| o == wanted) {
            return Err(refused(format!(
                "boot override {wanted}: the BMC offers {}",
                offered.join(", ")
            )));
        }
        let mut patch = json!({
            "BootSourceOverrideTarget": device, "BootSourceOverrideEnabled": wanted,
        });
        // The mode is sent only where it is reported and differs: several BMCs refuse it otherwise.
        let mode_differs = match (&self.mode, text("BootSourceOverrideMode")) {
            (None, _) => false,
            (Some(mode), Some(now)) if mode == now => false,
            (Some(mode), Some(_)) => {
                patch["BootSourceOverrideMode"] = json!(mode);
                true
            }
            (Some(_), None) => return Err(refused("the BMC reports no boot mode".to_owned())),
        };
        if target == Some(&device) && enabled == Some(wanted) && !mode_differs {
            return Ok(Plan::Already);
        }
        Ok(Plan::Patch(json!({"Boot": patch})))
    }
}

struct Led {
    state: String,
}

impl Led {
    fn offered(body: &Value) -> bool {
        body.get("LocationIndicatorActive").is_some() || body.get("IndicatorLED").is_some()
    }
}

impl Setting for Led {
    fn current(&self, body: &Value) -> Value {
        match (
            body.get("LocationIndicatorActive"),
            body.get("IndicatorLED"),
        ) {
            (Some(Value::Bool(on)), _) => json!(if *on { "on" } else { "off" }),
            (_, Some(Value::String(led))) => match led.as_str() {
                "Lit" => json!("on"),
                "Off" => json!("off"),
                "Blinking" => json!("blinking"),
                other => json!(other),
            },
            _ => Value::Null,
        }
    }

    fn plan(&self, body: &Value) -> Result<Plan, Failure> {
        if !Self::offered(body) {
            return Err(refused("the BMC offers no locator light".to_owned()));
        }
        let active = body.get("LocationIndicatorActive").is_some();
        if active && self.state != "blinking" {
            let on = self.state == "on";
            if self.current(body) == json!(self.state) {
                return Ok(Plan::Already);
            }
            return Ok(Plan::Patch(json!({"LocationIndicatorActive": on})));
        }
        let Some(led) = body.get("IndicatorLED") else {
            return Err(refused("this light is only on or off".to_owned()));
        };
        let wanted = match self.state.as_str() {
            "on" => "Lit",
            "blinking" => "Blinking",
            _ => "Off",
        };
        if led == wanted {
            return Ok(Plan::Already);
        }
        let offered = strings(body.get("IndicatorLED@Redfish.AllowableValues"));
        if !offered.is_empty() && !offered.iter().any(|o| o == wanted) {
            return Err(refused(format!(
                "light {wanted}: the BMC offers {}",
                offered.join(", ")
            )));
        }
        Ok(Plan::Patch(json!({"IndicatorLED": wanted})))
    }
}

struct PowerCap {
    watts: Option<f64>,
}

/// EnvironmentMetrics of the chassis, or its deprecated Power resource: the first that has a limit.
async fn find_power_limit(client: &Client) -> Result<Resource, Trouble> {
    let system = client.system(Purpose::Change).await?;
    for path in links(&system.body, "/Links/Chassis")
        .iter()
        .take(limits::CHASSIS_MAX)
    {
        let chassis = client.get(path).await?;
        for property in ["EnvironmentMetrics", "Power"] {
            let Some(path) = link(&chassis.body, property) else {
                continue;
            };
            let resource = client.get(&path).await?;
            if PowerCap::offered(&resource.body) {
                return Ok(resource);
            }
        }
    }
    Err(refused("the BMC offers no power limit".to_owned()).into())
}

impl PowerCap {
    fn offered(body: &Value) -> bool {
        body.get("PowerLimitWatts").is_some_and(Value::is_object)
            || body.pointer("/PowerControl/0/PowerLimit").is_some()
    }

    fn in_range(&self, limit: &Value) -> Result<(), Failure> {
        let bound = |name: &str| limit.get(name).and_then(Value::as_f64);
        let (low, high) = (bound("AllowableMin"), bound("AllowableMax"));
        let Some(watts) = self.watts else {
            return Ok(());
        };
        if low.is_some_and(|low| watts < low) || high.is_some_and(|high| watts > high) {
            let text = |b: Option<f64>| b.map_or("-".to_owned(), |b| b.to_string());
            let (low, high) = (text(low), text(high));
            return Err(refused(format!(
                "{watts} W: the BMC allows {low} to {high}"
            )));
        }
        Ok(())
    }
}

impl Setting for PowerCap {
    fn current(&self, body: &Value) -> Value {
        let limit = &body["PowerLimitWatts"];
        let watts = match limit {
            Value::Object(_) if limit["ControlMode"] == "Disabled" => Value::Null,
            Value::Object(_) => limit["SetPoint"].clone(),
            _ => body["PowerControl"][0]["PowerLimit"]["LimitInWatts"].clone(),
        };
        json!({"watts": watts.as_f64()})
    }

    fn plan(&self, body: &Value) -> Result<Plan, Failure> {
        if !Self::offered(body) {
            return Err(refused("the BMC offers no power limit".to_owned()));
        }
        if self.current(body) == json!({"watts": self.watts}) {
            return Ok(Plan::Already);
        }
        let Some(limit) = body.get("PowerLimitWatts").filter(|l| l.is_object()) else {
            let patch = json!({"PowerControl": [{"PowerLimit": {"LimitInWatts": self.watts}}]});
            return Ok(Plan::Patch(patch));
        };
        self.in_range(limit)?;
        let mode = limit.get("ControlMode").and_then(Value::as_str);
        let patch = match (self.watts, mode) {
            (Some(watts), Some("Disabled")) => {
                json!({"SetPoint": watts, "ControlMode": "Automatic"})
            }
            (Some(watts), _) => json!({"SetPoint": watts}),
            (None, Some(_)) => json!({"ControlMode": "Disabled"}),
            (None, None) => json!({"SetPoint": null}),
        };
        Ok(Plan::Patch(json!({"PowerLimitWatts": patch})))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(setting: &impl Setting, body: Value, want: Result<Plan, ()>) {
        let got = setting.plan(&body).map_err(|failure| {
            assert_eq!(failure.code, FailureCode::Refused);
        });
        assert_eq!(got, want, "{body}");
    }

    #[test]
    fn boot_is_planned_from_what_the_bmc_offers() {
        let boot = |device: &str, once, mode: Option<&str>| Boot {
            device: device.to_owned(),
            once,
            mode: mode.map(str::to_owned),
        };
        let now = |target: &str, enabled: &str| {
            json!({"Boot": {
                "BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": enabled,
                "BootSourceOverrideMode": "UEFI",
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["Pxe", "Hdd"],
            }})
        };
        let patch = |part: Value| Ok(Plan::Patch(json!({"Boot": part})));
        let pxe = json!({"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"});
        check(
            &boot("Pxe", true, None),
            now("None", "Disabled"),
            patch(pxe.clone()),
        );
        check(
            &boot("pxe", true, Some("UEFI")),
            now("None", "Disabled"),
            patch(pxe.clone()),
        );
        check(
            &boot("Pxe", true, None),
            now("Pxe", "Once"),
            Ok(Plan::Already),
        );
        check(
            &boot("Pxe", true, None),
            now("Pxe", "Continuous"),
            patch(pxe.clone()),
        );
        check(
            &boot("Floppy", true, None),
            now("None", "Disabled"),
            Err(()),
        );
        let mut legacy = pxe.clone();
        legacy["BootSourceOverrideMode"] = json!("Legacy");
        check(
            &boot("Pxe", true, Some("Legacy")),
            now("Pxe", "Once"),
            patch(legacy),
        );
        check(
            &boot("Pxe", true, Some("UEFI")),
            json!({"Boot": {}}),
            Err(()),
        );
        check(&boot("Pxe", true, None), json!({"Boot": {}}), patch(pxe));
        check(&boot("Pxe", true, None), json!({}), Err(()));
        let end = patch(json!({"BootSourceOverrideEnabled": "Disabled"}));
        check(&boot("None", true, None), now("Pxe", "Once"), end);
        check(
            &boot("None", true, None),
            now("Pxe", "Disabled"),
            Ok(Plan::Already),
        );
    }

    #[test]
    fn lights_have_an_old_and_a_new_property() {
        let led = |state: &str| Led {
            state: state.to_owned(),
        };
        let new = |on: bool| json!({"LocationIndicatorActive": on});
        let old = |led: &str| json!({"IndicatorLED": led});
        check(&led("on"), new(false), Ok(Plan::Patch(new(true))));
        check(&led("on"), new(true), Ok(Plan::Already));
        check(&led("blinking"), new(true), Err(()));
        check(&led("on"), old("Off"), Ok(Plan::Patch(old("Lit"))));
        check(
            &led("blinking"),
            old("Off"),
            Ok(Plan::Patch(old("Blinking"))),
        );
        check(&led("off"), old("Off"), Ok(Plan::Already));
        let few =
            json!({"IndicatorLED": "Off", "IndicatorLED@Redfish.AllowableValues": ["Off", "Lit"]});
        check(&led("blinking"), few, Err(()));
        check(&led("on"), json!({}), Err(()));
    }

    #[test]
    fn power_limits_have_an_old_and_a_new_resource() {
        let cap = |watts: Option<f64>| PowerCap { watts };
        let env = |set: Value, mode: &str| {
            json!({"PowerLimitWatts": {
                "SetPoint": set, "ControlMode": mode, "AllowableMin": 100, "AllowableMax": 500,
            }})
        };
        let power =
            |watts: Value| json!({"PowerControl": [{"PowerLimit": {"LimitInWatts": watts}}]});
        let patch = |part: Value| Ok(Plan::Patch(json!({"PowerLimitWatts": part})));
        let on = patch(json!({"SetPoint": 300.0, "ControlMode": "Automatic"}));
        check(&cap(Some(300.0)), env(json!(400), "Disabled"), on);
        check(
            &cap(Some(300.0)),
            env(json!(400), "Automatic"),
            patch(json!({"SetPoint": 300.0})),
        );
        check(
            &cap(Some(300.0)),
            env(json!(300), "Automatic"),
            Ok(Plan::Already),
        );
        check(&cap(Some(50.0)), env(json!(300), "Automatic"), Err(()));
        check(
            &cap(None),
            env(json!(300), "Automatic"),
            patch(json!({"ControlMode": "Disabled"})),
        );
        check(&cap(None), env(json!(300), "Disabled"), Ok(Plan::Already));
        check(
            &cap(Some(250.0)),
            power(json!(null)),
            Ok(Plan::Patch(power(json!(250.0)))),
        );
        check(&cap(Some(250.0)), power(json!(250)), Ok(Plan::Already));
        check(
            &cap(None),
            power(json!(250)),
            Ok(Plan::Patch(power(json!(null)))),
        );
        check(&cap(None), json!({}), Err(()));
    }
}
