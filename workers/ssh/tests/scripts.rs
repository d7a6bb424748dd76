//! Our scripts against stand-ins for tools that a test machine has not: systemd, rpm and dnf.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const SERVICE_SET: &str = include_str!("../src/scripts/service_set.sh");
const PACKAGE_SET: &str = include_str!("../src/scripts/package_set.sh");

/// Keeps `active` and `enabled` in files; unit `ghost` is not there, `broken` does not start.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
for last do :; done
case "$*" in
show*)
[ "$last" = ghost ] && { echo LoadState=not-found; echo ActiveState=inactive; exit 0; }
echo Result=success; echo LoadState=loaded
echo "ActiveState=$(cat "$last.active" 2>/dev/null || echo inactive)"; echo SubState=x
echo "UnitFileState=$(cat "$last.file" 2>/dev/null || echo disabled)"; exit 0;;
*" start "*) [ "$last" = broken ] && { echo "job failed" >&2; exit 1; }; echo active >"$last.active";;
*" stop "*) echo inactive >"$last.active";;
*" enable "*) echo enabled >"$last.file";;
*" disable "*) echo disabled >"$last.file";;
*) exit 9;;
esac
echo "$*" >>calls
"#;

const RPM: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
for last do :; done
cat "$last.installed" 2>/dev/null || { echo "package $last is not installed"; exit 1; }
"#;

const DNF: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
for last do :; done
echo "$*" >>calls
case "$*" in
*" install locked") echo "Failed to obtain the transaction lock: waiting for process with pid 7"; exit 1;;
*" install none") echo "Error: Unable to find a match: none"; exit 1;;
*" install tool-2.0-1") echo 2.0-1 >tool.installed;;
*" install "*) echo 1.0-1 >"$last.installed";;
*" remove "*) rm "$last.installed";;
esac
"#;

fn tool(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("as in every test environment");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .expect("as in every test environment");
}

/// A PATH with nothing but what the scripts need, so that no tool of this machine is found.
fn bare_path(dir: &Path) {
    for name in ["dirname", "cat", "mktemp", "tail", "grep", "rm", "sh"] {
        let found = ["/bin", "/usr/bin"]
            .iter()
            .map(|at| Path::new(at).join(name))
            .find(|path| path.exists())
            .expect("as in every test environment");
        std::os::unix::fs::symlink(found, dir.join(name)).expect("as in every test environment");
    }
}

fn run(dir: &Path, script: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new("/bin/sh")
        .args(["-c", script, "sengu"])
        .args(args)
        .env("PATH", dir)
        .output()
        .expect("as in every test environment");
    let text = String::from_utf8(output.stdout).expect("as in every test environment");
    (
        output.status.code().expect("as in every test environment"),
        text,
    )
}

#[test]
fn a_unit_is_changed_only_where_it_is_not_as_wanted() {
    let dir = tempfile::tempdir().unwrap();
    bare_path(dir.path());
    let (code, text) = run(dir.path(), SERVICE_SET, &["web", "started", ""]);
    assert!(
        code == 3 && text.contains("@@refused the host has no systemctl"),
        "{text}"
    );
    tool(dir.path(), "systemctl", SYSTEMCTL);
    // (unit, state, enabled, exit code, last state, calls so far)
    let table = [
        ("web", "started", "enabled", 0, "ActiveState=active", 2),
        ("web", "started", "enabled", 0, "UnitFileState=enabled", 2),
        ("web", "", "disabled", 0, "UnitFileState=disabled", 3),
        ("web", "stopped", "", 0, "ActiveState=inactive", 4),
        ("web", "stopped", "disabled", 0, "ActiveState=inactive", 4),
        ("broken", "started", "", 1, "ActiveState=inactive", 4),
        (
            "ghost",
            "started",
            "",
            3,
            "@@refused no unit named ghost",
            4,
        ),
    ];
    for (unit, state, enabled, wanted, last, calls) in table {
        let (code, text) = run(dir.path(), SERVICE_SET, &[unit, state, enabled]);
        assert_eq!(code, wanted, "{unit} {state} {enabled}: {text}");
        let after = text.rsplit("@@before").next().unwrap();
        assert!(after.contains(last), "{unit} {state} {enabled}: {text}");
        let made = std::fs::read_to_string(dir.path().join("calls")).unwrap_or_default();
        assert_eq!(
            made.lines().count(),
            calls,
            "{unit} {state} {enabled}: {made}"
        );
    }
}

#[test]
fn packages_of_rpm_hosts_are_asked_for_first() {
    let dir = tempfile::tempdir().unwrap();
    bare_path(dir.path());
    let (code, text) = run(dir.path(), PACKAGE_SET, &["tool", "present", "", ""]);
    assert!(code == 3 && text.contains("neither apt nor rpm"), "{text}");
    tool(dir.path(), "rpm", RPM);
    tool(dir.path(), "dnf", DNF);
    // (arguments, exit code, lines, calls of dnf so far)
    let table: [(&[&str], i32, &[&str], usize); 8] = [
        (
            &["tool", "absent", "", ""],
            0,
            &["@@before -", "@@after -", "@@changed no"],
            0,
        ),
        (
            &["tool", "present", "", ""],
            0,
            &["@@before -", "@@after 1.0-1", "@@changed yes"],
            1,
        ),
        (
            &["tool", "present", "", "refresh"],
            0,
            &["@@before 1.0-1", "@@changed no"],
            1,
        ),
        (
            &["tool", "present", "2.0-1", "refresh"],
            0,
            &["@@before 1.0-1", "@@after 2.0-1"],
            3,
        ),
        (
            &["tool", "present", "2.0-1", ""],
            0,
            &["@@after 2.0-1", "@@changed no"],
            3,
        ),
        (
            &["tool", "absent", "", ""],
            0,
            &["@@before 2.0-1", "@@after -"],
            4,
        ),
        (
            &["locked", "present", "", ""],
            1,
            &["@@busy", "@@after -"],
            5,
        ),
        (&["none", "present", "", ""], 1, &["@@after -"], 6),
    ];
    for (args, wanted, lines, calls) in table {
        let (code, text) = run(dir.path(), PACKAGE_SET, args);
        assert_eq!(code, wanted, "{args:?}: {text}");
        for line in lines {
            assert!(
                text.lines().any(|l| l == *line),
                "{args:?} wants {line}: {text}"
            );
        }
        assert_eq!(text.contains("@@busy"), args[0] == "locked");
        let made = std::fs::read_to_string(dir.path().join("calls")).unwrap_or_default();
        assert_eq!(made.lines().count(), calls, "{args:?}: {made}");
    }
}
