//! The first command of a new user: builds all that the demo needs, then becomes `sengu demo`.

use crate::stage::{Scope, stage};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

pub fn demo(args: &[String]) -> Result<()> {
    let workspace = Workspace::read()?;
    eprintln!(
        "Building sengu and its {} workers in release. The first time this compiles every \
         dependency (some minutes); later runs start at once.",
        workspace.worker_folders()?.len()
    );
    let staged = stage(&workspace, "release", Scope::Product)?;
    // exec: the demo owns the terminal, its signals and the exit code.
    let error = Command::new(&staged.sengu).arg("demo").args(args).exec();
    Err(error).with_context(|| format!("start {} demo", staged.sengu.display()))
}
