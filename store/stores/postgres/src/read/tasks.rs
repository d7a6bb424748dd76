//! Tasks: the open ones, those of a lane or a run, and how each stands.

use super::{bytes, bytes_or_none, each};
use crate::error::Trouble;
use crate::numbers::{ordered, page, small, unsigned};
use crate::pool::Pool;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::{
    Line, OpenTask, Position, RunTask, Sent, Stand, StoreError, StoredTask, TaskQuery,
};
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Columns 0 to 11, of an open task: `open_of` reads them.
macro_rules! open_columns {
    () => {
        "t.id, t.target, t.run, t.batch, t.body, o.priority, o.attempt, o.not_before, o.sent_epoch, o.sent_at, \
         o.checkpoint, o.history"
    };
}
/// Columns 12 to 16, of an ended one. At one moment a task has one of both.
macro_rules! ended_columns {
    () => {
        "r.status, r.changed, r.at, r.ending, r.position"
    };
}
macro_rules! stored_columns {
    () => {
        concat!(open_columns!(), ", ", ended_columns!())
    };
}

const OPEN: &str = concat!(
    "SELECT ",
    open_columns!(),
    " FROM open o JOIN task t ON t.id = o.id \
      WHERE o.priority = $1 AND o.line = $2 AND o.id > $3 ORDER BY o.id LIMIT $4"
);
/// From each line straight to the next: the cost is by lines, not by tasks.
const LINES: &str = "WITH RECURSIVE line(priority, line) AS ( \
        (SELECT priority, line FROM open ORDER BY priority, line LIMIT 1) \
        UNION ALL \
        SELECT n.priority, n.line FROM line l CROSS JOIN LATERAL ( \
            SELECT o.priority, o.line FROM open o WHERE (o.priority, o.line) > (l.priority, l.line) \
            ORDER BY o.priority, o.line LIMIT 1) n) \
     SELECT priority, line FROM line";
const LANE: &str = concat!(
    "SELECT ",
    open_columns!(),
    " FROM open o JOIN task t ON t.id = o.id \
      WHERE o.target = $1 AND o.id > $2 AND o.priority <> 0 ORDER BY o.id LIMIT $3"
);
const ONE: &str = concat!(
    "SELECT ",
    stored_columns!(),
    " FROM task t LEFT JOIN open o ON o.id = t.id LEFT JOIN result r ON r.task = t.id WHERE t.id = $1"
);
const RESULTS: &str = concat!(
    "SELECT t.id, t.target, t.run, t.batch, t.body, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ",
    ended_columns!(),
    " FROM result r JOIN task t ON t.id = r.task WHERE r.position > $1 ORDER BY r.position LIMIT $2"
);
const OF_RUN: &str = "SELECT t.id, t.target, t.batch, r.status, r.changed, r.attempt, o.priority, o.attempt, o.sent_at \
     FROM task t LEFT JOIN open o ON o.id = t.id LEFT JOIN result r ON r.task = t.id \
     WHERE t.run = $1 ORDER BY t.id";

fn open_of(row: &Row) -> Result<OpenTask, Trouble> {
    let fence: Option<i64> = row.try_get(8)?;
    let sent_at: Option<i64> = row.try_get(9)?;
    Ok(OpenTask {
        id: TaskId(unsigned(row.try_get(0)?)),
        target: Uid(unsigned(row.try_get(1)?)),
        run: row
            .try_get::<_, Option<i64>>(2)?
            .map(|r| RunId(unsigned(r))),
        priority: priority_of(row, 5)?,
        batch: small(row.try_get(3)?),
        attempt: small(row.try_get(6)?),
        not_before: row.try_get::<_, Option<i64>>(7)?.map(Time),
        sent: fence.zip(sent_at).map(|(fence, at)| Sent {
            fence: fence.cast_unsigned(),
            at: Time(at),
        }),
        checkpoint: bytes_or_none(row, 10)?,
        history: row.try_get::<_, Option<String>>(11)?.unwrap_or_default(),
        body: bytes(row, 4)?,
    })
}

