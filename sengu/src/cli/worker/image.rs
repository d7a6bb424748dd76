//! What a path given to `sengu worker push` is, and the one tar that it becomes. Checks here whatever can be told
//! without the server, so that no gigabyte travels in vain. It must never write to the path.

use crate::images;
use anyhow::{Context as _, Result, bail};
use sengu_model::image::{self, MANIFEST_FILE, Packer};
use sengu_model::limits;
use sengu_model::manifest::{Manifest, RUNTIME_DOCKER, RUNTIME_PROCESS, RUNTIME_WASM, RuntimeDecl};
use std::fs::File;
use std::io::{BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

/// Where an image of a container lies in a worker image, unless its worker.toml says otherwise.
const ARCHIVE_FILE: &str = "image.tar";
/// What is at the top of an archive as `docker save` and OCI tools write it.
const ARCHIVE_MARKS: [&str; 2] = ["manifest.json", "oci-layout"];

/// A worker that can be packed.
#[derive(Debug)]
pub struct Image {
    pub manifest: Manifest,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// As it lies there, with its worker.toml.
    Folder(PathBuf),
    /// worker.toml and one file beside it.
    File {
        toml: String,
        name: String,
        path: PathBuf,
    },
}

/// What a file is, by its first bytes and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Component,
    Archive,
}

impl FileKind {
    fn runtime(self) -> &'static str {
        match self {
            FileKind::Component => RUNTIME_WASM,
            FileKind::Archive => RUNTIME_DOCKER,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            FileKind::Component => "a component",
            FileKind::Archive => "an archive of a container image",
        }
    }
}

impl Image {
    /// Reads what `path` is. `manifest` is the worker.toml for a single file; left out, the one beside the file is taken.
    ///
    /// # Errors
    /// When it is no worker, or one that could not be run anywhere.
    pub fn read(path: &Path, manifest: Option<&Path>) -> Result<Image> {
        let about = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
        let image = if about.is_dir() {
            if manifest.is_some() {
                bail!(
                    "{} is a folder, which has its own {MANIFEST_FILE}; --manifest goes with a single file",
                    path.display()
                );
            }
            Image {
                manifest: images::manifest(path)?,
                form: Form::Folder(path.to_owned()),
            }
        } else {
            single(path, manifest)?
        };
        image
            .check_files()
            .with_context(|| format!("{}", path.display()))?;
        Ok(image)
    }

    /// `kind@version`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.manifest.name, self.manifest.version)
    }

    /// Writes the tar: gives `to` back, the bytes written and the digest.
    ///
    /// # Errors
    /// When a file cannot be read or may not be in an image, or the image is too great.
    pub fn pack<W: Write>(&self, to: W) -> Result<(W, u64, String)> {
        let packed = match &self.form {
            Form::Folder(folder) => images::pack(folder, to)?,
            Form::File { toml, name, path } => pack_file(toml, name, path, to)?,
        };
        if packed.1 > limits::IMAGE_BYTES_MAX {
            bail!(
                "an image of {} bytes; at most {} are taken",
                packed.1,
                limits::IMAGE_BYTES_MAX
            );
        }
        Ok(packed)
    }

    /// Whatever the runtimes name is there.
    fn check_files(&self) -> Result<()> {
        let has = |name: &str| match &self.form {
            Form::Folder(folder) => folder.join(name).is_file(),
            Form::File { name: only, .. } => name == only || name == MANIFEST_FILE,
        };
        for runtime in self.manifest.runtimes() {
            let named = runtime.component.as_ref().or(runtime.archive.as_ref());
            if let Some(file) = named.filter(|file| !has(file)) {
                bail!("runtime {}: there is no file {file:?}", runtime.name);
            }
            // A program without a slash may be found beside sengu or on the PATH of whoever runs it.
            let runs_command = runtime.name == RUNTIME_PROCESS
                || runtime.name == RUNTIME_DOCKER && runtime.archive.is_none();
            let program = self.manifest.command.first().filter(|_| runs_command);
            let inside = |program: &&String| program.contains('/') && !program.starts_with('/');
            if let Some(program) = program.filter(inside).filter(|program| !has(program)) {
                bail!("runtime {}: there is no program {program:?}", runtime.name);
            }
        }
        Ok(())
    }
}

fn single(path: &Path, manifest: Option<&Path>) -> Result<Image> {
    let kind = kind_of(path).with_context(|| format!("read {}", path.display()))?;
    let beside = path.parent().unwrap_or(Path::new("")).join(MANIFEST_FILE);
    let toml_path = match manifest {
        Some(manifest) => manifest,
        None if beside.is_file() => &beside,
        None => bail!(
            "{} is {} and says not what it drives: say --manifest {MANIFEST_FILE}",
            path.display(),
            kind.noun()
        ),
    };
    let text = std::fs::read_to_string(toml_path)
        .with_context(|| format!("read {}", toml_path.display()))?;
    let file = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let (toml, name) =
        declare(&text, kind, file).with_context(|| toml_path.display().to_string())?;
    let manifest = Manifest::parse(&toml).with_context(|| toml_path.display().to_string())?;
    Ok(Image {
        manifest,
        form: Form::File {
            toml,
            name,
            path: path.to_owned(),
        },
    })
}

