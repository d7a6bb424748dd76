//! One server behind a BMC: what it is, its power, and what was done to it. Time is given from outside.

use super::mix;
use sengu_sdk::{Time, TwinTarget};
use std::collections::BTreeMap;

/// Sessions a BMC has, as many iDRACs.
pub const SESSIONS_MAX: usize = 8;
/// The range in which a reset takes effect, in milliseconds.
const RESET_MS: (u64, u64) = (200, 1_000);
/// Redfish Tasks remembered.
const TASKS_MAX: usize = 32;

/// How a family of BMCs behaves; real ones differ like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Thermal and Power, IndicatorLED, AllowableValues inline.
    Contoso,
    /// ActionInfo, Sensors with $expand, weak ETags, Retry-After only in the message.
    Northwind,
    /// Resets are Redfish Tasks; ThermalSubsystem; changes want If-Match.
    Fabrikam,
}

pub struct Machine {
    pub family: Family,
    pub model: &'static str,
    pub serial: String,
    pub uuid: String,
    pub bios_version: String,
    pub bmc_version: String,
    /// Varies readings from machine to machine.
    pub seed: u64,
    password: String,
    power: Power,
    pending: Vec<(Time, Step)>,
    pub last_reset: Time,
    pub boot_target: String,
    pub boot_enabled: String,
    pub boot_mode: String,
    pub led: String,
    pub cap_watts: Option<f64>,
    /// Counts up with every change: the ETag.
    pub version: u64,
    pub sessions: BTreeMap<String, String>,
    sessions_made: u64,
    /// When each Redfish Task is over.
    pub tasks: Vec<(u64, Time)>,
    tasks_made: u64,
    pub whims: Whims,
    seen: TwinTarget,
}

/// What an operator's fault changed about the machine itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whims {
    pub no_sessions: bool,
    pub no_reset_time: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    On,
    Off,
    PoweringOn,
    PoweringOff,
}

impl Power {
    pub fn as_str(self) -> &'static str {
        match self {
            Power::On => "On",
            Power::Off => "Off",
            Power::PoweringOn => "PoweringOn",
            Power::PoweringOff => "PoweringOff",
        }
    }
}

enum Step {
    Power(Power),
    Reset,
}

impl Machine {
    pub fn new(seed: u64, number: u32, password: &str) -> Machine {
        let seed = mix(seed ^ (u64::from(number) << 32));
        let families = [
            (
                Family::Contoso,
                ["PowerRack R650", "PowerRack R750"],
                "7.00.60.00",
            ),
            (Family::Northwind, ["NW-880", "NW-880 Gen2"], "3.14.1"),
            (Family::Fabrikam, ["FX 4200", "FX 8400"], "1.22-5"),
        ];
        let (family, models, bmc_version) = families[number as usize % families.len()];
        Machine {
            family,
            model: models[(seed % 2) as usize],
            serial: format!("SN{:08X}", seed >> 32),
            uuid: format!("{:08x}-0000-4000-8000-{number:012x}", seed as u32),
            bios_version: format!("2.{}.{}", seed % 20, seed % 7),
            bmc_version: bmc_version.to_owned(),
            seed,
            password: password.to_owned(),
            power: Power::On,
            pending: Vec::new(),
            last_reset: Time(1_767_225_600_000 + (seed % 86_400_000) as i64),
            boot_target: "None".to_owned(),
            boot_enabled: "Disabled".to_owned(),
            boot_mode: "UEFI".to_owned(),
            led: "Off".to_owned(),
            cap_watts: None,
            version: 1,
            sessions: BTreeMap::new(),
            sessions_made: 0,
            tasks: Vec::new(),
            tasks_made: 0,
            whims: Whims::default(),
            seen: TwinTarget::default(),
        }
    }

