//! The Blobs port: immutable bytes by digest. A blob is there whole or not at all; one that is there never changes.

use bytes::Bytes;
use futures::future::BoxFuture;

/// A place where blobs are kept. One value is shared by all; every call may run at the same time as others.
pub trait Blobs: Send + Sync + 'static {
    /// Begins a blob; nothing is kept of it before `finish`, nor when it is dropped.
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, BlobError>>;

    /// Bytes of the blob, or None where it is not there.
    fn size<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<u64>, BlobError>>;

    /// At most `max` bytes from `offset`; empty at the end.
    fn read<'a>(
        &'a self,
        digest: &'a str,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Bytes, BlobError>>;

    /// Done already is well done.
    fn delete<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<(), BlobError>>;

    /// Digests of all that are there.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>>;
}

pub trait BlobWriter: Send {
    fn write(&mut self, part: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Keeps it, durably, if its SHA-256 is `digest`.
    fn finish(self: Box<Self>, digest: String) -> BoxFuture<'static, Result<u64, BlobError>>;
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("there is no blob {0}")]
    NotFound(String),
    #[error("{0:?} is no digest: sha256: and 64 hex digits")]
    Name(String),
    #[error("the bytes have digest {found}, not {expected}")]
    Mismatch { expected: String, found: String },
    /// Disk full or the like; nothing was kept.
    #[error("{what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
}
