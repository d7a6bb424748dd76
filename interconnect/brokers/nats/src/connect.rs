//! One connection to a server, from the first byte to the end of signing in. The client's own reconnecting is not used:
//! a new connection may find another server, another version or other rights, so each is looked at as the first was.

use crate::conn::Signals;
use crate::error::{NatsError, source};
use crate::limits::{CONNECT_MAX, PING_EVERY, VERSION_MIN};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ReconnectToServer, ServerAddr};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use sengu_interconnect::address::Address;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the client is sent when it wants to reconnect: nobody listens on port 0, so it gives up at once, and whatever
/// waits for an answer over the old connection is told.
const NOWHERE: &str = "nats://127.0.0.1:0";

pub struct Connected {
    pub client: Client,
    pub signals: Arc<Signals>,
    pub version: String,
}

/// Connects and signs in.
///
/// # Errors
/// Why not; without secrets.
pub async fn connect(address: &Address, name: &str) -> Result<Connected, NatsError> {
    let at = address.to_string();
    let signals = Arc::new(Signals::default());
    let options = options(address, name, &signals)?;
    let there = server(address)?;
    let nowhere: ServerAddr = NOWHERE.parse().map_err(|e| reach(&at, e))?;
    let options = {
        let (there, nowhere) = (there.clone(), nowhere.clone());
        let tried = Arc::new(AtomicBool::new(false));
        options.reconnect_to_server_callback(move |_, _| {
            let addr = match tried.swap(true, Ordering::Relaxed) {
                false => there.clone(),
                true => nowhere.clone(),
            };
            let delay = Some(Duration::ZERO);
            std::future::ready(Some(ReconnectToServer { addr, delay }))
        })
    };
    // The client has a limit of its own for each address that the name stands for.
    let client = tokio::time::timeout(2 * CONNECT_MAX, options.connect(vec![there, nowhere]));
    let client = match client.await {
        Ok(connected) => connected.map_err(|e| classify(&at, e))?,
        Err(_) => {
            return Err(NatsError::Silent {
                at,
                within: 2 * CONNECT_MAX,
            });
        }
    };
    let info = client.server_info();
    if !is_new_enough(&info.version) {
        return Err(NatsError::Version {
            found: info.version,
        });
    }
    Ok(Connected {
        client,
        signals,
        version: info.version,
    })
}

fn options(
    address: &Address,
    name: &str,
    signals: &Arc<Signals>,
) -> Result<ConnectOptions, NatsError> {
    let signals = signals.clone();
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(CONNECT_MAX)
        .ping_interval(PING_EVERY)
        .max_reconnects(1)
        .ignore_discovered_servers()
        .retain_servers_order()
        .event_callback(move |event| {
            match event {
                Event::Disconnected | Event::Closed => signals.lost(),
                Event::ServerError(error) => signals.complained(error.to_string()),
                _ => {}
            }
            std::future::ready(())
        });
    if let Some(user) = &address.user {
        let password = (address.password.as_ref()).map_or("", |password| password.reveal());
        options = options.user_and_password(user.clone(), password.to_owned());
    }
    if address.tls {
        options = options.require_tls(true).tls_client_config(tls(address)?);
    }
    Ok(options)
}

fn server(address: &Address) -> Result<ServerAddr, NatsError> {
    let scheme = if address.tls { "tls" } else { "nats" };
    let host = match address.host.contains(':') {
        true => format!("[{}]", address.host),
        false => address.host.clone(),
    };
    let url = format!("{scheme}://{host}:{}", address.port);
    url.parse().map_err(|e| reach(&address.to_string(), e))
}

/// # Errors
/// When the authorities cannot be read.
fn tls(address: &Address) -> Result<ClientConfig, NatsError> {
    let wrong = |e: Box<dyn std::error::Error + Send + Sync>| NatsError::Tls {
        at: address.to_string(),
        source: source(e),
    };
    let mut roots = RootCertStore::empty();
    match &address.ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| wrong(e.to_string().into()))?;
                roots.add(certificate).map_err(|e| wrong(e.into()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(wrong("no certificate of an authority was found".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(e.into()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn reach(at: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> NatsError {
    NatsError::Reach {
        at: at.to_owned(),
        source: source(error),
    }
}

fn classify(at: &str, error: async_nats::ConnectError) -> NatsError {
    let at = at.to_owned();
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            NatsError::Credentials { at }
        }
        ConnectErrorKind::TimedOut => NatsError::Silent {
            at,
            within: CONNECT_MAX,
        },
        ConnectErrorKind::Tls => NatsError::Tls {
            at,
            source: source(error),
        },
        _ if is_of_tls(&error) => NatsError::Tls {
            at,
            source: source(error),
        },
        _ => reach(&at, error),
    }
}

/// The handshake's errors arrive inside of io errors.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(inner) = io.and_then(std::io::Error::get_ref)
            && inner.is::<rustls::Error>()
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= VERSION_MIN,
        // Whoever calls its version otherwise may still be one: what is missing will be told.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, fits) in [
            ("2.9.10", true),
            ("2.10.0", true),
            ("2.12.1-RC.1", true),
            ("3.0", true),
            ("2.8.4", false),
            ("1.99.0", false),
            ("dev", true),
        ] {
            assert_eq!(is_new_enough(version), fits, "{version}");
        }
    }
}
