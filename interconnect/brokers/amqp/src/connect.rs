//! One connection: from the address to being signed in, with each refusal told apart.

use crate::error::{ACCESS_REFUSED, AmqpError, NOT_ALLOWED, plain, said, source};
use crate::limits::{CONNECT_MAX, HEARTBEAT_S, KEEPS_AT_ONCE, NAME_BYTES_MAX, VERSION_MIN};
use crate::stream::{self, Grip};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties};
use parking_lot::Mutex;
use sengu_interconnect::address::Address;
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

const VHOST_DEFAULT: &str = "/";
/// RabbitMQ's own default user, which it lets in from its own machine only.
const USER_DEFAULT: &str = "guest";

pub struct Opened {
    pub connection: Connection,
    pub grip: Arc<Grip>,
    pub version: String,
}

/// # Errors
/// Why there is no connection, within `CONNECT_MAX` twice: for the stream, and for what is said on it.
pub async fn open(address: &Address, name: &str) -> Result<Opened, AmqpError> {
    let at = address.to_string();
    let silent = || AmqpError::Silent {
        at: at.clone(),
        within: CONNECT_MAX,
    };
    let uri = uri(address)?;
    let (wire, grip) = match timeout(CONNECT_MAX, stream::connect(address)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(silent()),
    };
    let wire = Mutex::new(Some(wire));
    let connect = async move |_, _| match wire.lock().take() {
        Some(wire) => Ok(AsyncTcpStream::Plain(wire)),
        None => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
    };
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let opening = Connection::connector(uri, stream::runtime(), connect, properties);
    let connection = match timeout(CONNECT_MAX, opening).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            grip.cut();
            return Err(match grip.version() {
                Some(found) if !is_at_least(&found, VERSION_MIN) => AmqpError::Version { found },
                _ => refused(address, error),
            });
        }
        Err(_) => {
            grip.cut();
            return Err(silent());
        }
    };
    let version = grip.version().unwrap_or_default();
    if !is_at_least(&version, VERSION_MIN) {
        return Err(AmqpError::Version { found: version });
    }
    Ok(Opened {
        connection,
        grip,
        version,
    })
}

fn uri(address: &Address) -> Result<AMQPUri, AmqpError> {
    let vhost = vhost(address);
    if vhost.len() > NAME_BYTES_MAX {
        return Err(AmqpError::Name(vhost.to_owned()));
    }
    let user = address.user.as_deref().unwrap_or(USER_DEFAULT);
    let password = address.password.as_ref();
    let password = match (password, &address.user) {
        (Some(password), _) => password.reveal(),
        (None, None) => USER_DEFAULT,
        (None, Some(_)) => "",
    };
    Ok(AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: user.to_owned(),
                password: password.to_owned(),
            },
            host: address.host.clone(),
            port: address.port,
        },
        vhost: vhost.to_owned(),
        query: AMQPQueryString {
            heartbeat: Some(HEARTBEAT_S),
            ..AMQPQueryString::default()
        },
    })
}

pub fn vhost(address: &Address) -> &str {
    address.path.as_deref().unwrap_or(VHOST_DEFAULT)
}

fn refused(address: &Address, error: lapin::Error) -> AmqpError {
    let at = address.to_string();
    match said(&error) {
        Some((ACCESS_REFUSED, words)) if words.contains("Login was refused") => {
            AmqpError::Credentials { at }
        }
        Some((ACCESS_REFUSED, words)) => AmqpError::NotPermitted(plain(words).to_owned()),
        Some((NOT_ALLOWED, words)) if words.ends_with("not found") => AmqpError::NoVhost {
            at,
            vhost: vhost(address).to_owned(),
        },
        Some((NOT_ALLOWED, words)) => AmqpError::NotPermitted(plain(words).to_owned()),
        _ => AmqpError::Reach {
            at,
            source: source(error),
        },
    }
}

/// Whether a queue that the server says it made is there after a crash, too.
pub fn keeps_at_once(version: &str) -> bool {
    is_at_least(version, KEEPS_AT_ONCE)
}

/// A version that cannot be read is taken for a new one.
fn is_at_least(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= least,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, is_new) in [
            ("3.10.8", true),
            ("3.9.29", false),
            ("4.0.0-beta.1", true),
            ("3.8", false),
            ("", true),
        ] {
            assert_eq!(is_at_least(version, VERSION_MIN), is_new, "{version}");
        }
        assert!(!keeps_at_once("3.13.7") && keeps_at_once("4.0.1"));
    }

    #[test]
    fn a_vhost_that_is_too_long_is_refused() {
        let url = format!("amqp://localhost/{}", "v".repeat(300));
        let address = Address::parse(&url).unwrap();
        assert!(matches!(uri(&address), Err(AmqpError::Name(_))));
    }
}
