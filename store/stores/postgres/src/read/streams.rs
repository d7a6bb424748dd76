//! Entries of the append-only streams.

use super::{bytes, each};
use crate::error::Trouble;
use crate::numbers::{ordered, page, unsigned};
use crate::pool::Pool;
use sengu_model::Time;
use sengu_store::{Entry, Position, StoreError};
use tokio_postgres::Row;

const ALL: &str = "SELECT position, key, at, body FROM entry \
     WHERE stream = (SELECT id FROM stream WHERE name = $1) AND position > $2 ORDER BY position LIMIT $3";
const OF_KEY: &str = "SELECT position, key, at, body FROM entry \
     WHERE stream = (SELECT id FROM stream WHERE name = $1) AND position > $2 AND key = $4 AND key <> 0 \
     ORDER BY position LIMIT $3";
const WHAT: &str = "read a stream";
const BACK: &str = "SELECT position, key, at, body FROM entry \
     WHERE stream = (SELECT id FROM stream WHERE name = $1) AND position < $2 ORDER BY position DESC LIMIT $3";

pub async fn entries(
    pool: &Pool,
    stream: &str,
    key: u64,
    after: Position,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    if stream.contains('\0') {
        return Ok(Vec::new());
    }
    let (after, limit, key) = (ordered(after), page(limit), key.cast_signed());
    let rows = if key == 0 {
        pool.rows(WHAT, ALL, &[&stream, &after, &limit]).await?
    } else {
        pool.rows(WHAT, OF_KEY, &[&stream, &after, &limit, &key])
            .await?
    };
    each(WHAT, &rows, entry_of)
}

/// Newest first.
pub async fn entries_back(
    pool: &Pool,
    stream: &str,
    before: Position,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    if stream.contains('\0') {
        return Ok(Vec::new());
    }
    let (before, limit) = (ordered(before), page(limit));
    let rows = pool.rows(WHAT, BACK, &[&stream, &before, &limit]).await?;
    each(WHAT, &rows, entry_of)
}

fn entry_of(row: &Row) -> Result<Entry, Trouble> {
    Ok(Entry {
        position: unsigned(row.try_get(0)?),
        key: row.try_get::<_, i64>(1)?.cast_unsigned(),
        at: Time(row.try_get(2)?),
        body: bytes(row, 3)?,
    })
}
