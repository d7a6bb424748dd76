//! Blobs as files of a directory, named by their digest.
//!
//! This crate exists because only it may touch the disk for blobs. A blob is written beside its place, flushed, and
//! renamed into it, so what is there is whole. It must never overwrite one.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use sengu_store::blobs::{BlobError, BlobWriter, Blobs};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends of names of files that are being written.
const PARTIAL: &str = ".partial";

/// Keeps blobs below one folder.
pub struct DirectoryBlobs {
    folder: PathBuf,
    next: AtomicU64,
}

impl DirectoryBlobs {
    /// Opens the folder, made when absent; what an earlier life left unfinished goes.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<DirectoryBlobs, BlobError> {
        let open = || {
            fs::create_dir_all(folder)?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.to_string_lossy().ends_with(PARTIAL) {
                    fs::remove_file(&path)?;
                }
            }
            Ok(())
        };
        open().map_err(|e| failed("open the folder of blobs", e))?;
        Ok(DirectoryBlobs {
            folder: folder.to_owned(),
            next: AtomicU64::new(1),
        })
    }

    fn path(&self, digest: &str) -> Result<PathBuf, BlobError> {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != 64 || !hex.bytes().all(plain) {
            return Err(BlobError::Name(digest.chars().take(80).collect()));
        }
        Ok(self.folder.join(hex))
    }
}

fn failed(what: &str, source: io::Error) -> BlobError {
    BlobError::Io {
        what: what.to_owned(),
        source,
    }
}

/// Disk work goes to the threads that are there for it.
fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> BoxFuture<'static, Result<T, BlobError>> {
    async move {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(e) => Err(failed(what, io::Error::other(e))),
        }
    }
    .boxed()
}

impl Blobs for DirectoryBlobs {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, BlobError>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.clone();
        blocking("begin a blob", move || {
            let path = folder.join(format!("{}-{number}{PARTIAL}", std::process::id()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(|e| failed("begin a blob", e))?;
            let writer = Writer {
                open: Some(Open {
                    file,
                    path,
                    hash: Sha256::new(),
                    bytes: 0,
                }),
                folder,
            };
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        })
    }

    fn size<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        let size = || match fs::metadata(self.path(digest)?) {
            Ok(about) => Ok(Some(about.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("look at a blob", e)),
        };
        std::future::ready(size()).boxed()
    }

    fn read<'a>(
        &'a self,
        digest: &'a str,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        let (path, digest) = (self.path(digest), digest.to_owned());
        blocking("read a blob", move || {
            let mut file = match File::open(path?) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(BlobError::NotFound(digest));
                }
                Err(e) => return Err(failed("open a blob", e)),
            };
            let read = || {
                file.seek(SeekFrom::Start(offset))?;
                // `max` is the caller's wish, the file's size is the world's.
                let mut part = Vec::with_capacity(max.min(1 << 20));
                file.take(max as u64).read_to_end(&mut part)?;
                Ok(part.into())
            };
            read().map_err(|e| failed("read a blob", e))
        })
    }

    fn delete<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        let path = self.path(digest);
        blocking("delete a blob", move || match fs::remove_file(path?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("delete a blob", e)),
            _ => Ok(()),
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        let folder = self.folder.clone();
        blocking("list blobs", move || {
            let list = || {
                let mut all = Vec::new();
                for entry in fs::read_dir(folder)? {
                    let name = entry?.file_name();
                    let name = name.to_string_lossy();
                    if name.len() == 64 {
                        all.push(format!("sha256:{name}"));
                    }
                }
                all.sort();
                Ok(all)
            };
            list().map_err(|e| failed("list blobs", e))
        })
    }
}

struct Open {
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
}

struct Writer {
    open: Option<Open>,
    folder: PathBuf,
}

impl BlobWriter for Writer {
    fn write(&mut self, part: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            let gone = || failed("write a blob", io::Error::other("it was given up"));
            let mut open = self.open.take().ok_or_else(gone)?;
            let work = move || {
                let written = open.file.write_all(&part);
                open.hash.update(&part);
                open.bytes += part.len() as u64;
                Ok((open, written))
            };
            let (open, written) = blocking("write a blob", work).await?;
            self.open = Some(open);
            written.map_err(|e| failed("write a blob", e))
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>, digest: String) -> BoxFuture<'static, Result<u64, BlobError>> {
        let (open, folder) = (self.open.take(), self.folder.clone());
        blocking("keep a blob", move || {
            let gone = || failed("keep a blob", io::Error::other("it was given up"));
            let open = open.ok_or_else(gone)?;
            let hex: String = open
                .hash
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let found = format!("sha256:{hex}");
            let keep = || {
                open.file.sync_all()?;
                fs::rename(&open.path, folder.join(&hex))?;
                // The name itself must outlive a power cut.
                File::open(&folder)?.sync_all()
            };
            let result = if found == digest {
                keep().map_err(|e| failed("keep a blob", e))
            } else {
                Err(BlobError::Mismatch {
                    expected: digest,
                    found,
                })
            };
            if result.is_err() {
                let _ = fs::remove_file(&open.path);
            }
            result.map(|()| open.bytes)
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            // What is left here goes at the next start.
            let _ = fs::remove_file(&open.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_blob_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = DirectoryBlobs::open(folder.path()).unwrap();
        let mut writer = blobs.create().await.unwrap();
        writer.write(Bytes::from_static(b"hel")).await.unwrap();
        assert_eq!(blobs.size(HELLO).await.unwrap(), None);
        writer.write(Bytes::from_static(b"lo")).await.unwrap();
        assert_eq!(writer.finish(HELLO.to_owned()).await.unwrap(), 5);
        assert_eq!(blobs.size(HELLO).await.unwrap(), Some(5));
        assert_eq!(blobs.read(HELLO, 1, 3).await.unwrap(), "ell");
        assert_eq!(blobs.read(HELLO, 9, 3).await.unwrap(), "");
        assert_eq!(blobs.list().await.unwrap(), [HELLO]);

        let mut wrong = blobs.create().await.unwrap();
        wrong.write(Bytes::from_static(b"hullo")).await.unwrap();
        let refused = wrong.finish(HELLO.to_owned()).await;
        assert!(matches!(refused, Err(BlobError::Mismatch { .. })));
        let mut dropped = blobs.create().await.unwrap();
        dropped.write(Bytes::from_static(b"x")).await.unwrap();
        drop(dropped);
        assert_eq!(files(folder.path()), 1);

        fs::write(folder.path().join("1-1.partial"), "x").unwrap();
        let again = DirectoryBlobs::open(folder.path()).unwrap();
        assert_eq!(files(folder.path()), 1, "what was left unfinished goes");
        again.delete(HELLO).await.unwrap();
        again.delete(HELLO).await.unwrap();
        assert!(matches!(
            again.read(HELLO, 0, 1).await,
            Err(BlobError::NotFound(_))
        ));
        assert!(matches!(
            again.size("../../etc/passwd").await,
            Err(BlobError::Name(_))
        ));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn passes_the_suite() {
        let place = tempfile::tempdir().unwrap();
        let next = AtomicU64::new(0);
        sengu_store::conformance::blobs::run(|| {
            let folder = next.fetch_add(1, Ordering::Relaxed).to_string();
            let opened = DirectoryBlobs::open(&place.path().join(folder)).unwrap();
            async { std::sync::Arc::new(opened) as std::sync::Arc<dyn Blobs> }
        })
        .await;
    }
}
