//! Tasks: the open ones, those of a lane or a run, and how each stands.

use super::{bytes, bytes_or_none};
use crate::lanes::{Lane, Lanes};
use crate::schema::{ordered, page, unsigned};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::{Line, OpenTask, Position, RunTask, Sent, Stand, StoredTask, TaskQuery};
use std::collections::HashMap;

/// Ids looked at in one piece while rows are filtered.
const WALK_PAGE: usize = 256;

/// Columns of an open task with its fixed part: `open_of` reads them.
macro_rules! open_columns {
    () => {
        "o.id, o.priority, o.attempt, o.not_before, o.sent_epoch, o.sent_at, o.checkpoint, o.history, \
         t.target, t.run, t.batch, t.body"
    };
}

fn open_of(row: &Row<'_>) -> rusqlite::Result<OpenTask> {
    let fence: Option<i64> = row.get(4)?;
    let sent_at: Option<i64> = row.get(5)?;
    Ok(OpenTask {
        id: TaskId(unsigned(row.get(0)?)),
        target: Uid(unsigned(row.get(8)?)),
        run: row.get::<_, Option<i64>>(9)?.map(|r| RunId(unsigned(r))),
        priority: priority_of(row, 1)?,
        batch: row.get(10)?,
        attempt: row.get(2)?,
        not_before: row.get::<_, Option<i64>>(3)?.map(Time),
        sent: fence.zip(sent_at).map(|(fence, at)| Sent {
            fence: fence.cast_unsigned(),
            at: Time(at),
        }),
        checkpoint: bytes_or_none(row, 6)?,
        history: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
        body: bytes(row, 11)?,
    })
}

fn priority_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    let number: u8 = row.get(column)?;
    Priority::from_number(number).ok_or_else(|| unknown_number(column, number))
}

fn status_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    let number: u8 = row.get(column)?;
    Status::from_number(number).ok_or_else(|| unknown_number(column, number))
}

fn unknown_number(column: usize, number: u8) -> rusqlite::Error {
    let text = format!("{number} has no meaning here");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, text.into())
}

pub fn open_tasks(
    connection: &Connection,
    priority: Priority,
    line: Line,
    after: TaskId,
    limit: usize,
) -> rusqlite::Result<Vec<OpenTask>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            open_columns!(),
            " FROM open o CROSS JOIN task t ON t.id = o.id \
              WHERE o.priority = ?1 AND o.line = ?2 AND o.id > ?3 ORDER BY o.id LIMIT ?4"
        ))?
        .query_map(
            (priority as u8, line, ordered(after.0), page(limit)),
            open_of,
        )?
        .collect()
}

pub fn lines(connection: &Connection) -> rusqlite::Result<Vec<(Priority, Line)>> {
    let snapshot = connection.unchecked_transaction()?;
    // From each line straight to the next: the cost is by lines, not by tasks.
    let mut next = snapshot.prepare_cached(
        "SELECT priority, line FROM open WHERE (priority, line) > (?1, ?2) \
         ORDER BY priority, line LIMIT 1",
    )?;
    let mut lines = Vec::new();
    let mut last = (-1, -1);
    loop {
        let mut rows = next.query(last)?;
        let Some(row) = rows.next()? else { break };
        lines.push((priority_of(row, 0)?, row.get(1)?));
        last = (row.get(0)?, row.get(1)?);
    }
    Ok(lines)
}

pub fn lane_tasks(
    connection: &Connection,
    lanes: &Lanes,
    target: Uid,
    after: TaskId,
    limit: usize,
) -> rusqlite::Result<Vec<OpenTask>> {
    let lane = lanes.lane(ordered(target.0));
    let snapshot = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    // Ended tasks of the target lie before the oldest open one of all, mostly: skip them at once.
    let Some(oldest) = oldest_open(&snapshot)? else {
        return Ok(found);
    };
    let mut after = ordered(after.0).max(oldest - 1);
    while found.len() < limit {
        let ids = lane.oldest(&snapshot, after, limit.min(WALK_PAGE))?;
        let Some(last) = ids.last() else { break };
        after = *last;
        for id in ids {
            if found.len() == limit {
                break;
            }
            let open = open_task(&snapshot, id)?;
            found.extend(open.filter(|task| task.priority != Priority::Held));
        }
    }
    Ok(found)
}

