//! The twin: gateways on loopback with cooling units and power meters behind them, that misbehave on request.

mod device;
mod server;

use device::{Device, Family};
use parking_lot::Mutex;
use sengu_sdk::{API_VERSION, Fault, Metadata, Record, Twin, TwinOptions, TwinTarget};
use serde_json::json;
use server::{Gateway, Sessions, Unit};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Devices behind one port.
const UNITS_PER_GATEWAY: u32 = 8;
const FAULTS: [&str; 22] = [
    "slow",
    "refuse",
    "hang",
    "cut",
    "garbage",
    "illegal",
    "failure",
    "busy",
    "session_full",
    "stale",
    "wrong_unit",
    "short",
    "drop_write",
    "drop_reply_of_write",
    "cut_reply_of_write",
    "no_answer",
    "ignore_write",
    "clamp_write",
    "write_busy",
    "write_illegal",
    "write_acknowledge",
    "write_failure",
];

pub struct ModbusTwin {
    gateways: Vec<Arc<Gateway>>,
}

impl Twin for ModbusTwin {
    async fn start(options: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        let mut records = Vec::new();
        let mut gateways = Vec::new();
        let mut number = 0;
        while number < options.count {
            let listener = TcpListener::bind("127.0.0.1:0")
                .await
                .map_err(|e| format!("bind a port for a gateway: {e}"))?;
            let address = listener.local_addr().map_err(|e| e.to_string())?;
            let mut units = BTreeMap::new();
            let last = options.count.min(number + UNITS_PER_GATEWAY);
            for id in 1.. {
                if number >= last {
                    break;
                }
                let name = format!("{}-{}", options.prefix, number + 1);
                let family = match number % 4 {
                    0 | 1 => Family::Cooling,
                    2 => Family::Eastron,
                    _ => Family::Sunspec,
                };
                let mixed = mix(options.seed, u64::from(number));
                records.push(record(&options, &name, gateways.len(), address, id, family));
                let unit = Unit {
                    name,
                    device: Mutex::new(Device::new(family, mixed)),
                    fault: Mutex::new(None),
                    seen: Mutex::new(TwinTarget::default()),
                };
                units.insert(id, unit);
                number += 1;
            }
            let gateway = Arc::new(Gateway {
                units,
                latency: Duration::from_millis(options.latency_ms),
                line: tokio::sync::Mutex::default(),
                sessions: Mutex::new(Sessions::default()),
            });
            tokio::spawn(server::serve(listener, gateway.clone()));
            gateways.push(gateway);
        }
        Ok((ModbusTwin { gateways }, records))
    }

    fn fault(&self, fault: Fault) -> Result<(), String> {
        if !FAULTS.contains(&fault.fault.as_str()) {
            let known = FAULTS.join(", ");
            return Err(format!(
                "unknown fault {:?}; there are {known}",
                fault.fault
            ));
        }
        for unit in self.gateways.iter().flat_map(|g| g.units.values()) {
            if like(fault.targets.as_bytes(), unit.name.as_bytes()) {
                *unit.fault.lock() = Some(fault.clone());
            }
        }
        Ok(())
    }

    fn clear(&self) {
        for unit in self.gateways.iter().flat_map(|g| g.units.values()) {
            *unit.fault.lock() = None;
        }
    }

    fn report(&self) -> BTreeMap<String, TwinTarget> {
        let mut report = BTreeMap::new();
        for gateway in &self.gateways {
            let sessions = *gateway.sessions.lock();
            for unit in gateway.units.values() {
                let mut seen = unit.seen.lock().clone();
                seen.effects = unit.device.lock().effects.clone();
                // Of the whole gateway: its devices share its connections.
                seen.sessions_open = sessions.open;
                seen.sessions_max = sessions.most;
                report.insert(unit.name.clone(), seen);
            }
        }
        report
    }
}

fn record(
    options: &TwinOptions,
    name: &str,
    gateway: usize,
    address: SocketAddr,
    unit: u8,
    family: Family,
) -> Record {
    let mut labels = options.labels.clone();
    labels.insert("gateway".to_owned(), format!("g{:02}", gateway + 1));
    labels.insert("family".to_owned(), family.label().to_owned());
    Record {
        api_version: API_VERSION.to_owned(),
        kind: "Target".to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            labels,
            ..Metadata::default()
        },
        spec: json!({
            "kind": "modbus",
            "address": address.to_string(),
            "config": { "unit": unit, "profile": family.profile() },
        }),
        status: serde_json::Value::Null,
    }
}

/// SplitMix64: spreads seed and number over all bits.
fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(number.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `*` and `?` over names.
fn like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p).is_some_and(|c| *c == b'?' || *c == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((sp, sn)) = star {
            p = sp + 1;
            n = sn + 1;
            star = Some((sp, sn + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}
