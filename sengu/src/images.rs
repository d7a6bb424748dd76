//! Finds worker images: folders with a worker.toml, and the digest of what is in them.

use anyhow::{Context as _, Result};
use sengu_model::manifest::Manifest;
use sengu_model::wire::envelope::WorkerOffer;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files of one image; more is no worker folder.
const FILES_MAX: usize = 10_000;

/// All workers below `folder`. One that cannot be used is named in the log and left out: the others must go on.
///
/// # Errors
/// When the folder cannot be read.
pub fn find(folder: &Path) -> Result<Vec<WorkerOffer>> {
    let mut offers: Vec<WorkerOffer> = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("read the folder of workers {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if !path.join("worker.toml").is_file() {
            continue;
        }
        match offer(&path) {
            Ok(offer)
                if offers
                    .iter()
                    .any(|o| o.manifest.name == offer.manifest.name) =>
            {
                tracing::error!(folder = %path.display(), "a worker of this name was found already");
            }
            Ok(offer) => offers.push(offer),
            Err(error) => {
                tracing::error!(folder = %path.display(), error = format!("{error:#}"), "worker left out");
            }
        }
    }
    Ok(offers)
}

fn offer(folder: &Path) -> Result<WorkerOffer> {
    let text = std::fs::read_to_string(folder.join("worker.toml")).context("read worker.toml")?;
    let manifest = Manifest::parse(&text)?;
    let folder = folder.canonicalize().context("resolve the folder")?;
    let digest = digest(&folder)?;
    let folder = folder
        .to_str()
        .context("the folder's path is not UTF-8")?
        .to_owned();
    Ok(WorkerOffer {
        v: 1,
        manifest,
        folder,
        digest,
    })
}

/// SHA-256 over names and contents of all files, in name order.
fn digest(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, folder, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    for name in files {
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        let mut file = std::fs::File::open(folder.join(&name))?;
        hash.update(file.metadata()?.len().to_le_bytes());
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
    }
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(root, &entry.path(), files)?;
        } else if kind.is_file() {
            anyhow::ensure!(files.len() < FILES_MAX, "more than {FILES_MAX} files");
            files.push(entry.path().strip_prefix(root)?.to_path_buf());
        }
    }
    Ok(())
}
