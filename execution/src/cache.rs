//! The folder of images that came over the interconnect. Blocking: called off the loop only.
//!
//! `<hex>/` holds the files of an image, read-only, and `<hex>.ok` says that they are all there. An image is made under
//! another name and then renamed, and the mark is written last: what lacks it was half-written, and is never used.

use crate::fetch::FetchError;
use sengu_model::Time;
use sengu_model::image::{self, Hashing, ImageError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const MARK: &str = "ok";
/// Folders of an image below one another; a file's name of 155 bytes allows no more.
const DEPTH_MAX: usize = 80;

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub digest: String,
    pub files: u64,
    pub bytes: u64,
    /// When it was needed last.
    pub used: Time,
}

/// What `<hex>.ok` holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    files: u64,
    bytes: u64,
}

pub fn folder(cache: &Path, digest: &str) -> PathBuf {
    cache.join(hex(digest))
}

fn mark(cache: &Path, digest: &str) -> PathBuf {
    cache.join(format!("{}.{MARK}", hex(digest)))
}

/// Where the tar of an image is written while it comes.
pub fn coming(cache: &Path, digest: &str) -> PathBuf {
    cache.join(format!("{}.coming", hex(digest)))
}

fn unpacking(cache: &Path, digest: &str) -> PathBuf {
    cache.join(format!("{}.unpacking", hex(digest)))
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// All images that are whole. What else is in the folder is removed.
///
/// # Errors
/// When the folder cannot be made or read.
pub fn scan(cache: &Path) -> io::Result<Vec<Stored>> {
    fs::create_dir_all(cache)?;
    let mut stored = Vec::new();
    let mut others = Vec::new();
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let digest = name
            .and_then(|name| name.strip_suffix(MARK)?.strip_suffix('.'))
            .map(|hex| format!("sha256:{hex}"))
            .filter(|digest| image::valid_digest(digest));
        match digest.and_then(|digest| whole(cache, &digest)) {
            Some(image) => stored.push(image),
            None => others.push(path),
        }
    }
    let kept: Vec<PathBuf> = stored.iter().map(|i| folder(cache, &i.digest)).collect();
    for path in others.into_iter().filter(|path| !kept.contains(path)) {
        tracing::warn!(path = %path.display(), "a left-over in the cache of images is removed");
        if let Err(e) = remove_path(&path) {
            tracing::warn!(path = %path.display(), error = %e, "remove a left-over");
        }
    }
    Ok(stored)
}

/// The image, if its files are what its mark says.
fn whole(cache: &Path, digest: &str) -> Option<Stored> {
    let path = mark(cache, digest);
    let said: Mark = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    let mut found = Mark::default();
    measure(&folder(cache, digest), 0, &mut found).ok()?;
    let modified = fs::metadata(&path).and_then(|m| m.modified()).ok()?;
    let unix = modified.duration_since(UNIX_EPOCH).ok()?;
    (said == found).then(|| Stored {
        digest: digest.to_owned(),
        files: found.files,
        bytes: found.bytes,
        used: Time(i64::try_from(unix.as_millis()).unwrap_or(0)),
    })
}

fn measure(folder: &Path, depth: usize, found: &mut Mark) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("too deep"));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            measure(&entry.path(), depth + 1, found)?;
        } else {
            found.files += 1;
            found.bytes += metadata.len();
        }
    }
    Ok(())
}

/// Opens the file for the tar, empty.
///
/// # Errors
/// When it cannot be made.
pub fn open_coming(cache: &Path, digest: &str) -> Result<File, FetchError> {
    fs::create_dir_all(cache).map_err(FetchError::disk(cache))?;
    let path = coming(cache, digest);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(FetchError::disk(&path))
}

/// Makes an image of a tar that has come, once its bytes are known to be the right ones.
///
/// # Errors
/// When they are not, it is no image, or the disk does not take it. Nothing is left then.
pub fn take_in(cache: &Path, digest: &str) -> Result<Stored, FetchError> {
    let tar = coming(cache, digest);
    let taken = check(&tar, digest).and_then(|()| unpack(cache, digest, &tar));
    drop_coming(cache, digest);
    if taken.is_err() {
        let _ = remove_path(&unpacking(cache, digest));
    }
    taken
}

pub fn drop_coming(cache: &Path, digest: &str) {
    let tar = coming(cache, digest);
    if let Err(e) = fs::remove_file(&tar)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %tar.display(), error = %e, "remove a tar");
    }
}

fn check(tar: &Path, digest: &str) -> Result<(), FetchError> {
    let mut file = File::open(tar).map_err(FetchError::disk(tar))?;
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut file, &mut hashing).map_err(FetchError::disk(tar))?;
    let (_, _, is) = hashing.finish();
    if is == digest {
        return Ok(());
    }
    Err(FetchError::Digest {
        is,
        offered: digest.to_owned(),
    })
}

fn unpack(cache: &Path, digest: &str, tar: &Path) -> Result<Stored, FetchError> {
    let (into, last) = (unpacking(cache, digest), folder(cache, digest));
    for path in [&into, &last, &mark(cache, digest)] {
        remove_path(path).map_err(FetchError::disk(path))?;
    }
    fs::create_dir(&into).map_err(FetchError::disk(&into))?;
    let file = File::open(tar).map_err(FetchError::disk(tar))?;
    let mut found = Mark::default();
    let unpacked = image::unpack(BufReader::new(file), |name, executable, bytes, content| {
        found.files += 1;
        found.bytes += bytes;
        write_file(&into.join(name), executable, content).map_err(ImageError::Io)
    });
    match unpacked {
        Ok(()) => {}
        // What did not come from the system came from the reader of the tar, whose bytes are right.
        Err(ImageError::Io(e)) if e.raw_os_error().is_some() => {
            return Err(FetchError::disk(&into)(e));
        }
        Err(e) => return Err(FetchError::Image(e)),
    }
    close_folders(&into, 0).map_err(FetchError::disk(&into))?;
    fs::rename(&into, &last).map_err(FetchError::disk(&last))?;
    sync_folder(cache).map_err(FetchError::disk(cache))?;
    write_mark(cache, digest, &found).map_err(FetchError::disk(cache))?;
    Ok(Stored {
        digest: digest.to_owned(),
        files: found.files,
        bytes: found.bytes,
        used: crate::clock::now(),
    })
}

