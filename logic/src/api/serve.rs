//! The listener. Off loopback it takes TLS only.

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
pub fn may_listen(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<(), ServeError> {
    if address.ip().is_loopback() || tls.is_some() {
        Ok(())
    } else {
        Err(ServeError::NeedsTls(address))
    }
}

/// Serves until `shutdown` resolves.
///
/// # Errors
/// When the listener or the TLS files cannot be used.
pub async fn serve(
    logic: Arc<Logic>,
    listener: TcpListener,
    tls: Option<TlsFiles>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    may_listen(address, tls.as_ref())?;
    listener.set_nonblocking(true).map_err(ServeError::Listen)?;
    let handle = axum_server::Handle::new();
    let stop = handle.clone();
    tokio::spawn(async move {
        shutdown.await;
        stop.graceful_shutdown(Some(SHUTDOWN_MAX));
    });
    let service = super::router(logic).into_make_service();
    match tls {
        None => axum_server::from_tcp(listener)
            .map_err(ServeError::Listen)?
            .handle(handle)
            .acceptor(axum_server::accept::NoDelayAcceptor::new())
            .serve(service)
            .await
            .map_err(ServeError::Serve),
        Some(TlsFiles { cert, key }) => {
            let config = axum_server::tls_rustls::RustlsConfig::from_pem_file(&cert, &key)
                .await
                .map_err(|source| ServeError::Tls { cert, key, source })?;
            axum_server::from_tcp_rustls(listener, config)
                .map_err(ServeError::Listen)?
                .handle(handle)
                .serve(service)
                .await
                .map_err(ServeError::Serve)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_loopback_needs_tls() {
        let files = TlsFiles {
            cert: "c".into(),
            key: "k".into(),
        };
        let any: SocketAddr = "0.0.0.0:1".parse().unwrap();
        assert!(may_listen("127.0.0.1:1".parse().unwrap(), None).is_ok());
        assert!(may_listen("[::1]:1".parse().unwrap(), None).is_ok());
        assert!(matches!(
            may_listen(any, None),
            Err(ServeError::NeedsTls(_))
        ));
        assert!(may_listen(any, Some(&files)).is_ok());
    }
}
