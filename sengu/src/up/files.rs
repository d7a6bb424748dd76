//! Files of the data directory that are secret: written whole, for their owner only, and refused when others can read
//! them.

use anyhow::{Context as _, Result, bail};
use sengu_model::seal::{KEY_BYTES, SealKey};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes the folder for its owner only.
pub fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make the data directory {}", path.display()))
}

/// Writes a file for its owner only, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// A secret file that others can read is no secret.
pub fn check_private(path: &Path) -> Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by others (mode {:o}): chmod 600 {0}",
            path.display(),
            mode & 0o777
        );
    }
    Ok(())
}

pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("randomness from the system: {e}"))?;
    Ok(bytes)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The API's token, written on first start.
pub fn token(path: &Path) -> Result<String> {
    if !path.exists() {
        write_private(path, format!("{}\n", hex(&random::<32>()?)).as_bytes())?;
    }
    check_private(path)?;
    let token = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let token = token.trim().to_owned();
    if token.len() < 32 {
        bail!(
            "{} holds no token of at least 32 characters: delete it and start again",
            path.display()
        );
    }
    Ok(token)
}

/// The key that seals Secrets, written on first start. Without it they cannot be read: back it up.
pub fn seal_key(path: &Path, needed: bool) -> Result<SealKey> {
    if !path.exists() {
        if needed {
            bail!(
                "{} is gone and the store holds Secrets that only it can open: put it back from your backup",
                path.display()
            );
        }
        write_private(
            path,
            format!("{}\n", hex(&random::<KEY_BYTES>()?)).as_bytes(),
        )?;
    }
    check_private(path)?;
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    key_of(text.trim()).with_context(|| format!("{} is no key of 64 hex digits", path.display()))
}

/// A key from its hex digits.
pub fn key_of(text: &str) -> Option<SealKey> {
    let byte = |i: usize| {
        text.get(2 * i..2 * i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    let mut key = [0; KEY_BYTES];
    for (i, slot) in key.iter_mut().enumerate() {
        *slot = byte(i)?;
    }
    (text.len() == 2 * KEY_BYTES).then_some(SealKey(key))
}
