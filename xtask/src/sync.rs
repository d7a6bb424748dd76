//! Writes the one list of drivers, so that a driver is a folder added and no hand edit elsewhere.
//! It must never hold a list itself: a crate in a drivers' folder is a driver.

use crate::run;
use crate::workspace::{Workspace, parent};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;

/// Where drivers lie, one folder for each port.
const DRIVER_FOLDERS: [&str; 3] = ["store/stores", "interconnect/brokers", "execution/runtimes"];

const MANIFEST: &str = "sengu/Cargo.toml";
const SOURCE: &str = "sengu/src/drivers.rs";

pub fn sync_verb(args: &[String]) -> Result<()> {
    let check = run::wants_check("sync", args)?;
    let root = Workspace::root()?;
    let drivers = drivers(&root)?;
    if put(&root, MANIFEST, check, |old| manifest(old, &drivers))? {
        // The lock file follows, and nothing else in it moves.
        run::run(run::cargo(&root).args(["update", "--workspace", "--quiet"]))?;
    }
    if root.join(SOURCE).exists() {
        put(&root, SOURCE, check, |old| source(old, &drivers))?;
    }
    Ok(())
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

/// The manifest of sengu with one dependency per driver. A first run makes the block and takes the
/// drivers that were listed by hand into it.
fn manifest(old: &str, drivers: &[Driver]) -> Result<String> {
    let block: String = drivers
        .iter()
        .map(|driver| {
            format!(
                "{} = {{ path = \"../{}\" }}\n",
                driver.crate_name, driver.folder
            )
        })
        .collect();
    if old.contains("# drivers: begin") {
        return replaced(old, "#", &block);
    }
    let by_hand = |line: &&str| {
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        drivers.iter().any(|driver| driver.crate_name == name)
    };
    let kept: String = old
        .split_inclusive('\n')
        .filter(|line| !by_hand(line))
        .collect();
    let (before, after) = kept
        .split_once("[dependencies]\n")
        .context("there is no [dependencies]")?;
    let markers = "# drivers: begin (written by cargo xtask sync)\n# drivers: end\n";
    replaced(
        &[before, "[dependencies]\n", markers, after].concat(),
        "#",
        &block,
    )
}

/// The drivers by port and name: `drivers::runtimes::process` is the crate of that driver. A file
/// without the block only has to use every driver.
fn source(old: &str, drivers: &[Driver]) -> Result<String> {
    if !old.contains("// drivers: begin") {
        for driver in drivers {
            if !old.contains(&driver.identifier()) {
                bail!("{} is not used", driver.identifier());
            }
        }
        return Ok(old.to_owned());
    }
    let mut block = String::new();
    for folder in DRIVER_FOLDERS {
        let port = folder.rsplit('/').next().unwrap_or_default();
        let of_port: String = drivers
            .iter()
            .filter(|driver| parent(&driver.folder) == folder)
            .map(|driver| {
                format!(
                    "    pub use {} as {};\n",
                    driver.identifier(),
                    driver.name()
                )
            })
            .collect();
        if !of_port.is_empty() {
            block += &format!("pub mod {port} {{\n{of_port}}}\n");
        }
    }
    replaced(old, "//", &block)
}

impl Driver {
    fn name(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or_default()
    }

    fn identifier(&self) -> String {
        self.crate_name.replace('-', "_")
    }
}

/// Brings a file up to date, or says that it is not. True when it was written.
fn put(
    root: &Path,
    file: &str,
    check: bool,
    written: impl FnOnce(&str) -> Result<String>,
) -> Result<bool> {
    let path = root.join(file);
    let old = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
    let new = written(&old).with_context(|| format!("sync {file}"))?;
    if old == new {
        return Ok(false);
    }
    if check {
        bail!("{file} is out of date: run `cargo xtask sync` and commit it");
    }
    fs::write(&path, new).with_context(|| format!("write {file}"))?;
    println!("{file} written");
    Ok(true)
}

/// Replaces the lines between the markers.
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

    fn two() -> Vec<Driver> {
        let driver = |folder: &str, crate_name: &str| Driver {
            folder: folder.to_owned(),
            crate_name: crate_name.to_owned(),
        };
        vec![
            driver("execution/runtimes/process", "sengu-runtime-process"),
            driver("store/stores/sqlite", "sengu-store-sqlite"),
        ]
    }

    #[test]
    fn the_first_sync_takes_hand_written_lines_into_the_block_and_the_second_changes_nothing() {
        let old = "[dependencies]\na = \"1\"\nsengu-store-sqlite.workspace = true\n";
        let new = manifest(old, &two()).unwrap();
        assert_eq!(
            new,
            "[dependencies]\n# drivers: begin (written by cargo xtask sync)\n\
             sengu-runtime-process = { path = \"../execution/runtimes/process\" }\n\
             sengu-store-sqlite = { path = \"../store/stores/sqlite\" }\n\
             # drivers: end\na = \"1\"\n"
        );
        assert_eq!(manifest(&new, &two()).unwrap(), new);
    }

    #[test]
    fn a_driver_that_sengu_does_not_use_is_named() {
        let refused = source("use sengu_store_sqlite;\n", &two()).unwrap_err();
        assert!(refused.to_string().contains("sengu_runtime_process"));
        let marked = "a\n// drivers: begin (written by cargo xtask sync)\n// drivers: end\nb\n";
        let new = source(marked, &two()).unwrap();
        assert!(
            new.contains("pub mod runtimes {\n    pub use sengu_runtime_process as process;\n}")
        );
        assert!(source("// drivers: begin\n", &two()).is_err());
    }
}
