//! The twin: many cooling plants with an HTTP API in this process, each with its own port, certificate and whims.
//!
//! It is what demos, rehearsals and tests talk to. It must speak the real protocol, count every effect, and never listen
//! anywhere but on loopback.

mod faults;
mod plant;
mod server;

use crate::native::{PROVIDER, fingerprint, hex};
use crate::prometheus::glob_matches;
use faults::{Faults, Kind};
use plant::{Plant, Secrets};
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

/// Targets of one hall.
const HALL_SIZE: u32 = 20;
/// TLS sessions one server remembers: there is one client.
const TLS_SESSIONS: usize = 4;

pub struct HttpTwin {
    sites: Vec<Arc<Site>>,
}

/// One stand-in.
struct Site {
    name: String,
    number: u32,
    latency: Duration,
    secrets: Arc<Secrets>,
    plant: parking_lot::Mutex<Plant>,
    faults: Faults,
    /// Counts up to close all connections.
    hang_up: watch::Sender<u64>,
    acceptor: TlsAcceptor,
    /// Another key and certificate, for the fault `wrong_cert`.
    impostor: TlsAcceptor,
}

impl Twin for HttpTwin {
    async fn start(options: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| text(&e))?;
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| text(&e))?;
        let impostor = tls(&other, &certificate(&other, "impostor")?)?;
        let made = |salt: u64| format!("twin-{:016x}", mix(options.seed ^ salt));
        let secrets: Arc<Secrets> = Arc::new(BTreeMap::from([
            ("username", "operator".to_owned()),
            ("password", made(1)),
            ("token", made(2)),
            ("clientId", "sengu".to_owned()),
            ("clientSecret", made(3)),
        ]));
        let mut records = vec![record(
            "Secret",
            &options.prefix,
            BTreeMap::new(),
            json!({"data": *secrets}),
        )];
        let mut sites = Vec::new();
        for number in 1..=options.count {
            let name = format!("{}-{number}", options.prefix);
            let leaf = certificate(&key, &name)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .map_err(|e| format!("listen: {e}"))?;
            let address = listener.local_addr().map_err(|e| text(&e))?;
            let site = Arc::new(Site {
                name: name.clone(),
                number,
                latency: Duration::from_millis(options.latency_ms),
                secrets: secrets.clone(),
                plant: Plant::new(options.seed, number).into(),
                faults: Faults::default(),
                hang_up: watch::Sender::new(0),
                acceptor: tls(&key, &leaf)?,
                impostor: impostor.clone(),
            });
            tokio::spawn(server::listen(listener, site.clone()));
            sites.push(site);

            let mut labels = options.labels.clone();
            let hall = format!("h{:02}", (number - 1) / HALL_SIZE + 1);
            labels.entry("hall".to_owned()).or_insert(hall);
            let spec = json!({
                "kind": "http", "address": format!("https://{address}"), "secret": options.prefix,
                "identity": {"certSha256": hex(&fingerprint(&leaf))}, "config": plant::config(&plant::auth(number)),
            });
            records.push(record("Target", &name, labels, spec));
        }
        Ok((HttpTwin { sites }, records))
    }

    fn fault(&self, fault: Fault) -> Result<(), String> {
        let kind: Kind = fault.fault.parse()?;
        let mut matched = false;
        let sites = self.sites.iter();
        for site in sites.filter(|s| glob_matches(&fault.targets, &s.name)) {
            matched = true;
            site.fault(kind, &fault);
        }
        match matched {
            true => Ok(()),
            false => Err(format!("no target is named like {:?}", fault.targets)),
        }
    }

    fn clear(&self) {
        for site in &self.sites {
            site.faults.clear();
            site.hang_up.send_modify(|n| *n += 1);
        }
    }

    fn report(&self) -> BTreeMap<String, TwinTarget> {
        let report = |site: &Arc<Site>| (site.name.clone(), site.plant.lock().report());
        self.sites.iter().map(report).collect()
    }
}

impl Site {
    fn fault(&self, kind: Kind, fault: &Fault) {
        match kind {
            // This changes what the server knows, not how it answers.
            Kind::TokenLost => self.plant.lock().forget_tokens(),
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
    // As devices come from the factory: self-signed, and a CA of itself.
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(key).map_err(|e| e.to_string())?;
    Ok(certificate.der().clone())
}

fn tls(key: &KeyPair, leaf: &CertificateDer<'static>) -> Result<TlsAcceptor, String> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], key)
        .map_err(|e| e.to_string())?;
    config.session_storage = ServerSessionMemoryCache::new(TLS_SESSIONS);
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A number from a number (splitmix64): the same seed gives the same fleet.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