fn column(mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<Vec<i64>> {
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(row.get(0)?);
    }
    Ok(ids)
}

fn oldest_open(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT min(id) FROM open")?
        .query_row((), |row| row.get(0))
}

fn open_task(connection: &Connection, id: i64) -> rusqlite::Result<Option<OpenTask>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        open_columns!(),
        " FROM open o CROSS JOIN task t ON t.id = o.id WHERE o.id = ?1"
    ))?;
    statement.query_row((id,), open_of).optional()
}

pub fn task(connection: &Connection, id: TaskId) -> rusqlite::Result<Option<StoredTask>> {
    // A task may end between the two questions, so both are asked of one snapshot.
    let snapshot = connection.unchecked_transaction()?;
    stored(&snapshot, ordered(id.0))
}

fn stored(connection: &Connection, id: i64) -> rusqlite::Result<Option<StoredTask>> {
    if let Some(open) = open_task(connection, id)? {
        return Ok(Some(StoredTask {
            id: open.id,
            target: open.target,
            run: open.run,
            batch: open.batch,
            body: open.body.clone(),
            stand: Stand::Open(Box::new(open)),
        }));
    }
    connection
        .prepare_cached(
            "SELECT t.id, t.target, t.run, t.batch, t.body, r.status, r.changed, r.at, r.ending, r.position \
             FROM result r CROSS JOIN task t ON t.id = r.task WHERE r.task = ?1",
        )?
        .query_row((id,), ended_of)
        .optional()
}

fn ended_of(row: &Row<'_>) -> rusqlite::Result<StoredTask> {
    Ok(StoredTask {
        id: TaskId(unsigned(row.get(0)?)),
        target: Uid(unsigned(row.get(1)?)),
        run: row.get::<_, Option<i64>>(2)?.map(|r| RunId(unsigned(r))),
        batch: row.get(3)?,
        body: bytes(row, 4)?,
        stand: Stand::Ended {
            status: status_of(row, 5)?,
            changed: row.get(6)?,
            at: Time(row.get(7)?),
            ending: bytes(row, 8)?,
        },
    })
}

pub fn results(
    connection: &Connection,
    after: Position,
    limit: usize,
) -> rusqlite::Result<Vec<(Position, StoredTask)>> {
    connection
        .prepare_cached(
            "SELECT t.id, t.target, t.run, t.batch, t.body, r.status, r.changed, r.at, r.ending, r.position \
             FROM result r CROSS JOIN task t ON t.id = r.task WHERE r.position > ?1 \
             ORDER BY r.position LIMIT ?2",
        )?
        .query_map((ordered(after), page(limit)), |row| Ok((unsigned(row.get(9)?), ended_of(row)?)))?
        .collect()
}

pub fn run_tasks(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<RunTask>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut newest: HashMap<u64, usize> = HashMap::new();
    let mut tasks: Vec<Option<RunTask>> = Vec::new();
    let mut select = snapshot.prepare_cached(
        "SELECT t.id, t.target, t.batch, r.status, r.changed, r.attempt, o.priority, o.attempt, o.sent_at \
         FROM task t LEFT JOIN open o ON o.id = t.id \
         LEFT JOIN result r INDEXED BY result_task ON r.task = t.id \
         WHERE t.run = ?1 ORDER BY t.id",
    )?;
    let mut rows = select.query((ordered(run.0),))?;
    while let Some(row) = rows.next()? {
        let open = row.get_ref(6)? != ValueRef::Null;
        let task = RunTask {
            id: TaskId(unsigned(row.get(0)?)),
            target: Uid(unsigned(row.get(1)?)),
            batch: row.get(2)?,
            attempt: row.get(if open { 7 } else { 5 })?,
            status: if open { None } else { Some(status_of(row, 3)?) },
            changed: !open && row.get(4)?,
            priority: if open {
                Some(priority_of(row, 6)?)
            } else {
                None
            },
            sent: open && row.get_ref(8)? != ValueRef::Null,
        };
        if let Some(older) = newest.insert(task.target.0, tasks.len()) {
            tasks[older] = None;
        }
        tasks.push(Some(task));
    }
    Ok(tasks.into_iter().flatten().collect())
}

