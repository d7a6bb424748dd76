//! What a Target record says of a server, parsed once into values that cannot be wrong.
//!
//! It must never let a record without a statement about TLS through as "any certificate will do".

use crate::address::Origin;
use crate::auth::{Auth, RawAuth};
use crate::declared::Declared;
use crate::limits;
use crate::outcome::Failure;
use crate::secrets::Secrets;
use crate::source::{self, Source};
use crate::task::Target;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How the other end proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// http, said so in the record.
    Plain,
    /// Exactly this leaf, by the SHA-256 of its DER form.
    Pin([u8; 32]),
    /// Signed by one of these (PEM), for this name.
    Ca(String),
    /// Signed by an authority that the system trusts, for this name.
    System,
    /// Any certificate, said so in the record.
    Anyone,
    /// Nothing said: nothing may be sent; the handshake is only made to show the fingerprint.
    Unstated,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    #[serde(default)]
    pub ca: Option<String>,
    #[serde(default)]
    pub system: bool,
    #[serde(default)]
    pub insecure: bool,
    #[serde(default)]
    pub plain: bool,
    /// For a token endpoint, which has no identity in the record.
    #[serde(default)]
    pub cert_sha256: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    auth: RawAuth,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    response_bytes_max: Option<usize>,
    #[serde(default)]
    sources: Vec<Value>,
    #[serde(default)]
    requests: BTreeMap<String, Value>,
}

/// All that is needed to talk to one target.
#[derive(Debug)]
pub struct Config {
    pub origin: Origin,
    pub trust: Trust,
    pub auth: Auth,
    /// On every request.
    pub headers: Vec<(String, String)>,
    pub response_bytes_max: usize,
    sources: Vec<Value>,
    requests: BTreeMap<String, Value>,
}

impl Config {
    /// # Errors
    /// `refused` with what to change in the record.
    pub fn read(target: &Target, secrets: &Secrets) -> Result<Config, Failure> {
        Config::parse(target, secrets).map_err(Failure::refused)
    }

    fn parse(target: &Target, secrets: &Secrets) -> Result<Config, String> {
        let raw = match &target.config {
            Value::Null => Raw::default(),
            config => Raw::deserialize(config).map_err(|e| format!("target config: {e}"))?,
        };
        let origin = Origin::parse(&target.address)?;
        if raw.tls.cert_sha256.is_some() {
            return Err("config.tls: the target's fingerprint is identity.certSha256".to_owned());
        }
        let pin = target.identity.get("certSha256").map(String::as_str);
        let trust = trust(
            origin.https,
            &raw.tls,
            pin,
            "config.tls",
            "identity.certSha256",
        )?;
        let auth = raw.auth.check(&origin, &trust, secrets)?;
        let response_bytes_max = raw.response_bytes_max.unwrap_or(limits::RESPONSE_BYTES);
        if response_bytes_max > limits::RESPONSE_BYTES_MAX {
            let most = limits::RESPONSE_BYTES_MAX;
            return Err(format!("config.responseBytesMax: at most {most}"));
        }
        if raw.sources.len() > limits::SOURCES_MAX || raw.requests.len() > limits::REQUESTS_MAX {
            let (sources, requests) = (limits::SOURCES_MAX, limits::REQUESTS_MAX);
            return Err(format!(
                "config: at most {sources} sources and {requests} requests"
            ));
        }
        Ok(Config {
            origin,
            trust,
            auth,
            headers: source::headers(raw.headers)?,
            response_bytes_max,
            sources: raw.sources,
            requests: raw.requests,
        })
    }

    /// What is to be read, in the record's order.
    ///
    /// # Errors
    /// `refused` when there is none, or one is wrong.
    pub fn sources(&self) -> Result<Vec<Source>, Failure> {
        if self.sources.is_empty() {
            return Err(Failure::refused(
                "config.sources is empty: it says which paths are read and what they give",
            ));
        }
        let sources = self.sources.iter().enumerate();
        sources
            .map(|(index, value)| Source::parse(index, value))
            .collect::<Result<_, _>>()
            .map_err(|e| Failure::refused(format!("config.{e}")))
    }

    /// # Errors
    /// `refused` when no request of that name is declared, or it is wrong.
    pub fn request(&self, name: &str) -> Result<Declared, Failure> {
        let Some(value) = self.requests.get(name) else {
            let known: Vec<&str> = self.requests.keys().map(String::as_str).collect();
            let known = match known.is_empty() {
                true => "config.requests is empty".to_owned(),
                false => format!("declared: {}", known.join(", ")),
            };
            let name: String = name.chars().take(64).collect();
            return Err(Failure::refused(format!("no request {name:?}; {known}")));
        };
        Declared::parse(name, value)
            .map_err(|e| Failure::refused(format!("config.requests.{name}: {e}")))
    }
}

