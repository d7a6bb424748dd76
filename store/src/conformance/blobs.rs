//! The suite that every keeper of blobs must pass. A driver's test calls `run` with a function that opens an empty one.

use super::LIMIT;
use crate::blobs::{BlobError, Blobs};
use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;

const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Of 3,000,017 bytes, each its place modulo 251.
const LARGE: &str = "sha256:d39e3524dc23d5a0b2882f1468f1e6703609ee2cdc9a1de1dba8a77858b80f56";
const LARGE_BYTES: usize = 3_000_017;

/// # Panics
/// When the contract is broken; the message says which part.
pub async fn run<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Blobs>>,
{
    let suite = async {
        a_blob_is_there_whole_or_not_at_all(&*open().await).await;
        a_wrong_digest_keeps_nothing(&*open().await).await;
        large_blobs_are_read_in_any_pieces(&*open().await).await;
        one_blob_may_be_written_by_many(open().await).await;
    };
    tokio::time::timeout(LIMIT, suite)
        .await
        .expect("the suite ends in time");
}

async fn keep(blobs: &dyn Blobs, parts: &[&[u8]], digest: &str) -> Result<u64, BlobError> {
    let mut writer = blobs.create().await.expect("create");
    for part in parts {
        let part = Bytes::copy_from_slice(part);
        writer.write(part).await.expect("write");
    }
    writer.finish(digest.to_owned()).await
}

async fn a_blob_is_there_whole_or_not_at_all(blobs: &dyn Blobs) {
    let mut writer = blobs.create().await.expect("create");
    writer
        .write(Bytes::from_static(b"hel"))
        .await
        .expect("write");
    assert_eq!(blobs.size(HELLO).await.expect("size"), None);
    assert!(blobs.list().await.expect("list").is_empty());
    writer
        .write(Bytes::from_static(b"lo"))
        .await
        .expect("write");
    assert_eq!(writer.finish(HELLO.to_owned()).await.expect("finish"), 5);
    assert_eq!(blobs.size(HELLO).await.expect("size"), Some(5));
    assert_eq!(blobs.read(HELLO, 1, 3).await.expect("read"), "ell");
    assert_eq!(blobs.read(HELLO, 0, 0).await.expect("read"), "");
    assert_eq!(blobs.read(HELLO, 5, 3).await.expect("read"), "");
    assert_eq!(blobs.read(HELLO, 1 << 40, 3).await.expect("read"), "");
    assert_eq!(keep(blobs, &[], EMPTY).await.expect("finish"), 0);
    assert_eq!(blobs.size(EMPTY).await.expect("size"), Some(0));
    assert_eq!(blobs.read(EMPTY, 0, 9).await.expect("read"), "");
    let mut all = blobs.list().await.expect("list");
    all.sort();
    assert_eq!(all, [HELLO, EMPTY]);
    blobs.delete(HELLO).await.expect("delete");
    blobs
        .delete(HELLO)
        .await
        .expect("done already is well done");
    let gone = blobs.read(HELLO, 0, 1).await;
    assert!(matches!(gone, Err(BlobError::NotFound(_))), "{gone:?}");
    assert_eq!(blobs.list().await.expect("list"), [EMPTY]);
    keep(blobs, &[b"hello"], HELLO)
        .await
        .expect("it may come back");
    assert_eq!(blobs.read(HELLO, 0, 9).await.expect("read"), "hello");
}

async fn a_wrong_digest_keeps_nothing(blobs: &dyn Blobs) {
    let refused = keep(blobs, &[b"hullo"], HELLO).await;
    assert!(
        matches!(refused, Err(BlobError::Mismatch { .. })),
        "{refused:?}"
    );
    let mut dropped = blobs.create().await.expect("create");
    dropped
        .write(Bytes::from_static(b"hello"))
        .await
        .expect("write");
    drop(dropped);
    assert!(blobs.list().await.expect("list").is_empty());
    for bad in [
        "../../etc/passwd",
        "",
        "sha256:",
        &HELLO.to_uppercase(),
        "sha256:\0",
    ] {
        let named = blobs.size(bad).await;
        assert!(matches!(named, Err(BlobError::Name(_))), "{bad}: {named:?}");
        let named = blobs.read(bad, 0, 1).await;
        assert!(matches!(named, Err(BlobError::Name(_))), "{bad}: {named:?}");
        let named = blobs.delete(bad).await;
        assert!(matches!(named, Err(BlobError::Name(_))), "{bad}: {named:?}");
    }
}

async fn large_blobs_are_read_in_any_pieces(blobs: &dyn Blobs) {
    let all: Vec<u8> = (0..LARGE_BYTES).map(|n| (n % 251) as u8).collect();
    let parts: Vec<&[u8]> = all.chunks(700_001).collect();
    let kept = keep(blobs, &parts, LARGE).await.expect("finish");
    assert_eq!(kept, LARGE_BYTES as u64);
    for max in [1_usize << 19, 1_000_003, usize::MAX] {
        let mut found = Vec::new();
        loop {
            let piece = blobs
                .read(LARGE, found.len() as u64, max)
                .await
                .expect("read");
            if piece.is_empty() {
                break;
            }
            found.extend_from_slice(&piece);
        }
        assert!(found == all, "whole, in pieces of {max}");
    }
    for (from, max) in [
        (524_287, 2),
        (524_288, 1),
        (1_048_575, 524_290),
        (LARGE_BYTES - 1, 9),
    ] {
        let piece = blobs.read(LARGE, from as u64, max).await.expect("read");
        assert!(
            piece == all[from..LARGE_BYTES.min(from + max)],
            "{max} from {from}"
        );
    }
}

async fn one_blob_may_be_written_by_many(blobs: Arc<dyn Blobs>) {
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let blobs = blobs.clone();
            tokio::spawn(async move { keep(&*blobs, &[b"he", b"llo"], HELLO).await })
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.await.expect("a writer ends").expect("finish"), 5);
    }
    assert_eq!(blobs.list().await.expect("list"), [HELLO]);
    assert_eq!(blobs.read(HELLO, 0, 9).await.expect("read"), "hello");
}