/// Where the ids of a query come from, newest first; the other conditions are then tested one by one.
enum Source {
    Target(Lane),
    Run(i64),
    Open,
    /// Ended with one of these, none of them `Done`: those have an index of their own.
    Bad(Vec<Status>),
    All,
}

pub fn tasks(
    connection: &Connection,
    lanes: &Lanes,
    query: &TaskQuery,
) -> rusqlite::Result<Vec<StoredTask>> {
    let mut found = Vec::new();
    if query.open && !query.status.is_empty() {
        return Ok(found);
    }
    let lane = query.target.map(|target| lanes.lane(ordered(target.0)));
    let snapshot = connection.unchecked_transaction()?;
    let source = match (lane, query.run) {
        (Some(lane), _) => Source::Target(lane),
        (None, Some(run)) => Source::Run(ordered(run.0)),
        (None, None) if query.open => Source::Open,
        (None, None) if query.status.is_empty() => Source::All,
        (None, None) if query.status.contains(&Status::Done) => Source::All,
        (None, None) => Source::Bad(query.status.clone()),
    };
    let mut before = query.before.map_or(i64::MAX, |id| ordered(id.0));
    while found.len() < query.limit {
        let ids = newest_ids(&snapshot, &source, before)?;
        let Some(last) = ids.last() else { break };
        before = *last;
        for id in ids {
            if found.len() == query.limit {
                break;
            }
            if !stands_as_asked(&snapshot, id, query)? {
                continue;
            }
            found.extend(
                stored(&snapshot, id)?.filter(|t| query.run.is_none() || t.run == query.run),
            );
        }
    }
    Ok(found)
}

fn newest_ids(connection: &Connection, source: &Source, before: i64) -> rusqlite::Result<Vec<i64>> {
    let select = |sql: &str, key: i64| {
        column(
            connection
                .prepare_cached(sql)?
                .query((key, before, page(WALK_PAGE)))?,
        )
    };
    let by_run = "SELECT id FROM task WHERE run = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    let open = "SELECT id FROM open WHERE ?1 = 0 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    let by_status = "SELECT task FROM result INDEXED BY result_bad \
         WHERE status = ?1 AND status != 1 AND task < ?2 ORDER BY task DESC LIMIT ?3";
    let all = "SELECT id FROM task WHERE ?1 = 0 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    let lists: Vec<Vec<i64>> = match source {
        Source::Target(lane) => return lane.newest(connection, before, WALK_PAGE),
        Source::Run(run) => return select(by_run, *run),
        Source::All => return select(all, 0),
        Source::Open => return select(open, 0),
        Source::Bad(statuses) => statuses
            .iter()
            .map(|s| select(by_status, i64::from(*s as u8)))
            .collect::<rusqlite::Result<_>>()?,
    };
    Ok(merge_newest(lists))
}

/// The newest `WALK_PAGE` ids of several lists that are each newest first.
fn merge_newest(lists: Vec<Vec<i64>>) -> Vec<i64> {
    let mut ids: Vec<i64> = lists.into_iter().flatten().collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids.truncate(WALK_PAGE);
    ids
}

/// Whether the task is open or ended as the query wants, read from narrow rows only.
fn stands_as_asked(connection: &Connection, id: i64, query: &TaskQuery) -> rusqlite::Result<bool> {
    if query.open {
        return connection
            .prepare_cached("SELECT 1 FROM open WHERE id = ?1")?
            .exists((id,));
    }
    if query.status.is_empty() {
        return Ok(true);
    }
    let status = connection
        .prepare_cached("SELECT status FROM result WHERE task = ?1")?
        .query_row((id,), |row| status_of(row, 0))
        .optional()?;
    Ok(status.is_some_and(|s| query.status.contains(&s)))
}
