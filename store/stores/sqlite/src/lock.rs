//! One process per data directory. The lock is the kernel's, so it goes with the process, however that ends; the file
//! itself stays and means nothing.

use crate::error::unavailable;
use sengu_store::StoreError;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const LOCK_FILE: &str = "store.lock";

/// Held while the store is open.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Takes the lock of `directory` without waiting.
///
/// # Errors
/// `InUse` when another process (or another store of this process) has it.
pub fn lock(directory: &Path) -> Result<DirectoryLock, StoreError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unavailable)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DirectoryLock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse {
            place: directory.display().to_string(),
        }),
        Err(errno) => Err(unavailable(std::io::Error::from(errno))),
    }
}
