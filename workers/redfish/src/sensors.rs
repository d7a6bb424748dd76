//! Temperatures, fans and power of a chassis, from whichever of the three generations of resources a BMC has.
//!
//! Newest first: EnvironmentMetrics and Sensors, then ThermalSubsystem, then the deprecated Thermal and Power, which newer
//! BMCs drop. Of the ways to the same value the one with fewest requests is taken.

use crate::client::Client;
use crate::http::Trouble;
use crate::limits;
use crate::links::link;
use sengu_sdk::Reading;
use serde_json::Value;
use std::sync::Arc;

/// Where a chassis keeps readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    EnvironmentMetrics(String),
    Sensors(String),
    ThermalSubsystem(String),
    Thermal(String),
    Power(String),
}

impl Source {
    pub fn title(&self) -> &'static str {
        match self {
            Source::EnvironmentMetrics(_) | Source::Power(_) => "power",
            Source::Sensors(_) | Source::ThermalSubsystem(_) | Source::Thermal(_) => "thermal",
        }
    }
}

pub struct Sources;

impl Sources {
    /// The sources of a chassis, remembered with the BMC's links.
    pub async fn of(client: &Client, chassis: &str) -> Result<Arc<[Source]>, Trouble> {
        if let Some(sources) = client.bmc.known.lock().sources.get(chassis) {
            return Ok(sources.clone());
        }
        let expand = client.root().await?.expand;
        let body = client.get(chassis).await?.body;
        let sources: Arc<[Source]> = choose(&body, expand).into();
        let mut known = client.bmc.known.lock();
        known.sources.insert(chassis.to_owned(), sources.clone());
        Ok(sources)
    }
}

fn choose(chassis: &Value, expand: bool) -> Vec<Source> {
    let at = |name: &str| link(chassis, name);
    let power = at("EnvironmentMetrics")
        .map(Source::EnvironmentMetrics)
        .or_else(|| at("Power").map(Source::Power));
    let expanded = at("Sensors").filter(|_| expand).map(Source::Sensors);
    let thermal = expanded
        .or_else(|| at("Thermal").map(Source::Thermal))
        .or_else(|| at("ThermalSubsystem").map(Source::ThermalSubsystem))
        .or_else(|| at("Sensors").map(Source::Sensors));
    power.into_iter().chain(thermal).collect()
}

pub async fn read(client: &Client, source: &Source) -> Result<Vec<Reading>, Trouble> {
    Ok(match source {
        Source::EnvironmentMetrics(path) => environment(&client.get(path).await?.body),
        Source::Power(path) => power(&client.get(path).await?.body),
        Source::Thermal(path) => thermal(&client.get(path).await?.body),
        Source::Sensors(path) => {
            let members = client.expanded(path).await?;
            members.iter().filter_map(sensor).collect()
        }
        Source::ThermalSubsystem(path) => thermal_subsystem(client, path).await?,
    })
}

async fn thermal_subsystem(client: &Client, path: &str) -> Result<Vec<Reading>, Trouble> {
    let subsystem = client.get(path).await?.body;
    let mut readings = Vec::new();
    if let Some(path) = link(&subsystem, "ThermalMetrics") {
        readings.extend(thermal_metrics(&client.get(&path).await?.body));
    }
    if let Some(path) = link(&subsystem, "Fans") {
        let fans = client.expanded(&path).await?;
        readings.extend(fans.iter().take(limits::MEMBERS_MAX).flat_map(fan));
    }
    Ok(readings)
}

/// Numbers, also as text: some BMCs quote them.
fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
        .filter(|n| n.is_finite())
}

fn absent(resource: &Value) -> bool {
    matches!(
        resource["Status"]["State"].as_str(),
        Some("Absent" | "Disabled")
    )
}

fn name(resource: &Value) -> &str {
    let text = |key: &str| resource.get(key).and_then(Value::as_str);
    let found = text("Name").or(text("DeviceName")).or(text("FanName"));
    found
        .or(text("Id"))
        .or(text("MemberId"))
        .unwrap_or("unnamed")
}

fn items<'a>(body: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    body.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn temperature(item: &Value, celsius: &Value) -> Option<Reading> {
    let reading = Reading::new("temperature_celsius", number(celsius)?, "Cel");
    let reading = reading.label("sensor", name(item));
    Some(match item.get("PhysicalContext").and_then(Value::as_str) {
        Some(context) => reading.label("context", context),
        None => reading,
    })
}

fn fan_speed(item: &Value, value: f64, unit: &str) -> Reading {
    let reading = match unit {
        "Percent" | "%" => Reading::new("fan_speed_ratio", value / 100.0, "1"),
        _ => Reading::new("fan_speed_rpm", value, "{rev}/min"),
    };
    reading.label("fan", name(item))
}

/// The deprecated Thermal resource.
fn thermal(body: &Value) -> Vec<Reading> {
    let temperatures = items(body, "Temperatures").filter(|t| !absent(t));
    let temperatures = temperatures.filter_map(|t| temperature(t, &t["ReadingCelsius"]));
    let fans = items(body, "Fans").filter(|f| !absent(f)).filter_map(|f| {
        let value = number(&f["Reading"]).or_else(|| number(&f["ReadingRPM"]))?;
        Some(fan_speed(
            f,
            value,
            f["ReadingUnits"].as_str().unwrap_or("RPM"),
        ))
    });
    temperatures.chain(fans).collect()
}