/// worker.toml with the runtime declared that the file is for, and the name that the file bears in the image.
fn declare(text: &str, kind: FileKind, file: &str) -> Result<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Runtimes {
        #[serde(default, rename = "runtime")]
        runtimes: Vec<RuntimeDecl>,
    }
    let Runtimes { runtimes } = toml::from_str(text)?;
    let runtime = kind.runtime();
    let found = runtimes.iter().find(|r| r.name == runtime);
    let named = found.map(|r| r.component.as_ref().or(r.archive.as_ref()));
    match named {
        Some(Some(name)) => Ok((text.to_owned(), name.clone())),
        Some(None) => bail!(
            "its [[runtime]] {runtime:?} names no file: write {} = {ARCHIVE_FILE:?}",
            "archive"
        ),
        None if !runtimes.is_empty() => {
            let declared: Vec<&str> = runtimes.iter().map(|r| r.name.as_str()).collect();
            bail!(
                "it declares the runtimes {}, and {} is for {runtime}",
                declared.join(", "),
                kind.noun()
            )
        }
        None => {
            let (key, name) = match kind {
                FileKind::Component => ("component", file),
                FileKind::Archive => ("archive", ARCHIVE_FILE),
            };
            if !image::valid_file_name(name) || name == MANIFEST_FILE {
                bail!("a file of an image cannot be named {name:?}");
            }
            // A table of its own at the end: whatever stands before it keeps its meaning.
            let name_toml = toml::Value::String(name.to_owned());
            let text = format!(
                "{}\n\n[[runtime]]\nname = {runtime:?}\n{key} = {name_toml}\n",
                text.trim_end()
            );
            Ok((text, name.to_owned()))
        }
    }
}

