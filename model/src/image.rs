//! The form of a worker image as a blob: one tar, always the same bytes for the same files.
//!
//! This module exists because the command line packs images, logic looks into them and execution environments unpack
//! them, and all three must agree on the digest. It must never touch a file system: readers and writers are passed in.
//!
//! Canonical form: regular files only, by name in byte order, `/` between parts, mode 0755 if the owner may execute it
//! and 0644 if not, no owner, no time, ustar headers, and nothing after the two blocks of zeros that end a tar.

use crate::limits::{IMAGE_BYTES_MAX, IMAGE_FILES_MAX};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read, Write};

/// The file that makes a folder an image.
pub const MANIFEST_FILE: &str = "worker.toml";
/// worker.toml, in bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A tar that is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("read the image")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Form(String),
}

fn form<T>(what: impl Into<String>) -> Result<T, ImageError> {
    Err(ImageError::Form(what.into()))
}

/// Whether a file may be named like this in an image.
pub fn valid_file_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let plain = |c: char| !c.is_control() && c != '\\';
    // The two fields that a ustar header has for a name.
    (1..=155).contains(&name.len()) && name.split('/').all(part) && name.chars().all(plain)
}

/// Writes an image file by file, and knows its digest at the end.
pub struct Packer<W: Write> {
    tar: tar::Builder<Hashing<W>>,
    last: String,
    files: usize,
}

impl<W: Write> Packer<W> {
    pub fn new(to: W) -> Self {
        let mut tar = tar::Builder::new(Hashing::new(to));
        tar.mode(tar::HeaderMode::Deterministic);
        Packer {
            tar,
            last: String::new(),
            files: 0,
        }
    }

    /// Adds the next file; names must come in byte order.
    ///
    /// # Errors
    /// When the name is not allowed or out of order, there are too many files, or reading or writing fails.
    pub fn file(
        &mut self,
        name: &str,
        executable: bool,
        bytes: u64,
        content: impl Read,
    ) -> Result<(), ImageError> {
        if !valid_file_name(name) {
            return form(format!("a file of an image cannot be named {name:?}"));
        }
        if *name <= *self.last {
            return form(format!("{name:?} is not after {:?}", self.last));
        }
        if self.files >= IMAGE_FILES_MAX {
            return form(format!("more than {IMAGE_FILES_MAX} files"));
        }
        if self.tar.get_ref().bytes.saturating_add(bytes) > IMAGE_BYTES_MAX {
            return form(format!("more than {IMAGE_BYTES_MAX} bytes"));
        }
        self.files += 1;
        name.clone_into(&mut self.last);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        header.set_entry_type(tar::EntryType::Regular);
        header.set_path(name)?;
        header.set_cksum();
        let mut content = Exactly {
            from: content,
            left: bytes,
        };
        self.tar.append(&header, &mut content)?;
        if content.left > 0 {
            return form(format!("{name:?} became shorter while it was read"));
        }
        Ok(())
    }

    /// Ends the tar: its bytes and digest.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> Result<(W, u64, String), ImageError> {
        let hashing = self.tar.into_inner()?;
        Ok(hashing.finish())
    }
}

/// A file that grows while it is read is cut off where its header says that it ends.
struct Exactly<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let count = self.from.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads an image and gives each file to `take` as (name, executable, bytes, content). It stops at the first thing that
/// is not in the canonical form, so that one digest never stands for two readings.
///
/// # Errors
/// What is wrong with it, or what `take` gave.
pub fn unpack(
    from: impl Read,
    mut take: impl FnMut(&str, bool, u64, &mut dyn Read) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut archive = tar::Archive::new(from);
    let (mut last, mut files, mut total) = (String::new(), 0_usize, 0_u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let header = entry.header();
        if header.entry_type() != tar::EntryType::Regular {
            return form(
                "an image holds regular files only (no links, devices or folders of their own)",
            );
        }
        let (mode, bytes) = (header.mode()?, header.size()?);
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
            return form("a file name is not UTF-8");
        };
        if !valid_file_name(&name) {
            return form(format!("a file of an image cannot be named {name:?}"));
        }
        if *name <= *last {
            return form(format!(
                "{name:?} is not after {last:?}: pack it with `sengu worker push`"
            ));
        }
        if !matches!(mode, 0o755 | 0o644) {
            return form(format!("{name:?} has mode {mode:o}; 755 or 644"));
        }
        files += 1;
        total = total.saturating_add(bytes);
        if files > IMAGE_FILES_MAX || total > IMAGE_BYTES_MAX {
            return form(format!(
                "more than {IMAGE_FILES_MAX} files or {IMAGE_BYTES_MAX} bytes"
            ));
        }
        take(&name, mode == 0o755, bytes, &mut entry)?;
        last = name;
    }
    Ok(())
}

