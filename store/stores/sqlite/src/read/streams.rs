//! Entries of the append-only streams.

use super::bytes;
use crate::schema::{entry_position, entry_range, page};
use rusqlite::{Connection, OptionalExtension, Row};
use sengu_model::Time;
use sengu_store::{Entry, Position};

pub fn entries(
    connection: &Connection,
    stream: &str,
    key: u64,
    after: Position,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let Some(id) = id_of(connection, stream)? else {
        return Ok(Vec::new());
    };
    let (from, to) = entry_range(id, after);
    if key == 0 {
        return connection
            .prepare_cached(
                "SELECT id, key, at, body FROM entry WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map((from, to, page(limit)), entry_of)?
            .collect();
    }
    connection
        .prepare_cached(
            "SELECT id, key, at, body FROM entry INDEXED BY entry_key \
             WHERE key = ?1 AND key != 0 AND id > ?2 AND id <= ?3 ORDER BY id LIMIT ?4",
        )?
        .query_map((key.cast_signed(), from, to, page(limit)), entry_of)?
        .collect()
}

/// Newest first.
pub fn entries_back(
    connection: &Connection,
    stream: &str,
    before: Position,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let Some(id) = id_of(connection, stream)? else {
        return Ok(Vec::new());
    };
    let (first, _) = entry_range(id, 0);
    let (before, _) = entry_range(id, before);
    connection
        .prepare_cached(
            "SELECT id, key, at, body FROM entry WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )?
        .query_map((first, before, page(limit)), entry_of)?
        .collect()
}

fn id_of(connection: &Connection, stream: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM stream WHERE name = ?1")?
        .query_row((stream,), |row| row.get(0))
        .optional()
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        position: entry_position(row.get(0)?),
        key: row.get::<_, i64>(1)?.cast_unsigned(),
        at: Time(row.get(2)?),
        body: bytes(row, 3)?,
    })
}
