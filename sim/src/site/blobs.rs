//! Images, of which nothing is ever read here: workers are made up.

use super::*;

/// Packs nothing: the images are made up.
pub(super) struct NoBundles;

impl sengu_logic::workers::Bundles for NoBundles {
    fn pack(&self, digest: &str, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("no files for {digest}")))
    }
}

/// Says that every image is kept.
pub(super) struct AllBlobs;

impl Blobs for AllBlobs {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, BlobError>> {
        std::future::ready(Err(BlobError::NotFound("none is taken".to_owned()))).boxed()
    }
    fn size<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        std::future::ready(Ok(Some(1))).boxed()
    }
    fn read<'a>(
        &'a self,
        digest: &'a str,
        _: u64,
        _: usize,
    ) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        std::future::ready(Err(BlobError::NotFound(digest.to_owned()))).boxed()
    }
    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        std::future::ready(Ok(())).boxed()
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}
