//! `sengu worker drill`: makes a version of a worker that is bad on purpose, so that a rollback can be rehearsed.

use crate::exit::Exit;
use crate::output::{self, say};
use anyhow::{Context as _, bail};
use sengu_model::image::MANIFEST_FILE;
use sengu_model::manifest::{RUNTIME_PROCESS, valid_version};
use std::fs;
use std::path::{Path, PathBuf};

/// Make a version of a worker that is bad on purpose, to rehearse a rollback
///
/// Copies the folder of a worker that came with sengu (or any worker made with the Rust SDK), gives it another version,
/// and has it fail where you say. What it reads of such targets is reported as failed; it changes nothing on them.
///
/// Example: sengu worker drill redfish --version 1.5.0 --fail firmware=3.14.1 --out redfish-1.5.0
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kind, or folder with worker.toml
    worker: String,
    /// What it calls itself
    #[arg(long)]
    version: String,
    /// Fact and value of the targets that it fails on
    #[arg(long, value_name = "FACT=VALUE")]
    fail: Option<String>,
    /// Makes each task slower by this many milliseconds
    #[arg(long, value_name = "MS")]
    slow: Option<u64>,
    /// Folder to make
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    make(
        &args.worker,
        &args.version,
        args.fail.as_deref(),
        args.slow,
        &args.out,
    )?;
    output::print_line(&format!("{} made", args.out.display()));
    say(&format!(
        "push it with: sengu worker push {}",
        args.out.display()
    ));
    Ok(Exit::Ok)
}

/// Makes the folder `out`.
///
/// # Errors
/// When there is no such worker, or an argument is wrong, or `out` cannot be written.
pub fn make(
    worker: &str,
    version: &str,
    fail: Option<&str>,
    slow: Option<u64>,
    out: &Path,
) -> anyhow::Result<()> {
    if !valid_version(version) {
        bail!(
            "{:?} is no version: three numbers, like 1.5.0",
            output::safe(version)
        );
    }
    if fail.is_some_and(|f| !f.contains('=')) {
        bail!("--fail FACT=VALUE, such as firmware=3.14.1");
    }
    let from = folder(worker)?;
    let manifest = crate::images::manifest(&from)?;
    let Some(program) = manifest.command.first() else {
        bail!("{} names no command", from.display());
    };
    let mut command = vec![program.clone(), "drill".to_owned()];
    command.extend(["--version".to_owned(), version.to_owned()]);
    for (flag, value) in [
        ("--fail", fail.map(str::to_owned)),
        ("--slow", slow.map(|ms| ms.to_string())),
    ] {
        command.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    copy(&from, out)?;
    let path = out.join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut table: toml::Table = text.parse().context("read worker.toml")?;
    table.insert("version".to_owned(), version.into());
    table.insert("command".to_owned(), command.into());
    // The drill is the program's; a component or an archive beside it knows nothing of it.
    if let Some(toml::Value::Array(runtimes)) = table.get_mut("runtime") {
        runtimes.retain(|r| r.get("name").and_then(toml::Value::as_str) == Some(RUNTIME_PROCESS));
    }
    let text = toml::to_string(&table).context("write worker.toml")?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// A folder as given, or that of a kind that came with sengu.
fn folder(worker: &str) -> anyhow::Result<PathBuf> {
    let given = Path::new(worker);
    if given.join(MANIFEST_FILE).is_file() {
        return Ok(given.to_owned());
    }
    let own = std::env::current_exe().context("find this program")?;
    let own = own.canonicalize().unwrap_or(own);
    let bundled = own
        .parent()
        .unwrap_or(Path::new("."))
        .join("workers")
        .join(worker);
    if bundled.join(MANIFEST_FILE).is_file() {
        return Ok(bundled);
    }
    bail!("{worker:?} is neither a folder with worker.toml nor a worker that came with sengu")
}

/// Files of `from`, into the new folder `to`.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        bail!("{} exists already", to.display());
    }
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        let place = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &place)?;
        } else {
            fs::copy(&path, &place).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}
