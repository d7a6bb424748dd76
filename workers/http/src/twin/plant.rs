//! One cooling plant behind an API: what it is, its set points, and what was done to it. Time is given from outside.

use sengu_sdk::{Time, TwinTarget};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Cooling units of a plant.
pub const UNITS: usize = 4;
/// The range in which a change takes effect, in milliseconds.
const EFFECT_MS: (u64, u64) = (100, 600);
/// Tokens remembered.
const TOKENS_MAX: usize = 16;
/// A token lives this long, in seconds.
const TOKEN_LIFE_S: u64 = 600;

pub struct Plant {
    pub model: &'static str,
    pub serial: String,
    pub firmware: String,
    seed: u64,
    setpoints: [f64; UNITS],
    boots: u64,
    alarms: u64,
    version: u64,
    pending: Vec<(Time, Step)>,
    tokens: Vec<String>,
    tokens_made: u64,
    seen: TwinTarget,
}

enum Step {
    Setpoint(usize, f64),
    Restart,
}

impl Plant {
    pub fn new(seed: u64, number: u32) -> Plant {
        let seed = super::mix(seed ^ (u64::from(number) << 32));
        let models = ["CRAH-900", "CDU-40", "Chiller C3"];
        Plant {
            model: models[number as usize % models.len()],
            serial: format!("CP{:08X}", seed >> 32),
            firmware: format!("2.{}.{}", seed % 9, seed % 5),
            seed,
            setpoints: [18.0, 18.5, 19.0, 19.5],
            boots: seed % 50,
            alarms: 1,
            version: 1,
            pending: Vec::new(),
            tokens: Vec::new(),
            tokens_made: 0,
            seen: TwinTarget::default(),
        }
    }

    fn settle(&mut self, now: Time) {
        while let Some(at) = self.pending.iter().position(|(due, _)| *due <= now) {
            match self.pending.remove(at).1 {
                Step::Setpoint(unit, celsius) => self.setpoints[unit] = celsius,
                Step::Restart => self.boots += 1,
            }
            self.version += 1;
        }
    }

    fn effect_ms(&self) -> u64 {
        EFFECT_MS.0 + self.seed % (EFFECT_MS.1 - EFFECT_MS.0)
    }

    /// Takes a set point; it holds a little later.
    pub fn set(&mut self, unit: usize, celsius: f64, now: Time, deaf: bool) -> bool {
        if unit >= UNITS || !(10.0..=35.0).contains(&celsius) {
            return false;
        }
        if !deaf {
            self.count("setpoint.set");
            let due = now.plus_ms(self.effect_ms());
            self.pending.push((due, Step::Setpoint(unit, celsius)));
        }
        true
    }

    pub fn restart(&mut self, now: Time, deaf: bool) {
        if !deaf {
            self.count("restart");
            let due = now.plus_ms(self.effect_ms());
            self.pending.push((due, Step::Restart));
        }
    }

    pub fn acknowledge(&mut self, deaf: bool) {
        if !deaf {
            self.count("alarm.ack");
            self.alarms = 0;
            self.version += 1;
        }
    }

    pub fn etag(&mut self, now: Time) -> String {
        self.settle(now);
        format!("\"{}\"", self.version)
    }

    pub fn status(&mut self, now: Time) -> Value {
        self.settle(now);
        let units: Vec<Value> = (0..UNITS).map(|n| self.unit_value(n)).collect();
        json!({
            "vendor": "Contoso Cooling", "model": self.model, "serial": self.serial, "firmware": self.firmware,
            "state": "RUNNING", "bootCount": self.boots, "alarms": self.alarms,
            "power": {"mW": self.power_watts() * 1_000.0}, "units": units,
        })
    }

    /// As `status`, with what should be numbers as words.
    pub fn wrong(&self) -> Value {
        json!({
            "vendor": {"name": "?"}, "model": null, "serial": [[]], "firmware": self.firmware, "bootCount": "many",
            "power": {"mW": "a lot"}, "units": "none",
        })
    }

    pub fn unit(&mut self, number: usize, now: Time) -> Option<Value> {
        self.settle(now);
        (number < UNITS).then(|| self.unit_value(number))
    }

    fn unit_value(&self, number: usize) -> Value {
        let setpoint = self.setpoints[number];
        json!({
            "name": format!("unit-{number}"), "setpointCelsius": setpoint, "supplyCelsius": setpoint + 0.25,
            "fanPercent": 40 + (self.seed >> number) % 20, "mode": "auto",
        })
    }

    pub fn events(&self, page: usize) -> Value {
        let entries: Vec<Value> = (0..3)
            .map(|n| json!({"id": page * 3 + n, "text": format!("event {}", page * 3 + n)}))
            .collect();
        let next = (page < 2).then(|| format!("/api/v1/events?page={}", page + 1));
        json!({"entries": entries, "next": next})
    }

    pub fn metrics(&mut self, now: Time) -> String {
        self.settle(now);
        let mut text = format!(
            "# HELP plant_info What it is.\n# TYPE plant_info gauge\nplant_info{{model=\"{}\",version=\"{}\"}} 1\n\
             # TYPE plant_power_watts gauge\nplant_power_watts {}\n\
             # TYPE plant_energy_joules_total counter\nplant_energy_joules_total {}\n\
             # TYPE plant_supply_celsius gauge\n",
            self.model,
            self.firmware,
            self.power_watts(),
            self.seed % 1_000_000,
        );
        for (number, celsius) in self.setpoints.iter().enumerate() {
            let _ = writeln!(
                text,
                "plant_supply_celsius{{unit=\"unit-{number}\"}} {}",
                celsius + 0.25
            );
        }
        text.push_str("plant_broken_celsius NaN\n");
        text
    }

