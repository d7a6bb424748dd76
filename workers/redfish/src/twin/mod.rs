//! The twin: many Redfish BMCs in this process, each with its own port, certificate, sessions and whims.
//!
//! It is what demos, rehearsals and tests talk to. It must speak the real protocol, count every effect, and never listen
//! anywhere but on loopback.

mod faults;
mod machine;
mod resources;
mod server;

use faults::{Faults, Kind};
use machine::Machine;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerSessionMemoryCache;
use sengu_sdk::{API_VERSION, Fault, Metadata, Record, Twin, TwinOptions, TwinTarget};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Targets of one rack.
const RACK_SIZE: u32 = 20;
/// TLS sessions one BMC remembers: there is one client.
const TLS_SESSIONS: usize = 4;

pub struct RedfishTwin {
    bmcs: Vec<Arc<Bmc>>,
}

/// One stand-in.
struct Bmc {
    name: String,
    latency: Duration,
    machine: parking_lot::Mutex<Machine>,
    faults: Faults,
    /// Counts up to close all connections.
    hang_up: watch::Sender<u64>,
    acceptor: TlsAcceptor,
    /// Another key and certificate, for the fault `wrong_cert`.
    impostor: TlsAcceptor,
}

impl Twin for RedfishTwin {
    async fn start(options: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| text(&e))?;
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| text(&e))?;
        let impostor = tls(&other, &certificate(&other, "impostor")?)?;
        let password = format!("twin-{:016x}", mix(options.seed));
        let mut records = vec![record(
            "Secret",
            &options.prefix,
            BTreeMap::new(),
            json!({"data": {"username": "operator", "password": password}}),
        )];
        let mut bmcs = Vec::new();
        for number in 1..=options.count {
            let name = format!("{}-{number}", options.prefix);
            let leaf = certificate(&key, &name)?;
            let fingerprint = crate::tls::hex(&crate::tls::fingerprint(&leaf));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .map_err(|e| format!("listen: {e}"))?;
            let address = listener.local_addr().map_err(|e| text(&e))?;
            let bmc = Arc::new(Bmc {
                name: name.clone(),
                latency: Duration::from_millis(options.latency_ms),
                machine: Machine::new(options.seed, number, &password).into(),
                faults: Faults::default(),
                hang_up: watch::Sender::new(0),
                acceptor: tls(&key, &leaf)?,
                impostor: impostor.clone(),
            });
            tokio::spawn(server::listen(listener, bmc.clone()));
            bmcs.push(bmc);

            // Two units high, from the floor up.
            let (rack, place) = ((number - 1) / RACK_SIZE, (number - 1) % RACK_SIZE);
            let labels = options.placed(rack, 2 * place + 1);
            let spec = json!({
                "kind": "redfish", "address": format!("https://{address}"),
                "secret": options.prefix, "identity": {"certSha256": fingerprint},
            });
            records.push(record("Target", &name, labels, spec));
        }
        Ok((RedfishTwin { bmcs }, records))
    }

    fn fault(&self, fault: Fault) -> Result<(), String> {
        let kind: Kind = fault.fault.parse()?;
        let mut matched = false;
        for bmc in self.bmcs.iter().filter(|b| glob(&fault.targets, &b.name)) {
            matched = true;
            bmc.fault(kind, &fault);
        }
        if matched {
            Ok(())
        } else {
            Err(format!("no target is named like {:?}", fault.targets))
        }
    }

    fn clear(&self) {
        for bmc in &self.bmcs {
            bmc.faults.clear();
            bmc.machine.lock().whims = machine::Whims::default();
            bmc.hang_up.send_modify(|n| *n += 1);
        }
    }

    fn report(&self) -> BTreeMap<String, TwinTarget> {
        let report = |bmc: &Arc<Bmc>| (bmc.name.clone(), bmc.machine.lock().report());
        self.bmcs.iter().map(report).collect()
    }
}

impl Bmc {
    fn fault(&self, kind: Kind, fault: &Fault) {
        match kind {
            // These change what the machine is, not how it answers.
            Kind::SessionLost => self.machine.lock().sessions.clear(),
            Kind::NoSessions => self.machine.lock().whims.no_sessions = true,
            Kind::NoResetTime => self.machine.lock().whims.no_reset_time = true,
            _ => self.faults.add(kind, fault.ms, fault.count),
        }
        // Kept connections would not notice these.
        if matches!(kind, Kind::Refuse | Kind::WrongCert) {
            self.hang_up.send_modify(|n| *n += 1);
        }
    }
}

fn record(kind: &str, name: &str, labels: BTreeMap<String, String>, spec: Value) -> Record {
    Record {
        api_version: API_VERSION.to_owned(),
        kind: kind.to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            labels,
            ..Metadata::default()
        },
        spec,
        status: Value::Null,
    }
}

fn certificate(key: &KeyPair, name: &str) -> Result<CertificateDer<'static>, String> {
    let mut params =
        CertificateParams::new(vec!["localhost".to_owned()]).map_err(|e| e.to_string())?;
    // As BMCs come from the factory: self-signed, and a CA of itself.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(key).map_err(|e| e.to_string())?;
    Ok(certificate.der().clone())
}

fn tls(key: &KeyPair, leaf: &CertificateDer<'static>) -> Result<TlsAcceptor, String> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(crate::tls::PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], key)
        .map_err(|e| e.to_string())?;
    config.session_storage = ServerSessionMemoryCache::new(TLS_SESSIONS);
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// `*` stands for anything, anywhere.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A number from a number (splitmix64): the same seed gives the same fleet.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names() {
        let table = [
            ("*", "bmc-1", true),
            ("bmc-1", "bmc-1", true),
            ("bmc-1", "bmc-12", false),
            ("bmc-*", "bmc-12", true),
            ("*-12", "bmc-12", true),
            ("b*-*2", "bmc-12", true),
            ("b*x*2", "bmc-12", false),
            ("", "bmc-1", false),
        ];
        for (pattern, name, want) in table {
            assert_eq!(glob(pattern, name), want, "{pattern} {name}");
        }
    }
}
