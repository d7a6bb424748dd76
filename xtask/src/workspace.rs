//! What cargo knows about the workspace, read once. Folders are found here, never listed by hand.

use crate::run;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    pub packages: Vec<Package>,
}

#[derive(Debug)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Relative to the root, with `/`; for example `workers/ssh`.
    pub folder: String,
    pub dependencies: Vec<Dependency>,
    /// It is linked statically for the tests, so that it runs in a container with nothing else in it:
    /// `[package.metadata.sengu] static = true`.
    pub linked_statically: bool,
}

#[derive(Debug)]
pub struct Dependency {
    pub name: String,
    /// Only for tests: a dev-dependency.
    pub dev: bool,
}

impl Workspace {
    /// Asks cargo; needs neither network nor a build.
    ///
    /// # Errors
    /// When cargo cannot read a manifest of the workspace.
    pub fn read() -> Result<Workspace> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = run::output(run::cargo(here).args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ]))?;
        let metadata: Value = serde_json::from_slice(&text).context("read cargo metadata")?;
        let root = PathBuf::from(string(&metadata["workspace_root"]));
        let packages = list(&metadata["packages"])
            .map(|package| Package::read(package, &root))
            .collect::<Result<_>>()?;
        Ok(Workspace {
            target: PathBuf::from(string(&metadata["target_directory"])),
            packages,
            root,
        })
    }

    /// The folder of the workspace, also while a manifest in it is broken.
    ///
    /// # Errors
    /// When the sources have been moved since this program was built.
    pub fn root() -> Result<PathBuf> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().context("xtask lies in the workspace")?;
        root.canonicalize()
            .with_context(|| format!("find {}", root.display()))
    }

    /// The crates right under `folder`, for example `workers` or `store/stores`.
    pub fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a Package> {
        self.packages
            .iter()
            .filter(move |package| parent(&package.folder) == folder)
    }

    /// The version of the product.
    ///
    /// # Errors
    /// When there is no crate `sengu`.
    pub fn version(&self) -> Result<&str> {
        let sengu = self.packages.iter().find(|package| package.name == "sengu");
        Ok(&sengu.context("find the crate sengu")?.version)
    }

    /// The folders of worker kinds: every `workers/*/` with a `worker.toml`, crate or not.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn worker_folders(&self) -> Result<Vec<PathBuf>> {
        let workers = self.root.join("workers");
        let mut folders: Vec<PathBuf> = std::fs::read_dir(&workers)
            .with_context(|| format!("read {}", workers.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        folders.retain(|folder| folder.join("worker.toml").is_file());
        folders.sort();
        Ok(folders)
    }
}

impl Package {
    fn read(package: &Value, root: &Path) -> Result<Package> {
        let manifest = PathBuf::from(string(&package["manifest_path"]));
        let folder = manifest
            .parent()
            .and_then(|folder| folder.strip_prefix(root).ok())
            .with_context(|| format!("{} is outside the workspace", manifest.display()))?;
        Ok(Package {
            name: string(&package["name"]),
            version: string(&package["version"]),
            folder: folder.to_string_lossy().into_owned(),
            linked_statically: package["metadata"]["sengu"]["static"] == true,
            dependencies: list(&package["dependencies"])
                .map(|dependency| Dependency {
                    name: string(&dependency["name"]),
                    dev: dependency["kind"] == "dev",
                })
                .collect(),
        })
    }
}

/// `store/stores` of `store/stores/sqlite`; empty at the top.
pub fn parent(folder: &str) -> &str {
    folder.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
