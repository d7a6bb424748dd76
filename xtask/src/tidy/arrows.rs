//! Who may depend on whom, and which crate may carry a heavy dependency. A forbidden arrow is how
//! parts that are meant to be replaced apart grow together.

use crate::workspace::{Package, parent};

/// What each part may see. `*` stands for every crate of the workspace that is not [`UNSEEN`].
const ARROWS: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("store", &["sengu-model"]),
    ("interconnect", &["sengu-model"]),
    ("sdk", &["sengu-model"]),
    (
        "logic",
        &["sengu-model", "sengu-store", "sengu-interconnect"],
    ),
    ("execution", &["sengu-model", "sengu-interconnect"]),
    ("store/stores/*", &["sengu-model", "sengu-store"]),
    (
        "interconnect/brokers/*",
        &["sengu-model", "sengu-interconnect"],
    ),
    ("execution/runtimes/*", &["sengu-model", "sengu-execution"]),
    ("workers/*", &["sengu-sdk"]),
    ("console", &[]),
    ("sengu", &["*"]),
    ("e2e", &["*"]),
    ("bench", &["*"]),
    (
        "sim",
        &[
            "sengu-model",
            "sengu-store",
            "sengu-interconnect",
            "sengu-logic",
            "sengu-execution",
        ],
    ),
    ("testing", &[]),
    ("xtask", &[]),
];

/// Nothing depends on these, not even a test.
const UNSEEN: [&str; 5] = ["sengu", "sengu-e2e", "sengu-bench", "sengu-sim", "xtask"];

/// Crates that cost much to build or to trust, and the one folder that may have each.
const HEAVY: [(&str, &str); 8] = [
    ("rusqlite", "store/stores/sqlite"),
    ("russh", "workers/ssh"),
    ("async-snmp", "workers/snmp"),
    ("wasmtime", "execution/runtimes/wasm"),
    ("bollard", "execution/runtimes/docker"),
    ("kube", "execution/runtimes/kubernetes"),
    ("k8s-openapi", "execution/runtimes/kubernetes"),
    ("cedar-policy", "nowhere"),
];

pub fn check(packages: &[Package]) -> Vec<String> {
    let ours: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut broken = Vec::new();
    for package in packages {
        let Some(allowed) = allowed(&package.folder) else {
            broken.push(format!(
                "{}: no arrow is known for this folder (xtask/src/tidy/arrows.rs)",
                package.folder
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if ours.contains(&name) && !may_see(allowed, name, dependency.dev) {
                broken.push(format!("{}: must not depend on {name}", package.folder));
            }
            for (heavy, folder) in HEAVY {
                if name == heavy && package.folder != folder {
                    broken.push(format!(
                        "{}: {heavy} is allowed in {folder} only",
                        package.folder
                    ));
                }
            }
        }
    }
    broken
}

fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    let any_child = format!("{}/*", parent(folder));
    ARROWS
        .iter()
        .find(|(of, _)| *of == folder || *of == any_child)
        .map(|(_, allowed)| *allowed)
}

/// Tests may see more (a driver's suite, a twin), but never the programs at the top.
fn may_see(allowed: &[&str], name: &str, dev: bool) -> bool {
    let everything = dev || allowed.contains(&"*");
    let worker = name.starts_with("sengu-worker-");
    allowed.contains(&name) || (everything && !UNSEEN.contains(&name) && !worker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn broken(folder: &str, dependency: &str, dev: bool) -> Vec<String> {
        let package = |name: &str, folder: &str, dependencies| Package {
            linked_statically: false,
            name: name.to_owned(),
            version: String::new(),
            folder: folder.to_owned(),
            dependencies,
        };
        let name = dependency.to_owned();
        check(&[
            package("it", folder, vec![Dependency { name, dev }]),
            package("sengu-model", "model", vec![]),
            package("sengu-store", "store", vec![]),
            package("sengu-execution", "execution", vec![]),
            package("sengu", "sengu", vec![]),
            package("sengu-worker-echo", "workers/echo", vec![]),
        ])
    }

    #[test]
    fn arrows_that_are_not_drawn_are_refused() {
        assert!(broken("store/stores/x", "sengu-store", false).is_empty());
        assert!(broken("bench", "sengu-execution", false).is_empty());
        assert!(broken("logic", "sengu-execution", true).is_empty());
        for (folder, dependency, dev) in [
            ("logic", "sengu-execution", false),
            ("store/stores/x", "sengu-execution", false),
            ("workers/x", "sengu-model", false),
            ("sengu", "sengu-worker-echo", false),
            ("e2e", "sengu", true),
            ("bench", "rusqlite", false),
            ("somewhere/new", "serde", false),
        ] {
            let broken = broken(folder, dependency, dev);
            assert_eq!(broken.len(), 1, "{folder} -> {dependency}: {broken:?}");
        }
    }
}
