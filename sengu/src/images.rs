//! Worker images as folders: finding those that came with this program, and packing a folder into the one tar that
//! stands for it.

use anyhow::{Context as _, Result, bail};
use sengu_model::image::{self, MANIFEST_FILE, Packer};
use sengu_model::limits;
use sengu_model::manifest::Manifest;
use sengu_model::wire::envelope::{VERSION, WorkerOffer};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Workers that came with this program: what they are, and where.
#[derive(Default, Clone)]
pub struct Bundled {
    pub offers: Vec<WorkerOffer>,
    /// By digest.
    pub folders: HashMap<String, PathBuf>,
}

impl sengu_logic::workers::Bundles for Bundled {
    fn pack(&self, digest: &str, to: &mut dyn Write) -> io::Result<()> {
        let folder = self.folders.get(digest).ok_or(io::ErrorKind::NotFound)?;
        let (_, _, found) = pack(folder, to).map_err(io::Error::other)?;
        if found != digest {
            let what = format!("{} was changed since sengu was started", folder.display());
            return Err(io::Error::other(what));
        }
        Ok(())
    }
}

/// All workers below `folder`. One that cannot be used is named in the log and left out: the others must go on.
///
/// # Errors
/// When the folder cannot be read.
pub fn find(folder: &Path) -> Result<Bundled> {
    let mut found = Bundled::default();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("read the folder of workers {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if !path.join(MANIFEST_FILE).is_file() {
            continue;
        }
        match offer(&path) {
            Ok((offer, _))
                if found.offers.iter().any(|o| {
                    o.manifest.name == offer.manifest.name
                        && o.manifest.version == offer.manifest.version
                }) =>
            {
                tracing::error!(folder = %path.display(), "this version of this worker was found already");
            }
            Ok((offer, folder)) => {
                found.folders.insert(offer.digest.clone(), folder);
                found.offers.push(offer);
            }
            Err(error) => {
                tracing::error!(folder = %path.display(), error = format!("{error:#}"), "worker left out");
            }
        }
    }
    Ok(found)
}

fn offer(folder: &Path) -> Result<(WorkerOffer, PathBuf)> {
    let manifest = manifest(folder)?;
    let folder = folder.canonicalize().context("resolve the folder")?;
    let (_, bytes, digest) = pack(&folder, io::sink())?;
    let offer = WorkerOffer {
        v: VERSION,
        pool: manifest.pool,
        manifest,
        digest,
        bytes,
        active: false,
    };
    Ok((offer, folder))
}

/// The worker.toml of a folder.
///
/// # Errors
/// When it is not there or cannot be used.
pub fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST_FILE);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Manifest::parse(&text).with_context(|| path.display().to_string())
}

/// Packs a folder in the canonical form: gives `to` back, the bytes written and the digest. Symbolic links to files
/// are followed.
///
/// # Errors
/// When a file cannot be read or may not be in an image.
pub fn pack<W: Write>(folder: &Path, to: W) -> Result<(W, u64, String)> {
    let mut names = Vec::new();
    collect(folder, folder, &mut names)?;
    names.sort();
    let mut packer = Packer::new(BufWriter::with_capacity(256 << 10, to));
    for name in names {
        let path = folder.join(&name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let about = file
            .metadata()
            .with_context(|| format!("look at {}", path.display()))?;
        let executable = about.permissions().mode() & 0o100 != 0;
        let content = BufReader::with_capacity(256 << 10, file);
        packer
            .file(&name, executable, about.len(), content)
            .with_context(|| format!("pack {}", path.display()))?;
    }
    let (writer, bytes, digest) = packer.finish()?;
    let to = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok((to, bytes, digest))
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let about =
            std::fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?;
        if about.is_dir() {
            let link = std::fs::symlink_metadata(&path)?.is_symlink();
            if link {
                bail!(
                    "{} is a link to a folder: images hold files",
                    path.display()
                );
            }
            collect(root, &path, names)?;
        } else if about.is_file() {
            if names.len() >= limits::IMAGE_FILES_MAX {
                bail!("more than {} files", limits::IMAGE_FILES_MAX);
            }
            let name = path.strip_prefix(root)?.to_str();
            let name = name.with_context(|| format!("{}: no UTF-8", path.display()))?;
            if !image::valid_file_name(name) {
                bail!("{name:?} may not be the name of a file in an image");
            }
            names.push(name.to_owned());
        } else {
            bail!("{} is neither file nor folder", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_digest_wherever_it_lies_and_whenever_it_was_written() {
        let make = |more: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("lib")).unwrap();
            for (name, text) in [("worker.toml", "x"), ("lib/a", "1"), ("lib.b", more)] {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let packed = pack(folder.path(), Vec::new()).unwrap();
            (packed.0, packed.2)
        };
        let (tar, digest) = make("2");
        assert_eq!(make("2").1, digest);
        assert_ne!(make("3").1, digest);
        let mut names = Vec::new();
        image::unpack(&tar[..], |name, _, _, _| {
            names.push(name.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(names, ["lib.b", "lib/a", "worker.toml"]);
    }
}
