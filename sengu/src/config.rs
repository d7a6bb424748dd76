//! The configuration file `sengu.toml` of the data directory. Flags win over it; every key has a default.

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
    /// How long ended tasks are kept; default 7d.
    pub retention: Option<Duration>,
    /// Filter of the log on stderr, such as `info` or `info,sengu_logic=debug`; default `info`.
    pub log: Option<String>,
    pub tls: Option<Tls>,
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
            Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                Ok(Config::default())
            }
            Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
        }
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
}
