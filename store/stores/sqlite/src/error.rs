//! What SQLite says, in the words of the port. Never lets an engine's error reach a caller unclassified.

use rusqlite::ErrorCode;
use sengu_store::StoreError;
use std::sync::Arc;

/// One engine error given to every caller of a failed group.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Shared(pub Arc<rusqlite::Error>);

/// Whether the world is at fault (space, permissions, a disk that went) and the same call may work later.
pub fn is_outage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
        )
    )
}

pub fn from_engine(what: &str, error: rusqlite::Error) -> StoreError {
    from_shared(what, &Arc::new(error))
}

pub fn from_shared(what: &str, error: &Arc<rusqlite::Error>) -> StoreError {
    let source = Box::new(Shared(error.clone()));
    if is_outage(error) {
        StoreError::Unavailable(source)
    } else {
        StoreError::Broken {
            what: what.to_owned(),
            source: Some(source),
        }
    }
}

pub fn unavailable(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

pub fn broken(what: impl Into<String>) -> StoreError {
    StoreError::Broken {
        what: what.into(),
        source: None,
    }
}
