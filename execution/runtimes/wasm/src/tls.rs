//! Who is at the other end: certificates pinned by fingerprint, or signed by a given CA. Guests have no say in it.
//!
//! A device's certificate is often a self-signed CA, which the web's rules refuse; so a pin is compared here and nothing
//! else of the certificate is looked at. The handshake's signature is always checked: knowing a certificate is not
//! owning it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

/// What a Target record says about the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// http, said so in the record.
    Plain,
    /// Exactly this leaf.
    Pin([u8; 32]),
    /// Signed by one of these (PEM), for this name.
    Ca(String),
    /// Signed by an authority that the system trusts, for this name.
    System,
    /// Any certificate, said so in the record.
    Anyone,
    /// Nothing said: the handshake is only made to show the fingerprint.
    Unstated,
}

/// The part of a target's config that is the host's.
#[derive(Debug, Default, Deserialize)]
pub struct Config {
    #[serde(default)]
    tls: Tls,
}

#[derive(Debug, Default, Deserialize)]
struct Tls {
    #[serde(default)]
    ca: Option<String>,
    #[serde(default)]
    system: bool,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    plain: bool,
}

impl Trust {
    /// # Errors
    /// With what to change in the record.
    pub fn read(https: bool, config: &str, pin: Option<&str>) -> Result<Trust, String> {
        let config: Option<Config> = match config {
            "" => None,
            config => serde_json::from_str(config).map_err(|e| format!("config.tls: {e}"))?,
        };
        let tls = config.unwrap_or_default().tls;
        match (https, tls.plain) {
            (false, true) if pin.is_some() => {
                Err("identity.certSha256 cannot be checked over http".to_owned())
            }
            (false, true) => Ok(Trust::Plain),
            (false, false) => {
                Err("the address is http: without TLS only with config.tls.plain: true".to_owned())
            }
            (true, true) => Err("config.tls.plain is set and the address is https".to_owned()),
            // A pin is the strictest statement, so it wins over the others.
            (true, false) => Ok(match (pin, tls.ca, tls.system, tls.insecure) {
                (Some(pin), ..) => Trust::Pin(fingerprint_of(pin)?),
                (None, Some(ca), ..) => Trust::Ca(ca),
                (None, None, true, _) => Trust::System,
                (None, None, false, true) => Trust::Anyone,
                (None, None, false, false) => Trust::Unstated,
            }),
        }
    }
}

/// Reads a SHA-256 fingerprint: 64 hex digits, colons, spaces and a `sha256:` prefix allowed.
fn fingerprint_of(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("identity.certSha256 {text:?}: 64 hex digits are wanted");
    let lower = text.trim().to_ascii_lowercase();
    let digits: Vec<u8> = lower
        .strip_prefix("sha256:")
        .unwrap_or(&lower)
        .bytes()
        .filter(|b| !b":- ".contains(b))
        .collect();
    if digits.len() != 64 {
        return Err(wrong());
    }
    let mut fingerprint = [0; 32];
    for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(fingerprint)
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Checks certificates for one target and remembers the fingerprint of one that it refused.
#[derive(Debug)]
pub struct Checker {
    rule: Rule,
    refused: parking_lot::Mutex<Option<[u8; 32]>>,
}

#[derive(Debug)]
enum Rule {
    Pin([u8; 32]),
    Signed(Arc<WebPkiServerVerifier>),
    Anyone,
    Nobody,
}

impl Checker {
    /// The fingerprint refused last, once.
    pub fn take_refused(&self) -> Option<[u8; 32]> {
        self.refused.lock().take()
    }
}

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen: [u8; 32] = Sha256::digest(leaf).into();
        let verdict = match &self.rule {
            Rule::Pin(pin) if *pin == seen => Ok(ServerCertVerified::assertion()),
            Rule::Anyone => Ok(ServerCertVerified::assertion()),
            Rule::Signed(verifier) => {
                verifier.verify_server_cert(leaf, intermediates, name, ocsp, now)
            }
            Rule::Pin(_) | Rule::Nobody => {
                Err(rustls::CertificateError::ApplicationVerificationFailure.into())
            }
        };
        if verdict.is_err() {
            *self.refused.lock() = Some(seen);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// How to begin TLS, and who checks the certificate then.
pub type Client = (Arc<ClientConfig>, Arc<Checker>);

/// A client configuration of its own per target: session tickets are found by host name alone, so sharing them between
/// two ports of a host would let a ticket of one stand in for the pin of the other. None: without TLS.
///
/// # Errors
/// When the record's certificates cannot be used.
pub fn client(trust: &Trust) -> Result<Option<Client>, String> {
    let rule = match trust {
        Trust::Plain => return Ok(None),
        Trust::Pin(pin) => Rule::Pin(*pin),
        Trust::Ca(pem) => {
            Rule::Signed(roots(pem.as_bytes()).map_err(|e| format!("config.tls.ca: {e}"))?)
        }
        Trust::System => {
            Rule::Signed(system_roots().map_err(|e| format!("config.tls.system: {e}"))?)
        }
        Trust::Anyone => Rule::Anyone,
        Trust::Unstated => Rule::Nobody,
    };
    let checker = Arc::new(Checker {
        rule,
        refused: parking_lot::Mutex::new(None),
    });
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(checker.clone())
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(Some((Arc::new(config), checker)))
}

fn roots(pem: &[u8]) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| format!("{e:?}"))?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), PROVIDER.clone())
        .build()
        .map_err(|e| e.to_string())
}

fn system_roots() -> Result<Arc<WebPkiServerVerifier>, String> {
    /// Where distributions keep them.
    const PLACES: [&str; 3] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ];
    let pem = PLACES.iter().find_map(|place| std::fs::read(place).ok());
    roots(&pem.ok_or("this system has no file of certificate authorities")?)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_what_the_record_says_and_never_more() {
        let pin = "AA:".repeat(32);
        let pin = pin.trim_end_matches(':');
        let read = |https, config: &str, pin| Trust::read(https, config, pin);
        assert_eq!(read(true, "{}", None), Ok(Trust::Unstated));
        assert_eq!(read(true, "", None), Ok(Trust::Unstated));
        assert_eq!(read(true, "null", None), Ok(Trust::Unstated));
        assert_eq!(
            read(true, r#"{"tls":{"insecure":true},"other":1}"#, Some(pin)),
            Ok(Trust::Pin([0xaa; 32]))
        );
        assert_eq!(
            read(true, r#"{"tls":{"ca":"x","insecure":true}}"#, None),
            Ok(Trust::Ca("x".to_owned()))
        );
        assert_eq!(
            read(true, r#"{"tls":{"insecure":true}}"#, None),
            Ok(Trust::Anyone)
        );
        assert_eq!(
            read(false, r#"{"tls":{"plain":true}}"#, None),
            Ok(Trust::Plain)
        );
        for (https, config, pin) in [
            (false, "{}", None),
            (false, r#"{"tls":{"plain":true}}"#, Some(pin)),
            (true, r#"{"tls":{"plain":true}}"#, None),
            (true, r#"{"tls":7}"#, None),
            (true, "{}", Some("aa:bb")),
        ] {
            assert!(
                read(https, config, pin).is_err(),
                "{https} {config} {pin:?}"
            );
        }
        assert!(client(&Trust::Ca("no certificate".to_owned())).is_err());
    }
}
