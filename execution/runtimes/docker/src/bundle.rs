//! What is known of a container image before the engine has it: its configuration, whose digest is its id, and how its
//! bytes are written. Nothing here talks to the engine.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// The bytes of a manifest.json or a configuration; real ones have a few kilobytes.
pub const JSON_BYTES_MAX: u64 = 4 << 20;

/// An image ready to be loaded.
#[derive(Debug)]
pub struct Bundle {
    /// `sha256:` and the digest of `config`.
    pub id: String,
    pub config: Config,
    pub config_bytes: Vec<u8>,
    pub source: Source,
}

#[derive(Debug)]
pub enum Source {
    /// A layer made of files.
    Folder(crate::pack::Layer),
    /// An archive as `docker save` writes it.
    Archive {
        path: PathBuf,
        /// Name of the configuration within it.
        config: String,
        layers: Vec<String>,
    },
}

/// The configuration of a container image, as far as it counts here.
/// Source: OCI image specification 1.0, `config.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    pub architecture: String,
    pub os: String,
    #[serde(default)]
    pub config: Defaults,
    pub rootfs: RootFs,
}

/// What a container of the image does unless told otherwise. Engines write null, nothing or an empty value alike.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Defaults {
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub env: Option<Vec<String>>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

impl Defaults {
    /// Null, absent and empty are one.
    pub fn plain(self) -> Defaults {
        let list = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Defaults {
            entrypoint: list(self.entrypoint),
            cmd: list(self.cmd),
            env: list(self.env),
            user: text(self.user),
            working_dir: text(self.working_dir),
        }
    }

    pub fn sets_path(&self) -> bool {
        let env = self.env.iter().flatten();
        env.into_iter()
            .any(|variable| variable.starts_with("PATH="))
    }
}

impl Bundle {
    /// # Errors
    /// When the configuration is none.
    pub fn new(config_bytes: Vec<u8>, source: Source) -> Result<Bundle, String> {
        let mut config: Config = serde_json::from_slice(&config_bytes)
            .map_err(|e| format!("its configuration is not understood: {e}"))?;
        config.config = config.config.plain();
        Ok(Bundle {
            id: format!("sha256:{}", hex(&Sha256::digest(&config_bytes))),
            config,
            config_bytes,
            source,
        })
    }

    /// Writes a docker-archive that holds this image under `tag` and no other name: an archive from elsewhere must not
    /// give new meanings to names that others use.
    pub fn write(&self, tag: &str, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        let (config, layers) = match &self.source {
            Source::Folder(layer) => {
                let config = format!("{}.json", self.id.trim_start_matches("sha256:"));
                append(&mut tar, &config, &self.config_bytes)?;
                let name = format!("{}.tar", layer.digest);
                let mut header = header(layer.bytes, 0o644);
                tar.append_data(&mut header, &name, layer.reader()?)?;
                (config, vec![name])
            }
            Source::Archive {
                path,
                config,
                layers,
            } => {
                copy(path, &mut tar)?;
                (config.clone(), layers.clone())
            }
        };
        let manifest = serde_json::json!([
            { "Config": config, "Layers": layers, "RepoTags": [tag] }
        ]);
        append(&mut tar, "manifest.json", manifest.to_string().as_bytes())?;
        tar.into_inner()?.flush()
    }
}

/// All of an archive but what names its images.
fn copy(path: &std::path::Path, tar: &mut tar::Builder<impl Write>) -> io::Result<()> {
    const NAMES: [&str; 4] = ["manifest.json", "repositories", "index.json", "oci-layout"];
    let mut archive = tar::Archive::new(std::fs::File::open(path)?);
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let name = crate::archive::name_of(&entry)?;
        if NAMES.contains(&name.as_str()) {
            continue;
        }
        let mut header = entry.header().clone();
        match entry.link_name()? {
            Some(link) => tar.append_link(&mut header, &name, link)?,
            None => tar.append_data(&mut header, &name, entry.by_ref())?,
        }
    }
    Ok(())
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(bytes.len() as u64, 0o644), name, bytes)
}

/// The header of a file that is the same whoever makes it and when.
pub fn header(bytes: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
