//! Deletes what retention no longer keeps, a little per transaction, so that a commit waits for one step at most.

use crate::head::Head;
use crate::schema::{entry_range, ordered};
use rusqlite::Connection;
use sengu_store::{Retention, TASK_LOG};

/// Rows looked at per transaction.
const ROWS_PER_STEP: i64 = 1_000;

/// Does one step of whatever is left to do. Returns the rows deleted, 0 when nothing is left.
pub fn step(
    connection: &Connection,
    head: &mut Head,
    retention: &Retention,
) -> rusqlite::Result<u64> {
    let tasks = tasks(connection, head, retention)?;
    if tasks > 0 {
        return Ok(tasks);
    }
    let changes = changes(connection, head, retention)?;
    if changes > 0 {
        return Ok(changes);
    }
    entries(connection, retention)
}

/// Ended tasks go in the order in which they ended, up to the first that is kept.
fn tasks(connection: &Connection, head: &mut Head, retention: &Retention) -> rusqlite::Result<u64> {
    let old: Vec<(i64, i64)> = connection
        .prepare_cached("SELECT position, task, at FROM result ORDER BY position LIMIT ?1")?
        .query_map((ROWS_PER_STEP,), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
        .take_while(|row| !matches!(row, Ok((_, _, at)) if *at >= retention.tasks_before.0))
        .map(|row: rusqlite::Result<(i64, i64, i64)>| {
            row.map(|(position, task, _)| (position, task))
        })
        .collect::<rusqlite::Result<_>>()?;
    let log: Option<i64> = stream(connection, TASK_LOG)?;
    let mut rows = 0;
    let mut result = connection.prepare_cached("DELETE FROM result WHERE position = ?1")?;
    let mut task_row = connection.prepare_cached("DELETE FROM task WHERE id = ?1")?;
    let mut lines = connection
        .prepare_cached("DELETE FROM entry WHERE key = ?1 AND key != 0 AND id > ?2 AND id <= ?3")?;
    for (position, task) in old {
        rows += result.execute((position,))?;
        rows += task_row.execute((task,))?;
        if let Some(log) = log {
            let (from, to) = entry_range(log, 0);
            rows += lines.execute((task, from, to))?;
        }
        head.tasks_ended -= 1;
        // A task with a long log is a step by itself.
        if rows as u64 > 4 * ROWS_PER_STEP as u64 {
            break;
        }
    }
    Ok(rows as u64)
}

fn changes(
    connection: &Connection,
    head: &mut Head,
    retention: &Retention,
) -> rusqlite::Result<u64> {
    let kept_from = head
        .revision
        .saturating_sub(ordered(retention.changes_kept))
        + 1;
    let until = kept_from.min(head.change_oldest + ROWS_PER_STEP);
    if until <= head.change_oldest {
        return Ok(0);
    }
    head.change_oldest = until;
    let rows = connection
        .prepare_cached("DELETE FROM change WHERE revision < ?1")?
        .execute((until,))?;
    Ok(rows as u64)
}

/// In each stream the oldest entries go, up to the first that is kept.
fn entries(connection: &Connection, retention: &Retention) -> rusqlite::Result<u64> {
    let streams: Vec<i64> = connection
        .prepare_cached("SELECT id FROM stream")?
        .query_map((), |r| r.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for stream in streams {
        let (from, to) = entry_range(stream, 0);
        let last: Option<i64> = connection
            .prepare_cached(
                "SELECT id, at FROM entry WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map((from, to, ROWS_PER_STEP), |r| {
                Ok((r.get(0)?, r.get::<_, i64>(1)?))
            })?
            .take_while(|row| !matches!(row, Ok((_, at)) if *at >= retention.entries_before.0))
            .try_fold(None, |_, row| row.map(|(id, _)| Some(id)))?;
        let Some(last) = last else { continue };
        let rows = connection
            .prepare_cached("DELETE FROM entry WHERE id > ?1 AND id <= ?2")?
            .execute((from, last))?;
        return Ok(rows as u64);
    }
    Ok(0)
}

fn stream(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    use rusqlite::OptionalExtension;
    connection
        .prepare_cached("SELECT id FROM stream WHERE name = ?1")?
        .query_row((name,), |r| r.get(0))
        .optional()
}
