//! What the tests need beyond Rust: every `test-needs.toml` of the repository, installed through
//! Debian's packages, one Python environment and npm. What cannot be had is an error, never a skip.

use crate::node::{self, Node};
use crate::run;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tried in CI; any version that is already installed will do.
const NEXTEST: &str = "0.9.143";

/// The folder of the Python environment under the target folder. Tests look for it there.
const VENV: &str = "test-venv";

#[derive(Debug, Default, PartialEq)]
struct Needs {
    apt: BTreeSet<String>,
    pip: BTreeSet<String>,
    /// Folders with a `package-lock.json`: `npm = true`.
    npm: BTreeSet<PathBuf>,
}

/// Installs what is missing. With nothing missing it takes well under a second.
///
/// # Errors
/// When a `test-needs.toml` is wrong, or something cannot be installed from here; the error says
/// what to install by hand.
pub fn install(workspace: &Workspace) -> Result<()> {
    let (needs, node) = needs_of(workspace)?;
    install_apt(&needs.apt)?;
    install_pip(&workspace.target.join(VENV), &needs.pip)?;
    install_npm(workspace, &needs, node)?;
    install_nextest(workspace)
}

/// Installs what the console is built with, and nothing else when the machine has Node.
///
/// # Errors
/// As [`install`].
pub fn install_node(workspace: &Workspace) -> Result<Node> {
    let (needs, node) = needs_of(workspace)?;
    if node.is_none() {
        install_pip(&workspace.target.join(VENV), &needs.pip)?;
    }
    install_npm(workspace, &needs, node)
}

/// All needs, and the machine's Node if it will do.
fn needs_of(workspace: &Workspace) -> Result<(Needs, Option<Node>)> {
    let mut needs = Needs::default();
    collect(&workspace.root, &workspace.target, &mut needs)?;
    let node = Node::of_machine();
    if node.is_none() && !needs.npm.is_empty() {
        needs.pip.insert(node::PIN.to_owned());
    }
    Ok((needs, node))
}

fn install_npm(workspace: &Workspace, needs: &Needs, node: Option<Node>) -> Result<Node> {
    let node = match node {
        Some(node) => node,
        None => Node::of_venv(&workspace.target.join(VENV))?,
    };
    for folder in &needs.npm {
        node.install(folder)?;
    }
    node.link(&workspace.target)?;
    Ok(node)
}

fn collect(folder: &Path, target: &Path, needs: &mut Needs) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            let hidden = name.to_string_lossy().starts_with('.');
            let ours = name != "target" && name != "node_modules";
            if !hidden && path != target && ours {
                collect(&path, target, needs)?;
            }
        } else if name == "test-needs.toml" {
            read(&path, needs).with_context(|| format!("read {}", path.display()))?;
        }
    }
    Ok(())
}

fn read(path: &Path, needs: &mut Needs) -> Result<()> {
    let table: toml::Table = fs::read_to_string(path)?.parse()?;
    for (key, value) in table {
        let into = match key.as_str() {
            "apt" => &mut needs.apt,
            "pip" => &mut needs.pip,
            "npm" => {
                if value.as_bool().context("npm is true or false")? {
                    let folder = path.parent().context("a file has a folder")?;
                    needs.npm.insert(folder.to_owned());
                }
                continue;
            }
            other => bail!("unknown key {other:?}: apt, pip and npm are known"),
        };
        let names = value.as_array().context("a list of names is expected")?;
        for name in names {
            let name = name.as_str().context("a list of names is expected")?;
            // A name is given to a program as an argument, so it must not look like an option.
            if name.is_empty() || name.starts_with('-') {
                bail!("{name:?} is not the name of a package");
            }
            into.insert(name.to_owned());
        }
    }
    Ok(())
}

fn install_apt(names: &BTreeSet<String>) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let by_hand = |missing: &[&String]| {
        let words: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
        words.join(" ")
    };
    if !run::succeeds(Command::new("dpkg-query").arg("--version")) {
        bail!(
            "the tests need programs of these Debian packages; without apt, install them by hand \
             and run `cargo nextest run --workspace`: {}",
            by_hand(&names.iter().collect::<Vec<_>>())
        );
    }
    let missing = apt_missing(names)?;
    if missing.is_empty() {
        return Ok(());
    }
    println!(
        "Installing Debian packages for the tests: {}",
        by_hand(&missing)
    );
    let Some(apt) = privileged() else {
        bail!(
            "neither root nor sudo without a password: run this, then try again\n    \
             sudo apt-get install --no-install-recommends {}",
            by_hand(&missing)
        );
    };
    run::run(apt().args(["update", "--quiet"]))?;
    let mut install = apt();
    install.args([
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "--",
    ]);
    run::run(install.args(&missing))?;
    let still = apt_missing(names)?;
    if !still.is_empty() {
        bail!("apt-get has not installed {}", by_hand(&still));
    }
    Ok(())
}

