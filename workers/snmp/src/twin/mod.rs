//! The twin: PDUs on loopback, each on a port of its own, that speak SNMP and misbehave on request.

mod agent;
mod device;

use agent::{Agent, Answer, Bent, Engine};
use async_snmp::{AuthProtocol, MasterKeys, PrivProtocol};
use device::{Device, Family};
use parking_lot::Mutex;
use sengu_sdk::{API_VERSION, Fault, Metadata, Record, Twin, TwinOptions, TwinTarget};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

const COMMUNITY: &str = "twin-community";
const USER: &str = "sengu";
const AUTH_PASSWORD: &str = "twin-auth-password";
const PRIV_PASSWORD: &str = "twin-priv-password";
/// Every fourth target speaks v3.
const V3_EVERY: u32 = 4;
/// PDUs of one rack: feed a and feed b.
const PER_RACK: u32 = 2;
const SLOW_DEFAULT_MS: u64 = 2_000;
const FAULTS: [&str; 13] = [
    "slow",
    "refuse",
    "hang",
    "cut",
    "garbage",
    "auth",
    "no_access",
    "drop_reply_of_set",
    "ignore_set",
    "too_big",
    "no_exceptions",
    "no_large_bulk",
    "loop",
];

pub struct SnmpTwin {
    targets: Vec<Arc<Target>>,
}

struct Target {
    name: String,
    agent: Agent,
    latency: Duration,
    fault: Mutex<Option<Fault>>,
    seen: Mutex<TwinTarget>,
}

impl Twin for SnmpTwin {
    async fn start(options: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        let keys = MasterKeys::new(AuthProtocol::Sha256, AUTH_PASSWORD.as_bytes())
            .and_then(|keys| keys.with_privacy(PrivProtocol::Aes128, PRIV_PASSWORD.as_bytes()))
            .map_err(|e| e.to_string())?;
        let mut records = vec![secret(&options.prefix)];
        let mut targets = Vec::new();
        for number in 0..options.count {
            let name = format!("{}-{}", options.prefix, number + 1);
            let socket = UdpSocket::bind("127.0.0.1:0")
                .await
                .map_err(|e| format!("bind a port for {name}: {e}"))?;
            let address = socket.local_addr().map_err(|e| e.to_string())?;
            let mixed = mix(options.seed, u64::from(number));
            let family = if mixed.is_multiple_of(2) {
                Family::Apc
            } else {
                Family::Eaton
            };
            let device = Device::new(&name, family, mixed % 1_000_000_007);
            let v3 = number % V3_EVERY == V3_EVERY - 1;
            let (agent, engine) = if v3 {
                let id = engine_id(mixed);
                let engine = Engine::new(device, id.clone(), USER, &keys)?;
                (Agent::Usm(Box::new(engine)), Some(id))
            } else {
                let community = COMMUNITY.to_owned();
                (Agent::Community { device, community }, None)
            };
            let target = Arc::new(Target {
                name: name.clone(),
                agent,
                latency: Duration::from_millis(options.latency_ms),
                fault: Mutex::new(None),
                seen: Mutex::new(TwinTarget::default()),
            });
            records.push(record(&options, number, name, address, family, engine));
            tokio::spawn(serve(Arc::new(socket), target.clone()));
            targets.push(target);
        }
        Ok((SnmpTwin { targets }, records))
    }

    fn fault(&self, fault: Fault) -> Result<(), String> {
        if !FAULTS.contains(&fault.fault.as_str()) {
            let known = FAULTS.join(", ");
            return Err(format!(
                "unknown fault {:?}; there are {known}",
                fault.fault
            ));
        }
        for target in &self.targets {
            if like(fault.targets.as_bytes(), target.name.as_bytes()) {
                *target.fault.lock() = Some(fault.clone());
            }
        }
        Ok(())
    }

    fn clear(&self) {
        for target in &self.targets {
            *target.fault.lock() = None;
        }
    }

    fn report(&self) -> BTreeMap<String, TwinTarget> {
        let seen = |target: &Arc<Target>| {
            let mut seen = target.seen.lock().clone();
            seen.effects = target.agent.device().effects();
            (target.name.clone(), seen)
        };
        self.targets.iter().map(seen).collect()
    }
}

