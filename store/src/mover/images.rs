//! Images, before commits are held: blobs never change, so one that is there needs no second look.

use super::{MoveError, Mover};
use crate::blobs::{BlobError, Blobs};

/// Bytes read and written at a time.
const PART_BYTES: usize = 1 << 20;

impl Mover<'_> {
    /// Copies those that the target does not have.
    pub(super) async fn copy_images(&self) -> Result<(), MoveError> {
        let (Some(from), Some(to)) = (&self.plan.blobs, &self.plan.target.blobs) else {
            return Ok(());
        };
        let (from, to) = (from.current(), to.clone());
        let failed = |digest: &str, source| MoveError::Image {
            digest: digest.to_owned(),
            source,
        };
        let all = from.list().await.map_err(|e| failed("list", e))?;
        for digest in all {
            self.may_go_on()?;
            let there = to.size(&digest).await.map_err(|e| failed(&digest, e))?;
            if there.is_some() {
                continue;
            }
            match copy(&*from, &*to, &digest).await {
                Ok(()) => self.progress.send_modify(|p| p.images += 1),
                // Deleted meanwhile.
                Err(BlobError::NotFound(_)) => {}
                Err(error) => return Err(failed(&digest, error)),
            }
        }
        Ok(())
    }
}

async fn copy(from: &dyn Blobs, to: &dyn Blobs, digest: &str) -> Result<(), BlobError> {
    let mut writer = to.create().await?;
    let mut offset = 0;
    loop {
        let part = from.read(digest, offset, PART_BYTES).await?;
        if part.is_empty() {
            break;
        }
        offset += part.len() as u64;
        writer.write(part).await?;
    }
    writer.finish(digest.to_owned()).await.map(drop)
}