pub fn priority_of(row: &Row, column: usize) -> Result<Priority, Trouble> {
    let number: i16 = row.try_get(column)?;
    let known = u8::try_from(number).ok().and_then(Priority::from_number);
    known.ok_or_else(|| Trouble::Odd(format!("{number} is no priority")))
}

pub fn status_of(row: &Row, column: usize) -> Result<Status, Trouble> {
    let number: i16 = row.try_get(column)?;
    let known = u8::try_from(number).ok().and_then(Status::from_number);
    known.ok_or_else(|| Trouble::Odd(format!("{number} is no status")))
}

fn stored_of(row: &Row) -> Result<StoredTask, Trouble> {
    let stand = if row.try_get::<_, Option<i16>>(12)?.is_some() {
        Stand::Ended {
            status: status_of(row, 12)?,
            changed: row.try_get(13)?,
            at: Time(row.try_get(14)?),
            ending: bytes(row, 15)?,
        }
    } else {
        Stand::Open(Box::new(open_of(row)?))
    };
    Ok(StoredTask {
        id: TaskId(unsigned(row.try_get(0)?)),
        target: Uid(unsigned(row.try_get(1)?)),
        run: row
            .try_get::<_, Option<i64>>(2)?
            .map(|r| RunId(unsigned(r))),
        batch: small(row.try_get(3)?),
        body: bytes(row, 4)?,
        stand,
    })
}

pub async fn open_tasks(
    pool: &Pool,
    priority: Priority,
    line: Line,
    after: TaskId,
    limit: usize,
) -> Result<Vec<OpenTask>, StoreError> {
    const WHAT: &str = "list open tasks";
    let (priority, line) = (i16::from(priority as u8), i32::from(line));
    let params: [&(dyn ToSql + Sync); 4] = [&priority, &line, &ordered(after.0), &page(limit)];
    each(WHAT, &pool.rows(WHAT, OPEN, &params).await?, open_of)
}

pub async fn lines(pool: &Pool) -> Result<Vec<(Priority, Line)>, StoreError> {
    const WHAT: &str = "list lines of open tasks";
    each(WHAT, &pool.rows(WHAT, LINES, &[]).await?, |row| {
        let line: i32 = row.try_get(1)?;
        Ok((
            priority_of(row, 0)?,
            Line::try_from(line).unwrap_or(Line::MAX),
        ))
    })
}

pub async fn lane_tasks(
    pool: &Pool,
    target: Uid,
    after: TaskId,
    limit: usize,
) -> Result<Vec<OpenTask>, StoreError> {
    const WHAT: &str = "list a lane";
    let params: [&(dyn ToSql + Sync); 3] = [&ordered(target.0), &ordered(after.0), &page(limit)];
    each(WHAT, &pool.rows(WHAT, LANE, &params).await?, open_of)
}

pub async fn task(pool: &Pool, id: TaskId) -> Result<Option<StoredTask>, StoreError> {
    const WHAT: &str = "read a task";
    let rows = pool.rows(WHAT, ONE, &[&ordered(id.0)]).await?;
    Ok(each(WHAT, &rows, stored_of)?.pop())
}

pub async fn results(
    pool: &Pool,
    after: Position,
    limit: usize,
) -> Result<Vec<(Position, StoredTask)>, StoreError> {
    const WHAT: &str = "read results";
    let rows = pool
        .rows(WHAT, RESULTS, &[&ordered(after), &page(limit)])
        .await?;
    each(WHAT, &rows, |row| {
        Ok((unsigned(row.try_get(16)?), stored_of(row)?))
    })
}

pub async fn run_tasks(pool: &Pool, run: RunId) -> Result<Vec<RunTask>, StoreError> {
    const WHAT: &str = "list the tasks of a run";
    let rows = pool.rows(WHAT, OF_RUN, &[&ordered(run.0)]).await?;
    let mut newest: HashMap<Uid, usize> = HashMap::new();
    let mut tasks: Vec<Option<RunTask>> = Vec::new();
    for task in each(WHAT, &rows, run_task_of)? {
        if let Some(older) = newest.insert(task.target, tasks.len()) {
            tasks[older] = None;
        }
        tasks.push(Some(task));
    }
    Ok(tasks.into_iter().flatten().collect())
}