    pub fn vendor(&self) -> &'static str {
        match self.family {
            Family::Contoso => "Contoso",
            Family::Northwind => "Northwind",
            Family::Fabrikam => "Fabrikam",
        }
    }

    /// The power state after all that was due until `now`.
    pub fn power(&mut self, now: Time) -> Power {
        while let Some(at) = self.pending.iter().position(|(due, _)| *due <= now) {
            let (due, step) = self.pending.remove(at);
            match step {
                Step::Power(power) => self.power = power,
                Step::Reset => self.last_reset = due,
            }
            self.version += 1;
        }
        self.power
    }

    /// How long this machine takes for a reset, in milliseconds.
    pub fn reset_ms(&self) -> u64 {
        RESET_MS.0 + self.seed % (RESET_MS.1 - RESET_MS.0)
    }

    /// Takes a reset; what it changes comes later.
    pub fn reset(&mut self, reset_type: &str, now: Time) {
        let power = self.power(now);
        let ms = self.reset_ms();
        let (soon, done) = (now.plus_ms(ms / 2), now.plus_ms(ms));
        self.count("reset");
        match (reset_type, power) {
            ("On" | "ForceOn", Power::Off) => {
                self.count("power.on");
                self.power = Power::PoweringOn;
                self.pending.push((done, Step::Reset));
                self.pending.push((done, Step::Power(Power::On)));
            }
            ("GracefulShutdown", Power::On) => {
                self.count("power.off");
                self.power = Power::PoweringOff;
                self.pending.push((done, Step::Power(Power::Off)));
            }
            ("ForceOff", Power::On | Power::PoweringOff | Power::PoweringOn) => {
                self.count("power.forceOff");
                self.pending.clear();
                self.pending.push((done, Step::Power(Power::Off)));
            }
            ("PowerCycle" | "ForceRestart" | "GracefulRestart", _) => {
                self.count("power.cycle");
                self.pending.push((soon, Step::Power(Power::Off)));
                self.pending.push((done, Step::Reset));
                self.pending.push((done, Step::Power(Power::On)));
            }
            // Already so, or on the way.
            _ => {}
        }
        self.version += 1;
    }

    /// A Redfish Task that is over when the reset is.
    pub fn task(&mut self, now: Time) -> u64 {
        self.tasks_made += 1;
        if self.tasks.len() >= TASKS_MAX {
            self.tasks.remove(0);
        }
        self.tasks
            .push((self.tasks_made, now.plus_ms(self.reset_ms())));
        self.tasks_made
    }

    /// The id and token of a new session; none when all are taken.
    pub fn login(&mut self) -> Option<(String, String)> {
        if self.sessions.len() >= SESSIONS_MAX {
            return None;
        }
        self.sessions_made += 1;
        let id = self.sessions_made.to_string();
        let token = format!(
            "{:016x}{:016x}",
            mix(self.seed ^ self.sessions_made),
            mix(self.seed)
        );
        self.sessions.insert(id.clone(), token.clone());
        let open = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        self.seen.sessions_max = self.seen.sessions_max.max(open);
        self.count("session.open");
        Some((id, token))
    }

    pub fn knows(&self, username: &str, password: &str) -> bool {
        username == "operator" && password == self.password
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

    pub fn report(&self) -> TwinTarget {
        TwinTarget {
            sessions_open: u32::try_from(self.sessions.len()).unwrap_or(u32::MAX),
            ..self.seen.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_take_time_and_are_counted_once() {
        let mut machine = Machine::new(1, 1, "x");
        let now = Time(1_800_000_000_000);
        let later = now.plus_ms(2_000);
        machine.reset("GracefulShutdown", now);
        assert_eq!(machine.power(now), Power::PoweringOff);
        assert_eq!(machine.power(later), Power::Off);
        machine.reset("GracefulShutdown", later);
        let end = later.plus_ms(2_000);
        assert_eq!(machine.power(end), Power::Off);
        let before = machine.last_reset;
        machine.reset("On", end);
        assert_eq!(machine.power(end.plus_ms(2_000)), Power::On);
        assert_ne!(machine.last_reset, before);
        let effects = machine.report().effects;
        assert_eq!(
            (effects["power.off"], effects["power.on"], effects["reset"]),
            (1, 1, 3)
        );
    }

    #[test]
    fn sessions_run_out() {
        let mut machine = Machine::new(1, 1, "x");
        let given = (0..20).filter_map(|_| machine.login()).count();
        assert_eq!((given, machine.report().sessions_max), (SESSIONS_MAX, 8));
    }
}
