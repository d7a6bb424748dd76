//! Peers: other programs for the same work, run by scripts that are no part of this repository. What is not set up
//! is said and left out; nothing is installed here.

use crate::cpu;
use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest run of one script, in seconds; the scripts have limits of their own below this.
const SCRIPT_MAX_S: &str = "600";

#[derive(Debug)]
pub struct Peers {
    /// The scripts, copied to where `node_modules` can lie beside them; or why there are none.
    copy: Result<tempfile::TempDir, String>,
    /// Where the peers' own setup put what they need.
    home: PathBuf,
}

/// What a peer's run gave.
#[derive(Debug)]
pub struct PeerRun {
    /// All of its stdout.
    pub output: String,
    /// User and system time of the script and of all below it that it waited for.
    pub cpu_s: f64,
    pub wall_s: f64,
}

impl Peers {
    pub fn find(scripts: Option<PathBuf>) -> Result<Peers> {
        let home = std::env::var_os("PEERS")
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                let home = std::env::var_os("HOME").unwrap_or_else(|| OsStr::new("/").to_owned());
                Path::new(&home).join(".cache/sengu-peers")
            });
        let copy = match scripts {
            None => Err("no peers' scripts given (--peers DIR or SENGU_PEERS_SCRIPTS)".to_owned()),
            Some(folder) => Ok(copy(&folder, &home)?),
        };
        Ok(Peers { copy, home })
    }

    /// A file of the scripts' folder.
    ///
    /// # Errors
    /// Why it is not there, as one line.
    pub fn script(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.copy.as_ref().map_err(Clone::clone)?;
        let path = folder.path().join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("the folder of the peers' scripts has no {name}"))
        }
    }

    /// Checks that something is installed: below the peers' home, or by its full path.
    ///
    /// # Errors
    /// What is missing, as one line.
    pub fn need(&self, path: &str) -> Result<PathBuf, String> {
        let path = self.home.join(path);
        if path.exists() {
            Ok(path)
        } else {
            Err(format!(
                "{} is missing (setup.sh of the peers installs it)",
                path.display()
            ))
        }
    }

    /// The Python of the peers.
    pub fn python(&self) -> Result<PathBuf, String> {
        self.need("venv/bin/python")
    }

    /// Runs a shell script of the peers.
    pub fn bash(&self, script: &str, args: &[String]) -> Result<PeerRun> {
        let path = self.script(script).map_err(anyhow::Error::msg)?;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", SCRIPT_MAX_S, "bash"])
            .arg(&path)
            .args(args);
        self.run(&mut command)
    }

    /// Runs a command with the peers' environment, to its end.
    ///
    /// # Errors
    /// When it cannot be started or prints nothing; what it said is in the error.
    pub fn run(&self, command: &mut Command) -> Result<PeerRun> {
        let waited = cpu::waited_s();
        let started = std::time::Instant::now();
        let output = command
            .env("PEERS", &self.home)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("start {command:?}"))?;
        let run = PeerRun {
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            cpu_s: cpu::waited_s() - waited,
            wall_s: started.elapsed().as_secs_f64(),
        };
        if run.output.trim().is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            let mut tail: Vec<&str> = said.lines().rev().take(3).collect();
            tail.reverse();
            anyhow::bail!(
                "it printed nothing, {}: {}",
                output.status,
                tail.join(" | ")
            );
        }
        Ok(run)
    }
}

/// Scripts import from `node_modules` beside them, so they are copied to where that is theirs.
fn copy(folder: &Path, home: &Path) -> Result<tempfile::TempDir> {
    let copy = tempfile::tempdir().context("make a folder for the peers' scripts")?;
    // Servers that the scripts start as other users begin in it.
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755))?;
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
    }
    let modules = home.join("node/node_modules");
    std::os::unix::fs::symlink(modules, copy.path().join("node_modules"))?;
    Ok(copy)
}

/// The line that a script prints: `name tasks_per_s p50_ms p99_ms key=value..`.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerLine {
    pub text: String,
    pub per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl PeerLine {
    /// The last line of that form.
    pub fn find(output: &str) -> Option<PeerLine> {
        output.lines().rev().find_map(|text| {
            let mut words = text.split_ascii_whitespace().skip(1);
            let mut number = || words.next()?.parse::<f64>().ok();
            let (per_s, p50_ms, p99_ms) = (number()?, number()?, number()?);
            let text = text.trim().to_owned();
            text.contains('=').then_some(PeerLine {
                text,
                per_s,
                p50_ms,
                p99_ms,
            })
        })
    }

    pub fn value(&self, key: &str) -> Option<f64> {
        let mut words = self.text.split_ascii_whitespace();
        words.find_map(|w| w.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_line_is_found_among_its_talk() {
        let output = "starting 1 2 3\nbullmq-everysec 4752 2.90 nan n=20000 cpu_us_per_task=227 idle0=80%\nbye\n";
        let line = PeerLine::find(output).unwrap();
        assert_eq!((line.per_s, line.p50_ms), (4752.0, 2.9));
        assert!(line.p99_ms.is_nan());
        assert_eq!(line.value("cpu_us_per_task"), Some(227.0));
        assert_eq!(line.value("cpu_us"), None);
        assert_eq!(PeerLine::find("nothing here"), None);
    }

    #[test]
    fn what_is_not_set_up_is_named() {
        let peers = Peers::find(None).unwrap();
        assert!(peers.script("x.sh").unwrap_err().contains("--peers"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.sh"), "echo \"$PEERS\" $1").unwrap();
        let peers = Peers::find(Some(folder.path().to_owned())).unwrap();
        assert!(peers.script("y.sh").unwrap_err().contains("y.sh"));
        assert!(peers.need("no/such").unwrap_err().contains("no/such"));
        let run = peers.bash("x.sh", &["7".to_owned()]).unwrap();
        assert!(run.output.trim().ends_with(" 7"), "{run:?}");
    }
}
