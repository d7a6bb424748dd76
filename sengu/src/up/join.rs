//! The join file: all that another process of this machine or another machine needs to join as an execution environment.
//! It holds secrets, so it is written for its owner only, and refused when others can read it.

use super::files::{check_private, hex, key_of, write_private};
use crate::drivers::brokers::link::{JoinToken, LinkUrl};
use anyhow::{Context as _, Result, bail};
use sengu_model::seal::SealKey;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Where the interconnect is.
    url: String,
    /// Who knows this may join.
    token: String,
    /// Opens the secrets of tasks at the last hop.
    seal_key: String,
    /// PEM certificates that may have signed that of the interconnect; for tls://.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

/// How to join.
pub struct Join {
    pub url: LinkUrl,
    pub token: JoinToken,
    pub seal_key: SealKey,
    pub ca: Option<PathBuf>,
}

/// Writes the join file of a logic role.
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
    let content = Content {
        url: url.to_owned(),
        token: token.reveal().to_owned(),
        seal_key: hex(&key.0),
        ca: ca.map(Path::to_owned),
    };
    let text = toml::to_string(&content).context("write the join file")?;
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
    let content: Content = toml::from_str(&text).with_context(|| format!("read {shown}"))?;
    let url = content
        .url
        .parse()
        .with_context(|| format!("{shown}: url"))?;
    let token = content
        .token
        .parse()
        .with_context(|| format!("{shown}: token"))?;
    let key = key_of(&content.seal_key);
    Ok(Join {
        url,
        token,
        seal_key: key.with_context(|| format!("{shown}: seal_key is no key of 64 hex digits"))?,
        ca: content.ca,
    })
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
