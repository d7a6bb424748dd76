//! Where the program of a worker is: in the worker's folder, else beside the running executable, else on PATH.

use sengu_execution::runtime::{Image, RuntimeError};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The absolute path of the image's program.
///
/// # Errors
/// `Image` when there is no such program; it names the places looked at.
pub fn program(image: &Image) -> Result<PathBuf, RuntimeError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(image, beside.as_deref(), &path)
}

fn find(image: &Image, beside: Option<&Path>, path: &OsStr) -> Result<PathBuf, RuntimeError> {
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
        let executable = std::fs::metadata(&in_folder)
            .is_ok_and(|about| about.permissions().mode() & 0o111 != 0);
        if !executable {
            return Err(wrong(format!("{} is not executable", in_folder.display())));
        }
        // The child runs in another directory.
        return std::path::absolute(&in_folder)
            .map_err(|e| wrong(format!("{}: {e}", in_folder.display())));
    }
    let mut looked_at = vec![image.folder.display().to_string()];
    if !name.contains('/') {
        let on_path = std::env::split_paths(path).filter(|dir| dir.is_absolute());
        for directory in beside.map(Path::to_owned).into_iter().chain(on_path) {
            let candidate = directory.join(name);
            let executable = std::fs::metadata(&candidate)
                .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0);
            if executable {
                return Ok(candidate);
            }
        }
        looked_at.extend(beside.map(|dir| dir.display().to_string()));
        looked_at.push("PATH".to_owned());
    }
    Err(wrong(format!(
        "no program {name:?} in {}",
        looked_at.join(", ")
    )))
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
        let found = |name| find(&image(&folder, name), Some(&beside), path.as_os_str());
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
