//! observe: reads a system, its chassis and its manager, and hands over what came in time.
//!
//! A part that fails must never cost the others: it is named under `missing`, and the rest counts.

use crate::client::Client;
use crate::http::Trouble;
use crate::limits;
use crate::links::{Purpose, http_status, link, links};
use crate::sensors::{self, Sources};
use sengu_sdk::{Context, Done, Failure, Level, Outcome, Reading};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What was read so far.
#[derive(Default)]
pub struct Found {
    pub readings: Vec<Reading>,
    pub facts: BTreeMap<String, Value>,
    missing: Vec<String>,
}

pub async fn observe(task: &Context, client: &Client) -> Outcome {
    let system = match client.system(Purpose::Read).await {
        Ok(system) => system,
        Err(trouble) => return trouble.of_read().into(),
    };
    let mut found = Found::default();
    power_and_health(&system.body, &mut found);
    if task.params["depth"].as_str() == Some("power") {
        task.observed(found.readings, found.facts);
        return Outcome::Done(Done::default());
    }
    identity(&system.body, &mut found);
    let stopped = everything(client, &system.body, &mut found).await.err();
    task.observed(found.readings, found.facts);
    if let Some(failure) = stopped {
        return failure.into();
    }
    if found.missing.is_empty() {
        return Outcome::Done(Done::default());
    }
    for missing in &found.missing {
        task.log(Level::Warn, missing.as_str());
    }
    Outcome::result(false, json!({"partial": true, "missing": found.missing}))
}

/// # Errors
/// Only what makes further contact harmful; what was found stays.
async fn everything(client: &Client, system: &Value, found: &mut Found) -> Result<(), Failure> {
    if let Some(root) = found
        .part("service root", client, async |c| c.root().await)
        .await?
    {
        if let (Some(vendor), false) = (&root.vendor, found.facts.contains_key("vendor")) {
            found.fact("vendor", &json!(vendor));
        }
        found.fact("redfish_version", &json!(root.redfish_version));
    }
    if let Some(path) = links(system, "/Links/ManagedBy").first() {
        let read = async |c: Client| Ok(c.get(path).await?.body);
        if let Some(body) = found.part("manager", client, read).await? {
            manager(&body, found);
        }
    }
    let chassis = links(system, "/Links/Chassis");
    let several = chassis.len() > 1;
    for path in chassis.iter().take(limits::CHASSIS_MAX) {
        let id = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or(path);
        let label = several.then_some(id);
        let name = |part: &str| match label {
            Some(label) => format!("{part} of {label}"),
            None => part.to_owned(),
        };
        let read = async |c: Client| Sources::of(&c, path).await;
        let Some(sources) = found.part(&name("chassis"), client, read).await? else {
            continue;
        };
        for source in sources.iter() {
            let read = async |c: Client| sensors::read(&c, source).await;
            let readings = found.part(&name(source.title()), client, read).await?;
            found.take(readings.unwrap_or_default(), label);
        }
    }
    let read = async |c: Client| firmware(&c).await;
    let inventory = found.part("firmware inventory", client, read).await?;
    if let Some(inventory) = inventory.filter(|i| !i.is_empty()) {
        found.fact("firmware_inventory", &json!(*inventory));
    }
    Ok(())
}

impl Found {
    /// Reads one part, in at most 60 % of the time left, so that one part that hangs leaves time for the others.
    async fn part<T>(
        &mut self,
        name: &str,
        client: &Client,
        read: impl AsyncFnOnce(Client) -> Result<T, Trouble>,
    ) -> Result<Option<T>, Failure> {
        if client.remaining() < limits::PART_MIN {
            self.missing
                .push(format!("{name}: timeout: no time was left for it"));
            return Ok(None);
        }
        let mut client = client.clone();
        client.deadline = Instant::now() + client.remaining() * 3 / 5;
        let bmc = client.bmc.clone();
        let got = read(client).await.map_err(Trouble::of_read);
        if let Err(failure) = &got
            && http_status(failure) == Some(404)
        {
            // A link into nothing: the BMC does not have this part. If it once had, look for it anew.
            bmc.known.lock().sources.clear();
            return Ok(None);
        }
        let up = if got.is_ok() { 1.0 } else { 0.0 };
        self.readings
            .push(Reading::new("redfish_part_up", up, "1").label("part", name));
        match got {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.code.quarantines() => Err(failure),
            Err(failure) => {
                let (code, message) = (failure.code, failure.message);
                self.missing.push(format!("{name}: {code}: {message}"));
                Ok(None)
            }
        }
    }

    /// Notes a fact unless the BMC left it empty.
    fn fact(&mut self, name: &str, value: &Value) {
        let value = match value {
            Value::Null => return,
            Value::String(text) if text.trim().is_empty() => return,
            Value::String(text) => json!(text.trim()),
            other => other.clone(),
        };
        self.facts.insert(name.to_owned(), value);
    }

