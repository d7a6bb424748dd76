//! What is sent to a host: one command line per action, made of the scripts in `scripts/`.
//!
//! The same scripts are recognised by the twin. Never ask the host anything before the command itself: every
//! round trip is paid by every target.

use crate::words::quote;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Ends the whole process group on the host at the deadline where timeout(1) exists: TERM, and KILL 2 s later.
/// `$0` is the time in seconds, then come the script and its arguments.
pub const OUTER: &str = r#"command -v timeout >/dev/null 2>&1 && exec timeout -k 2 "$0" /bin/sh -c "$@"; exec /bin/sh -c "$@""#;

/// `$0` of every script, so that a process list on the host tells where it comes from.
pub const NAME: &str = "sengu";

pub static OBSERVE: LazyLock<String> = LazyLock::new(|| lean(include_str!("scripts/observe.sh")));
pub static GUARD: LazyLock<String> = LazyLock::new(|| lean(include_str!("scripts/guard.sh")));
pub static FILE_PUT: LazyLock<String> = LazyLock::new(|| lean(include_str!("scripts/file_put.sh")));
pub static FILE_GET: LazyLock<String> = LazyLock::new(|| lean(include_str!("scripts/file_get.sh")));
pub static SERVICE_SET: LazyLock<String> =
    LazyLock::new(|| lean(include_str!("scripts/service_set.sh")));
pub static PACKAGE_SET: LazyLock<String> =
    LazyLock::new(|| lean(include_str!("scripts/package_set.sh")));

/// Comments are for readers of this repository, not for the wire.
fn lean(script: &str) -> String {
    let mut lean = String::with_capacity(script.len());
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        lean.push_str(line);
        lean.push('\n');
    }
    lean
}

/// How long the host itself lets the command live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RemoteLimit {
    Seconds(u64),
    /// It must come to its own end (package tools: ending them half-way does harm).
    None,
}

/// The command line that runs `script` with `args`.
pub fn line(script: &str, args: &[&str], limit: RemoteLimit, sudo: Sudo) -> String {
    let mut line = String::with_capacity(script.len() + 256);
    line.push_str(match sudo {
        Sudo::No => "exec /bin/sh -c ",
        Sudo::Yes => "exec sudo -n -- /bin/sh -c ",
    });
    // A command that begins like an option would be one.
    let guarded = script.starts_with(['-', '+']).then(|| format!(" {script}"));
    let script = quote(guarded.as_deref().unwrap_or(script));
    match limit {
        RemoteLimit::Seconds(s) => {
            let _ = write!(line, "{} {s} {script}", quote(OUTER));
        }
        RemoteLimit::None => line.push_str(&script),
    }
    if !args.is_empty() || limit == RemoteLimit::None {
        line.push(' ');
        line.push_str(NAME);
    }
    for arg in args {
        line.push(' ');
        line.push_str(&quote(arg));
    }
    line
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sudo {
    Yes,
    No,
}

/// The script and its arguments in a line made by [`line`]; for the twin.
pub fn script_of(words: &[String]) -> Option<(&str, &[String])> {
    let mut words = words.strip_prefix(&["exec".to_owned()])?;
    if words.first().is_some_and(|w| w == "sudo") {
        words = words.get(3..)?;
    }
    let [shell, c, rest @ ..] = words else {
        return None;
    };
    if shell != "/bin/sh" || c != "-c" {
        return None;
    }
    let (script, rest) = match rest {
        [outer, _seconds, script, rest @ ..] if outer == OUTER => (script, rest),
        [script, rest @ ..] => (script, rest),
        [] => return None,
    };
    Some((script, rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::split;

    #[test]
    fn a_line_can_be_taken_apart_again() {
        for sudo in [Sudo::Yes, Sudo::No] {
            for limit in [RemoteLimit::Seconds(9), RemoteLimit::None] {
                let words = split(&line("echo \"$1\"", &["it's"], limit, sudo)).unwrap();
                let (script, args) = script_of(&words).unwrap();
                assert_eq!((script, args), ("echo \"$1\"", &["it's".to_owned()][..]));
            }
        }
        assert!(script_of(&split("true").unwrap()).is_none());
    }

    #[test]
    fn scripts_are_plain_sh_without_comments() {
        for script in [
            &*OBSERVE,
            &*GUARD,
            &*FILE_PUT,
            &*FILE_GET,
            &*SERVICE_SET,
            &*PACKAGE_SET,
        ] {
            assert!(!script.contains("\n#") && !script.starts_with('#'));
            let checked = std::process::Command::new("/bin/sh")
                .args(["-n", "-c", script])
                .output()
                .unwrap();
            assert!(checked.status.success(), "{script}\n{checked:?}");
        }
    }
}
