//! The bytes to the server: TCP or TLS, made here and handed to lapin, so that there is one TLS stack and each way of
//! failing is told apart. A stream can be cut off, for lapin itself waits for ever for a server that says nothing.

use crate::error::{AmqpError, source};
use crate::limits::UNACKNOWLEDGED_MAX;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures::Stream;
use futures::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sengu_interconnect::address::Address;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Bytes of the server's first words that are kept to learn its version; they are about 500.
const HEAD_BYTES_MAX: usize = 8_192;

pub type Wire = Compat<Watched>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub struct Watched {
    inner: Box<dyn Io>,
    grip: Arc<Grip>,
}

/// What others may do with a stream that lapin reads and writes.
#[derive(Default)]
pub struct Grip(Mutex<Held>);

#[derive(Default)]
struct Held {
    is_cut: bool,
    reader: Option<Waker>,
    head: Vec<u8>,
}

impl Grip {
    /// Reads and writes fail from now on.
    pub fn cut(&self) {
        let mut held = self.0.lock();
        held.is_cut = true;
        if let Some(reader) = held.reader.take() {
            reader.wake();
        }
    }

    fn is_cut(&self, reader: Option<&Waker>) -> bool {
        let mut held = self.0.lock();
        if let Some(reader) = reader {
            held.reader = Some(reader.clone());
        }
        held.is_cut
    }

    /// The version that the server told with its first words.
    pub fn version(&self) -> Option<String> {
        version(&self.0.lock().head)
    }
}

/// Reads `connection.start`: a frame's head (7 bytes), class, method, protocol (6), then the server's properties.
fn version(head: &[u8]) -> Option<String> {
    let table = head.get(13..)?;
    let (_, properties) = lapin::types::parsing::parse_field_table(table).ok()?;
    let version = properties.inner().get("version")?.as_long_string()?;
    Some(version.to_string())
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.grip.is_cut(Some(cx.waker())) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &read {
            let mut held = self.grip.0.lock();
            let room = HEAD_BYTES_MAX.saturating_sub(held.head.len());
            let new = buf.filled().get(before..).unwrap_or_default();
            held.head.extend_from_slice(&new[..new.len().min(room)]);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.grip.is_cut(None) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// lapin's reactor, with our streams as its streams.
#[derive(Debug, Clone)]
pub struct Rim(Tokio);

pub type Kit = RuntimeParts<Tokio, Rim>;

/// lapin's runtime on the current one of tokio.
pub fn runtime() -> Runtime<Kit> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Rim(Tokio::current())))
}

impl Reactor for Rim {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl FuturesRead + FuturesWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, for_: Duration) -> Self::Sleep {
        self.0.sleep(for_)
    }

    fn interval(&self, every: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(every)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// # Errors
/// `Reach` or `Tls`.
pub async fn connect(address: &Address) -> Result<(Wire, Arc<Grip>), AmqpError> {
    let at = address.to_string();
    let reach = |e: io::Error| AmqpError::Reach {
        at: at.clone(),
        source: source(e),
    };
    let tcp = TcpStream::connect((address.host.as_str(), address.port));
    let tcp = tcp.await.map_err(reach)?;
    tcp.set_nodelay(true).map_err(reach)?;
    socket2::SockRef::from(&tcp)
        .set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
        .map_err(reach)?;
    let inner: Box<dyn Io> = match address.tls {
        false => Box::new(tcp),
        true => Box::new(secure(address, tcp, &at).await?),
    };
    let grip = Arc::new(Grip::default());
    let watched = Watched {
        inner,
        grip: grip.clone(),
    };
    Ok((watched.compat(), grip))
}

async fn secure(
    address: &Address,
    tcp: TcpStream,
    at: &str,
) -> Result<TlsStream<TcpStream>, AmqpError> {
    let tls = |source| AmqpError::Tls {
        at: at.to_owned(),
        source,
    };
    let config = config(address.ca_pem.as_deref()).map_err(tls)?;
    let name = ServerName::try_from(address.host.clone()).map_err(|e| tls(source(e)))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    match connector.connect(name, tcp).await {
        Ok(stream) => Ok(stream),
        // Only what TLS itself refuses will not mend by waiting.
        Err(e) if e.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => Err(tls(source(e))),
        Err(e) => Err(AmqpError::Reach {
            at: at.to_owned(),
            source: source(e),
        }),
    }
}

fn config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, crate::error::Source> {
    let mut authorities = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(source)?;
                authorities.add(certificate).map_err(source)?;
            }
        }
        None => {
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if authorities.is_empty() {
        return Err(source("there is no certificate of an authority"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(source)?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(config)
}
