//! Runs the benches against a release build; what is measured lives in `bench/`.

use crate::run;
use crate::stage::{Scope, stage};
use crate::workspace::Workspace;
use anyhow::Result;

pub fn bench(args: &[String]) -> Result<()> {
    let workspace = Workspace::read()?;
    stage(&workspace, "release", Scope::Product)?;
    let mut cargo = run::cargo(&workspace.root);
    cargo.args(["run", "--release", "--package", "sengu-bench", "--"]);
    run::run(cargo.args(args))
}
