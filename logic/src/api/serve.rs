//! The listener. Off loopback it takes TLS only.

use super::Scheme;
use crate::core::Logic;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Requests in hand get this long to end; watches are cut.
const SHUTDOWN_MAX: Duration = Duration::from_secs(3);

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A certificate and its key, loaded and known to fit.
#[derive(Clone)]
pub struct Tls(axum_server::tls_rustls::RustlsConfig);

impl Tls {
    /// Loads the files; done before anything is said to serve.
    ///
    /// # Errors
    /// `ServeError::Tls` when they cannot be read or do not fit each other.
    pub async fn load(files: &TlsFiles) -> Result<Tls, ServeError> {
        let TlsFiles { cert, key } = files.clone();
        axum_server::tls_rustls::RustlsConfig::from_pem_file(&cert, &key)
            .await
            .map(Tls)
            .map_err(|source| ServeError::Tls { cert, key, source })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{0} is not loopback and there is no TLS: give tls.cert and tls.key, or listen on 127.0.0.1"
    )]
    NeedsTls(SocketAddr),
    #[error("listen")]
    Listen(#[source] std::io::Error),
    #[error("load {cert} and {key}")]
    Tls {
        cert: PathBuf,
        key: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("serve")]
    Serve(#[source] std::io::Error),
}

/// Whether one may listen there in this way.
///
/// # Errors
/// `NeedsTls`.
pub fn may_listen(address: SocketAddr, tls: bool) -> Result<(), ServeError> {
    if address.ip().is_loopback() || tls {
        Ok(())
    } else {
        Err(ServeError::NeedsTls(address))
    }
}

/// Serves the API, and `beside` it what else is to be had at this address, until `shutdown` resolves.
///
/// # Errors
/// When the listener or the TLS files cannot be used.
pub async fn serve(
    logic: Arc<Logic>,
    beside: axum::Router,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let scheme = match tls {
        None => Scheme::Http,
        Some(_) => Scheme::Https,
    };
    let routes = super::router(logic, scheme).merge(beside);
    serve_routes(routes, listener, tls, shutdown).await
}

pub(super) async fn serve_routes(
    routes: axum::Router,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    may_listen(address, tls.is_some())?;
    listener.set_nonblocking(true).map_err(ServeError::Listen)?;
    let handle = axum_server::Handle::new();
    let stop = handle.clone();
    tokio::spawn(async move {
        shutdown.await;
        stop.graceful_shutdown(Some(SHUTDOWN_MAX));
    });
    let service = routes.into_make_service();
    match tls {
        None => axum_server::from_tcp(listener)
            .map_err(ServeError::Listen)?
            .handle(handle)
            .acceptor(axum_server::accept::NoDelayAcceptor::new())
            .serve(service)
            .await
            .map_err(ServeError::Serve),
        Some(Tls(config)) => axum_server::from_tcp_rustls(listener, config)
            .map_err(ServeError::Listen)?
            .handle(handle)
            .serve(service)
            .await
            .map_err(ServeError::Serve),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_loopback_needs_tls() {
        let any: SocketAddr = "0.0.0.0:1".parse().unwrap();
        assert!(may_listen("127.0.0.1:1".parse().unwrap(), false).is_ok());
        assert!(may_listen("[::1]:1".parse().unwrap(), false).is_ok());
        assert!(matches!(
            may_listen(any, false),
            Err(ServeError::NeedsTls(_))
        ));
        assert!(may_listen(any, true).is_ok());
    }
}
