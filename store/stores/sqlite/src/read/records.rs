//! Records, the change stream, and what the store says of itself.

use super::bytes;
use crate::head::Head;
use crate::schema::{ordered, page, unsigned};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use sengu_model::Uid;
use sengu_store::{Change, Changes, StoredRecord};

fn record_of(row: &Row<'_>) -> rusqlite::Result<StoredRecord> {
    Ok(StoredRecord {
        kind: row.get(0)?,
        name: row.get(1)?,
        uid: Uid(unsigned(row.get(2)?)),
        revision: unsigned(row.get(3)?),
        body: bytes(row, 4)?,
    })
}

pub fn record(
    connection: &Connection,
    kind: &str,
    name: &str,
) -> rusqlite::Result<Option<StoredRecord>> {
    connection
        .prepare_cached(
            "SELECT kind, name, uid, revision, body FROM record WHERE kind = ?1 AND name = ?2",
        )?
        .query_row((kind, name), record_of)
        .optional()
}

pub fn records(
    connection: &Connection,
    kind: &str,
    after: Option<&(String, String)>,
    limit: usize,
) -> rusqlite::Result<Vec<StoredRecord>> {
    let (after_kind, after_name) = match after {
        Some((kind, name)) => (kind.as_str(), name.as_str()),
        None => ("", ""),
    };
    let limit = page(limit);
    if kind.is_empty() {
        return connection
            .prepare_cached(
                "SELECT kind, name, uid, revision, body FROM record WHERE (kind, name) > (?1, ?2) \
                 ORDER BY kind, name LIMIT ?3",
            )?
            .query_map((after_kind, after_name, limit), record_of)?
            .collect();
    }
    // Within one kind a cursor of an earlier kind means from the start, one of a later kind the end.
    let after_name = match after_kind.cmp(kind) {
        std::cmp::Ordering::Less => "",
        std::cmp::Ordering::Equal => after_name,
        std::cmp::Ordering::Greater => return Ok(Vec::new()),
    };
    connection
        .prepare_cached(
            "SELECT kind, name, uid, revision, body FROM record WHERE kind = ?1 AND name > ?2 \
             ORDER BY name LIMIT ?3",
        )?
        .query_map((kind, after_name, limit), record_of)?
        .collect()
}

/// `Err` holds the oldest revision kept when `from` is older.
pub fn changes(
    connection: &Connection,
    from: u64,
    limit: usize,
) -> rusqlite::Result<Result<Changes, u64>> {
    // One snapshot for the counters and the rows.
    let snapshot = connection.unchecked_transaction()?;
    let head = Head::load(&snapshot)?;
    let from = ordered(from);
    if from.saturating_add(1) < head.change_oldest {
        return Ok(Err(unsigned(head.change_oldest)));
    }
    // A write that a later one replaced is passed over: the later one comes in its turn.
    let changes = snapshot
        .prepare_cached(
            "SELECT c.kind, c.name, r.uid, c.revision, r.body FROM change c \
             LEFT JOIN record r ON r.kind = c.kind AND r.name = c.name AND r.revision = c.revision \
             WHERE c.revision > ?1 AND (c.deleted OR r.id IS NOT NULL) ORDER BY c.revision LIMIT ?2",
        )?
        .query_map((from, page(limit)), change_of)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Ok(Changes {
        changes,
        newest: unsigned(head.revision),
    }))
}

fn change_of(row: &Row<'_>) -> rusqlite::Result<Change> {
    let deleted = row.get_ref(2)? == rusqlite::types::ValueRef::Null;
    Ok(Change {
        revision: unsigned(row.get(3)?),
        kind: row.get(0)?,
        name: row.get(1)?,
        record: if deleted { None } else { Some(record_of(row)?) },
    })
}

pub fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<Bytes>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row((key,), |row| bytes(row, 0))
        .optional()
}
