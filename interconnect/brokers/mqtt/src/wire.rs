//! The way to the broker: TCP, with TLS where the address says so. Certificates are always checked.

use crate::error::MqttError;
use crate::limits::CONNECT_MAX;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sengu_interconnect::address::{Address, Scheme};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type Stream = Box<dyn Io>;

/// Has the system acknowledge at once what was read. Mosquitto leaves Nagle's algorithm on, so that each of its small
/// packets waits for the acknowledgement of the one before, which systems put off for 40 ms.
pub(crate) struct Quick(Option<OwnedFd>);

impl Quick {
    pub fn of(tcp: &TcpStream) -> Quick {
        // Without it things are slow and right.
        Quick(tcp.as_fd().try_clone_to_owned().ok())
    }

    /// After each read: the system falls back by itself.
    pub fn ack(&self) {
        if let Some(socket) = &self.0 {
            let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
        }
    }
}

/// Where to go and whom to trust there.
#[derive(Clone)]
pub(crate) struct Way {
    pub address: Address,
    tls: Option<Arc<ClientConfig>>,
}

impl Way {
    /// # Errors
    /// When the address is not MQTT's, or its authorities cannot be used.
    pub fn new(address: Address) -> Result<Way, MqttError> {
        if address.scheme != Scheme::Mqtt {
            let address = address.to_string();
            return Err(MqttError::Scheme { address });
        }
        let tls = match address.tls {
            true => Some(Arc::new(client_config(address.ca_pem.as_deref())?)),
            false => None,
        };
        Ok(Way { address, tls })
    }

    pub async fn tcp(&self) -> Result<TcpStream, MqttError> {
        let failed = |source| MqttError::Connect {
            address: self.address.to_string(),
            source,
        };
        let to = (self.address.host.as_str(), self.address.port);
        let connected = timeout(CONNECT_MAX, TcpStream::connect(to)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }

    pub async fn secured(&self, tcp: TcpStream) -> Result<Stream, MqttError> {
        let Some(config) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let failed = |source| MqttError::Tls {
            address: self.address.to_string(),
            source,
        };
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let connected = timeout(
            CONNECT_MAX,
            TlsConnector::from(config.clone()).connect(name, tcp),
        );
        let stream = connected.await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        Ok(Box::new(stream.map_err(failed)?))
    }

    pub async fn stream(&self) -> Result<(Stream, Quick), MqttError> {
        let tcp = self.tcp().await?;
        let quick = Quick::of(&tcp);
        Ok((self.secured(tcp).await?, quick))
    }
}

fn client_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, MqttError> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| MqttError::AuthoritiesForm)?;
                roots.add(certificate).map_err(MqttError::Authorities)?;
            }
        }
        None => {
            // One that cannot be used takes nothing away from the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(MqttError::AuthoritiesForm);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(MqttError::Authorities)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
