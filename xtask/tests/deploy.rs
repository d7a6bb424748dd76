//! The files below `deploy/` are text that no compiler reads. No container is started here: what is checked is their form,
//! that they name each other rightly, and that the secrets they want are made.
#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn deploy() -> PathBuf {
    root().join("deploy")
}

fn venv(program: &str) -> Command {
    let path = root().join("target/test-venv/bin").join(program);
    assert!(
        path.exists(),
        "{} is missing: `cargo xtask test` installs it",
        path.display()
    );
    Command::new(path)
}

fn good(command: &mut Command) {
    let ran = command.output().unwrap();
    let told = [ran.stdout, ran.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert!(ran.status.success(), "{command:?}: {}", told.concat());
}

/// Files of a folder and those below it whose name ends so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found
}

fn compose() -> String {
    fs::read_to_string(deploy().join("compose.yaml")).unwrap()
}

/// `NAME: { file: ./PATH }` of compose.yaml.
fn secrets_of_compose() -> Vec<PathBuf> {
    let text = compose();
    let files = text
        .lines()
        .filter_map(|line| line.trim().split_once(": { file: ./"));
    files
        .map(|(_, file)| PathBuf::from(file.trim_end_matches(" }")))
        .collect()
}

#[test]
fn the_compose_file_is_what_compose_understands() {
    let mut check = venv("check-jsonschema");
    check.args(["--builtin-schema", "vendor.compose-spec"]);
    good(check.arg(deploy().join("compose.yaml")));
}

#[test]
fn the_compose_file_mounts_what_is_there() {
    let text = compose();
    let mounted = text.lines().filter_map(|line| {
        let path = line.trim().strip_prefix("- ./")?;
        path.strip_suffix(":ro")?.split(':').next()
    });
    let mounted: Vec<&str> = mounted.collect();
    assert!(mounted.len() >= 7, "{mounted:?}");
    for path in mounted {
        assert!(deploy().join(path).is_file(), "{path}");
    }
}

#[test]
fn ports_are_published_on_loopback_alone() {
    let text = compose();
    let ports: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ports: ["))
        .flat_map(|ports| ports.trim_end_matches(']').split(','))
        .collect();
    assert!(!ports.is_empty());
    for port in ports {
        assert!(port.trim().starts_with("\"127.0.0.1:"), "{port}");
    }
}

#[test]
fn kubernetes_knows_every_field_of_the_manifests() {
    let mut manifests = files(&deploy().join("kubernetes"), ".yaml");
    // It is read by the command line, not by Kubernetes.
    manifests.retain(|path| !path.ends_with("kustomization.yaml"));
    assert!(manifests.len() >= 4);
    good(venv("kubernetes-validate").arg("--strict").args(&manifests));
}

#[test]
fn the_manifests_that_are_applied_are_there_and_hold_no_secret() {
    let folder = deploy().join("kubernetes");
    let text = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
    let named = text.lines().filter_map(|line| line.strip_prefix("  - "));
    let named: Vec<&str> = named.filter(|name| name.ends_with(".yaml")).collect();
    assert!(!named.is_empty());
    for name in named {
        let manifest = fs::read_to_string(folder.join(name)).unwrap();
        assert!(!manifest.contains("kind: Secret"), "{name}");
    }
}

#[test]
fn scripts_are_free_of_what_shellcheck_knows() {
    let scripts = files(&deploy(), ".sh");
    assert!(!scripts.is_empty());
    good(Command::new("shellcheck").args(&scripts));
}

#[test]
fn the_secrets_that_compose_wants_are_made_once_and_for_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    fs::copy(deploy().join("compose/secrets.sh"), &script).unwrap();
    let make = || {
        let mut make = Command::new("fakeroot");
        make.arg("bash").arg(&script);
        make.args(["sengu.example", "10.0.0.5", "fd00::5"]);
        make
    };
    good(&mut make());
    let wanted = secrets_of_compose();
    assert!(wanted.len() >= 19, "{wanted:?}");
    for file in wanted {
        let file = folder.path().join(file.strip_prefix("compose").unwrap());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let secrets = folder.path().join("secrets");
    let read = |name: &str| fs::read_to_string(secrets.join(name)).unwrap();
    assert_eq!(read("logic/seal.key").trim().len(), 64);
    assert_eq!(read("logic/postgres_password"), read("postgres/password"));

    let join: toml::Table = read("execution/join").parse().unwrap();
    let text = |key: &str| join[key].as_str().unwrap();
    assert_eq!(text("seal_key"), read("logic/seal.key").trim());
    assert_eq!(text("password"), read("logic/rabbitmq_password"));
    assert_eq!(text("results_password"), read("logic/mosquitto_password"));
    assert_eq!(text("ca_pem").trim(), read("ca/ca.crt").trim());
    let logic = fs::read_to_string(deploy().join("compose/logic/sengu.toml")).unwrap();
    let logic: toml::Table = logic.parse().unwrap();
    for key in ["url", "results"] {
        let address = logic["interconnect"][key].as_str().unwrap();
        assert!(text(key).starts_with(address), "{key}");
    }

    for server in ["rabbitmq", "mosquitto", "postgres", "logic"] {
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-purpose", "sslserver", "-CAfile"]);
        verify.arg(secrets.join("ca/ca.crt"));
        good(verify.arg(secrets.join(server).join("tls.crt")));
    }

    let again = make().output().unwrap();
    assert!(!again.status.success(), "what is there is not made anew");
    assert_eq!(text("seal_key"), read("logic/seal.key").trim());
}
