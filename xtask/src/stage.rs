//! Builds sengu and the workers and lays them out as sengu expects to find them:
//! `<folder of the sengu program>/workers/<kind>/`. It never lists kinds by hand: a folder is a kind.

use crate::workspace::Workspace;
use crate::{component, run};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What of a worker's folder is for its developers only. Everything else is data of the kind.
const NOT_DATA: [&str; 13] = [
    "src",
    "component",
    "tests",
    "benches",
    "examples",
    "cases",
    "target",
    "Cargo.toml",
    "build.rs",
    "README",
    "README.md",
    "test-needs.toml",
    "__pycache__",
];

/// What to build.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// What a user runs: sengu and the workers.
    Product,
    /// The whole workspace with its tests. Cargo unites the features of all that it builds at
    /// once, so this is the one set that the tests can use without building everything twice.
    Tests,
}

#[derive(Debug)]
pub struct Staged {
    /// The sengu program; its workers lie in `workers/` beside it.
    pub sengu: PathBuf,
}

pub fn stage_verb(args: &[String]) -> Result<()> {
    let profile = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "dev",
        ["--release"] => "release",
        ["--profile", profile] => profile,
        _ => bail!("cargo xtask stage takes --release or --profile P, got {args:?}"),
    };
    let staged = stage(&Workspace::read()?, profile, Scope::Product)?;
    println!("{}", staged.sengu.display());
    Ok(())
}

/// Builds with one run of cargo, then lays out the workers beside sengu.
///
/// # Errors
/// When something does not compile, or a worker's folder breaks a rule.
pub fn stage(workspace: &Workspace, profile: &str, scope: Scope) -> Result<Staged> {
    let programs = build(workspace, profile, scope)?;
    let sengu = programs
        .get(&workspace.root.join("sengu"))
        .and_then(|programs| programs.first())
        .context("find the program sengu in the build")?
        .clone();
    let workers = sengu
        .parent()
        .context("find the folder of the program sengu")?
        .join("workers");
    let folders = workspace.worker_folders()?;
    let components = component::components(workspace, &folders)?;
    let statics = match scope {
        Scope::Tests => linked_statically(workspace, profile)?,
        Scope::Product => BTreeMap::new(),
    };
    let mut kinds = BTreeSet::new();
    for folder in folders {
        let built = Built {
            programs: programs.get(&folder).map_or(&[][..], Vec::as_slice),
            component: components.get(&folder).map(PathBuf::as_path),
            linked_statically: statics.get(&folder).map_or(&[][..], Vec::as_slice),
        };
        let kind = lay_out(&folder, &built, &workers)
            .with_context(|| format!("stage {}", folder.display()))?;
        if !kinds.insert(kind.clone()) {
            bail!("two folders under workers/ say name = {kind:?}");
        }
    }
    for package in workspace.under("workers") {
        if !workspace
            .root
            .join(&package.folder)
            .join("worker.toml")
            .is_file()
        {
            bail!("{} has no worker.toml", package.folder);
        }
    }
    remove_others(&workers, &kinds)?;
    Ok(Staged { sengu })
}

/// Programs by the folder of their crate.
fn build(
    workspace: &Workspace,
    profile: &str,
    scope: Scope,
) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["build", "--profile", profile]);
    cargo.arg("--message-format=json-render-diagnostics");
    match scope {
        Scope::Tests => cargo.args(["--workspace", "--lib", "--bins", "--tests"]),
        Scope::Product => {
            for package in workspace.under("workers") {
                cargo.args(["--package", &package.name]);
            }
            cargo.args(["--package", "sengu", "--bins"])
        }
    };
    programs_of(&mut cargo)
}

/// Workers that are linked statically: they run in a container with nothing else in it. The tests do that; a product
/// build does not wait for it.
fn linked_statically(
    workspace: &Workspace,
    profile: &str,
) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut all = workspace
        .under("workers")
        .filter(|p| p.linked_statically)
        .peekable();
    if all.peek().is_none() {
        return Ok(BTreeMap::new());
    }
    let mut cargo = run::cargo(&workspace.root);
    // With a target named, build scripts and macros are left as they are.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args(["build", "--profile", profile, "--bins", "--target", &target]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    for package in all {
        cargo.args(["--package", &package.name]);
    }
    programs_of(&mut cargo)
}