fn write_file(path: &Path, executable: bool, content: &mut dyn Read) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    io::copy(content, &mut file)?;
    let mode = if executable { 0o555 } else { 0o444 };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Makes a folder and all below it read-only, and its entries durable.
fn close_folders(folder: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("folders are too deep"));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            close_folders(&entry.path(), depth + 1)?;
        }
    }
    sync_folder(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o555))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_mark(cache: &Path, digest: &str, found: &Mark) -> io::Result<()> {
    let path = mark(cache, digest);
    let fresh = path.with_extension("mark");
    let mut file = File::create(&fresh)?;
    serde_json::to_writer(&mut file, found)?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    sync_folder(cache)
}

/// Takes an image out of the cache: its mark first, so that no half of it is ever used.
///
/// # Errors
/// When the disk does not let go of it.
pub fn remove(cache: &Path, digest: &str) -> io::Result<()> {
    remove_path(&mark(cache, digest))?;
    remove_path(&folder(cache, digest))
}

/// Removes a file, or a folder with all in it, also when it is read-only. Nothing there is well, too.
fn remove_path(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    open_folders(path, 0)?;
    fs::remove_dir_all(path)
}

fn open_folders(folder: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("folders are too deep"));
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_model::image::Packer;

    fn tar(text: &str) -> (Vec<u8>, String) {
        let mut packer = Packer::new(Vec::new());
        let program = b"#!/bin/sh\n";
        packer
            .file("bin/deep/w", true, program.len() as u64, &program[..])
            .unwrap();
        packer
            .file("worker.toml", false, text.len() as u64, text.as_bytes())
            .unwrap();
        let (tar, _, digest) = packer.finish().unwrap();
        (tar, digest)
    }

    fn put(cache: &Path, digest: &str, tar: &[u8]) {
        open_coming(cache, digest).unwrap().write_all(tar).unwrap();
    }

    fn names(cache: &Path) -> usize {
        fs::read_dir(cache).unwrap().count()
    }

    #[test]
    fn an_image_is_taken_in_whole_and_read_only_and_found_again() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("images");
        assert_eq!(scan(&cache).unwrap(), []);
        let (tar, digest) = tar("a");
        for _ in 0..2 {
            put(&cache, &digest, &tar);
            let stored = take_in(&cache, &digest).unwrap();
            assert_eq!((stored.files, stored.bytes), (2, 11));
        }
        let folder = folder(&cache, &digest);
        let mode = |path: &str| {
            let metadata = fs::metadata(folder.join(path)).unwrap();
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!(
            ["", "bin/deep", "bin/deep/w", "worker.toml"].map(mode),
            [0o555, 0o555, 0o555, 0o444]
        );
        let found = scan(&cache).unwrap();
        assert_eq!((found.len(), names(&cache)), (1, 2));
        assert_eq!(found[0].digest, digest);
        remove(&cache, &digest).unwrap();
        assert_eq!(names(&cache), 0);
        remove(&cache, &digest).unwrap();
    }

    #[test]
    fn what_is_not_whole_is_not_used_and_goes() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path();
        let (tar_a, digest) = tar("a");
        // A crash while it came, while it was unpacked, before the mark, and while it was removed.
        put(cache, &digest, &tar_a[..100]);
        fs::create_dir(unpacking(cache, &digest)).unwrap();
        fs::create_dir(folder(cache, &digest)).unwrap();
        assert_eq!((scan(cache).unwrap(), names(cache)), (vec![], 0));
        let take = || {
            put(cache, &digest, &tar_a);
            take_in(cache, &digest).unwrap()
        };
        take();
        fs::remove_file(mark(cache, &digest)).unwrap();
        assert_eq!((scan(cache).unwrap(), names(cache)), (vec![], 0));
        take();
        let file = folder(cache, &digest).join("worker.toml");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::write(&file, "longer").unwrap();
        assert_eq!((scan(cache).unwrap(), names(cache)), (vec![], 0));
        take();
        remove_path(&folder(cache, &digest)).unwrap();
        assert_eq!((scan(cache).unwrap(), names(cache)), (vec![], 0));
    }

    #[test]
    fn wrong_bytes_leave_nothing() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path();
        let (tar_a, digest) = tar("a");
        put(cache, &digest, &tar("b").0);
        let e = take_in(cache, &digest).unwrap_err();
        assert!(matches!(e, FetchError::Digest { .. }), "{e:?}");
        put(cache, &digest, &tar_a[..tar_a.len() - 1]);
        assert!(take_in(cache, &digest).is_err());
        let mut hashing = Hashing::new(Vec::new());
        hashing.write_all(b"no tar at all").unwrap();
        let (bytes, _, of_nothing) = hashing.finish();
        put(cache, &of_nothing, &bytes);
        let e = take_in(cache, &of_nothing).unwrap_err();
        assert!(e.is_of_the_image(), "{e:?}");
        assert_eq!(names(cache), 0);
    }
}
