//! The gate: a started process that waits for a line on its stdin before it becomes the worker. Until then the keeper
//! puts it where it belongs, so that no limit begins after the worker's first instruction. It must never read more than
//! that one line: what follows are the worker's frames.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SHELL: &str = "/bin/sh";
/// POSIX has `read` take single bytes from a pipe. The end of stdin means that sengu is gone.
const SCRIPT: &str = "read -r _ && unset PWD OLDPWD SHLVL && exec \"$@\"";
/// What opens it.
pub const OPEN: &[u8] = b"\n";

#[derive(Debug, Clone)]
pub struct Gate {
    pub has_shell: bool,
    /// Sets the parent death signal, then becomes what it is told. It can only be set by the process itself.
    pub setpriv: Option<PathBuf>,
}

impl Gate {
    pub fn find() -> Gate {
        let runs = |program: &Path, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let places = ["/usr/bin/setpriv", "/bin/setpriv"].map(PathBuf::from);
        // Early versions do not know the death signal.
        let usable = |path: &PathBuf| runs(path, &["--pdeathsig", "KILL", "true"]);
        Gate {
            has_shell: runs(Path::new(SHELL), &["-c", "true"]),
            setpriv: places.into_iter().find(usable),
        }
    }

    /// The command that becomes `program`, once it is let through.
    pub fn command(&self, program: &Path) -> Command {
        let mut words: Vec<&std::ffi::OsStr> = Vec::new();
        if let Some(setpriv) = &self.setpriv {
            words.push(setpriv.as_os_str());
            words.extend(["--pdeathsig", "KILL", "--"].map(std::ffi::OsStr::new));
        }
        if self.has_shell {
            words.extend([SHELL, "-c", SCRIPT, "sengu-gate"].map(std::ffi::OsStr::new));
        }
        words.push(program.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }
}
