//! Runs every test of the repository on a machine that has only Rust. It must never pass because
//! something was missing.

use crate::stage::{Scope, stage};
use crate::workspace::Workspace;
use crate::{needs, run};
use anyhow::{Context as _, Result};
use std::time::Instant;

pub fn test(args: &[String]) -> Result<()> {
    let begun = Instant::now();
    let workspace = Workspace::read()?;
    needs::install(&workspace)?;
    // End-to-end tests run the staged sengu with its workers.
    stage(&workspace, "dev", Scope::Tests)?;
    let mut nextest = run::cargo(&workspace.root);
    nextest.args(["nextest", "run", "--workspace"]).args(args);
    run::run(&mut nextest).context("tests")?;
    if args.is_empty() {
        let mut docs = run::cargo(&workspace.root);
        run::run(docs.args(["test", "--doc", "--workspace", "--quiet"])).context("doc tests")?;
    }
    let which = if args.is_empty() {
        "all tests"
    } else {
        "the chosen tests"
    };
    println!(
        "cargo xtask test: {which} passed in {} s",
        begun.elapsed().as_secs()
    );
    Ok(())
}
