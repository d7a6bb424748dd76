//! Who is at the other end: certificates pinned by fingerprint, or signed by a given CA, or by one the system trusts.
//!
//! Devices come with self-signed certificates that the web's rules refuse; so a pin is compared here and nothing else of
//! the certificate is looked at. The handshake's signature is always checked: knowing a certificate is not owning it.

use crate::config::Trust;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, OnceLock};

pub static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[derive(Debug)]
enum Rule {
    Pin([u8; 32]),
    Signed(Arc<WebPkiServerVerifier>),
    Anyone,
    Nobody,
}

/// Checks certificates for one origin and remembers the fingerprint of one that it refused.
#[derive(Debug)]
pub struct Checker {
    rule: Rule,
    refused: parking_lot::Mutex<Option<[u8; 32]>>,
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
        let seen = fingerprint(leaf);
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

/// A client configuration of its own per origin: session tickets are found by host name alone, so sharing them between
/// two ports of a host would let a ticket of one stand in for the pin of the other.
///
/// # Errors
/// With what to change in the record.
pub fn client(trust: &Trust) -> Result<(Arc<ClientConfig>, Arc<Checker>), String> {
    let rule = match trust {
        Trust::Pin(pin) => Rule::Pin(*pin),
        Trust::Ca(pem) => Rule::Signed(signed_by(pem).map_err(|e| format!("config.tls.ca: {e}"))?),
        Trust::System => Rule::Signed(system().map_err(|e| format!("config.tls.system: {e}"))?),
        Trust::Anyone => Rule::Anyone,
        Trust::Unstated | Trust::Plain => Rule::Nobody,
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
    Ok((Arc::new(config), checker))
}

fn signed_by(pem: &str) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("{e:?}"))?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    verifier(roots)
}

/// Read once per instance: an instance lives an hour, and the authorities change once a month.
fn system() -> Result<Arc<WebPkiServerVerifier>, String> {
    static ROOTS: OnceLock<Result<Arc<WebPkiServerVerifier>, String>> = OnceLock::new();
    let read = || {
        let pem = BUNDLES.iter().find_map(|path| std::fs::read(path).ok());
        let pem = pem.ok_or("this system has no bundle of authorities (ca-certificates)")?;
        let mut roots = RootCertStore::empty();
        // Bundles hold old ones that are not understood; the others count.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        verifier(roots)
    };
    ROOTS.get_or_init(read).clone()
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), PROVIDER.clone())
        .build()
        .map_err(|e| e.to_string())
}

pub fn fingerprint(leaf: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(leaf).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
