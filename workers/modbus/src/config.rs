//! `spec.config` of a Target of this kind; the schema is in worker.toml.

use crate::gateway::Pace;
use crate::map::File;
use sengu_sdk::{Context, Failure, FailureCode};
use serde::Deserialize;
use std::time::Duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The device behind the address.
    pub unit: u8,
    pub profile: Option<String>,
    pub map: Option<File>,
    pub registers_max: Option<u16>,
    pub gap: Option<u16>,
    pub identify: Option<bool>,
    pub request_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub retries: u32,
    pub pause_ms: u64,
    pub reconnect_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            unit: 1,
            profile: None,
            map: None,
            registers_max: None,
            gap: None,
            identify: None,
            request_timeout_ms: 1_500,
            connect_timeout_ms: 3_000,
            retries: 1,
            pause_ms: 0,
            reconnect_ms: 1_000,
        }
    }
}

impl Config {
    /// # Errors
    /// `refused` when it does not fit.
    pub fn of(task: &Context) -> Result<Config, Failure> {
        let mut config: Config = task.config()?;
        config.request_timeout_ms = config.request_timeout_ms.clamp(50, 60_000);
        config.connect_timeout_ms = config.connect_timeout_ms.clamp(50, 60_000);
        config.retries = config.retries.min(5);
        config.pause_ms = config.pause_ms.min(5_000);
        config.reconnect_ms = config.reconnect_ms.min(60_000);
        Ok(config)
    }

    pub fn pace(&self) -> Pace {
        Pace {
            connect: Duration::from_millis(self.connect_timeout_ms),
            answer: Duration::from_millis(self.request_timeout_ms),
            pause: Duration::from_millis(self.pause_ms),
            reopen: Duration::from_millis(self.reconnect_ms),
        }
    }
}

/// `host:port` in one form, so that all targets of a gateway share its connection.
///
/// # Errors
/// `refused` when it is no address.
pub fn address(written: &str) -> Result<String, Failure> {
    let wrong = || Failure::new(FailureCode::Refused, format!("{written:?} is no host:port"));
    let lower = written.trim().to_ascii_lowercase();
    let (host, port) = match lower.rsplit_once(':') {
        // An IPv6 address without port ends in its bracket.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (lower.as_str(), PORT),
    };
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

/// Assigned to Modbus TCP.
const PORT: u16 = 502;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gateway_has_one_address() {
        let table = [
            ("10.0.0.5", Some("10.0.0.5:502")),
            ("10.0.0.5:502", Some("10.0.0.5:502")),
            ("GW-1.Example", Some("gw-1.example:502")),
            ("[fe80::1]", Some("[fe80::1]:502")),
            ("[fe80::1]:1502", Some("[fe80::1]:1502")),
            ("h:0", None),
            ("h:65536", None),
            (":502", None),
        ];
        for (written, expected) in table {
            assert_eq!(address(written).ok().as_deref(), expected, "{written}");
        }
    }
}
