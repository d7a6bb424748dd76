//! Makes a container image of a worker's folder: one layer with its files at `/worker`, nothing below. The same files
//! give the same bytes, whoever packs them and when, because the image is known by its digest.

use crate::bundle::{Bundle, Source, header, hex};
use sengu_execution::runtime::Image;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the files of a worker lie in its container.
pub const FOLDER: &str = "/worker";
/// Of one worker. A tools image has some thousands.
const FILES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 32;
/// All files of one worker, in bytes.
const BYTES_MAX: u64 = 4 << 30;

/// The layer of a packed folder.
#[derive(Debug)]
pub struct Layer {
    /// Hex, without `sha256:`.
    pub digest: String,
    pub bytes: u64,
    files: Vec<PackedFile>,
}

#[derive(Debug, Clone)]
struct PackedFile {
    /// Within the image, without a leading slash.
    name: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Folder {
        mode: u32,
    },
    File {
        from: PathBuf,
        bytes: u64,
        executable: bool,
    },
    Link(PathBuf),
}

/// # Errors
/// When no container can be started from this folder: why.
pub fn pack(image: &Image) -> Result<Bundle, String> {
    let program = image.command.first().map_or("", String::as_str);
    if program.is_empty() {
        return Err("its worker.toml names no command".to_owned());
    }
    let path = within(&image.folder, program).ok();
    let file = path.and_then(|path| Some((std::fs::metadata(&path).ok()?, path)));
    let Some((file, path)) = file.filter(|(file, _)| file.is_file()) else {
        return Err(format!(
            "its folder {} has no program {program}; a container sees nothing else",
            image.folder.display()
        ));
    };
    if file.permissions().mode() & 0o111 == 0 {
        return Err(format!("its program {program} is not executable"));
    }
    let architecture = crate::program::architecture(&path)
        .map_err(|why| format!("its program {program}: {why}"))?;
    // Other ways to run this worker have no place in this one.
    let ways = image.runtimes.iter();
    let skipped: Vec<PathBuf> = ways
        .flat_map(|way| way.archive.iter().chain(&way.component))
        .map(|file| image.folder.join(file))
        .collect();
    let wrong = |e: io::Error| format!("pack {}: {e}", image.folder.display());
    let folder = |name: &str, mode| PackedFile {
        name: name.trim_start_matches('/').to_owned(),
        what: What::Folder { mode },
    };
    let mut files = vec![
        folder(crate::container::WORK, 0o1777),
        folder(FOLDER, 0o755),
    ];
    collect(
        &image.folder,
        FOLDER.trim_start_matches('/'),
        0,
        &skipped,
        &mut files,
    )
    .map_err(wrong)?;
    let mut sum = Summed::default();
    write_layer(&files, &mut sum).map_err(wrong)?;
    let layer = Layer {
        digest: hex(&sum.hash.finalize()),
        bytes: sum.bytes,
        files,
    };
    let mut entrypoint = vec![format!("{FOLDER}/{program}")];
    entrypoint.extend(image.command.iter().skip(1).cloned());
    let config = serde_json::json!({
        "architecture": architecture,
        "config": {
            "Entrypoint": entrypoint,
            "Labels": { "sengu.kind": image.kind, "sengu.version": image.version },
            "User": crate::container::USER,
            "WorkingDir": crate::container::WORK,
        },
        "created": "1970-01-01T00:00:00Z",
        "os": "linux",
        "rootfs": { "diff_ids": [format!("sha256:{}", layer.digest)], "type": "layers" },
    });
    Bundle::new(config.to_string().into_bytes(), Source::Folder(layer))
}

/// The file of that name in the folder, wherever links lead, unless they lead out of it.
pub fn within(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let path = folder.join(name).canonicalize()?;
    if Path::new(name).is_absolute() || !path.starts_with(folder.canonicalize()?) {
        return Err(io::Error::other("it lies outside of the folder"));
    }
    Ok(path)
}

fn collect(
    folder: &Path,
    name: &str,
    depth: usize,
    skipped: &[PathBuf],
    files: &mut Vec<PackedFile>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{name} is too deep")));
    }
    let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if skipped.contains(&path) {
            continue;
        }
        if files.len() >= FILES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files")));
        }
        let own = entry.file_name();
        let own = own
            .to_str()
            .ok_or_else(|| io::Error::other("a file name is no text"))?;
        let name = format!("{name}/{own}");
        let told = entry.metadata()?;
        // Never followed: it may point to files of this machine that are nobody else's business.
        let link = std::fs::read_link(&path).ok();
        let what = match link {
            Some(to) => What::Link(to),
            None if told.is_dir() => What::Folder { mode: 0o755 },
            None if told.is_file() => What::File {
                from: path.clone(),
                bytes: told.len(),
                executable: told.permissions().mode() & 0o111 != 0,
            },
            None => continue,
        };
        let is_folder = matches!(what, What::Folder { .. });
        files.push(PackedFile {
            name: name.clone(),
            what,
        });
        if is_folder {
            collect(&path, &name, depth + 1, skipped, files)?;
        }
    }
    Ok(())
}

