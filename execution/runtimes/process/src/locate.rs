//! Where the program of a worker is: in the worker's folder, else beside the running executable, else on PATH.

use sengu_execution::runtime::{Image, RuntimeError};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The kernel reads no more of a script's first line.
const SHEBANG_BYTES_MAX: u64 = 256;
/// What languages install beside their programs, with those that manage several versions of one.
const INSTALLED: [&str; 11] = [
    "bin",
    "sbin",
    "shims",
    "lib",
    "lib32",
    "lib64",
    "libexec",
    "versions",
    "version",
    "plugins",
    "pyvenv.cfg",
];

/// A program, and what must be readable for it to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Absolute.
    pub program: PathBuf,
    /// The program, where its language is installed, and the programs that it may call by name.
    pub readable: Vec<PathBuf>,
}

/// Finds the image's program.
///
/// # Errors
/// `Image` when there is no such program; it names the places looked at.
pub fn find(image: &Image) -> Result<Located, RuntimeError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = program(image, beside.as_deref(), &path)?;
    let readable = readable(&program, &path);
    Ok(Located { program, readable })
}

fn program(image: &Image, beside: Option<&Path>, path: &OsStr) -> Result<PathBuf, RuntimeError> {
    let wrong = |why: String| RuntimeError::Image {
        kind: image.kind.clone(),
        why,
    };
    let name = image
        .command
        .first()
        .ok_or_else(|| wrong("the command is empty".to_owned()))?;
    let in_folder = image.folder.join(name);
    if in_folder.is_file() {
        if !is_executable(&in_folder) {
            return Err(wrong(format!("{} is not executable", in_folder.display())));
        }
        // The child runs in another directory.
        return std::path::absolute(&in_folder)
            .map_err(|e| wrong(format!("{}: {e}", in_folder.display())));
    }
    let mut looked_at = vec![image.folder.display().to_string()];
    if !name.contains('/') {
        let on_path = directories(path);
        let mut places = beside.map(Path::to_owned).into_iter().chain(on_path);
        if let Some(found) = places.find_map(|dir| executable(dir.join(name))) {
            return Ok(found);
        }
        looked_at.extend(beside.map(|dir| dir.display().to_string()));
        looked_at.push("PATH".to_owned());
    }
    Err(wrong(format!(
        "no program {name:?} in {}",
        looked_at.join(", ")
    )))
}

/// Only absolute ones: the child runs in another directory.
fn directories(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path).filter(|dir| dir.is_absolute() && dir.parent().is_some())
}

fn executable(file: PathBuf) -> Option<PathBuf> {
    is_executable(&file).then_some(file)
}

fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

fn readable(program: &Path, path: &OsStr) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = directories(path).collect();
    for file in std::iter::once(program.to_owned()).chain(interpreter(program, path)) {
        let real = file.canonicalize().ok();
        for file in [Some(file), real].into_iter().flatten() {
            all.extend(installation(&file));
            all.push(file);
        }
    }
    all.sort();
    all.dedup();
    all
}

/// What a script is run by: the program of its first line, or the one that `env` there looks for on PATH.
fn interpreter(script: &Path, path: &OsStr) -> Option<PathBuf> {
    use std::io::Read;
    let mut head = Vec::new();
    let file = std::fs::File::open(script).ok()?;
    file.take(SHEBANG_BYTES_MAX).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let first = Path::new(words.next()?);
    if first.file_name()? != "env" {
        return Some(first.to_owned());
    }
    let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    directories(path).find_map(|dir| executable(dir.join(name)))
}

/// Parts of the installation that a program in `<prefix>/bin` belongs to. Never the prefix itself: it may be a home.
fn installation(program: &Path) -> Vec<PathBuf> {
    let Some(directory) = program.parent() else {
        return Vec::new();
    };
    let is_bin = directory.file_name().is_some_and(|name| {
        ["bin", "sbin", "shims", "libexec"]
            .iter()
            .any(|bin| name == *bin)
    });
    match directory.parent() {
        Some(prefix) if is_bin => INSTALLED.iter().map(|part| prefix.join(part)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(folder: &Path, name: &str) -> Image {
        Image {
            kind: "t".to_owned(),
            version: "1.0.0".to_owned(),
            digest: String::new(),
            folder: folder.to_owned(),
            command: vec![name.to_owned()],
            runtimes: Vec::new(),
            resources: sengu_execution::runtime::Resources::default(),
            slots: 1,
        }
    }

    fn program_at(path: &Path, mode: u32) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn folder_then_beside_then_path() {
        let root = tempfile::tempdir().unwrap();
        let [folder, beside, path] = ["folder", "beside", "path"].map(|n| root.path().join(n));
        for dir in [&folder, &beside, &path] {
            std::fs::create_dir(dir).unwrap();
        }
        let found = |name| program(&image(&folder, name), Some(&beside), path.as_os_str());
        let text = found("w").unwrap_err().to_string();
        assert!(
            text.contains("no program \"w\"") && text.ends_with("PATH"),
            "{text}"
        );
        program_at(&path.join("w"), 0o755);
        assert_eq!(found("w").unwrap(), path.join("w"));
        program_at(&beside.join("w"), 0o755);
        assert_eq!(found("w").unwrap(), beside.join("w"));
        program_at(&folder.join("w"), 0o755);
        assert_eq!(found("w").unwrap(), folder.join("w"));
        assert!(
            found("../beside/w").is_ok(),
            "a path is taken from the folder"
        );
        program_at(&folder.join("w"), 0o644);
        assert!(
            found("w")
                .unwrap_err()
                .to_string()
                .contains("not executable")
        );
    }
}