fn run_task_of(row: &Row) -> Result<RunTask, Trouble> {
    let open = row.try_get::<_, Option<i16>>(6)?.is_some();
    Ok(RunTask {
        id: TaskId(unsigned(row.try_get(0)?)),
        target: Uid(unsigned(row.try_get(1)?)),
        batch: small(row.try_get(2)?),
        attempt: small(row.try_get(if open { 7 } else { 5 })?),
        status: if open { None } else { Some(status_of(row, 3)?) },
        changed: !open && row.try_get(4)?,
        priority: if open {
            Some(priority_of(row, 6)?)
        } else {
            None
        },
        sent: open && row.try_get::<_, Option<i64>>(8)?.is_some(),
    })
}

pub async fn tasks(pool: &Pool, query: &TaskQuery) -> Result<Vec<StoredTask>, StoreError> {
    const WHAT: &str = "list tasks";
    if query.open && !query.status.is_empty() {
        return Ok(Vec::new());
    }
    let target = query.target.map(|t| ordered(t.0));
    let run = query.run.map(|r| ordered(r.0));
    let statuses: Vec<i16> = query.status.iter().map(|s| i16::from(*s as u8)).collect();
    let (before, limit) = (
        query.before.map_or(i64::MAX, |id| ordered(id.0)),
        page(query.limit),
    );
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&before, &limit];
    let sql = text(query, |value| {
        params.push(match value {
            Value::Target => &target,
            Value::Run => &run,
            Value::Statuses => &statuses,
        });
        params.len()
    });
    each(WHAT, &pool.rows(WHAT, &sql, &params).await?, stored_of)
}

enum Value {
    Target,
    Run,
    Statuses,
}

/// The statement for the conditions that are given: each walks the index that leaves least to look at, newest first.
fn text(query: &TaskQuery, mut parameter: impl FnMut(Value) -> usize) -> String {
    let ended_badly = !query.status.is_empty() && !query.status.contains(&Status::Done);
    let columns = stored_columns!();
    if query.target.is_none() && query.run.is_none() && ended_badly {
        // Rare, and with an index of their own: the newest of each status, and of those the newest.
        let statuses = parameter(Value::Statuses);
        return format!(
            "SELECT {columns} FROM ( \
                SELECT n.task FROM unnest(${statuses}::smallint[]) AS s(status) CROSS JOIN LATERAL ( \
                    SELECT r.task FROM result r WHERE r.status = s.status AND r.status <> 1 AND r.task < $1 \
                    ORDER BY r.task DESC LIMIT $2) n \
                ORDER BY n.task DESC LIMIT $2) newest \
             JOIN task t ON t.id = newest.task JOIN result r ON r.task = t.id LEFT JOIN open o ON o.id = t.id \
             ORDER BY t.id DESC"
        );
    }
    let (from, key) = if query.open {
        (
            "open o JOIN task t ON t.id = o.id LEFT JOIN result r ON r.task = t.id",
            "o",
        )
    } else if query.status.is_empty() {
        (
            "task t LEFT JOIN open o ON o.id = t.id LEFT JOIN result r ON r.task = t.id",
            "t",
        )
    } else {
        (
            "task t JOIN result r ON r.task = t.id LEFT JOIN open o ON o.id = t.id",
            "t",
        )
    };
    let mut conditions = format!("{key}.id < $1");
    if query.target.is_some() {
        conditions.push_str(&format!(
            " AND {key}.target = ${}",
            parameter(Value::Target)
        ));
    }
    if query.run.is_some() {
        conditions.push_str(&format!(" AND t.run = ${}", parameter(Value::Run)));
    }
    if !query.status.is_empty() {
        conditions.push_str(&format!(
            " AND r.status = ANY(${}::smallint[])",
            parameter(Value::Statuses)
        ));
    }
    // A run has few open tasks compared with all that are open: walk the run then.
    let order = if query.open && query.run.is_some() && query.target.is_none() {
        "t"
    } else {
        key
    };
    format!("SELECT {columns} FROM {from} WHERE {conditions} ORDER BY {order}.id DESC LIMIT $2")
}
