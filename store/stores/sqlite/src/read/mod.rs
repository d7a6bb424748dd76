//! Questions, each answered from one snapshot. Nothing here writes.

pub mod records;
pub mod streams;
pub mod tasks;

use bytes::Bytes;
use rusqlite::Row;

/// A blob column as shared bytes, copied once.
fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let value = row.get_ref(column)?;
    Ok(Bytes::copy_from_slice(value.as_blob()?))
}

fn bytes_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Bytes>> {
    let value = row.get_ref(column)?;
    Ok(value.as_blob_or_null()?.map(Bytes::copy_from_slice))
}