fn kind_of(path: &Path) -> Result<FileKind> {
    let mut file = File::open(path)?;
    let mut start = [0_u8; 8];
    let mut known = 0;
    while known < start.len() {
        match file.read(&mut start[known..])? {
            0 => break,
            count => known += count,
        }
    }
    // The layer of a module is in its third pair of bytes (WebAssembly component model, "Binary format").
    match start[..known] {
        [0, b'a', b's', b'm', _, _, 1, 0] => return Ok(FileKind::Component),
        [0, b'a', b's', b'm', ..] => {
            bail!(
                "a core module of WebAssembly; a component is wanted: see the guide on writing a worker"
            )
        }
        [0x1f, 0x8b, ..] => bail!("it is compressed: `gunzip` it first"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => bail!("it is compressed: `unzstd` it first"),
        _ => {}
    }
    std::io::Seek::rewind(&mut file)?;
    match image::tar_has(BufReader::new(file), &ARCHIVE_MARKS) {
        Ok(true) => Ok(FileKind::Archive),
        Ok(false) => bail!("a tar without {} at its top", ARCHIVE_MARKS.join(" or ")),
        Err(_) => bail!(
            "neither a folder with {MANIFEST_FILE}, nor a WebAssembly component, nor a tar of a container image"
        ),
    }
}

fn pack_file<W: Write>(toml: &str, name: &str, path: &Path, to: W) -> Result<(W, u64, String)> {
    let mut packer = Packer::new(to);
    let put_file = |packer: &mut Packer<W>| {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let bytes = file.metadata()?.len();
        let content = BufReader::with_capacity(256 << 10, file);
        packer
            .file(name, false, bytes, content)
            .with_context(|| format!("pack {}", path.display()))
    };
    // In byte order of the names.
    let before = name < MANIFEST_FILE;
    if before {
        put_file(&mut packer)?;
    }
    packer.file(MANIFEST_FILE, false, toml.len() as u64, toml.as_bytes())?;
    if !before {
        put_file(&mut packer)?;
    }
    Ok(packer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const TOML: &str = "name = \"pdu\"\nversion = \"1.5.0\"\nprotocol = 1\nslots = 4\n";
    const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

    /// A folder with these files.
    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn archive(mark: &str) -> Vec<u8> {
        let mut packer = Packer::new(Vec::new());
        packer.file("blobs/x", false, 1, &b"x"[..]).unwrap();
        packer.file(mark, false, 2, &b"{}"[..]).unwrap();
        packer.finish().unwrap().0
    }

    /// Names in the image and the runtimes declared, or the error.
    fn read(folder: &tempfile::TempDir, name: &str, manifest: Option<&str>) -> String {
        let manifest = manifest.map(|m| folder.path().join(m));
        let read = Image::read(&folder.path().join(name), manifest.as_deref());
        let packed = read.and_then(|image| {
            let (tar, _, digest) = image.pack(Vec::new())?;
            let again = image.pack(std::io::sink())?.2;
            assert_eq!(digest, again);
            Ok((tar, image))
        });
        match packed {
            Err(e) => format!("{e:#}").replace(&folder.path().display().to_string(), "DIR"),
            Ok((tar, image)) => {
                let mut names = Vec::new();
                image::unpack(&tar[..], |name, _, _, _| {
                    names.push(name.to_owned());
                    Ok(())
                })
                .unwrap();
                let text = image::manifest_text(&tar[..]).unwrap();
                assert_eq!(Manifest::parse(&text).unwrap(), image.manifest);
                let runtimes = image.manifest.runtimes();
                let runtimes: Vec<String> = runtimes.into_iter().map(|r| r.name).collect();
                format!("{} {names:?} {runtimes:?}", image.name())
            }
        }
    }

    #[test]
    fn a_path_is_known_by_what_it_holds() {
        let command = format!("{TOML}command = [\"bin/w\"]\n");
        let wasm = format!("{TOML}[[runtime]]\nname = \"wasm\"\ncomponent = \"lib/pdu.wasm\"\n");
        let both = format!("{wasm}[[runtime]]\nname = \"docker\"\narchive = \"i.tar\"\n");
        let process = format!("{command}[[runtime]]\nname = \"process\"\n");
        let folder = folder(&[
            ("good/worker.toml", command.as_bytes()),
            ("good/bin/w", b"#!/bin/sh\n"),
            ("empty/worker.toml", command.as_bytes()),
            ("none/readme", b""),
            ("bare.toml", TOML.as_bytes()),
            ("wasm.toml", wasm.as_bytes()),
            ("both.toml", both.as_bytes()),
            ("process.toml", process.as_bytes()),
            ("z.wasm", &COMPONENT),
            ("core.wasm", b"\0asm\x01\0\0\0"),
            ("docker", &archive("manifest.json")),
            ("oci", &archive("oci-layout")),
            ("other.tar", &archive("readme")),
            ("image.tgz", b"\x1f\x8b\x08"),
            ("text", b"hello"),
        ]);
        let mut found = String::new();
        for (path, manifest) in [
            ("good", None),
            ("good", Some("bare.toml")),
            ("empty", None),
            ("none", None),
            ("z.wasm", None),
            ("z.wasm", Some("bare.toml")),
            ("z.wasm", Some("wasm.toml")),
            ("z.wasm", Some("both.toml")),
            ("z.wasm", Some("process.toml")),
            ("core.wasm", Some("bare.toml")),
            ("docker", Some("bare.toml")),
            ("oci", Some("bare.toml")),
            ("oci", Some("wasm.toml")),
            ("other.tar", Some("bare.toml")),
            ("image.tgz", Some("bare.toml")),
            ("text", Some("bare.toml")),
            ("absent", None),
        ] {
            let manifest_ = manifest.unwrap_or("-");
            found += &format!("{path} {manifest_}: {}\n", read(&folder, path, manifest));
        }
        expect![[r#"
            good -: pdu@1.5.0 ["bin/w", "worker.toml"] ["process"]
            good bare.toml: DIR/good is a folder, which has its own worker.toml; --manifest goes with a single file
            empty -: DIR/empty: runtime process: there is no program "bin/w"
            none -: read DIR/none/worker.toml: No such file or directory (os error 2)
            z.wasm -: DIR/z.wasm is a component and says not what it drives: say --manifest worker.toml
            z.wasm bare.toml: pdu@1.5.0 ["worker.toml", "z.wasm"] ["wasm"]
            z.wasm wasm.toml: pdu@1.5.0 ["lib/pdu.wasm", "worker.toml"] ["wasm"]
            z.wasm both.toml: DIR/z.wasm: runtime docker: there is no file "i.tar"
            z.wasm process.toml: DIR/process.toml: it declares the runtimes process, and a component is for wasm
            core.wasm bare.toml: read DIR/core.wasm: a core module of WebAssembly; a component is wanted: see the guide on writing a worker
            docker bare.toml: pdu@1.5.0 ["image.tar", "worker.toml"] ["docker"]
            oci bare.toml: pdu@1.5.0 ["image.tar", "worker.toml"] ["docker"]
            oci wasm.toml: DIR/wasm.toml: it declares the runtimes wasm, and an archive of a container image is for docker
            other.tar bare.toml: read DIR/other.tar: a tar without manifest.json or oci-layout at its top
            image.tgz bare.toml: read DIR/image.tgz: it is compressed: `gunzip` it first
            text bare.toml: read DIR/text: neither a folder with worker.toml, nor a WebAssembly component, nor a tar of a container image
            absent -: read DIR/absent: No such file or directory (os error 2)
        "#]].assert_eq(&found);
    }
}