/// # Errors
/// When the statements contradict each other or the scheme.
pub fn trust(
    https: bool,
    tls: &Tls,
    pin: Option<&str>,
    at: &str,
    pin_at: &str,
) -> Result<Trust, String> {
    Ok(match (https, tls.plain) {
        (false, true) if pin.is_some() => {
            return Err(format!("{pin_at} cannot be checked over http"));
        }
        (false, true) => Trust::Plain,
        (false, false) => {
            return Err(format!(
                "the address is http: without TLS only with {at}.plain: true"
            ));
        }
        (true, true) => return Err(format!("{at}.plain is set and the address is https")),
        // A pin is the strictest statement, so it wins over the others.
        (true, false) => match (pin, &tls.ca, tls.system, tls.insecure) {
            (Some(pin), ..) => {
                Trust::Pin(parse_fingerprint(pin).map_err(|e| format!("{pin_at}: {e}"))?)
            }
            (None, Some(ca), ..) => Trust::Ca(ca.clone()),
            (None, None, true, _) => Trust::System,
            (None, None, false, true) => Trust::Anyone,
            (None, None, false, false) => Trust::Unstated,
        },
    })
}

/// Reads a SHA-256 fingerprint: 64 hex digits, colons, spaces and a `sha256:` prefix allowed.
pub fn parse_fingerprint(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("{text:?}: 64 hex digits are wanted");
    let lower = text.trim().to_ascii_lowercase();
    let digits: Vec<u8> = lower
        .strip_prefix("sha256:")
        .unwrap_or(&lower)
        .bytes()
        .filter(|b| !b":- ".contains(b))
        .collect();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
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
    use serde_json::json;

    fn read(address: &str, config: Value, pin: Option<&str>) -> Result<Config, String> {
        let identity = pin.map(|p| ("certSha256".to_owned(), p.to_owned()));
        let target = Target {
            name: "t".to_owned(),
            address: address.to_owned(),
            config,
            identity: identity.into_iter().collect(),
        };
        let values = [
            ("username", "u"),
            ("password", "pass"),
            ("token", "tok1"),
            ("clientId", "c"),
            ("clientSecret", "cs12"),
        ];
        let secrets = Secrets::new(values.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        Config::read(&target, &secrets).map_err(|f| f.message)
    }

    #[test]
    fn trust_is_stated_or_nothing_is_sent() {
        let pin = "00112233445566778899aabbccddeeff".repeat(2);
        let table = [
            ("https://a", json!({}), None, Ok(Trust::Unstated)),
            ("https://a", Value::Null, None, Ok(Trust::Unstated)),
            (
                "https://a",
                json!({"tls": {"insecure": true}}),
                None,
                Ok(Trust::Anyone),
            ),
            (
                "https://a",
                json!({"tls": {"system": true}}),
                None,
                Ok(Trust::System),
            ),
            (
                "https://a",
                json!({"tls": {"ca": "x", "system": true}}),
                None,
                Ok(Trust::Ca("x".to_owned())),
            ),
            (
                "http://a",
                json!({"tls": {"plain": true}}),
                None,
                Ok(Trust::Plain),
            ),
            (
                "http://a",
                json!({}),
                None,
                Err("only with config.tls.plain"),
            ),
            (
                "https://a",
                json!({"tls": {"plain": true}}),
                None,
                Err("address is https"),
            ),
            (
                "http://a",
                json!({"tls": {"plain": true}}),
                Some(pin.as_str()),
                Err("cannot be checked over http"),
            ),
            ("https://a", json!({}), Some("aa:bb"), Err("64 hex digits")),
            (
                "https://a",
                json!({"tls": {"certSha256": pin}}),
                None,
                Err("identity.certSha256"),
            ),
            (
                "https://a",
                json!({"tlz": {}}),
                None,
                Err("unknown field `tlz`"),
            ),
            (
                "https://a",
                json!({"responseBytesMax": 99_999_999}),
                None,
                Err("at most"),
            ),
            ("https://a/api", json!({}), None, Err("the path belongs to")),
        ];
        for (address, config, pin, want) in table {
            match (read(address, config.clone(), pin).map(|c| c.trust), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(e), Err(want)) => assert!(e.contains(want), "{config}: {e}"),
                (got, want) => panic!("{config}: {got:?}, not {want:?}"),
            }
        }
        let pinned = read("https://a", json!({"tls": {"insecure": true}}), Some(&pin)).unwrap();
        assert!(matches!(pinned.trust, Trust::Pin(p) if p[1] == 0x11));
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
            (format!("{}+1", &plain[..62]), false),
            (format!("{}ü", &plain[..62]), false),
            (String::new(), false),
        ];
        for (text, ok) in table {
            assert_eq!(parse_fingerprint(&text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn requests_and_sources_are_found_or_named() {
        let config = json!({"requests": {"fan": {"method": "GET", "path": "/f", "effect": "read"}, "odd": {}}});
        let config = read("https://a", config, None).unwrap();
        assert!(config.request("fan").is_ok());
        let unknown = config.request("fam").unwrap_err().message;
        assert!(unknown.contains("declared: fan, odd"), "{unknown}");
        let odd = config.request("odd").unwrap_err().message;
        assert!(
            odd.starts_with("config.requests.odd: missing field"),
            "{odd}"
        );
        assert!(
            config
                .sources()
                .unwrap_err()
                .message
                .contains("config.sources is empty")
        );
    }
}
