//! Questions, each one statement, so that each sees one moment. Nothing here writes.

pub mod records;
pub mod streams;
pub mod tasks;

use crate::error::Trouble;
use bytes::Bytes;
use sengu_store::StoreError;
use tokio_postgres::Row;

/// Rows as values, or the defect of the tables that keeps them from it.
pub fn each<T>(
    what: &str,
    rows: &[Row],
    of: impl Fn(&Row) -> Result<T, Trouble>,
) -> Result<Vec<T>, StoreError> {
    let all: Result<Vec<T>, Trouble> = rows.iter().map(of).collect();
    all.map_err(|e| e.for_caller(what))
}

/// A bytea column as shared bytes, copied once.
fn bytes(row: &Row, column: usize) -> Result<Bytes, Trouble> {
    Ok(Bytes::copy_from_slice(row.try_get(column)?))
}

fn bytes_or_none(row: &Row, column: usize) -> Result<Option<Bytes>, Trouble> {
    let value: Option<&[u8]> = row.try_get(column)?;
    Ok(value.map(Bytes::copy_from_slice))
}
