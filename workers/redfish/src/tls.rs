//! Who is at the other end: certificates pinned by fingerprint, or signed by a given CA.
//!
//! The commonest BMC certificate is a self-signed CA, which the web's rules refuse; so a pin is compared here and nothing
//! else of the certificate is looked at. The handshake's signature is always checked: knowing a certificate is not owning it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

/// What a Target record says about the certificate.
#[derive(Debug, Clone)]
pub enum Trust {
    /// http, said so in the record.
    Plain,
    /// Exactly this leaf.
    Pin([u8; 32]),
    /// Signed by one of these, for this name.
    Roots {
        pem_sha256: [u8; 32],
        verifier: Arc<WebPkiServerVerifier>,
    },
    /// Any certificate, said so in the record.
    Anyone,
    /// Nothing said: the handshake is only made to show the fingerprint.
    Unstated,
}

impl Trust {
    /// # Errors
    /// When `pem` holds no usable certificate.
    pub fn roots(pem: &str) -> Result<Trust, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|e| format!("config.tls.ca: {e:?}"))?;
            roots
                .add(certificate)
                .map_err(|e| format!("config.tls.ca: {e}"))?;
        }
        let provider = PROVIDER.clone();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| format!("config.tls.ca: {e}"))?;
        Ok(Trust::Roots {
            pem_sha256: Sha256::digest(pem).into(),
            verifier,
        })
    }

    /// Equal keys trust the same certificates.
    pub fn key(&self) -> (u8, [u8; 32]) {
        match self {
            Trust::Plain => (0, [0; 32]),
            Trust::Pin(pin) => (1, *pin),
            Trust::Roots { pem_sha256, .. } => (2, *pem_sha256),
            Trust::Anyone => (3, [0; 32]),
            Trust::Unstated => (4, [0; 32]),
        }
    }
}

pub static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Checks certificates for one BMC and remembers the fingerprint of one that it refused.
#[derive(Debug)]
pub struct Checker {
    trust: Trust,
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
        let verdict = match &self.trust {
            Trust::Pin(pin) if *pin == seen => Ok(ServerCertVerified::assertion()),
            Trust::Anyone => Ok(ServerCertVerified::assertion()),
            Trust::Roots { verifier, .. } => {
                verifier.verify_server_cert(leaf, intermediates, name, ocsp, now)
            }
            Trust::Pin(_) | Trust::Unstated | Trust::Plain => {
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

/// A client configuration of its own per BMC: session tickets are found by host name alone, so sharing them between two
/// ports of a host would let a ticket of one stand in for the pin of the other.
pub fn client(trust: Trust) -> Result<(Arc<ClientConfig>, Arc<Checker>), rustls::Error> {
    let checker = Arc::new(Checker {
        trust,
        refused: parking_lot::Mutex::new(None),
    });
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(checker.clone())
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(1);
    Ok((Arc::new(config), checker))
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
