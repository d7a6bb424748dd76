//! Builds the workers that are shipped as WASM components too: every `workers/<kind>/component/`. Where nothing here
//! compiles for WebAssembly they are left out, and the staged worker.toml does not speak of them.

use crate::run;
use crate::stage::messages;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian puts a Rust that can build its own standard library.
const DEBIAN: [&str; 4] = [
    "/usr/bin/cargo",
    "/usr/bin/rustc",
    "/usr/lib/rustlib/src/rust/library/Cargo.toml",
    "/usr/bin/wasm-ld-19",
];

/// What compiles for WebAssembly.
#[derive(Debug)]
enum Toolchain {
    /// The one that runs this, whose standard library is there for the target.
    Own,
    /// Debian's, which builds the standard library along.
    Debian,
}

/// Components by the folder of their worker.
///
/// # Errors
/// When one does not compile.
pub fn components(
    workspace: &Workspace,
    folders: &[PathBuf],
) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut built = BTreeMap::new();
    let has_component = |folder: &&PathBuf| folder.join("component/Cargo.toml").is_file();
    let folders: Vec<&PathBuf> = folders.iter().filter(has_component).collect();
    if folders.is_empty() {
        return Ok(built);
    }
    let Some(toolchain) = find(workspace) else {
        eprintln!(
            "Nothing here compiles for {TARGET}: {} workers are staged without their WASM component. \
             `rustup target add {TARGET}` changes that, or the Debian packages in \
             sdk/wasm/test-needs.toml.",
            folders.len()
        );
        return Ok(built);
    };
    let target = workspace.target.join("wasm");
    let wrap = wrap_program(workspace, &target)?;
    for folder in folders {
        let module = module(workspace, &toolchain, folder, &target)
            .with_context(|| format!("build {}", folder.join("component").display()))?;
        let component = module.with_extension("component.wasm");
        if !is_newer(&component, &module) {
            run::run(Command::new(&wrap).arg(&module).arg(&component))?;
        }
        built.insert(folder.clone(), component);
    }
    Ok(built)
}

fn find(workspace: &Workspace) -> Option<Toolchain> {
    let sysroot = run::output(Command::new("rustc").args(["--print", "sysroot"])).ok()?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    if sysroot
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir()
    {
        return Some(Toolchain::Own);
    }
    let there = DEBIAN.iter().all(|path| Path::new(path).is_file());
    (there && is_recent(workspace)).then_some(Toolchain::Debian)
}

/// Whether Debian's Rust can compile the crates of the workspace that components use.
fn is_recent(workspace: &Workspace) -> bool {
    let manifest = fs::read_to_string(workspace.root.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    let wanted = manifest["workspace"]["package"]["rust-version"].as_str();
    let version = run::output(debian_command(DEBIAN[1]).arg("--version")).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let found = version.split_whitespace().nth(1);
    number(found.unwrap_or_default()) >= number(wanted.unwrap_or_default())
}

fn number(version: &str) -> Vec<u32> {
    let parts = version.split('.').take(2);
    parts.map(|part| part.parse().unwrap_or(0)).collect()
}

/// Builds the program that makes components of modules.
fn wrap_program(workspace: &Workspace, target: &Path) -> Result<PathBuf> {
    let mut cargo = run::cargo(&workspace.root.join("sdk/wasm/wrap"));
    cargo.arg("build").arg("--target-dir").arg(target);
    cargo.arg("--message-format=json-render-diagnostics");
    let program = messages(&mut cargo)?
        .iter()
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.context("find the program sengu-wasm-wrap in its build")
}

/// Builds one module. Always optimised: what is not is ten times the size, and compiled again wherever it runs.
fn module(
    workspace: &Workspace,
    toolchain: &Toolchain,
    folder: &Path,
    target: &Path,
) -> Result<PathBuf> {
    let mut cargo = match toolchain {
        Toolchain::Own => run::cargo(&workspace.root),
        Toolchain::Debian => {
            let mut cargo = debian_command(DEBIAN[0]);
            cargo
                .env("RUSTC", DEBIAN[1])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN[3]);
            cargo
        }
    };
    cargo.current_dir(folder.join("component"));
    cargo.args(["build", "--release", "--target", TARGET, "--target-dir"]);
    cargo.arg(target);
    if let Toolchain::Debian = toolchain {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    cargo.arg("--message-format=json-render-diagnostics");
    let own = folder.join("component/Cargo.toml");
    let modules: Vec<PathBuf> = messages(&mut cargo)?
        .iter()
        .filter(|message| message["manifest_path"].as_str().map(Path::new) == Some(&own))
        .filter_map(|message| message["filenames"].as_array())
        .flatten()
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .filter(|path| path.extension().is_some_and(|e| e == "wasm"))
        .collect();
    match &modules[..] {
        [module] => Ok(module.clone()),
        _ => bail!("one module of a cdylib is expected, found {modules:?}"),
    }
}

/// A program of Debian's Rust, without what the toolchain that runs this has left in the environment.
fn debian_command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let own = text.starts_with("CARGO") && text != "CARGO_HOME";
        if own || text.starts_with("RUST") || text == "LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

fn is_newer(made: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    match (time(made), time(source)) {
        (Some(made), Some(source)) => made >= source,
        _ => false,
    }
}

/// worker.toml with the component among the ways to run it. What it says itself comes first, and is better.
pub fn with_component(manifest: &str, file: &str) -> Result<String> {
    with_runtime(
        manifest,
        &format!("name = \"wasm\"\ncomponent = \"{file}\""),
    )
}

/// worker.toml of a program that runs in a container with nothing else in it.
pub fn with_docker(manifest: &str) -> Result<String> {
    with_runtime(manifest, "name = \"docker\"")
}

fn with_runtime(manifest: &str, runtime: &str) -> Result<String> {
    let table: toml::Table = manifest.parse().context("read worker.toml")?;
    let mut text = manifest.trim_end().to_owned();
    text.push_str("\n\n# Written by `cargo xtask stage`, which has built it for this.\n");
    if !table.contains_key("runtime") {
        text.push_str("[[runtime]]\nname = \"process\"\n\n");
    }
    text.push_str(&format!("[[runtime]]\n{runtime}\n"));
    text.parse::<toml::Table>()
        .context("worker.toml with one more runtime")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_one_more_way_to_run_a_worker() {
        let names = |manifest: &str| {
            let text = with_component(manifest, "a.wasm").unwrap();
            let table: toml::Table = text.parse().unwrap();
            let runtimes = table["runtime"].as_array().unwrap().clone();
            let name = |runtime: &toml::Value| runtime["name"].as_str().unwrap().to_owned();
            runtimes.iter().map(name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names("name = \"a\"\n[[action]]\nname = \"b\""),
            "process wasm"
        );
        let docker = "name = \"a\"\n[[runtime]]\nname = \"docker\"\n[target]\n";
        assert_eq!(names(docker), "docker wasm");
        assert!(with_component("runtime = 7\n", "a.wasm").is_err());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(number("1.96.0") >= number("1.95"));
        assert!(number("1.85.1") < number("1.95"));
        assert!(number("") < number("1.95"));
    }
}
