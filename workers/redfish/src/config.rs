//! What a Target record says of a BMC, parsed once into values that cannot be wrong.
//!
//! It must never let a record without a statement about TLS through as "any certificate will do".

use crate::tls::Trust;
use sengu_sdk::{Context, Failure, FailureCode, Secret};
use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub system: Option<String>,
    #[serde(default)]
    pub auth: AuthMode,
    #[serde(default)]
    pub etag: EtagMode,
    #[serde(default)]
    tls: Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    #[default]
    Auto,
    Session,
    Basic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EtagMode {
    #[default]
    Send,
    Omit,
    StripWeak,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tls {
    #[serde(default)]
    ca: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    plain: bool,
}

/// Where the BMC listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// Value of the Host header.
    pub authority: String,
}

#[derive(Clone)]
pub struct Credentials {
    pub username: Secret,
    pub password: Secret,
}

/// All that is needed to talk to one BMC.
#[derive(Clone)]
pub struct Access {
    pub origin: Origin,
    pub trust: Trust,
    pub auth: AuthMode,
    pub credentials: Option<Credentials>,
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Refused, message)
}

/// Reads the target's part of a task.
///
/// # Errors
/// `refused` with what to change in the record.
pub fn read(task: &Context) -> Result<(Access, Config), Failure> {
    let config: Config = task.config()?;
    let (origin, https) = parse_address(&task.target.address).map_err(refused)?;
    let pin = task.target.identity.get("certSha256");
    let trust = match (https, config.tls.plain) {
        (false, true) if pin.is_some() => {
            return Err(refused("identity.certSha256 cannot be checked over http"));
        }
        (false, true) => Trust::Plain,
        (false, false) => {
            return Err(refused(
                "the address is http: without TLS only with config.tls.plain: true",
            ));
        }
        (true, true) => {
            return Err(refused("config.tls.plain is set and the address is https"));
        }
        (true, false) => match (pin, &config.tls.ca, config.tls.insecure) {
            // A pin is the strictest statement, so it wins over the others.
            (Some(pin), _, _) => Trust::Pin(parse_fingerprint(pin).map_err(refused)?),
            (None, Some(ca), _) => Trust::roots(ca).map_err(refused)?,
            (None, None, true) => Trust::Anyone,
            (None, None, false) => Trust::Unstated,
        },
    };
    let credentials = match (task.secret("username"), task.secret("password")) {
        (Some(username), Some(password)) => Some(Credentials {
            username: username.clone(),
            password: password.clone(),
        }),
        (None, None) if config.auth == AuthMode::Auto => None,
        (None, _) => return Err(refused("the target's secret has no key \"username\"")),
        (_, None) => return Err(refused("the target's secret has no key \"password\"")),
    };
    let auth = config.auth;
    let access = Access {
        origin,
        trust,
        auth,
        credentials,
    };
    Ok((access, config))
}

/// Reads `[http[s]://]host[:port][/]`; true = https.
fn parse_address(address: &str) -> Result<(Origin, bool), String> {
    let (https, rest) = match address.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some((scheme, _)) => return Err(format!("address: unknown scheme {scheme:?}")),
        None => (true, address),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or("address: ']' is missing")?;
            (host, after.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
        return Err(format!(
            "address {address:?}: write https://host or https://host:port"
        ));
    }
    let port = match port {
        Some(text) => text
            .parse()
            .map_err(|_| format!("address: {text:?} is no port"))?,
        None if https => 443,
        None => 80,
    };
    let origin = Origin {
        host: host.to_owned(),
        port,
        authority: authority.to_owned(),
    };
    Ok((origin, https))
}

/// Reads a SHA-256 fingerprint: 64 hex digits, colons, spaces and a `sha256:` prefix allowed.
pub fn parse_fingerprint(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("identity.certSha256 {text:?}: 64 hex digits are wanted");
    let lower = text.trim().to_ascii_lowercase();
    let digits: Vec<u8> = lower
        .strip_prefix("sha256:")
        .unwrap_or(&lower)
        .bytes()
        .filter(|b| !b":- ".contains(b))
        .collect();
    if digits.len() != 64 {
        return Err(wrong());
    }
    let mut fingerprint = [0; 32];
    for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_an_origin_and_nothing_more() {
        let table = [
            ("https://10.0.0.1", Some(("10.0.0.1", 443, true))),
            (
                "https://bmc.example:8443/",
                Some(("bmc.example", 8443, true)),
            ),
            ("bmc", Some(("bmc", 443, true))),
            ("http://127.0.0.1:8000", Some(("127.0.0.1", 8000, false))),
            ("https://[::1]:8443", Some(("::1", 8443, true))),
            ("ftp://x", None),
            ("https://", None),
            ("https://a:99999", None),
            ("https://a/redfish/v1", None),
            ("https://u:p@a", None),
        ];
        for (text, want) in table {
            let got = parse_address(text).ok();
            let got = got
                .as_ref()
                .map(|(o, https)| (o.host.as_str(), o.port, *https));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn fingerprints_are_read_as_people_paste_them() {
        let plain = "00112233445566778899aabbccddeeff".repeat(2);
        let colons: Vec<String> = plain
            .as_bytes()
            .chunks(2)
            .map(|c| String::from_utf8_lossy(c).to_uppercase())
            .collect();
        let table = [
            (plain.clone(), true),
            (colons.join(":"), true),
            (format!("SHA256:{plain}"), true),
            (format!(" {plain} "), true),
            (plain[..62].to_owned(), false),
            (format!("{}zz", &plain[..62]), false),
            (format!("{}ü", &plain[..62]), false),
            (String::new(), false),
        ];
        for (text, ok) in table {
            assert_eq!(parse_fingerprint(&text).is_ok(), ok, "{text}");
        }
        assert_eq!(parse_fingerprint(&plain).unwrap()[1], 0x11);
    }
}
