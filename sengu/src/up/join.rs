//! The join file: all that another process of this machine or another machine needs to join as an execution environment.
//! It holds secrets, so it is written for its owner only, and refused when others can read it.

use super::files::{check_private, hex, key_of, write_private};
use super::interconnect::Addresses;
use crate::drivers::brokers::link::{JoinToken, LinkUrl};
use anyhow::{Context as _, Result, bail};
use sengu_interconnect::address::Address;
use sengu_model::seal::SealKey;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is in it.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Where the interconnect is.
    url: String,
    /// Beside AMQP: where results and the retained directory are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    results: Option<String>,
    /// Who knows this may join the embedded interconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Passwords of the brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    results_password: Option<String>,
    /// Opens the secrets of tasks at the last hop.
    seal_key: String,
    /// Of the embedded interconnect: PEM certificates that may have signed its own; for tls://.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// Of brokers: such certificates themselves, so that the file is all that is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_pem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    results_ca_pem: Option<String>,
}

/// How to join.
pub struct Join {
    pub place: Place,
    pub seal_key: SealKey,
}

pub enum Place {
    /// The embedded interconnect of a logic role.
    Link {
        url: LinkUrl,
        token: JoinToken,
        ca: Option<PathBuf>,
    },
    Brokers(Addresses),
}

/// Writes the join file of a logic role with the embedded interconnect.
///
/// # Errors
/// When it cannot be written.
pub fn write(
    path: &Path,
    url: &str,
    token: &JoinToken,
    key: &SealKey,
    ca: Option<&Path>,
) -> Result<()> {
    put(
        path,
        &Content {
            url: url.to_owned(),
            token: Some(token.reveal().to_owned()),
            seal_key: hex(&key.0),
            ca: ca.map(Path::to_owned),
            ..Content::default()
        },
    )
}

/// Writes the join file of a logic role that uses brokers.
///
/// # Errors
/// When it cannot be written.
pub fn write_brokers(path: &Path, addresses: &Addresses, key: &SealKey) -> Result<()> {
    let Addresses { tasks, results } = addresses;
    let pem = |address: &Address| {
        let pem = address.ca_pem.as_ref();
        pem.map(|pem| String::from_utf8_lossy(pem).into_owned())
    };
    let password = |address: &Address| {
        let password = address.password.as_ref();
        password.map(|password| password.reveal().to_owned())
    };
    put(
        path,
        &Content {
            url: tasks.url(),
            results: results.as_ref().map(Address::url),
            password: password(tasks),
            results_password: results.as_ref().and_then(password),
            seal_key: hex(&key.0),
            ca_pem: pem(tasks),
            results_ca_pem: results.as_ref().and_then(pem),
            ..Content::default()
        },
    )
}

fn put(path: &Path, content: &Content) -> Result<()> {
    let text = toml::to_string(content).context("write the join file")?;
    write_private(path, text.as_bytes())
}

/// Reads a join file; a folder stands for the data directory of a logic role.
///
/// # Errors
/// What is wrong with it.
pub fn read(path: &Path) -> Result<Join> {
    let path = if path.is_dir() {
        path.join("join")
    } else {
        path.to_owned()
    };
    let shown = path.display();
    if !path.exists() {
        bail!(
            "there is no join file {shown}: a sengu with the logic role writes it to its data directory"
        );
    }
    check_private(&path)?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {shown}"))?;
    // Never the line itself: it may hold a secret.
    let content: Content = toml::from_str(&text)
        .map_err(|e| anyhow::anyhow!("{}", e.message()))
        .with_context(|| format!("read {shown}"))?;
    let key = key_of(&content.seal_key);
    let seal_key = key.with_context(|| format!("{shown}: seal_key is no key of 64 hex digits"))?;
    let place = match content.token {
        Some(token) => Place::Link {
            url: content
                .url
                .parse()
                .with_context(|| format!("{shown}: url"))?,
            token: token.parse().with_context(|| format!("{shown}: token"))?,
            ca: content.ca,
        },
        None => {
            let address = |url: &str, password: Option<String>, pem: Option<String>| {
                let mut address = Address::parse(url)?;
                if let Some(password) = password {
                    address.password = Some(sengu_interconnect::address::Password::new(password));
                }
                address.ca_pem = pem.map(String::into_bytes);
                Ok::<_, anyhow::Error>(address)
            };
            let tasks = address(&content.url, content.password, content.ca_pem)
                .with_context(|| format!("{shown}: url"))?;
            let results = content
                .results
                .map(|url| address(&url, content.results_password, content.results_ca_pem));
            let results = results
                .transpose()
                .with_context(|| format!("{shown}: results"))?;
            Place::Brokers(Addresses { tasks, results })
        }
    };
    Ok(Join { place, seal_key })
}

/// The join token of this data directory, written on first start.
///
/// # Errors
/// When it cannot be read or written, or others can read it.
pub fn token(path: &Path) -> Result<JoinToken> {
    if !path.exists() {
        let token = JoinToken::random().context("make a join token")?;
        write_private(path, format!("{}\n", token.reveal()).as_bytes())?;
    }
    check_private(path)?;
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.parse().with_context(|| path.display().to_string())
}
