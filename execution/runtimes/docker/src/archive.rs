//! Reads an archive as `docker save` writes it, as far as is needed to know the id of its image before it is loaded.

use crate::bundle::{Bundle, JSON_BYTES_MAX, Source};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Entries of an archive; each layer has up to four.
const ENTRIES_MAX: usize = 4_096;

/// Source: Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    layers: Vec<String>,
}

/// The image of the archive at `path`.
///
/// # Errors
/// When it is not an archive of exactly one whole image: why.
pub fn read(path: &Path) -> Result<Bundle, String> {
    let broken = |e: io::Error| format!("it is no archive as `docker save` writes it: {e}");
    let mut names = HashSet::new();
    let mut texts = HashMap::new();
    let mut archive = tar::Archive::new(File::open(path).map_err(|e| e.to_string())?);
    for entry in archive.entries_with_seek().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = name_of(&entry).map_err(broken)?;
        if names.len() >= ENTRIES_MAX {
            return Err(format!("it has more than {ENTRIES_MAX} entries"));
        }
        let may_be_config = name.ends_with(".json") || name.starts_with("blobs/");
        if may_be_config && entry.header().entry_type().is_file() && entry.size() <= 64 << 10
            || name == "manifest.json"
        {
            let mut text = Vec::new();
            let mut limited = entry.by_ref().take(JSON_BYTES_MAX);
            limited.read_to_end(&mut text).map_err(broken)?;
            texts.insert(name.clone(), text);
        }
        names.insert(name);
    }
    let manifest = texts.get("manifest.json");
    let manifest =
        manifest.ok_or("it has no manifest.json, so it is not what `docker save` writes")?;
    let items: Vec<Item> = serde_json::from_slice(manifest)
        .map_err(|e| format!("its manifest.json is not understood: {e}"))?;
    let [item] = items.as_slice() else {
        return Err(format!("it holds {} images; one is expected", items.len()));
    };
    if let Some(missing) = item.layers.iter().find(|layer| !names.contains(*layer)) {
        return Err(format!("its layer {missing} is missing"));
    }
    let config = match texts.remove(&item.config) {
        Some(config) => config,
        None => find(path, &item.config).map_err(broken)?,
    };
    let source = Source::Archive {
        path: path.to_owned(),
        config: item.config.clone(),
        layers: item.layers.clone(),
    };
    let bundle = Bundle::new(config, source)?;
    let named = item.config.trim_end_matches(".json").rsplit('/').next();
    let named = named.unwrap_or_default();
    let is_digest = named.len() == 64 && named.bytes().all(|b| b.is_ascii_hexdigit());
    if is_digest && bundle.id != format!("sha256:{named}") {
        return Err(format!(
            "its configuration {} has been changed",
            item.config
        ));
    }
    if bundle.config.rootfs.diff_ids.len() != item.layers.len() {
        return Err("its configuration and its manifest.json differ in their layers".to_owned());
    }
    Ok(bundle)
}

/// A configuration too large to have been kept while looking for it.
fn find(path: &Path, wanted: &str) -> io::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(File::open(path)?);
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        if name_of(&entry)? == wanted {
            let mut text = Vec::new();
            entry.by_ref().take(JSON_BYTES_MAX).read_to_end(&mut text)?;
            return Ok(text);
        }
    }
    Err(io::Error::other(format!("{wanted} is missing")))
}

/// The name of an entry without a leading `./`.
pub fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<String> {
    let path = entry.path()?;
    let name = path
        .to_str()
        .ok_or_else(|| io::Error::other("a name is no text"))?;
    Ok(name
        .trim_start_matches("./")
        .trim_end_matches('/')
        .to_owned())
}