fn programs_of(cargo: &mut Command) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut programs: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for message in messages(cargo)? {
        let test = message["profile"]["test"].as_bool().unwrap_or(false);
        let program = message["executable"].as_str();
        let manifest = message["manifest_path"].as_str();
        if let (false, Some(program), Some(manifest)) = (test, program, manifest)
            && let Some(folder) = Path::new(manifest).parent()
        {
            let of_crate = programs.entry(folder.to_owned()).or_default();
            of_crate.push(PathBuf::from(program));
        }
    }
    Ok(programs)
}

/// What cargo says about a build, in JSON.
///
/// # Errors
/// When something does not compile.
pub fn messages(cargo: &mut Command) -> Result<Vec<Value>> {
    let lines = run::output(cargo.stdin(Stdio::null()))?;
    String::from_utf8_lossy(&lines)
        .lines()
        .map(|line| serde_json::from_str(line).context("read a message of cargo build"))
        .collect()
}

/// What was built of a worker.
struct Built<'a> {
    programs: &'a [PathBuf],
    component: Option<&'a Path>,
    linked_statically: &'a [PathBuf],
}

/// Lays one worker out and gives back its kind.
fn lay_out(folder: &Path, built: &Built, workers: &Path) -> Result<String> {
    let programs = match built.linked_statically {
        [] => built.programs,
        programs => programs,
    };
    let mut text = fs::read_to_string(folder.join("worker.toml")).context("read worker.toml")?;
    let manifest: toml::Table = text.parse().context("read worker.toml")?;
    let kind = manifest
        .get("name")
        .and_then(toml::Value::as_str)
        .context("worker.toml has no name")?;
    let command = manifest
        .get("command")
        .and_then(|command| command.get(0))
        .and_then(toml::Value::as_str)
        .context("worker.toml has no command")?;
    let staged = workers.join(kind);

    let mut wanted = BTreeMap::new();
    data_of(folder, Path::new(""), &mut wanted)?;
    for program in programs {
        let name = program.file_name().context("a program without a name")?;
        wanted.insert(PathBuf::from(name), program.clone());
    }
    if !programs.is_empty() && !wanted.contains_key(Path::new(command)) {
        bail!("command is {command:?}, but the crate builds {programs:?}");
    }
    if let Some(component) = built.component {
        let file = format!("{kind}.wasm");
        text = component::with_component(&text, &file)?;
        wanted.insert(PathBuf::from(file), component.to_owned());
    }
    if !built.linked_statically.is_empty() {
        text = component::with_docker(&text)?;
    }
    // Beside what was built, so that it is as old as its last change.
    if let Some(beside) = built
        .component
        .or(built.linked_statically.first().map(PathBuf::as_path))
    {
        let manifest = beside.with_extension("worker.toml");
        if fs::read_to_string(&manifest).ok().as_deref() != Some(&text) {
            fs::write(&manifest, text).with_context(|| format!("write {}", manifest.display()))?;
        }
        wanted.insert(PathBuf::from("worker.toml"), manifest);
    }
    for (name, source) in &wanted {
        replace(source, &staged.join(name))?;
    }
    remove_stale(&staged, Path::new(""), &wanted)?;
    Ok(kind.to_owned())
}