    fn take(&mut self, readings: Vec<Reading>, chassis: Option<&str>) {
        for reading in readings {
            self.readings.push(match chassis {
                Some(chassis) => reading.label("chassis", chassis),
                None => reading,
            });
        }
    }
}

/// What one request tells: enough for a sweep that only asks whether things are up.
fn power_and_health(system: &Value, found: &mut Found) {
    let power = &system["PowerState"];
    if let Some(state) = power.as_str() {
        let on = if state == "On" { 1.0 } else { 0.0 };
        found.readings.push(Reading::new("power_on", on, "1"));
    }
    found.fact("power_state", power);
    let health = health(system);
    if let Some(health) = health.as_str() {
        let ok = if health == "OK" { 1.0 } else { 0.0 };
        found.readings.push(Reading::new("health_ok", ok, "1"));
    }
    found.fact("health", health);
}

/// The rollup where there is one, however it is spelt.
fn health(resource: &Value) -> &Value {
    let status = &resource["Status"];
    ["HealthRollup", "HealthRollUp", "Health"]
        .iter()
        .map(|name| &status[*name])
        .find(|health| health.is_string())
        .unwrap_or(&Value::Null)
}

fn identity(system: &Value, found: &mut Found) {
    let facts = [
        ("vendor", &system["Manufacturer"]),
        ("model", &system["Model"]),
        ("serial", &system["SerialNumber"]),
        ("sku", &system["SKU"]),
        ("uuid", &system["UUID"]),
        ("hostname", &system["HostName"]),
        ("asset_tag", &system["AssetTag"]),
        ("bios_version", &system["BiosVersion"]),
        ("state", &system["Status"]["State"]),
        ("cpu_count", &system["ProcessorSummary"]["Count"]),
        ("cpu_model", &system["ProcessorSummary"]["Model"]),
        (
            "memory_gib",
            &system["MemorySummary"]["TotalSystemMemoryGiB"],
        ),
        ("boot_device", &system["Boot"]["BootSourceOverrideTarget"]),
        (
            "boot_override",
            &system["Boot"]["BootSourceOverrideEnabled"],
        ),
        ("last_reset", &system["LastResetTime"]),
    ];
    for (name, value) in facts {
        found.fact(name, value);
    }
}

fn manager(manager: &Value, found: &mut Found) {
    let version = &manager["FirmwareVersion"];
    // `firmware` is what releases of workers are matched by; for a server that is the BMC's.
    found.fact("firmware", version);
    found.fact("bmc_version", version);
    found.fact("bmc_model", &manager["Model"]);
    found.fact("bmc_health", health(manager));
}

/// Versions by component; kept for an hour, since reading it costs a request per component.
async fn firmware(client: &Client) -> Result<Arc<BTreeMap<String, Value>>, Trouble> {
    if let Some((at, inventory)) = &client.bmc.known.lock().inventory
        && at.elapsed() < limits::INVENTORY_KEEP
    {
        return Ok(inventory.clone());
    }
    let root = client.root().await?;
    let Some(service) = &root.update_service else {
        return Ok(Arc::default());
    };
    let service = client.get(service).await?.body;
    let Some(collection) = link(&service, "FirmwareInventory") else {
        return Ok(Arc::default());
    };
    let mut inventory = BTreeMap::new();
    for member in client.expanded(&collection).await? {
        let text = |name: &str| member.get(name).and_then(Value::as_str);
        if let (Some(id), Some(version)) = (text("Id").or(text("Name")), text("Version")) {
            inventory.insert(id.to_owned(), json!(version));
        }
    }
    let inventory = Arc::new(inventory);
    client.bmc.known.lock().inventory = Some((Instant::now(), inventory.clone()));
    Ok(inventory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_read_leniently() {
        let table = [
            (json!({}), None, None, 0),
            (json!({"PowerState": "On"}), Some(1.0), None, 1),
            (
                json!({"PowerState": "PoweringOff", "Model": 7}),
                Some(0.0),
                None,
                2,
            ),
            (json!({"Status": {"Health": "Warning"}}), None, Some(0.0), 1),
            (
                json!({"Status": {"Health": "OK", "HealthRollup": "Critical"}}),
                None,
                Some(0.0),
                1,
            ),
            (
                json!({"Status": {"HealthRollUp": "OK"}}),
                None,
                Some(1.0),
                1,
            ),
            (
                json!({"Status": "fine", "PowerState": 1, "Model": "  "}),
                None,
                None,
                1,
            ),
            (
                json!({"Status": null, "Boot": [], "SerialNumber": " X1 "}),
                None,
                None,
                1,
            ),
        ];
        for (body, power, ok, facts) in table {
            let mut found = Found::default();
            power_and_health(&body, &mut found);
            identity(&body, &mut found);
            let value = |name: &str| {
                let reading = found.readings.iter().find(|r| r.name == name);
                reading.map(|r| r.value)
            };
            assert_eq!(
                (value("power_on"), value("health_ok")),
                (power, ok),
                "{body}"
            );
            assert_eq!(found.facts.len(), facts, "{body} {:?}", found.facts);
        }
    }
}
