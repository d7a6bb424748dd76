//! Deletes what retention no longer keeps, a little per transaction, so that a commit waits for one step at most.

use crate::head::Head;
use crate::lanes::Lanes;
use crate::schema::{entry_range, ordered};
use rusqlite::Connection;
use sengu_store::{Retention, TASK_LOG};
use std::collections::HashSet;

/// Tasks deleted per transaction, each with its result, its place in a lane and its log.
const TASKS_PER_STEP: i64 = 500;
/// Changes or entries deleted per transaction.
const ROWS_PER_STEP: i64 = 1_000;
/// A step that has deleted more than this leaves the rest to the next.
const ROWS_PER_STEP_MAX: u64 = 4_000;

/// What one step deleted.
#[derive(Default)]
pub struct Step {
    /// 0 when nothing is left to delete.
    pub rows: u64,
    /// Tasks that no part of `lane` holds, and parts that are now empty.
    pub tasks: HashSet<i64>,
    pub parts: HashSet<i64>,
}

/// Does one step of whatever is left to do.
pub fn step(
    connection: &Connection,
    head: &mut Head,
    lanes: &Lanes,
    retention: &Retention,
) -> rusqlite::Result<Step> {
    let step = tasks(connection, head, lanes, retention)?;
    if step.rows > 0 {
        return Ok(step);
    }
    let rows = match changes(connection, head, retention)? {
        0 => entries(connection, retention)?,
        rows => rows,
    };
    Ok(Step {
        rows,
        ..Step::default()
    })
}

/// Ended tasks go in the order in which they ended, up to the first that is kept.
fn tasks(
    connection: &Connection,
    head: &mut Head,
    lanes: &Lanes,
    retention: &Retention,
) -> rusqlite::Result<Step> {
    let log = stream(connection, TASK_LOG)?;
    let mut result = connection.prepare_cached("DELETE FROM result WHERE position = ?1")?;
    let mut fixed = connection.prepare_cached("DELETE FROM task WHERE id = ?1")?;
    let mut target = connection.prepare_cached("SELECT target FROM task WHERE id = ?1")?;
    let mut lane = connection
        .prepare_cached("DELETE FROM lane WHERE part = ?1 AND target = ?2 AND id = ?3")?;
    let mut lines = connection
        .prepare_cached("DELETE FROM entry INDEXED BY entry_key WHERE key = ?1 AND key != 0 AND id > ?2 AND id <= ?3")?;
    let mut step = Step::default();
    for (position, task) in ended_before(connection, retention)? {
        let target: i64 = target.query_row((task,), |row| row.get(0))?;
        let mut rows = result.execute((position,))? + fixed.execute((task,))?;
        if let Some(part) = lanes.part_of(task) {
            rows += lane.execute((part.id, target, task))?;
            step.parts.insert(part.id);
        } else {
            step.tasks.insert(task);
        }
        if let Some(log) = log {
            let (from, to) = entry_range(log, 0);
            rows += lines.execute((task, from, to))?;
        }
        head.tasks_ended -= 1;
        step.rows += rows as u64;
        // Long logs make a step of few tasks.
        if step.rows > ROWS_PER_STEP_MAX {
            break;
        }
    }
    let newest = lanes.newest_part();
    let mut holds = connection.prepare_cached("SELECT 1 FROM lane WHERE part = ?1")?;
    let mut remove = connection.prepare_cached("DELETE FROM lane_part WHERE id = ?1")?;
    let mut empty = HashSet::new();
    for part in step.parts {
        if newest.is_none_or(|newest| newest.id != part) && !holds.exists((part,))? {
            remove.execute((part,))?;
            empty.insert(part);
        }
    }
    step.parts = empty;
    Ok(step)
}

/// Position and id of the tasks that ended first, while they ended before the limit.
fn ended_before(
    connection: &Connection,
    retention: &Retention,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut select = connection
        .prepare_cached("SELECT position, task, at FROM result ORDER BY position LIMIT ?1")?;
    let mut rows = select.query((TASKS_PER_STEP,))?;
    let mut ended = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(2)? >= retention.tasks_before.0 {
            break;
        }
        ended.push((row.get(0)?, row.get(1)?));
    }
    Ok(ended)
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
    let streams: Vec<(i64, String)> = connection
        .prepare_cached("SELECT id, name FROM stream")?
        .query_map((), |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (stream, name) in streams {
        let before = retention.before(&name).0;
        let (from, to) = entry_range(stream, 0);
        let last: Option<i64> = connection
            .prepare_cached(
                "SELECT id, at FROM entry WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map((from, to, ROWS_PER_STEP), |r| {
                Ok((r.get(0)?, r.get::<_, i64>(1)?))
            })?
            .take_while(|row| !matches!(row, Ok((_, at)) if *at >= before))
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
