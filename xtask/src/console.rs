//! Builds the web console's files and keeps those in the repository equal to their sources.

use crate::workspace::Workspace;
use crate::{needs, run};
use anyhow::{Context as _, Result};

/// The console's folder: sources, and `dist` with what is built of them.
const FOLDER: &str = "console";

pub fn console(args: &[String]) -> Result<()> {
    let check = run::wants_check("console", args)?;
    let workspace = Workspace::read()?;
    let node = needs::install_node(&workspace)?;
    let folder = workspace.root.join(FOLDER);
    if !check {
        return run::run(node.npm(&folder)?.args(["run", "build"]));
    }
    run::run(node.npm(&folder)?.args(["run", "verify"]))?;
    // Elsewhere: a check changes nothing.
    let built = workspace.target.join("console-dist");
    let mut build = node.npm(&folder)?;
    build.args(["run", "build", "--", "--emptyOutDir", "--outDir"]);
    run::run(build.arg(&built))?;
    let mut same = node.npm(&folder)?;
    same.args(["run", "--silent", "same", "--", "dist"]);
    run::run(same.arg(&built)).with_context(|| {
        format!("{FOLDER}/dist differs from its sources: run `cargo xtask console` and commit it")
    })
}