fn apt_missing(names: &BTreeSet<String>) -> Result<Vec<&String>> {
    // Exits with 1 when it does not know one of them; what it prints is right all the same.
    let known = Command::new("dpkg-query")
        .args([
            "--show",
            "--showformat=${Package} ${db:Status-Status}\\n",
            "--",
        ])
        .args(names)
        .stderr(Stdio::null())
        .output()
        .context("start dpkg-query")?;
    let known = String::from_utf8_lossy(&known.stdout);
    let installed: BTreeSet<&str> = known
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    Ok(names
        .iter()
        .filter(|name| !installed.contains(name.as_str()))
        .collect())
}

/// How to start apt-get with the rights to install, if there is a way that asks nobody.
fn privileged() -> Option<fn() -> Command> {
    // /proc/self belongs to the effective user.
    let root = fs::metadata("/proc/self")
        .is_ok_and(|of_self| std::os::unix::fs::MetadataExt::uid(&of_self) == 0);
    if root {
        return Some(|| {
            let mut apt = Command::new("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive");
            apt
        });
    }
    run::succeeds(Command::new("sudo").args(["-n", "true"])).then_some(|| {
        let mut apt = Command::new("sudo");
        apt.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        apt
    })
}

fn python_makes_venvs() -> bool {
    run::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]))
}

fn install_pip(venv: &Path, pins: &BTreeSet<String>) -> Result<()> {
    let python = venv.join("bin/python");
    if pins.is_empty() {
        return Ok(());
    }
    if !python_makes_venvs() {
        install_apt(&["python3", "python3-venv"].map(str::to_owned).into())?;
    }
    if !run::succeeds(Command::new(&python).args(["-c", "import pip"])) {
        println!("Creating {}", venv.display());
        run::run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(venv),
        )?;
    }
    // Written last: a run that was cut short installs again.
    let marker = venv.join("installed.txt");
    let wanted: String = pins.iter().map(|pin| format!("{pin}\n")).collect();
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!(
        "Installing Python packages for the tests: {}",
        wanted.replace('\n', " ")
    );
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--",
    ]);
    run::run(pip.args(pins))?;
    fs::write(&marker, wanted).with_context(|| format!("write {}", marker.display()))
}

fn install_nextest(workspace: &Workspace) -> Result<()> {
    if run::succeeds(run::cargo(&workspace.root).args(["nextest", "--version"])) {
        return Ok(());
    }
    println!("Installing cargo-nextest {NEXTEST}, which runs the tests (some minutes, once)");
    let mut install = run::cargo(&workspace.root);
    install.args(["install", "cargo-nextest", "--version", NEXTEST, "--locked"]);
    // Without its self-update, which is most of what it would compile; and quick to build rather
    // than quick to run, because it spends its time waiting for tests.
    install.args([
        "--no-default-features",
        "--features",
        "default-no-update",
        "--debug",
    ]);
    run::run(&mut install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_of_all_folders_are_united_and_the_target_folder_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/test-needs.toml", "apt = [\"snmpd\"]\npip = [\"x==1\"]");
        write(
            "b/c/test-needs.toml",
            "apt = [\"snmpd\", \"snmp\"]\nnpm = true",
        );
        write("target/d/test-needs.toml", "apt = [\"wrong\"]");
        write("b/node_modules/x/test-needs.toml", "apt = [\"wrong\"]");
        let mut needs = Needs::default();
        collect(dir.path(), &dir.path().join("target"), &mut needs).unwrap();
        assert_eq!(needs.apt, ["snmp", "snmpd"].map(String::from).into());
        assert_eq!(needs.pip, ["x==1"].map(String::from).into());
        assert_eq!(needs.npm, [dir.path().join("b/c")].into());

        write("a/test-needs.toml", "apt = [\"--option\"]");
        let refused = collect(dir.path(), &dir.path().join("target"), &mut needs).unwrap_err();
        assert!(format!("{refused:#}").contains("--option"), "{refused:#}");
    }
}
