//! Records, the change stream, and meta.

use super::{bytes, each};
use crate::error::{Trouble, broken};
use crate::numbers::{ordered, page, unsigned};
use crate::pool::Pool;
use bytes::Bytes;
use sengu_model::Uid;
use sengu_store::{Change, Changes, StoreError, StoredRecord};
use std::cmp::Ordering;
use tokio_postgres::Row;

const ONE: &str =
    "SELECT kind, name, uid, revision, body FROM record WHERE kind = $1 AND name = $2";
const ALL: &str = "SELECT kind, name, uid, revision, body FROM record WHERE (kind, name) > ($1, $2) \
     ORDER BY kind, name LIMIT $3";
const OF_KIND: &str = "SELECT kind, name, uid, revision, body FROM record WHERE kind = $1 AND name > $2 \
     ORDER BY name LIMIT $3";
/// The counters and the changes of one moment; one row without a change when there is none.
const CHANGES: &str = "SELECT h.revision, h.change_oldest, c.revision, c.kind, c.name, c.deleted, c.uid, c.body \
     FROM head h LEFT JOIN LATERAL ( \
        SELECT c.revision, c.kind, c.name, c.deleted, r.uid, r.body FROM change c \
        LEFT JOIN record r ON r.kind = c.kind AND r.name = c.name AND r.revision = c.revision \
        WHERE c.revision > $1 AND (c.deleted OR r.revision IS NOT NULL) ORDER BY c.revision LIMIT $2) c ON true \
     WHERE h.id = 0 ORDER BY c.revision";
const META: &str = "SELECT value FROM meta WHERE key = $1";

fn record_of(row: &Row) -> Result<StoredRecord, Trouble> {
    Ok(StoredRecord {
        kind: row.try_get(0)?,
        name: row.try_get(1)?,
        uid: Uid(unsigned(row.try_get(2)?)),
        revision: unsigned(row.try_get(3)?),
        body: bytes(row, 4)?,
    })
}

pub async fn record(
    pool: &Pool,
    kind: &str,
    name: &str,
) -> Result<Option<StoredRecord>, StoreError> {
    const WHAT: &str = "read a record";
    if kind.contains('\0') || name.contains('\0') {
        return Ok(None);
    }
    let rows = pool.rows(WHAT, ONE, &[&kind, &name]).await?;
    Ok(each(WHAT, &rows, record_of)?.pop())
}

pub async fn records(
    pool: &Pool,
    kind: &str,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<StoredRecord>, StoreError> {
    const WHAT: &str = "list records";
    let (after_kind, after_name) = after.unwrap_or(("", ""));
    // Nothing has a NUL in its name, so what comes after it comes after the part before it; the name itself may.
    let (after_kind, after_name) = (before_nul(after_kind), before_nul(after_name));
    let limit = page(limit);
    let rows = if kind.is_empty() {
        pool.rows(WHAT, ALL, &[&after_kind, &after_name, &limit])
            .await?
    } else {
        // Within one kind a cursor of an earlier kind means from the start, one of a later kind the end.
        let after_name = match after_kind.cmp(kind) {
            Ordering::Less => "",
            Ordering::Equal => after_name,
            Ordering::Greater => return Ok(Vec::new()),
        };
        if kind.contains('\0') {
            return Ok(Vec::new());
        }
        pool.rows(WHAT, OF_KIND, &[&kind, &after_name, &limit])
            .await?
    };
    each(WHAT, &rows, record_of)
}

fn before_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or(text)
}

pub async fn changes(pool: &Pool, from: u64, limit: usize) -> Result<Changes, StoreError> {
    const WHAT: &str = "read changes";
    let rows = pool
        .rows(WHAT, CHANGES, &[&ordered(from), &page(limit)])
        .await?;
    let Some(first) = rows.first() else {
        return Err(broken("the row of counters is gone"));
    };
    let number = |column| first.try_get(column).map(unsigned);
    let newest = number(0).map_err(|e| Trouble::from(e).for_caller(WHAT))?;
    let oldest = number(1).map_err(|e| Trouble::from(e).for_caller(WHAT))?;
    if from.saturating_add(1) < oldest {
        return Err(StoreError::Compacted { oldest });
    }
    let changes = each(WHAT, &rows, change_of)?;
    Ok(Changes {
        changes: changes.into_iter().flatten().collect(),
        newest,
    })
}

fn change_of(row: &Row) -> Result<Option<Change>, Trouble> {
    let Some(revision) = row.try_get::<_, Option<i64>>(2)? else {
        return Ok(None);
    };
    let (kind, name): (String, String) = (row.try_get(3)?, row.try_get(4)?);
    let revision = unsigned(revision);
    let record = if row.try_get(5)? {
        None
    } else {
        Some(StoredRecord {
            kind: kind.clone(),
            name: name.clone(),
            uid: Uid(unsigned(row.try_get(6)?)),
            revision,
            body: bytes(row, 7)?,
        })
    };
    Ok(Some(Change {
        revision,
        kind,
        name,
        record,
    }))
}

pub async fn meta(pool: &Pool, key: &str) -> Result<Option<Bytes>, StoreError> {
    const WHAT: &str = "read meta";
    if key.contains('\0') {
        return Ok(None);
    }
    let rows = pool.rows(WHAT, META, &[&key]).await?;
    Ok(each(WHAT, &rows, |row| bytes(row, 0))?.pop())
}
