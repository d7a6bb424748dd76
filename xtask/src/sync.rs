//! Writes the one list of drivers, so that a driver is a folder added and no hand edit elsewhere.
//! It must never hold a list itself: a crate in a drivers' folder is a driver.

use crate::run;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;

/// Folders of drivers, and the word that the binary uses for them.
pub const DRIVER_FOLDERS: [&str; 3] =
    ["store/stores", "interconnect/brokers", "execution/runtimes"];

pub fn sync_verb(args: &[String]) -> Result<()> {
    let check = run::wants_check("sync", args)?;
    let workspace = Workspace::read()?;
    let drivers = drivers(&workspace.root)?;
    let manifest: String = drivers.iter().map(dependency_line).collect();
    put(&workspace.root, "sengu/Cargo.toml", "#", &manifest, check)
}

struct Driver {
    /// For example `store/stores/sqlite`.
    folder: String,
    crate_name: String,
}

/// Read from the folders, not from cargo: a new driver is no member before it is in the list.
fn drivers(root: &Path) -> Result<Vec<Driver>> {
    let mut drivers = Vec::new();
    for folder in DRIVER_FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let Ok(text) = fs::read_to_string(path.join("Cargo.toml")) else {
                continue;
            };
            let manifest: toml::Table = text
                .parse()
                .with_context(|| format!("read {}/Cargo.toml", path.display()))?;
            let crate_name = manifest
                .get("package")
                .and_then(|package| package.get("name"))
                .and_then(toml::Value::as_str)
                .with_context(|| format!("{}/Cargo.toml names no package", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            drivers.push(Driver {
                folder: format!("{folder}/{name}"),
                crate_name: crate_name.to_owned(),
            });
        }
    }
    drivers.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(drivers)
}

fn dependency_line(driver: &Driver) -> String {
    format!(
        "{} = {{ path = \"../{}\" }}\n",
        driver.crate_name, driver.folder
    )
}

/// Replaces the block between the markers of a file.
fn put(root: &Path, file: &str, comment: &str, block: &str, check: bool) -> Result<()> {
    let path = root.join(file);
    let old = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
    let new = replaced(&old, comment, block).with_context(|| format!("sync {file}"))?;
    if old == new {
        return Ok(());
    }
    if check {
        bail!("{file} is out of date: run `cargo xtask sync` and commit it");
    }
    fs::write(&path, new).with_context(|| format!("write {file}"))?;
    println!("{file} written");
    Ok(())
}

fn replaced(old: &str, comment: &str, block: &str) -> Result<String> {
    let begin = format!("{comment} drivers: begin (written by cargo xtask sync)\n");
    let end = format!("{comment} drivers: end\n");
    let (before, rest) = old
        .split_once(&begin)
        .with_context(|| format!("there is no line {begin:?}"))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("there is no line {end:?}"))?;
    Ok([before, &begin, block, &end, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_block_between_the_markers_is_written() {
        let old = "a\n# drivers: begin (written by cargo xtask sync)\nold\n# drivers: end\nb\n";
        let new = replaced(old, "#", "new\n").unwrap();
        assert_eq!(new, old.replace("old\n", "new\n"));
        assert!(replaced("a\n", "#", "new\n").is_err());
    }
}
