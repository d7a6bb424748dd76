//! Files given with `-f`: one file, a folder with all below it, or stdin; read before anything is sent.

use anyhow::{Context as _, bail};
use sengu_model::limits;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// One text with the name that the server's errors give back.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// Files of one `apply`. A folder with more is another folder than was meant.
const FILES_MAX: usize = 10_000;

#[derive(Debug, Clone, clap::Args)]
pub struct FilesArg {
    /// File, folder (*.yaml, *.yml, *.json below it, in name order) or - for stdin
    #[arg(
        short = 'f',
        long = "filename",
        required = true,
        value_name = "FILE|DIR|-"
    )]
    pub files: Vec<PathBuf>,
}

/// Reads all that `-f` names.
///
/// # Errors
/// When a file cannot be read, is no UTF-8, or all are more than one request may hold.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut bytes = 0;
    for path in files {
        if path.as_os_str() == "-" {
            let mut raw = Vec::new();
            let limit = limits::REQUEST_BYTES_MAX as u64 + 1;
            std::io::stdin()
                .lock()
                .take(limit)
                .read_to_end(&mut raw)
                .context("read stdin")?;
            push(&mut sources, &mut bytes, "stdin".to_owned(), raw)?;
            continue;
        }
        let mut found = Vec::new();
        let meta = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
        if meta.is_dir() {
            walk(path, &mut BTreeSet::new(), &mut found)?;
            if found.is_empty() {
                bail!("no *.yaml, *.yml or *.json below {}", path.display());
            }
        } else {
            found.push(path.clone());
        }
        for file in found {
            let name = file.display().to_string();
            let size = std::fs::metadata(&file).map_or(0, |m| m.len());
            if size > limits::REQUEST_BYTES_MAX as u64 {
                bail!(
                    "{name} has {size} bytes; one request holds {}",
                    limits::REQUEST_BYTES_MAX
                );
            }
            let raw = std::fs::read(&file).with_context(|| format!("read {name}"))?;
            push(&mut sources, &mut bytes, name, raw)?;
        }
    }
    Ok(sources)
}

fn push(
    sources: &mut Vec<Source>,
    bytes: &mut usize,
    name: String,
    raw: Vec<u8>,
) -> anyhow::Result<()> {
    *bytes += raw.len();
    if *bytes > limits::REQUEST_BYTES_MAX {
        bail!(
            "with {name} there are more than {} bytes; apply in parts",
            limits::REQUEST_BYTES_MAX
        );
    }
    let text = String::from_utf8(raw).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        anyhow::anyhow!("{name}:{line}: not UTF-8 text")
    })?;
    sources.push(Source { name, text });
    Ok(())
}

/// `seen` holds the real folders on the way here, so a link to one of them ends instead of going round.
fn walk(
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    found: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let tried = || format!("read {}", folder.display());
    let real = folder.canonicalize().with_context(tried)?;
    if !seen.insert(real.clone()) {
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(tried)? {
        entries.push(entry.with_context(tried)?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        let wanted = path.extension().is_some_and(|e| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|w| e.eq_ignore_ascii_case(w))
        });
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => walk(&path, seen, found)?,
            Ok(meta) if meta.is_file() && wanted => found.push(path),
            Err(e) if wanted => return Err(e).with_context(|| format!("read {}", path.display())),
            _ => {}
        }
        if found.len() > FILES_MAX {
            bail!("more than {FILES_MAX} files below {}", folder.display());
        }
    }
    seen.remove(&real);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_name_order_and_links_do_not_go_round() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        for (name, text) in [
            ("c.yml", "3"),
            ("a.yaml", "1"),
            ("b/x.json", "2"),
            ("note.txt", "no"),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), at("b/loop")).unwrap();
        let sources = read(&[dir.path().to_owned()]).unwrap();
        let texts: Vec<_> = sources.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(texts, ["1", "2", "3"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("bad.yaml");
        std::fs::write(&bad, b"a: 1\nb: \xff\n").unwrap();
        let error = read(std::slice::from_ref(&bad)).unwrap_err().to_string();
        assert!(error.ends_with("bad.yaml:2: not UTF-8 text"), "{error}");
        assert!(read(&[dir.path().join("none")]).is_err());
        std::fs::remove_file(&bad).unwrap();
        assert!(
            read(&[dir.path().to_owned()]).is_err(),
            "an empty folder is a mistake"
        );
    }
}