/// The deprecated Power resource: the first control is the whole chassis.
fn power(body: &Value) -> Vec<Reading> {
    let control = &body["PowerControl"][0];
    let drawn = number(&control["PowerConsumedWatts"]);
    let limit = number(&control["PowerLimit"]["LimitInWatts"]);
    let reading = |name: &str, value: Option<f64>| value.map(|v| Reading::new(name, v, "W"));
    [
        reading("power_watts", drawn),
        reading("power_limit_watts", limit),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn environment(body: &Value) -> Vec<Reading> {
    let drawn = number(&body["PowerWatts"]["Reading"]).map(|v| Reading::new("power_watts", v, "W"));
    let limit = &body["PowerLimitWatts"];
    let limit = number(&limit["SetPoint"])
        .filter(|_| limit["ControlMode"] != "Disabled")
        .map(|v| Reading::new("power_limit_watts", v, "W"));
    let joules = number(&body["EnergyJoules"]["Reading"])
        .or_else(|| number(&body["EnergykWh"]["Reading"]).map(|kwh| kwh * 3_600_000.0));
    let energy = joules.map(|v| Reading::new("energy_joules_total", v, "J"));
    let celsius = number(&body["TemperatureCelsius"]["Reading"]);
    let ambient = celsius
        .map(|v| Reading::new("temperature_celsius", v, "Cel").label("sensor", "environment"));
    [drawn, limit, energy, ambient]
        .into_iter()
        .flatten()
        .collect()
}

fn thermal_metrics(body: &Value) -> Vec<Reading> {
    let temperatures = items(body, "TemperatureReadingsCelsius");
    temperatures
        .filter_map(|t| temperature(t, &t["Reading"]))
        .collect()
}

fn fan(body: &Value) -> Vec<Reading> {
    if absent(body) {
        return Vec::new();
    }
    let speed = &body["SpeedPercent"];
    let rpm = number(&speed["SpeedRPM"]).map(|v| fan_speed(body, v, "RPM"));
    let percent = number(&speed["Reading"]).map(|v| fan_speed(body, v, "Percent"));
    rpm.into_iter().chain(percent).collect()
}

/// A Sensor resource, if it is of a kind that this worker declares.
fn sensor(body: &Value) -> Option<Reading> {
    if absent(body) {
        return None;
    }
    let value = number(&body["Reading"])?;
    let unit = body["ReadingUnits"].as_str().unwrap_or_default();
    let context = body["PhysicalContext"].as_str().unwrap_or_default();
    match (body["ReadingType"].as_str().unwrap_or_default(), unit) {
        ("Temperature", _) | ("", "Cel") => temperature(body, &body["Reading"]),
        ("Rotational", _) | ("", "RPM" | "{rev}/min") => Some(fan_speed(body, value, "RPM")),
        ("Percent", _) if context == "Fan" => Some(fan_speed(body, value, "Percent")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Cases are files: a resource as a BMC gave it, and the readings that it means.
    #[test]
    fn recorded_resources_give_the_readings_beside_them() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
        let mut checked = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let case: Value = serde_json::from_str(&text).unwrap();
            let body = &case["resource"];
            let readings = match case["kind"].as_str().unwrap() {
                "Thermal" => thermal(body),
                "Power" => power(body),
                "EnvironmentMetrics" => environment(body),
                "ThermalMetrics" => thermal_metrics(body),
                "Fan" => fan(body),
                "Sensors" => items(body, "Members").filter_map(sensor).collect(),
                other => panic!("{path:?}: kind {other}"),
            };
            let line = |r: &Reading| {
                let labels: Vec<String> =
                    r.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{}{{{}}} {} {}", r.name, labels.join(","), r.value, r.unit)
            };
            let got: Vec<String> = readings.iter().map(line).collect();
            let want: Vec<String> = serde_json::from_value(case["readings"].clone()).unwrap();
            assert_eq!(got, want, "{path:?}");
            checked += 1;
        }
        assert!(checked >= 6, "{checked} cases");
    }

    #[test]
    fn the_newest_and_cheapest_source_is_taken() {
        let at = |name: &str| (name.to_owned(), json!({"@odata.id": format!("/{name}")}));
        let chassis = |names: &[&str]| Value::Object(names.iter().map(|n| at(n)).collect());
        let path = |name: &str| format!("/{name}");
        let (t, p) = (
            Source::Thermal(path("Thermal")),
            Source::Power(path("Power")),
        );
        let env = Source::EnvironmentMetrics(path("EnvironmentMetrics"));
        let sub = Source::ThermalSubsystem(path("ThermalSubsystem"));
        let sensors = Source::Sensors(path("Sensors"));
        let all = [
            "Thermal",
            "Power",
            "EnvironmentMetrics",
            "ThermalSubsystem",
            "Sensors",
        ];
        let table: [(&[&str], bool, Vec<Source>); 6] = [
            (&["Thermal", "Power"], false, vec![p, t.clone()]),
            (&all, true, vec![env.clone(), sensors.clone()]),
            (&all, false, vec![env.clone(), t]),
            (
                &["EnvironmentMetrics", "ThermalSubsystem", "Sensors"],
                false,
                vec![env, sub],
            ),
            (&["Sensors"], false, vec![sensors]),
            (&[], true, vec![]),
        ];
        for (names, expand, want) in table {
            assert_eq!(choose(&chassis(names), expand), want, "{names:?} {expand}");
        }
    }
}