fn write_layer(files: &[PackedFile], out: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    for file in files {
        match &file.what {
            What::Folder { mode } => {
                let mut header = header(0, *mode);
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, format!("{}/", file.name), io::empty())?;
            }
            What::Link(to) => {
                let mut header = header(0, 0o777);
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, &file.name, to)?;
            }
            What::File {
                from,
                bytes,
                executable,
            } => {
                let mut header = header(*bytes, if *executable { 0o755 } else { 0o644 });
                let from = std::fs::File::open(from)?;
                let exactly = Exactly { from, left: *bytes };
                tar.append_data(&mut header, &file.name, exactly)?;
            }
        }
    }
    tar.into_inner()?.flush()
}

/// A file that must still be as long as it was: its header is written already.
struct Exactly {
    from: std::fs::File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::other(
                "a file became shorter while it was packed",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

impl Layer {
    /// The bytes of the layer once more, written by a thread of their own: an archive within an archive needs its
    /// length first, and it must not all be in memory.
    pub fn reader(&self) -> io::Result<impl Read + use<>> {
        let (reader, writer) = io::pipe()?;
        let files = self.files.clone();
        // When the reader leaves early, the writer's pipe breaks and the thread ends.
        std::thread::Builder::new()
            .name("pack".to_owned())
            .spawn(move || {
                if let Err(e) = write_layer(&files, writer) {
                    tracing::debug!(error = %e, "layer not written to its end");
                }
            })?;
        Ok(Whole {
            from: reader,
            left: self.bytes,
        })
    }
}

/// A layer that must come to its end.
struct Whole {
    from: io::PipeReader,
    left: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::other("a file changed while it was packed"));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Sums what is written to it.
#[derive(Default)]
struct Summed {
    hash: Sha256,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > BYTES_MAX {
            return Err(io::Error::other("more than 4 GiB of files"));
        }
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_execution::runtime::{Resources, RuntimeDecl};

    /// A program that looks linked statically.
    fn program() -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes
    }

    fn image(folder: &Path, command: &[&str]) -> Image {
        Image {
            kind: "x".to_owned(),
            version: "1.0.0".to_owned(),
            digest: String::new(),
            folder: folder.to_owned(),
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            runtimes: vec![RuntimeDecl {
                name: "wasm".to_owned(),
                archive: None,
                component: Some("x.wasm".to_owned()),
            }],
            resources: Resources::default(),
            slots: 1,
        }
    }

    fn fill(folder: &Path) {
        std::fs::create_dir_all(folder.join("data/deep")).unwrap();
        std::fs::write(folder.join("program"), program()).unwrap();
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.join("program"), mode).unwrap();
        std::fs::write(folder.join("data/deep/a"), "a").unwrap();
        std::fs::write(folder.join("data/b"), "b").unwrap();
        std::fs::write(folder.join("x.wasm"), "component").unwrap();
        std::os::unix::fs::symlink("data/b", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("absolute")).unwrap();
    }

    #[test]
    fn the_same_files_give_the_same_image_wherever_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let pack_in = |name: &str| {
            let folder = dir.path().join(name);
            fill(&folder);
            pack(&image(&folder, &["program", "--flag"])).unwrap()
        };
        let (one, two) = (pack_in("one"), pack_in("two"));
        assert_eq!(one.id, two.id);
        let mut bytes = Vec::new();
        one.write("sengu/x:1", &mut bytes).unwrap();
        let Source::Folder(layer) = &one.source else {
            panic!("packed of a folder");
        };
        let mut names = Vec::new();
        for entry in tar::Archive::new(layer.reader().unwrap())
            .entries()
            .unwrap()
        {
            let entry = entry.unwrap();
            let mode = entry.header().mode().unwrap();
            names.push(format!("{} {mode:o}", entry.path().unwrap().display()));
        }
        let expected = [
            "tmp/ 1777",
            "worker/ 755",
            "worker/absolute 777",
            "worker/data/ 755",
            "worker/data/b 644",
            "worker/data/deep/ 755",
            "worker/data/deep/a 644",
            "worker/link 777",
            "worker/program 755",
        ];
        assert_eq!(names, expected);
        let path = dir.path().join("archive.tar");
        std::fs::write(&path, bytes).unwrap();
        let read = crate::archive::read(&path).unwrap();
        assert_eq!(read.id, one.id, "what is written is read again");
        let entrypoint = read.config.config.entrypoint.unwrap();
        assert_eq!(entrypoint, ["/worker/program", "--flag"]);
    }

    #[test]
    fn a_folder_without_a_program_to_start_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let reason = |command: &[&str]| pack(&image(dir.path(), command)).unwrap_err();
        assert!(reason(&[]).contains("names no command"));
        assert!(reason(&["absent"]).contains("has no program absent"));
        assert!(reason(&["data"]).contains("has no program data"));
        assert!(reason(&["/bin/sh"]).contains("has no program /bin/sh"));
        let above = dir.path().join("above");
        fill(&above);
        let out = pack(&image(&above.join("data"), &["../program"])).unwrap_err();
        assert!(out.contains("has no program ../program"), "{out}");
        assert!(reason(&["absolute"]).contains("has no program absolute"));
        assert!(reason(&["data/b"]).contains("not executable"));
    }

    #[test]
    fn a_file_that_changes_while_it_is_packed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let bundle = pack(&image(dir.path(), &["program"])).unwrap();
        std::fs::write(dir.path().join("data/b"), "").unwrap();
        assert!(bundle.write("sengu/x:1", io::sink()).is_err());
    }
}
