//! Packs sengu, the stock workers and the completions into one file that runs on a machine without
//! Rust, and proves it by running it from the file.

use crate::run;
use crate::stage::{Scope, stage};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Enough targets to see every worker kind work, few enough for a check that nobody skips.
const DEMO_TARGETS: &str = "30";

const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/sengu"),
    ("zsh", "share/zsh/site-functions/_sengu"),
    ("fish", "share/fish/vendor_completions.d/sengu.fish"),
];

pub fn dist(args: &[String]) -> Result<()> {
    run::no_args("dist", args)?;
    let workspace = Workspace::read()?;
    let staged = stage(&workspace, "release", Scope::Product)?;
    let name = format!("sengu-{}", workspace.version()?);
    let dist = workspace.root.join("dist");
    let tree = dist.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    fs::create_dir_all(tree.join("bin"))?;

    fs::copy(&staged.sengu, tree.join("bin/sengu")).context("copy sengu")?;
    let workers = staged.sengu.with_file_name("workers");
    run::run(
        Command::new("cp")
            .arg("-a")
            .arg(workers)
            .arg(tree.join("bin")),
    )?;
    strip(&tree.join("bin"))?;
    for file in ["LICENSE", "README.md"] {
        fs::copy(workspace.root.join(file), tree.join(file))
            .with_context(|| format!("copy {file}"))?;
    }
    for (shell, path) in COMPLETIONS {
        let text = run::output(Command::new(&staged.sengu).args(["completions", shell]))?;
        let path = tree.join(path);
        fs::create_dir_all(path.parent().context("a completion has a folder")?)?;
        fs::write(path, text)?;
    }

    let archive = format!("{name}-{}-linux.tar.gz", std::env::consts::ARCH);
    let mut tar = Command::new("tar");
    tar.current_dir(&dist)
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    run::run(tar.args(["-czf", &archive, &name]))?;
    let sum = run::output(Command::new("sha256sum").current_dir(&dist).arg(&archive))?;
    fs::write(dist.join(format!("{archive}.sha256")), sum)?;
    fs::remove_dir_all(&tree)?;

    try_out(&dist, &archive, &name)?;
    let bytes = fs::metadata(dist.join(&archive))?.len();
    println!(
        "dist/{archive}: {} MB, unpacked and tried out",
        bytes.div_ceil(1 << 20)
    );
    Ok(())
}

/// Takes debug information out: it is four fifths of the size, and nobody debugs from the archive.
fn strip(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            strip(&path)?;
        } else if fs::read(&path)?.starts_with(b"\x7fELF") {
            run::run(Command::new("strip").arg("--strip-debug").arg(&path))?;
        }
    }
    Ok(())
}

/// Unpacks into an empty folder and runs the demo with nothing of this machine's environment.
fn try_out(dist: &Path, archive: &str, name: &str) -> Result<()> {
    let place = std::env::temp_dir().join(format!("sengu-dist-{}", std::process::id()));
    fs::create_dir_all(place.join("home"))?;
    let tried = (|| {
        let mut tar = Command::new("tar");
        run::run(
            tar.args(["-xzf", archive, "-C"])
                .arg(&place)
                .current_dir(dist),
        )?;
        let sengu = || {
            let mut sengu = Command::new(place.join(name).join("bin/sengu"));
            sengu.env_clear().env("HOME", place.join("home"));
            sengu.env("PATH", "/usr/bin:/bin").current_dir(&place);
            sengu
        };
        run::run(sengu().arg("version"))?;
        let report = run::output(sengu().args(["demo", "--targets", DEMO_TARGETS, "--json"]))?;
        let report = String::from_utf8_lossy(&report);
        // The last line is the report; lines before it are progress, one object each.
        let last = report.lines().last().unwrap_or_default();
        if serde_json::from_str::<serde_json::Value>(last).is_err()
            && serde_json::from_str::<serde_json::Value>(&report).is_err()
        {
            bail!("`sengu demo --json` printed no JSON: {report}");
        }
        Ok(())
    })();
    fs::remove_dir_all(&place)?;
    tried.with_context(|| format!("try out {archive}"))
}
