//! What a task says of its host: address, credentials, pins and settings, read once at the border.

use crate::command::Sudo;
use crate::host_key::{Pin, parse_pins};
use sengu_sdk::{Context, Failure, FailureCode, Secret};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;

const CONNECT_TIMEOUT_DEFAULT_MS: u64 = 15_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    username: Option<String>,
    #[serde(default)]
    sudo: bool,
    #[serde(default)]
    host_key_policy: Policy,
    #[serde(default)]
    shell: Shell,
    connect_timeout_ms: Option<u64>,
}

/// What to do with a host whose key is not pinned.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    #[default]
    Pinned,
    TrustOnFirstUse,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shell {
    #[default]
    Posix,
    Raw,
}

/// One host as a task names it.
#[derive(Clone)]
pub struct Host {
    pub name: String,
    pub address: String,
    pub port: u16,
    pub username: String,
    pub password: Option<Secret>,
    pub private_key: Option<Secret>,
    pub passphrase: Option<Secret>,
    pub pins: Vec<Pin>,
    pub policy: Policy,
    pub sudo: Sudo,
    pub shell: Shell,
    pub connect_timeout: Duration,
    /// Digest of all that a kept connection depends on: another one means another connection.
    pub fingerprint: [u8; 32],
}

impl Host {
    /// # Errors
    /// `refused` naming the wrong field; nothing was sent.
    pub fn of(task: &Context) -> Result<Host, Failure> {
        let config: Config = task.config()?;
        let refused = |why: String| Failure::new(FailureCode::Refused, why);
        let target = &task.target;
        let (address, port) = parse_address(&target.address)
            .ok_or_else(|| refused(format!("address {:?}: want host:port", target.address)))?;
        let pins = match target.identity.get("hostKey") {
            Some(text) => parse_pins(text).map_err(refused)?,
            None => Vec::new(),
        };
        let username = match (task.secret("username"), &config.username) {
            (Some(name), _) => name.expose().to_owned(),
            (None, Some(name)) => name.clone(),
            (None, None) => {
                return Err(refused(
                    "no username: put it into the target's secret or into config.username"
                        .to_owned(),
                ));
            }
        };
        let secret = |key: &str| task.secret(key).filter(|s| !s.expose().is_empty()).cloned();
        let (password, private_key) = (secret("password"), secret("privateKey"));
        if password.is_none() && private_key.is_none() {
            return Err(refused(
                "the target's secret has neither privateKey nor password".to_owned(),
            ));
        }
        let passphrase = secret("passphrase");
        let connect_ms = config
            .connect_timeout_ms
            .unwrap_or(CONNECT_TIMEOUT_DEFAULT_MS);
        let mut digest = Sha256::new();
        let identity = target.identity.get("hostKey").map(String::as_str);
        for part in [
            Some(target.address.as_str()),
            identity,
            Some(username.as_str()),
            password.as_ref().map(Secret::expose),
            private_key.as_ref().map(Secret::expose),
            passphrase.as_ref().map(Secret::expose),
        ] {
            let part = part.unwrap_or_default();
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.update([config.host_key_policy as u8]);
        Ok(Host {
            name: target.name.clone(),
            address,
            port,
            username,
            password,
            private_key,
            passphrase,
            pins,
            policy: config.host_key_policy,
            sudo: if config.sudo { Sudo::Yes } else { Sudo::No },
            shell: config.shell,
            connect_timeout: Duration::from_millis(connect_ms),
            fingerprint: digest.finalize().into(),
        })
    }

    pub fn at(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn parse_address(text: &str) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => match text.split_once(':') {
            Some((host, _)) => (host, &text[host.len()..]),
            None => (text, ""),
        },
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|p| *p != 0)?,
        None if rest.is_empty() => 22,
        None => return None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_perhaps_a_port() {
        let table = [
            ("h", Some(("h", 22))),
            ("h.example:2222", Some(("h.example", 2222))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:22", Some(("::1", 22))),
            ("[fe80::1%eth0]", Some(("fe80::1%eth0", 22))),
            ("::1", None),
            ("h:", None),
            ("h:0", None),
            ("h:99999", None),
            (":22", None),
            ("", None),
            ("[::1", None),
        ];
        for (text, wanted) in table {
            let wanted = wanted.map(|(h, p)| (h.to_owned(), p));
            assert_eq!(parse_address(text), wanted, "{text}");
        }
    }
}
