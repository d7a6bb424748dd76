//! Writes the list of what is in the binary and under which licence, for the console to show. The console's own build
//! adds what comes from npm.

use crate::run;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const LIST: &str = "console/public/licences.json";
const PROGRAM: &str = "sengu";
/// The list is the same wherever it is made: of what one runs on here.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

pub fn licences(args: &[String]) -> Result<()> {
    let check = run::wants_check("licences", args)?;
    let root = Workspace::root()?;
    let metadata = run::output(run::cargo(&root).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        PLATFORM,
    ]))?;
    let metadata: Value = serde_json::from_slice(&metadata).context("read cargo metadata")?;
    let text = serde_json::to_string_pretty(&linked(&metadata)?)? + "\n";
    let path = root.join(LIST);
    if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    if check {
        bail!("{LIST} differs from the lock file: run `cargo xtask licences` and commit it");
    }
    fs::create_dir_all(path.parent().context("the list has a folder")?)?;
    fs::write(&path, text).with_context(|| format!("write {LIST}"))?;
    println!("{LIST} written");
    Ok(())
}

/// Crates that the program links, in order of their names; not those that only build or test it, and not ours.
fn linked(metadata: &Value) -> Result<Vec<Value>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let needs: BTreeMap<String, Vec<Value>> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (text(&node["id"]), list(&node["deps"])))
        .collect();
    let program = packages
        .iter()
        .find(|(_, package)| package["name"] == PROGRAM && package["source"].is_null())
        .map(|(id, _)| id.clone())
        .with_context(|| format!("there is no crate {PROGRAM}"))?;
    let (mut found, mut next) = (BTreeSet::new(), vec![program]);
    while let Some(id) = next.pop() {
        for need in needs.get(&id).into_iter().flatten() {
            let linked = list(&need["dep_kinds"]).iter().any(|k| k["kind"].is_null());
            let id = text(&need["pkg"]);
            let macros = packages.get(&id).is_some_and(is_macro);
            if linked && !macros && found.insert(id.clone()) {
                next.push(id);
            }
        }
    }
    let foreign = found
        .iter()
        .filter_map(|id| packages.get(id))
        .filter(|package| !package["source"].is_null());
    let mut rows: Vec<(String, String, String)> = Vec::new();
    for package in foreign {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let licence = match &package["license"] {
            Value::String(licence) => licence.clone(),
            _ => bail!("{name} {version} names no licence"),
        };
        rows.push((name, version, licence));
    }
    rows.sort();
    rows.dedup();
    let row =
        |(name, version, licence)| json!({"name": name, "version": version, "licence": licence});
    Ok(rows.into_iter().map(row).collect())
}

/// It runs within the compiler and is not in the program.
fn is_macro(package: &Value) -> bool {
    let targets = package["targets"].as_array();
    targets.into_iter().flatten().any(|target| {
        let kinds = target["kind"].as_array();
        kinds.into_iter().flatten().any(|kind| kind == "proc-macro")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds_or_tests_the_program_is_not_listed() {
        let crates_io = "registry";
        let package = |id: &str, source: Value, kind: &str| {
            json!({"id": id, "name": id, "version": "1.0.0", "license": "MIT", "source": source,
                "targets": [{"kind": [kind]}]})
        };
        let need = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("sengu", Value::Null, "bin"), package("ours", Value::Null, "lib"),
                package("linked", json!(crates_io), "lib"), package("deep", json!(crates_io), "lib"),
                package("derive", json!(crates_io), "proc-macro"), package("cc", json!(crates_io), "lib"),
                package("tester", json!(crates_io), "lib"),
            ],
            "resolve": {"nodes": [
                {"id": "sengu", "deps": [need("ours", Value::Null), need("cc", json!("build")), need("tester", json!("dev"))]},
                {"id": "ours", "deps": [need("linked", Value::Null), need("derive", Value::Null)]},
                {"id": "linked", "deps": [need("deep", Value::Null), need("linked", Value::Null)]},
            ]},
        });
        let names: Vec<Value> = linked(&metadata)
            .unwrap()
            .into_iter()
            .map(|row| row["name"].clone())
            .collect();
        assert_eq!(names, ["deep", "linked"]);
    }
}