/// The text of worker.toml in an image, whose every file is looked at.
///
/// # Errors
/// When it is no image or has none.
pub fn manifest_text(from: impl Read) -> Result<String, ImageError> {
    let mut text = None;
    unpack(from, |name, _, bytes, content| {
        if name == MANIFEST_FILE {
            if bytes > MANIFEST_BYTES_MAX {
                return form(format!(
                    "worker.toml of {bytes} bytes; at most {MANIFEST_BYTES_MAX}"
                ));
            }
            let mut found = String::new();
            content.read_to_string(&mut found)?;
            text = Some(found);
        }
        Ok(())
    })?;
    match text {
        Some(text) => Ok(text),
        None => form("there is no worker.toml at its top"),
    }
}

/// Whether a tar of any form has one of these files at its top. Reads heads only, and no more than those of as many
/// files as an image may have.
///
/// # Errors
/// When it is no tar, or cannot be read.
pub fn tar_has(from: impl Read + io::Seek, wanted: &[&str]) -> io::Result<bool> {
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries_with_seek()?.take(IMAGE_FILES_MAX) {
        let entry = entry?;
        let name = entry.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if wanted.iter().any(|wanted| wanted.as_bytes() == name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Passes bytes on, counts them and makes their SHA-256.
pub struct Hashing<W> {
    to: W,
    hash: Sha256,
    pub bytes: u64,
}

impl<W> Hashing<W> {
    pub fn new(to: W) -> Self {
        Hashing {
            to,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// What was written to, how many bytes, and `sha256:...`.
    pub fn finish(self) -> (W, u64, String) {
        let mut text = "sha256:".to_owned();
        for byte in self.hash.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        (self.to, self.bytes, text)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.to.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whether a text has the form of a digest: `sha256:` and 64 lower case hex digits.
pub fn valid_digest(digest: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    digest
        .strip_prefix("sha256:")
        .is_some_and(|d| d.len() == 64 && d.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(files: &[(&str, bool, &str)]) -> Result<(Vec<u8>, u64, String), ImageError> {
        let mut packer = Packer::new(Vec::new());
        for (name, executable, text) in files {
            packer.file(name, *executable, text.len() as u64, text.as_bytes())?;
        }
        packer.finish()
    }

    const FILES: [(&str, bool, &str); 3] = [
        ("bin/w", true, "#!/bin/sh\n"),
        ("data", false, ""),
        ("worker.toml", false, "name = \"w\""),
    ];

    #[test]
    fn the_same_files_are_the_same_bytes_and_come_out_as_they_went_in() {
        let (tar, bytes, digest) = pack(&FILES).unwrap();
        assert_eq!(tar.len() as u64, bytes);
        assert!(valid_digest(&digest), "{digest}");
        assert_eq!(pack(&FILES).unwrap().2, digest);
        let mut seen = Vec::new();
        unpack(&tar[..], |name, executable, _, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            seen.push((name.to_owned(), executable, text));
            Ok(())
        })
        .unwrap();
        let given = FILES.map(|(n, e, t)| (n.to_owned(), e, t.to_owned()));
        assert_eq!(seen, given);
        assert_eq!(manifest_text(&tar[..]).unwrap(), "name = \"w\"");
    }

    #[test]
    fn a_tar_is_known_by_what_is_at_its_top() {
        let (tar, ..) = pack(&FILES).unwrap();
        let has = |name: &str| tar_has(io::Cursor::new(&tar), &["x", name]).unwrap();
        assert!(has("worker.toml"));
        assert!(!has("w") && !has("bin"));
        assert!(tar_has(io::Cursor::new([1_u8; 2_000]), &["x"]).is_err());
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a\u{7}",
            "a\\b",
        ] {
            assert!(pack(&[(name, false, "")]).is_err(), "{name:?}");
        }
        assert!(pack(&[("b", false, ""), ("a", false, "")]).is_err());
        assert!(pack(&[("a", false, ""), ("a", false, "")]).is_err());
        let raw = |kind, mode, path: &str| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(0);
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
            tar.into_inner().unwrap()
        };
        let nothing = |_: &str, _: bool, _: u64, _: &mut dyn Read| Ok(());
        assert!(unpack(&raw(tar::EntryType::Regular, 0o644, "a")[..], nothing).is_ok());
        for bad in [
            raw(tar::EntryType::Symlink, 0o644, "a"),
            raw(tar::EntryType::Regular, 0o4755, "a"),
            raw(tar::EntryType::Regular, 0o644, "../a"),
            raw(tar::EntryType::Regular, 0o644, "/a"),
            b"no tar at all, and longer than nothing".to_vec(),
        ] {
            assert!(unpack(&bad[..], nothing).is_err());
        }
        assert!(manifest_text(&raw(tar::EntryType::Regular, 0o644, "a")[..]).is_err());
    }
}
