//! The rules of the repository that no compiler checks. A rule here must be able to fail, and must
//! say where it was broken; what clippy or cargo-deny can check is not here.

mod arrows;
mod documents;
mod manifests;
mod sources;

use crate::run;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::process::Command;

/// A file that git tracks, with its text.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

pub fn tidy_verb(args: &[String]) -> Result<()> {
    run::no_args("tidy", args)?;
    let broken = tidy(&Workspace::read()?)?;
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{} rules broken\n  {}", broken.len(), broken.join("\n  "))
}

/// Every broken rule, one sentence each.
fn tidy(workspace: &Workspace) -> Result<Vec<String>> {
    let (files, paths) = tracked(&workspace.root)?;
    let mut broken = arrows::check(&workspace.packages);
    broken.extend(manifests::check(&files));
    broken.extend(sources::check(&files));
    broken.extend(documents::check(&files, &paths));
    Ok(broken)
}

/// Text files of the repository, and the paths of all its files.
fn tracked(root: &Path) -> Result<(Vec<File>, Vec<String>)> {
    let list = run::output(
        Command::new("git")
            .current_dir(root)
            .args(["ls-files", "-z"]),
    )
    .context("list the files of the repository")?;
    let paths: Vec<String> = String::from_utf8(list)?
        .split_terminator('\0')
        .map(str::to_owned)
        .collect();
    let mut files = Vec::new();
    for path in &paths {
        // Not there: removed, but not yet committed. Not text: no rule of ours.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File {
                path: path.clone(),
                text,
            });
        }
    }
    Ok((files, paths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let broken = tidy(&Workspace::read().unwrap()).unwrap();
        assert!(broken.is_empty(), "\n  {}", broken.join("\n  "));
    }
}