    fn power_watts(&self) -> f64 {
        900.0 + (self.seed % 400) as f64
    }

    /// A new token, and how long it lives in seconds.
    pub fn token(&mut self) -> (String, u64) {
        self.tokens_made += 1;
        self.count("token");
        let made = super::mix(self.seed ^ self.tokens_made);
        let token = format!("twin-token-{made:016x}");
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.remove(0);
        }
        self.tokens.push(token.clone());
        (token, TOKEN_LIFE_S)
    }

    pub fn knows_token(&self, token: &str) -> bool {
        self.tokens.iter().any(|known| known == token)
    }

    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    pub fn count(&mut self, effect: &str) {
        *self.seen.effects.entry(effect.to_owned()).or_default() += 1;
    }

    pub fn count_request(&mut self) {
        self.seen.requests += 1;
    }

    pub fn count_auth_failure(&mut self) {
        self.seen.auth_failures += 1;
    }

    pub fn connection_opened(&mut self) {
        self.seen.sessions_open += 1;
        self.seen.sessions_max = self.seen.sessions_max.max(self.seen.sessions_open);
    }

    pub fn connection_closed(&mut self) {
        self.seen.sessions_open = self.seen.sessions_open.saturating_sub(1);
    }

    pub fn report(&self) -> TwinTarget {
        self.seen.clone()
    }
}

/// The config of a Target record for such a plant, by the way it authenticates.
pub fn config(auth: &Value) -> Value {
    let readings = json!([
        {"name": "plant_power_watts", "pointer": "/power/mW", "unit": "W", "scale": 0.001},
        {"name": "supply_temperature_celsius", "pointer": "/units/*/supplyCelsius", "unit": "Cel",
         "labels": {"unit": "/units/*/name"}},
        {"name": "fan_speed_ratio", "pointer": "/units/*/fanPercent", "unit": "1", "scale": 0.01,
         "labels": {"unit": "/units/*/name"}},
        {"name": "plant_running", "pointer": "/state", "unit": "1", "values": {"RUNNING": 1, "STOPPED": 0}},
        {"name": "plant_restarts_total", "kind": "counter", "pointer": "/bootCount"},
    ]);
    let facts = json!({"vendor": "/vendor", "model": "/model", "serial": "/serial", "firmware": "/firmware"});
    let unit = json!({"type": "integer", "minimum": 0, "maximum": UNITS - 1});
    json!({
        "auth": auth,
        "sources": [
            {"path": "/api/v1/status", "readings": readings, "facts": facts},
            {"path": "/metrics", "format": "prometheus", "only": ["plant_energy_joules_total"]},
        ],
        "requests": {
            "setpoint": {
                "description": "Sets the supply air of one unit.",
                "method": "PUT", "path": "/api/v1/units/{unit}/setpoint", "effect": "idempotent",
                "params": {"unit": unit, "celsius": {"type": "number", "minimum": 16, "maximum": 30}},
                "body": {"celsius": {"$param": "celsius"}},
                "readBack": {"path": "/api/v1/units/{unit}", "pointer": "/setpointCelsius", "equals": {"$param": "celsius"}},
            },
            "restart": {
                "description": "Restarts the controller.",
                "method": "POST", "path": "/api/v1/restart", "effect": "probe",
                "readBack": {"path": "/api/v1/status", "pointer": "/bootCount", "changes": true, "settleMs": 3_000},
            },
            "acknowledge": {
                "description": "Acknowledges all alarms.",
                "method": "POST", "path": "/api/v1/alarms/ack", "effect": "once", "proof": "status",
                "idempotencyKey": true,
            },
            "events": {
                "description": "The last events.",
                "method": "GET", "path": "/api/v1/events", "effect": "read", "pick": "/entries",
            },
        },
    })
}

/// By target number: how it wants to be spoken to.
pub fn auth(number: u32) -> Value {
    match number % 5 {
        1 => json!({"type": "basic"}),
        2 => json!({"type": "bearer"}),
        3 => json!({"type": "oauth", "tokenUrl": "/oauth/token", "scope": "plant"}),
        4 => json!({"type": "header", "header": "X-Api-Key"}),
        _ => json!({"type": "none"}),
    }
}

pub type Secrets = BTreeMap<&'static str, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_take_time_and_are_counted_once() {
        let mut plant = Plant::new(1, 1);
        let now = Time(1_800_000_000_000);
        let later = now.plus_ms(1_000);
        assert!(plant.set(1, 21.0, now, false));
        assert!(!plant.set(UNITS, 21.0, now, false) && !plant.set(0, 99.0, now, false));
        plant.restart(now, false);
        plant.restart(now, true);
        assert_eq!(plant.unit(1, now).unwrap()["setpointCelsius"], 18.5);
        assert_eq!(plant.unit(1, later).unwrap()["setpointCelsius"], 21.0);
        let effects = plant.report().effects;
        assert_eq!((effects["setpoint.set"], effects["restart"]), (1, 1));
    }
}