async fn serve(socket: Arc<UdpSocket>, target: Arc<Target>) {
    let mut buffer = vec![0; 4_096];
    loop {
        // On Linux an unconnected socket gives no errors of the peer; a failed read is a passing one.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (delay, answer) = target.answer(&buffer[..length]);
        let Some(bytes) = answer else { continue };
        if delay.is_zero() {
            let _ = socket.send_to(&bytes, from).await;
        } else {
            // A slow answer must not hold up the next request.
            let socket = socket.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = socket.send_to(&bytes, from).await;
            });
        }
    }
}

impl Target {
    fn answer(&self, datagram: &[u8]) -> (Duration, Option<Vec<u8>>) {
        self.seen.lock().requests += 1;
        let fault = self.take_fault();
        let kind = fault.as_ref().map(|f| f.fault.as_str()).unwrap_or_default();
        let mut delay = self.latency;
        match kind {
            // A port that is closed, a lost route and a dead card look alike over UDP.
            "refuse" | "hang" | "cut" => return (delay, None),
            "garbage" => return (delay, Some(garbage(datagram))),
            "slow" => {
                let ms = fault.as_ref().and_then(|f| f.ms);
                delay += Duration::from_millis(ms.unwrap_or(SLOW_DEFAULT_MS));
            }
            _ => {}
        }
        let bent = Bent {
            deny_credentials: kind == "auth",
            deny_sets: kind == "no_access",
            ignore_sets: kind == "ignore_set",
            too_big: kind == "too_big",
            no_exceptions: kind == "no_exceptions",
            no_large_bulk: kind == "no_large_bulk",
            loops: kind == "loop",
        };
        let handled = self.agent.handle(datagram, bent);
        match handled.answer {
            Answer::Bytes(_) if handled.was_set && kind == "drop_reply_of_set" => (delay, None),
            Answer::Bytes(bytes) => (delay, Some(bytes)),
            Answer::Nothing => (delay, None),
            Answer::Denied(bytes) => {
                self.seen.lock().auth_failures += 1;
                (delay, bytes)
            }
        }
    }

    /// The fault in force; one with a count wears off.
    fn take_fault(&self) -> Option<Fault> {
        let mut slot = self.fault.lock();
        let fault = slot.clone()?;
        match slot.as_mut().and_then(|f| f.count.as_mut()) {
            Some(count) if *count <= 1 => *slot = None,
            Some(count) => *count -= 1,
            None => {}
        }
        Some(fault)
    }
}

/// Something that is no SNMP: half of the request, then noise.
fn garbage(datagram: &[u8]) -> Vec<u8> {
    let mut bytes = datagram[..datagram.len() / 2].to_vec();
    bytes.extend_from_slice(b"\xff\x00\x13garbage");
    bytes
}

fn secret(name: &str) -> Record {
    let data = json!({
        "community": COMMUNITY,
        "username": USER,
        "authPassword": AUTH_PASSWORD,
        "privPassword": PRIV_PASSWORD,
    });
    Record {
        api_version: API_VERSION.to_owned(),
        kind: "Secret".to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec: json!({"data": data}),
        status: serde_json::Value::Null,
    }
}

fn record(
    options: &TwinOptions,
    number: u32,
    name: String,
    address: SocketAddr,
    family: Family,
    engine: Option<Vec<u8>>,
) -> Record {
    // At the top, above all machines.
    let mut labels = options.placed(number / PER_RACK, 41 + number % PER_RACK);
    let feed = if number.is_multiple_of(PER_RACK) {
        "a"
    } else {
        "b"
    };
    labels.insert("feed".to_owned(), feed.to_owned());
    let family = match family {
        Family::Apc => "apc",
        Family::Eaton => "eaton",
    };
    labels.insert("family".to_owned(), family.to_owned());
    let mut spec = json!({
        "kind": "snmp",
        "address": address.to_string(),
        "secret": options.prefix,
    });
    match engine {
        Some(id) => {
            spec["config"] =
                json!({"version": "v3", "authProtocol": "SHA-256", "privProtocol": "AES"});
            spec["identity"] = json!({"engineId": crate::session::hex(&id)});
        }
        None => spec["config"] = json!({"version": "v2c"}),
    }
    Record {
        api_version: API_VERSION.to_owned(),
        kind: "Target".to_owned(),
        metadata: Metadata {
            name,
            labels,
            ..Metadata::default()
        },
        spec,
        status: serde_json::Value::Null,
    }
}

/// RFC 3411: first bit set, an enterprise number, 5 = octets of our own.
fn engine_id(mixed: u64) -> Vec<u8> {
    let mut id = vec![0x80, 0x00, 0x7a, 0x69, 0x05];
    id.extend_from_slice(&mixed.to_be_bytes());
    id
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
