//! Blobs that can be replaced: a blob that is being written holds the gate, so that it is in the place that it was begun
//! in before the places change.

use crate::blobs::{BlobError, BlobWriter, Blobs};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::OwnedRwLockReadGuard;

pub struct SwitchBlobs {
    current: RwLock<Arc<dyn Blobs>>,
    pub(crate) gate: Arc<tokio::sync::RwLock<()>>,
}

struct Writer {
    inner: Box<dyn BlobWriter>,
    open: OwnedRwLockReadGuard<()>,
}

impl SwitchBlobs {
    pub fn new(blobs: Arc<dyn Blobs>) -> Arc<SwitchBlobs> {
        Arc::new(SwitchBlobs {
            current: RwLock::new(blobs),
            gate: Arc::default(),
        })
    }

    pub fn current(&self) -> Arc<dyn Blobs> {
        self.current.read().clone()
    }

    pub(crate) fn replace(&self, next: Arc<dyn Blobs>) {
        *self.current.write() = next;
    }
}

impl Blobs for SwitchBlobs {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, BlobError>> {
        async move {
            let open = self.gate.clone().read_owned().await;
            let inner = self.current().create().await?;
            Ok(Box::new(Writer { inner, open }) as Box<dyn BlobWriter>)
        }
        .boxed()
    }

    fn size<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        let blobs = self.current();
        async move { blobs.size(digest).await }.boxed()
    }

    fn read<'a>(
        &'a self,
        digest: &'a str,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        let blobs = self.current();
        async move { blobs.read(digest, offset, max).await }.boxed()
    }

    fn delete<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        let blobs = self.current();
        async move { blobs.delete(digest).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        let blobs = self.current();
        async move { blobs.list().await }.boxed()
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, part: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.inner.write(part)
    }

    fn finish(self: Box<Self>, digest: String) -> BoxFuture<'static, Result<u64, BlobError>> {
        let Writer { inner, open } = *self;
        async move {
            let finished = inner.finish(digest).await;
            drop(open);
            finished
        }
        .boxed()
    }
}
