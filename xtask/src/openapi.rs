//! Keeps the OpenAPI document of the repository equal to what the code says.

use crate::run;
use crate::stage::{Scope, stage};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::process::Command;

const DOCUMENT: &str = "docs/reference/openapi.json";

pub fn openapi(args: &[String]) -> Result<()> {
    let check = run::wants_check("openapi", args)?;
    let workspace = Workspace::read()?;
    // The same build as the tests', so that it costs nothing after them.
    let staged = stage(&workspace, "dev", Scope::Tests)?;
    let current = run::output(Command::new(&staged.sengu).arg("openapi"))?;
    serde_json::from_slice::<serde_json::Value>(&current).context("read `sengu openapi`")?;
    let path = workspace.root.join(DOCUMENT);
    if fs::read(&path).is_ok_and(|kept| kept == current) {
        return Ok(());
    }
    if check {
        bail!("{DOCUMENT} differs from the code: run `cargo xtask openapi` and commit it");
    }
    fs::create_dir_all(path.parent().context("the document has a folder")?)?;
    fs::write(&path, current).with_context(|| format!("write {DOCUMENT}"))?;
    println!("{DOCUMENT} written");
    Ok(())
}
