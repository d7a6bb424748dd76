//! Every dependency is there for a reason that is written beside it, and some never come in.

use super::File;

/// One TLS stack, rustls with ring; see deny.toml, which needs cargo-deny where this needs nothing.
const NEVER_LOCKED: [&str; 5] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl",
    "openssl-sys",
    "native-tls",
];

pub fn check(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        if file.path == "Cargo.lock" {
            broken.extend(locked(&file.text));
        } else if file.path.ends_with("Cargo.toml") {
            broken.extend(reasons(file));
        }
    }
    broken
}

fn locked(lock: &str) -> Vec<String> {
    NEVER_LOCKED
        .iter()
        .filter(|never| lock.contains(&format!("name = \"{never}\"\n")))
        .map(|never| format!("Cargo.lock: {never} must not come in (`cargo tree -i {never}`)"))
        .collect()
}

/// A dependency with a version of its own has a comment on its line, or above the lines it stands
/// in. Crates of the workspace, and those that the root explains, need none.
fn reasons(file: &File) -> Vec<String> {
    let mut broken = Vec::new();
    let mut in_dependencies = false;
    let mut explained = false;
    for (number, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
            explained = false;
        } else if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if in_dependencies && let Some((name, wanted)) = line.split_once('=') {
            let ours = name.trim().ends_with(".workspace")
                || wanted.contains("workspace = true")
                || wanted.contains("path = ");
            if !explained && !ours && !line.contains('#') {
                broken.push(format!(
                    "{}:{}: say in a comment why {} is needed",
                    file.path,
                    number + 1,
                    name.trim()
                ));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_named() {
        let manifest = "[dependencies]\na.workspace = true\nb = \"1\"\nc = \"1\" # to see\n\n\
                        # to hear\nd = \"1\"\ne = \"1\"\n[lints]\nworkspace = true\n";
        let broken = check(&[File {
            path: "x/Cargo.toml".into(),
            text: manifest.into(),
        }]);
        assert_eq!(broken, ["x/Cargo.toml:3: say in a comment why b is needed"]);
    }

    #[test]
    fn a_second_tls_stack_is_refused() {
        let lock = "[[package]]\nname = \"openssl-sys\"\nversion = \"1\"\n";
        assert_eq!(locked(lock).len(), 1);
        assert!(locked("[[package]]\nname = \"openssl-probe\"\n").is_empty());
    }
}
