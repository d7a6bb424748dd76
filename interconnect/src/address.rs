//! Where a broker is and how to get in: one URL, the same form for every driver. A password is read from a file or from
//! a private configuration file, never from an argument or the environment.

use percent_encoding::percent_decode_str;
use std::fmt;
use url::Url;

/// Password of a broker. It has no Display, and its Debug shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn new(text: String) -> Password {
        Password(text)
    }

    /// The password itself: only for the driver that hands it to the broker.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A broker's URL: `amqp://`, `mqtt://` or `nats://`, with `s` at the end of the scheme for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: Scheme,
    pub tls: bool,
    /// Name or IP address, without brackets.
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<Password>,
    /// What follows the host, without its slash and decoded: the vhost of AMQP; nothing elsewhere.
    pub path: Option<String>,
    /// First part of every name that sengu uses there, so that several installations can share a broker.
    pub prefix: String,
    /// PEM certificates of the authorities that may have signed the broker's; none: those of the system.
    pub ca_pem: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Amqp,
    Mqtt,
    Nats,
}

pub const PREFIX_DEFAULT: &str = "sengu";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "{0:?} is no broker's address: amqp://, amqps://, mqtt://, mqtts://, nats:// or tls+nats:// with a host"
    )]
    Form(String),
    #[error("{shown} has the unknown setting {key:?}: only prefix is known")]
    Setting { shown: String, key: String },
    #[error("{shown}: prefix {prefix:?} is not 1 to 32 of a-z 0-9 -")]
    Prefix { shown: String, prefix: String },
    #[error("{shown}: {scheme} takes no path")]
    Path { shown: String, scheme: &'static str },
    #[error("{shown} is not on this machine: plain {scheme}:// ends at loopback, use {scheme}s://")]
    NotLoopback { shown: String, scheme: &'static str },
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Amqp => "amqp",
            Scheme::Mqtt => "mqtt",
            Scheme::Nats => "nats",
        }
    }

    fn port(self, tls: bool) -> u16 {
        match (self, tls) {
            (Scheme::Amqp, false) => 5672,
            (Scheme::Amqp, true) => 5671,
            (Scheme::Mqtt, false) => 1883,
            (Scheme::Mqtt, true) => 8883,
            (Scheme::Nats, _) => 4222,
        }
    }
}

impl Address {
    /// Reads a URL such as `amqps://sengu@rabbit.example:5671/sengu?prefix=lab`.
    ///
    /// # Errors
    /// What is wrong with it, without its password.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let form = || AddressError::Form(without_password(text));
        let url = Url::parse(text.trim()).map_err(|_| form())?;
        let (scheme, tls) = match url.scheme() {
            "amqp" => (Scheme::Amqp, false),
            "amqps" => (Scheme::Amqp, true),
            "mqtt" => (Scheme::Mqtt, false),
            "mqtts" => (Scheme::Mqtt, true),
            "nats" => (Scheme::Nats, false),
            "natss" | "tls+nats" => (Scheme::Nats, true),
            _ => return Err(form()),
        };
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|t| t.into_owned()).map_err(|_| form())
        };
        let user = match url.username() {
            "" => None,
            user => Some(decoded(user)?),
        };
        let password = url.password().map(decoded).transpose()?;
        let path = match url.path() {
            "" | "/" => None,
            path => Some(decoded(&path[1..])?),
        };
        let mut address = Address {
            scheme,
            tls,
            host: host.to_owned(),
            port: url.port().unwrap_or_else(|| scheme.port(tls)),
            user,
            password: password.map(Password),
            path,
            prefix: PREFIX_DEFAULT.to_owned(),
            ca_pem: None,
        };
        for (key, value) in url.query_pairs() {
            if key != "prefix" {
                let (shown, key) = (address.to_string(), key.into_owned());
                return Err(AddressError::Setting { shown, key });
            }
            address.prefix = value.into_owned();
        }
        address.check()?;
        Ok(address)
    }

    fn check(&self) -> Result<(), AddressError> {
        let shown = || self.to_string();
        let scheme = self.scheme.as_str();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=32).contains(&self.prefix.len()) && self.prefix.chars().all(plain);
        if !fits {
            let prefix = self.prefix.clone();
            return Err(AddressError::Prefix {
                shown: shown(),
                prefix,
            });
        }
        if self.path.is_some() && self.scheme != Scheme::Amqp {
            return Err(AddressError::Path {
                shown: shown(),
                scheme,
            });
        }
        if !self.tls && !self.is_loopback() {
            return Err(AddressError::NotLoopback {
                shown: shown(),
                scheme,
            });
        }
        Ok(())
    }

    /// The URL again, without the password.
    pub fn url(&self) -> String {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!(
            "{}{}://",
            self.scheme.as_str(),
            if self.tls { "s" } else { "" }
        );
        if let Some(user) = &self.user {
            url.push_str(&encoded(user));
            url.push('@');
        }
        match self.host.contains(':') {
            true => url.push_str(&format!("[{}]:{}", self.host, self.port)),
            false => url.push_str(&format!("{}:{}", self.host, self.port)),
        }
        if let Some(path) = &self.path {
            url.push('/');
            url.push_str(&encoded(path));
        }
        url.push_str("?prefix=");
        url.push_str(&self.prefix);
        url
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || (self.host.parse::<std::net::IpAddr>()).is_ok_and(|ip| ip.is_loopback())
    }
}

/// As it may be shown: without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        write!(f, "{}{s}://", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        if let Some(path) = &self.path {
            write!(f, "/{path}")?;
        }
        Ok(())
    }
}

/// What was given, with whatever stands where a password would be taken out.
fn without_password(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else {
        return text.chars().take(64).collect();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{before}://..@{host}"),
        None => text.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_password() {
        for (text, shown) in [
            ("amqp://localhost", "amqp://localhost:5672"),
            (
                "amqps://u:p%40ss@rabbit.example/a%2Fb",
                "amqps://u@rabbit.example:5671/a/b",
            ),
            ("mqtts://broker.example", "mqtts://broker.example:8883"),
            ("nats://[::1]:4223", "nats://[::1]:4223"),
            ("tls+nats://u:p@nats.example", "natss://u@nats.example:4222"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("p@ss"));
        }
        let address = Address::parse("amqps://u:p%40ss@h/v?prefix=lab").unwrap();
        let again = Address::parse(&address.url()).unwrap();
        assert!(again.password.is_none());
        assert_eq!(
            (&again.path, &again.prefix),
            (&address.path, &address.prefix)
        );
        assert_eq!(address.password.as_ref().unwrap().reveal(), "p@ss");
        assert_eq!(
            (address.prefix.as_str(), address.path.as_deref()),
            ("lab", Some("v"))
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_no_password_is_told() {
        for (text, part) in [
            ("http://u:secret@h", "no broker's address"),
            ("nats://", "no broker's address"),
            ("mqtt://u:secret@10.0.0.1", "use mqtts://"),
            ("nats://localhost/x", "takes no path"),
            ("amqp://localhost?x=secret", "unknown setting"),
            ("amqp://localhost?prefix=A", "prefix"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
