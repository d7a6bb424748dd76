//! Where to join. Plain TCP is for this machine only, and that is refused here already where the address shows it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::{fmt, str::FromStr};

/// Taken when the address names none.
pub const PORT: u16 = 7469;

/// `unix:///path/to/socket`, `tcp://127.0.0.1:7469` or `tls://host:7469`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkUrl(pub(crate) Place);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error(
        "{0:?} is no address to join: unix:///path, tcp://127.0.0.1:{PORT} or tls://host:{PORT}"
    )]
    Scheme(String),
    #[error("{0:?} needs the whole path of the socket, like unix:///run/sengu/link.sock")]
    Path(String),
    #[error("{0:?} names no host that can be joined")]
    Host(String),
    #[error("{0:?} has no port between 1 and 65535")]
    Port(String),
    #[error("{0:?} is not on loopback: plain tcp ends at this machine, use tls://")]
    NotLoopback(String),
}

impl FromStr for LinkUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<LinkUrl, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        match scheme {
            "unix" => {
                // The system's limit for the address of a socket is 108 bytes with the ending zero.
                if !rest.starts_with('/') || rest.ends_with('/') || rest.contains('\0') {
                    return Err(UrlError::Path(text.to_owned()));
                }
                Ok(LinkUrl(Place::Unix(PathBuf::from(rest))))
            }
            "tcp" => {
                let (host, port) = authority(text, rest)?;
                if !is_loopback(&host) {
                    return Err(UrlError::NotLoopback(text.to_owned()));
                }
                Ok(LinkUrl(Place::Tcp { host, port }))
            }
            "tls" => {
                let (host, port) = authority(text, rest)?;
                Ok(LinkUrl(Place::Tls { host, port }))
            }
            _ => Err(UrlError::Scheme(text.to_owned())),
        }
    }
}

/// Host without brackets, and port.
fn authority(text: &str, rest: &str) -> Result<(String, u16), UrlError> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6
                .split_once(']')
                .ok_or_else(|| UrlError::Host(text.to_owned()))?;
            if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
                return Err(UrlError::Host(text.to_owned()));
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(UrlError::Port(text.to_owned())),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(known) {
        return Err(UrlError::Host(text.to_owned()));
    }
    let port = match port {
        None => PORT,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(UrlError::Port(text.to_owned())),
        },
    };
    Ok((host.to_owned(), port))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for LinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match &self.0 {
            Place::Unix(path) => return write!(f, "unix://{}", path.display()),
            Place::Tcp { host, port } => ("tcp", host, port),
            Place::Tls { host, port } => ("tls", host, port),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for (text, again) in [
            ("unix:///run/sengu/link.sock", "unix:///run/sengu/link.sock"),
            ("tcp://127.0.0.1:7000", "tcp://127.0.0.1:7000"),
            ("tcp://127.8.9.1", "tcp://127.8.9.1:7469"),
            ("tcp://localhost:1/", "tcp://localhost:1"),
            ("tcp://[::1]:7000", "tcp://[::1]:7000"),
            ("tls://logic.example:7469", "tls://logic.example:7469"),
            (" tls://10.0.0.1\n", "tls://10.0.0.1:7469"),
            ("tls://[fd00::1]", "tls://[fd00::1]:7469"),
        ] {
            let url: LinkUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), again);
            assert_eq!(again.parse::<LinkUrl>().unwrap(), url);
        }
    }

    #[test]
    fn what_cannot_be_joined_is_refused_with_the_reason() {
        let owned = str::to_owned;
        for (text, error) in [
            ("127.0.0.1:7469", UrlError::Scheme as fn(String) -> UrlError),
            ("http://127.0.0.1", UrlError::Scheme),
            ("unix://relative", UrlError::Path),
            ("unix:///folder/", UrlError::Path),
            ("tcp://10.0.0.1:7469", UrlError::NotLoopback),
            ("tcp://0.0.0.0:7469", UrlError::NotLoopback),
            ("tcp://logic.example", UrlError::NotLoopback),
            ("tls://", UrlError::Host),
            ("tls://a b", UrlError::Host),
            ("tls://user@host", UrlError::Host),
            ("tls://[::1", UrlError::Host),
            ("tls://[zz]", UrlError::Host),
            ("tls://host:0", UrlError::Port),
            ("tls://host:70000", UrlError::Port),
            ("tls://[::1]7469", UrlError::Port),
            ("tls://::1", UrlError::Host),
        ] {
            assert_eq!(text.parse::<LinkUrl>().unwrap_err(), error(owned(text)));
        }
    }
}
