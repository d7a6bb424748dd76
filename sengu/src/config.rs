//! The configuration file `sengu.toml` of the data directory. Flags win over it; every key has a default.

use crate::drivers::stores::postgres;
use anyhow::{Context as _, Result, bail};
use sengu_logic::api::serve::TlsFiles;
use sengu_model::quantity::Duration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What can be configured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the API; default 127.0.0.1:7468. Anything but loopback needs `tls`.
    pub listen: Option<SocketAddr>,
    /// Name of this machine's execution environment; default `local`.
    pub wee: Option<String>,
    /// Zone whose targets it reaches; default `default`.
    pub zone: Option<String>,
    /// Folder with one folder per worker; default `workers` beside the program.
    pub workers: Option<PathBuf>,
    /// Labels of this machine's execution environment.
    pub labels: BTreeMap<String, String>,
    /// Execution alone: the join file of the logic role, or its data directory.
    pub join: Option<PathBuf>,
    /// Logic: where execution environments of other machines join. Anything but loopback needs `tls`.
    pub listen_join: Option<SocketAddr>,
    /// Runtimes that this machine's execution environment uses; default: all of process, wasm and docker.
    pub runtimes: Vec<String>,
    pub docker: Docker,
    /// The broker between logic and execution environments; default: the embedded one.
    pub interconnect: Option<Interconnect>,
    /// The database; default: a file in the data directory.
    pub store: Option<StoreConfig>,
    /// Logic, with the embedded interconnect: where MQTT clients follow results, readings and changes; default: nowhere.
    /// Anything but loopback needs `tls`.
    pub listen_mqtt: Option<SocketAddr>,
    /// Logic: the name by which others that share its store know it; default: the host's.
    pub name: Option<String>,
    /// Logic: the URL at which others reach its API; default: where it listens.
    pub url: Option<String>,
    /// How long ended tasks are kept; default 7d.
    pub retention: Option<Duration>,
    /// How long it is kept who did what; default 400d.
    pub audit_retention: Option<Duration>,
    /// Filter of the log on stderr, such as `info` or `info,sengu_logic=debug`; default `info`.
    pub log: Option<String>,
    pub tls: Option<Tls>,
}

/// A broker that logic and execution environments share.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interconnect {
    /// `amqps://user@host/vhost`, `nats://..`, `mqtts://..`; may end with `?prefix=name` where several installations
    /// share a broker.
    pub url: String,
    /// Beside AMQP: `mqtts://..` for results, events and the retained directory.
    pub results: Option<String>,
    /// Files that hold nothing but the password.
    pub password_file: Option<PathBuf>,
    pub results_password_file: Option<PathBuf>,
    /// PEM files of the authorities that signed the brokers' certificates; default: those of the system.
    pub ca: Option<PathBuf>,
    pub results_ca: Option<PathBuf>,
}

/// A database that several logic roles may share.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `postgres://user@host:5432/database`.
    pub url: String,
    pub password_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    #[serde(default = "schema_default")]
    pub schema: String,
    /// Connections of one process.
    #[serde(default = "connections_default")]
    pub connections: u32,
}

fn schema_default() -> String {
    "sengu".to_owned()
}

fn connections_default() -> u32 {
    6
}

impl std::fmt::Debug for Interconnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interconnect(..)") // addresses may hold passwords
    }
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreConfig(..)") // the address may hold a password
    }
}

/// How workers run in containers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// Socket of the Docker Engine; default /var/run/docker.sock.
    pub socket: Option<PathBuf>,
    /// Network of the containers; default `host`, since workers must reach whatever this machine reaches.
    pub network: String,
}

impl Default for Docker {
    fn default() -> Self {
        Docker {
            socket: None,
            network: "host".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM files.
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Config {
    /// Reads the file; none is the same as an empty one.
    ///
    /// # Errors
    /// With file, line and what is wrong.
    pub fn read(path: &Path, must_exist: bool) -> Result<Config> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let config: Config = toml::from_str(&text).map_err(|e| told(path, &text, &e))?;
                if config.holds_a_password() {
                    crate::up::check_private(path)?;
                }
                Ok(config)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                Ok(Config::default())
            }
            Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Whether an address in it holds a password.
    fn holds_a_password(&self) -> bool {
        let brokers = self.interconnect.iter();
        let urls = brokers.flat_map(|i| std::iter::once(&i.url).chain(&i.results));
        let mut brokers = urls.filter_map(|url| url::Url::parse(url).ok());
        let store = self.store.as_ref().map(|store| store.url.as_str());
        brokers.any(|url| url.password().is_some()) || store.is_some_and(postgres::holds_password)
    }

    pub fn tls_files(&self) -> Option<TlsFiles> {
        self.tls.as_ref().map(|t| TlsFiles {
            cert: t.cert.clone(),
            key: t.key.clone(),
        })
    }

    /// # Errors
    /// When a value is outside its rule.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("wee", &self.wee), ("zone", &self.zone)] {
            if value
                .as_deref()
                .is_some_and(|v| !sengu_model::record::valid_name(v))
            {
                bail!("{key}: 1 to 128 of a-z 0-9 . - _");
            }
        }
        Ok(())
    }
}

/// What is wrong with the file and where, without the line itself: it may hold a password.
fn told(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error
        .span()
        .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let line = line
        .map(|line| format!(", line {line}"))
        .unwrap_or_default();
    anyhow::anyhow!("read {}{line}: {}", path.display(), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sengu.toml");
        for (text, part) in [
            ("lissten = \"127.0.0.1:1\"", "unknown field `lissten`"),
            ("\nretention = 7", "line 2"),
            ("listen = \"localhost\"", "invalid socket address"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Config::read(&path, true).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
        assert!(Config::read(&folder.path().join("none"), false).is_ok());
        assert!(Config::read(&folder.path().join("none"), true).is_err());
    }

    #[test]
    fn the_configurations_below_deploy_are_understood() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        for name in [
            "compose/logic",
            "compose/standby",
            "compose/execution",
            "kubernetes/logic",
            "kubernetes/execution",
        ] {
            let config = Config::read(&deploy.join(name).join("sengu.toml"), true).unwrap();
            config.check().unwrap();
            assert!(!config.holds_a_password(), "{name}");
            let execution = name.ends_with("execution");
            assert_eq!(config.join.is_some(), execution, "{name}");
            assert_eq!(config.store.is_none(), execution, "{name}");
            let brokers = config.interconnect.iter();
            for url in brokers.flat_map(|i| std::iter::once(&i.url).chain(&i.results)) {
                sengu_interconnect::address::Address::parse(url).unwrap();
            }
        }
    }
}
