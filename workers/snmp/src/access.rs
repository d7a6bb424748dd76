//! How one target is spoken to: its Record's config and the values of its Secret, as the SNMP library wants them.

use crate::trouble::Trouble;
use async_snmp::{Auth, AuthProtocol, MasterKeys, PrivProtocol, UsmConfig};
use parking_lot::Mutex;
use sengu_sdk::{Context, Secret};
use serde::Deserialize;
use std::collections::HashMap;

/// Derived keys kept; a fleet has few users.
const KEYS_MAX: usize = 1_024;
/// RFC 3414 section 11.2.
const PASSWORD_BYTES_MIN: usize = 8;

/// `spec.config` of the Target; the schema is in worker.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    pub version: Version,
    pub auth_protocol: Option<String>,
    pub priv_protocol: Option<String>,
    pub context_name: String,
    pub profile: Option<String>,
    pub max_repetitions: u32,
    pub max_oids: usize,
    pub retries: u32,
    pub request_timeout_ms: u64,
    pub any_source: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    #[default]
    V2c,
    V3,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            version: Version::V2c,
            auth_protocol: None,
            priv_protocol: None,
            context_name: String::new(),
            profile: None,
            max_repetitions: 20,
            max_oids: 32,
            retries: 2,
            request_timeout_ms: 1_500,
            any_source: false,
        }
    }
}

/// Keys of the Secret that this kind knows.
const SECRETS: [&str; 4] = ["community", "username", "authPassword", "privPassword"];

/// One target's way in, with what it was made from, so that a change is noticed.
pub struct Access {
    pub config: Config,
    address: String,
    raw_config: serde_json::Value,
    identity: Option<String>,
    secrets: [Option<Secret>; 4],
}

impl Access {
    /// # Errors
    /// `refused` when the config does not fit or a secret is missing.
    pub fn of(task: &Context) -> Result<Access, Trouble> {
        let mut config: Config = task.config()?;
        config.max_repetitions = config.max_repetitions.clamp(1, 100);
        config.max_oids = config.max_oids.clamp(1, 100);
        config.retries = config.retries.min(10);
        config.request_timeout_ms = config.request_timeout_ms.clamp(50, 60_000);
        Ok(Access {
            config,
            address: task.target.address.clone(),
            raw_config: task.target.config.clone(),
            identity: task.target.identity.get("engineId").cloned(),
            secrets: SECRETS.map(|key| task.secret(key).cloned()),
        })
    }

    /// Whether the task's target is still the same in every respect.
    pub fn is_of(&self, task: &Context) -> bool {
        let same_secret = |(key, kept): (&&str, &Option<Secret>)| {
            task.secret(key).map(Secret::expose) == kept.as_ref().map(Secret::expose)
        };
        self.address == task.target.address
            && self.raw_config == task.target.config
            && self.identity.as_ref() == task.target.identity.get("engineId")
            && SECRETS.iter().zip(&self.secrets).all(same_secret)
    }

    pub fn is_v3(&self) -> bool {
        self.config.version == Version::V3
    }

    fn secret(&self, at: usize) -> Result<&str, Trouble> {
        self.secrets[at]
            .as_ref()
            .map(Secret::expose)
            .ok_or_else(|| {
                Trouble::refused(format!("the target's secret has no key {:?}", SECRETS[at]))
            })
    }

    /// # Errors
    /// `refused` when a secret is missing or too short, or a protocol is unknown.
    pub fn auth(&self, keys: &Keys) -> Result<Auth, Trouble> {
        if self.config.version == Version::V2c {
            return Ok(Auth::v2c(self.secret(0)?));
        }
        let mut usm = UsmConfig::new(self.secret(1)?.to_owned())
            .context_name(self.config.context_name.clone());
        let privacy = self.secrets[3].is_some() || self.config.priv_protocol.is_some();
        let authentic = self.secrets[2].is_some() || self.config.auth_protocol.is_some();
        if privacy || authentic {
            let auth_protocol: AuthProtocol =
                protocol(self.config.auth_protocol.as_deref().unwrap_or("SHA-256"))?;
            let auth_password = self.password(2)?;
            let privacy = if privacy {
                let text = self.config.priv_protocol.as_deref().unwrap_or("AES");
                let chosen: PrivProtocol = protocol(text)?;
                if chosen.is_des_family() {
                    return Err(Trouble::refused(
                        "privProtocol: DES is not supported, use AES",
                    ));
                }
                Some((chosen, self.password(3)?.to_owned()))
            } else {
                None
            };
            let wanted = Wanted {
                auth: (auth_protocol, auth_password.to_owned()),
                privacy,
            };
            usm = usm
                .with_master_keys(keys.of(wanted)?)
                .map_err(|e| Trouble::refused(e.to_string()))?;
        }
        Ok(Auth::Usm(usm))
    }

    fn password(&self, at: usize) -> Result<&str, Trouble> {
        let password = self.secret(at)?;
        if password.len() < PASSWORD_BYTES_MIN {
            let key = SECRETS[at];
            return Err(Trouble::refused(format!(
                "{key} is shorter than the {PASSWORD_BYTES_MIN} bytes that SNMPv3 demands"
            )));
        }
        Ok(password)
    }
}

fn protocol<T: std::str::FromStr>(text: &str) -> Result<T, Trouble>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|e: T::Err| Trouble::refused(e.to_string()))
}

#[derive(PartialEq, Eq, Hash)]
struct Wanted {
    auth: (AuthProtocol, String),
    privacy: Option<(PrivProtocol, String)>,
}

/// Keys by password. Deriving one hashes a megabyte, so a fleet with one user must not pay that per target.
#[derive(Default)]
pub struct Keys(Mutex<HashMap<Wanted, MasterKeys>>);

impl Keys {
    fn of(&self, wanted: Wanted) -> Result<MasterKeys, Trouble> {
        if let Some(keys) = self.0.lock().get(&wanted) {
            return Ok(keys.clone());
        }
        let derive = || {
            let keys = MasterKeys::new(wanted.auth.0, wanted.auth.1.as_bytes())?;
            match &wanted.privacy {
                Some((protocol, password)) => keys.with_privacy(*protocol, password.as_bytes()),
                None => Ok(keys),
            }
        };
        let keys = derive().map_err(|e| Trouble::refused(e.to_string()))?;
        let mut all = self.0.lock();
        if all.len() >= KEYS_MAX {
            all.clear();
        }
        all.insert(wanted, keys.clone());
        Ok(keys)
    }
}