fn data_of(folder: &Path, below: &Path, wanted: &mut BTreeMap<PathBuf, PathBuf>) -> Result<()> {
    let here = folder.join(below);
    for entry in fs::read_dir(&here).with_context(|| format!("read {}", here.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let top = below.as_os_str().is_empty();
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        if top && NOT_DATA.contains(&name.as_str()) {
            continue;
        }
        let path = below.join(&name);
        if entry.file_type()?.is_dir() {
            data_of(folder, &path, wanted)?;
        } else {
            wanted.insert(path, entry.path());
        }
    }
    Ok(())
}

/// Copies when size or time differ. A running program keeps its old file: the new one takes the
/// name in one step. Not a hard link: the linker would write through it into a running worker.
fn replace(source: &Path, staged: &Path) -> Result<()> {
    let of_source = fs::metadata(source).with_context(|| format!("read {}", source.display()))?;
    let modified = of_source.modified()?;
    let same = fs::metadata(staged).is_ok_and(|of_staged| {
        of_staged.len() == of_source.len() && of_staged.modified().is_ok_and(|m| m == modified)
    });
    if same {
        return Ok(());
    }
    let folder = staged.parent().context("a staged file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let name = staged.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    fs::copy(source, &fresh).with_context(|| format!("copy {}", source.display()))?;
    fs::File::options()
        .append(true)
        .open(&fresh)?
        .set_modified(modified)?;
    fs::rename(&fresh, staged).with_context(|| format!("replace {}", staged.display()))
}

fn remove_stale(staged: &Path, below: &Path, wanted: &BTreeMap<PathBuf, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(staged.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if wanted.keys().any(|wanted| wanted.starts_with(&path)) {
                remove_stale(staged, &path, wanted)?;
            } else {
                fs::remove_dir_all(entry.path())?;
            }
        } else if !wanted.contains_key(&path) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove_others(workers: &Path, kinds: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(workers).with_context(|| format!("read {}", workers.display()))? {
        let entry = entry?;
        if !kinds.contains(&*entry.file_name().to_string_lossy()) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut wanted = BTreeMap::new();
        data_of(folder, Path::new(""), &mut wanted).unwrap();
        wanted.keys().map(|p| p.display().to_string()).collect()
    }

    #[test]
    fn a_kind_is_its_manifest_its_data_and_its_program_and_nothing_old() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("workers/foreign");
        let manifest = "name = \"hello\"\ncommand = [\"hello\"]\n";
        write(folder.join("worker.toml"), manifest);
        write(folder.join("profiles/a.toml"), "");
        write(folder.join("src/main.rs"), "");
        write(folder.join("component/Cargo.toml"), "");
        write(folder.join("README.md"), "");
        let program = dir.path().join("hello");
        write(program.clone(), "1");
        let staged = dir.path().join("staged");
        write(staged.join("hello/profiles/old.toml"), "");
        write(staged.join("hello/gone/old.toml"), "");

        let built = |programs, component| Built {
            programs,
            linked_statically: &[],
            component,
        };
        let programs = [program.clone()];
        let kind = lay_out(&folder, &built(&programs, None), &staged).unwrap();
        assert_eq!(kind, "hello");
        assert_eq!(
            files(&staged.join("hello")),
            ["hello", "profiles/a.toml", "worker.toml"]
        );

        write(program.clone(), "22");
        lay_out(&folder, &built(&programs, None), &staged).unwrap();
        assert_eq!(
            fs::read_to_string(staged.join("hello/hello")).unwrap(),
            "22"
        );

        let component = dir.path().join("built.wasm");
        write(component.clone(), "3");
        lay_out(&folder, &built(&programs, Some(&component)), &staged).unwrap();
        assert_eq!(
            fs::read_to_string(staged.join("hello/hello.wasm")).unwrap(),
            "3"
        );
        let names_it = || {
            let text = fs::read_to_string(staged.join("hello/worker.toml")).unwrap();
            text.contains("component = \"hello.wasm\"")
        };
        assert!(names_it());
        lay_out(&folder, &built(&programs, None), &staged).unwrap();
        assert!(!names_it() && !staged.join("hello/hello.wasm").exists());
    }

    #[test]
    fn a_command_that_the_crate_does_not_build_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = "name = \"hello\"\ncommand = [\"other\"]\n";
        write(dir.path().join("k/worker.toml"), manifest);
        write(dir.path().join("hello"), "");
        let programs = [dir.path().join("hello")];
        let staged = dir.path().join("staged");
        let built = Built {
            linked_statically: &[],
            programs: &programs,
            component: None,
        };
        let refused = lay_out(&dir.path().join("k"), &built, &staged).unwrap_err();
        assert!(refused.to_string().contains("other"), "{refused}");
    }
}
