//! Where connections come from and go to: TCP, TLS over TCP, or a Unix socket; the rest of the crate sees bytes.

use crate::error::LinkError;
use crate::hello::Channel;
use crate::limits::{CONNECT_MAX, HELLO_MAX};
use crate::url::{LinkUrl, Place};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where others may join. Both are bound by the caller, who also says who may open the socket's file.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Both halves of a connection.
pub struct Stream {
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
    pub channel: Channel,
}

/// Accepted, and not a stream yet: TLS takes its time, and the next one need not wait for it.
pub enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    /// # Errors
    /// When it is plain TCP and can be reached from other machines.
    pub fn check(&self, tls: bool) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) if !tls && !listener.local_addr()?.ip().is_loopback() => {
                let host = listener.local_addr()?.to_string();
                let refused = LinkError::NotLoopback { host };
                Err(io::Error::new(io::ErrorKind::InvalidInput, refused))
            }
            _ => Ok(()),
        }
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, from))
            }
            Listener::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Accepted {
    pub fn from(&self) -> String {
        match self {
            Accepted::Tcp(_, from) => from.to_string(),
            Accepted::Unix(_) => "unix".to_owned(),
        }
    }

    /// # Errors
    /// When the TLS handshake fails.
    pub async fn open(self, tls: Option<Arc<ServerConfig>>) -> Result<Stream, LinkError> {
        match (self, tls) {
            (Accepted::Unix(stream), _) => Ok(unix(stream)),
            (Accepted::Tcp(stream, _), None) => tcp(stream),
            (Accepted::Tcp(stream, _), Some(tls)) => {
                stream.set_nodelay(true).map_err(LinkError::Broken)?;
                let stream = TlsAcceptor::from(tls).accept(stream).await;
                let stream = stream.map_err(LinkError::Tls)?;
                let channel = stream
                    .get_ref()
                    .1
                    .export_keying_material([0; 32], EXPORTER, None);
                halves(stream, channel)
            }
        }
    }
}

const EXPORTER: &[u8] = b"EXPORTER-sengu-link";

fn unix(stream: UnixStream) -> Stream {
    let (read, write) = stream.into_split();
    Stream {
        read: Box::new(read),
        write: Box::new(write),
        channel: [0; 32],
    }
}

fn tcp(stream: TcpStream) -> Result<Stream, LinkError> {
    // Writes are gathered here already; the system need not wait for more.
    stream.set_nodelay(true).map_err(LinkError::Broken)?;
    let (read, write) = stream.into_split();
    Ok(Stream {
        read: Box::new(read),
        write: Box::new(write),
        channel: [0; 32],
    })
}

fn halves(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    channel: Result<Channel, rustls::Error>,
) -> Result<Stream, LinkError> {
    let channel = channel.map_err(|e| LinkError::Tls(io::Error::other(e)))?;
    let (read, write) = tokio::io::split(stream);
    Ok(Stream {
        read: Box::new(read),
        write: Box::new(write),
        channel,
    })
}

/// What a joining end needs for TLS.
///
/// # Errors
/// When the provider linked here has no protocol version, which would be a defect.
pub fn client_config(authorities: RootCertStore) -> Result<Arc<ClientConfig>, LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| LinkError::Tls(io::Error::other(e)))?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// # Errors
/// When there is nobody, or TLS is not as it should be, or plain TCP would leave this machine.
pub async fn connect(url: &LinkUrl, tls: Option<&Arc<ClientConfig>>) -> Result<Stream, LinkError> {
    match timeout(CONNECT_MAX + HELLO_MAX, connect_now(url, tls)).await {
        Ok(result) => result,
        Err(_) => Err(refused(url, io::ErrorKind::TimedOut.into())),
    }
}

fn refused(url: &LinkUrl, source: io::Error) -> LinkError {
    let url = url.to_string();
    LinkError::Connect { url, source }
}

async fn connect_now(url: &LinkUrl, tls: Option<&Arc<ClientConfig>>) -> Result<Stream, LinkError> {
    match &url.0 {
        Place::Unix(path) => match UnixStream::connect(path).await {
            Ok(stream) => Ok(unix(stream)),
            Err(e) => Err(refused(url, e)),
        },
        Place::Tcp { host, port } => {
            let found = tokio::net::lookup_host((host.as_str(), *port)).await;
            let found: Vec<SocketAddr> = found.map_err(|e| refused(url, e))?.collect();
            // A name may mean anything, whatever it is called.
            if !found.iter().all(|address| address.ip().is_loopback()) {
                let host = host.clone();
                return Err(LinkError::NotLoopback { host });
            }
            let stream = timeout(CONNECT_MAX, TcpStream::connect(found.as_slice())).await;
            tcp(stream
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|e| refused(url, e))?)
        }
        Place::Tls { host, port } => {
            let tls = tls.ok_or(LinkError::NoAuthority)?;
            let name = ServerName::try_from(host.clone())
                .map_err(|e| refused(url, io::Error::new(io::ErrorKind::InvalidInput, e)))?;
            let stream = timeout(CONNECT_MAX, TcpStream::connect((host.as_str(), *port))).await;
            let stream = stream
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|e| refused(url, e))?;
            stream.set_nodelay(true).map_err(LinkError::Broken)?;
            let stream = TlsConnector::from(tls.clone())
                .connect(name, stream)
                .await
                .map_err(LinkError::Tls)?;
            let channel = stream
                .get_ref()
                .1
                .export_keying_material([0; 32], EXPORTER, None);
            halves(stream, channel)
        }
    }
}
