//! Rows as they are, out of and into the tables: see `sengu_store::moving`.

use crate::apply::Applier;
use crate::head::Head;
use crate::lanes::Place;
use crate::schema::{entry_position, entry_range, ordered, page, unsigned};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row as Columns};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::moving::{Counters, Key, Part, Row, RowStand, TaskRow};
use sengu_store::{Sent, StoredRecord};

/// How a task and all that is known of it are selected.
const TASKS: &str = "SELECT t.id, t.target, t.run, t.batch, t.body, o.priority, o.line, o.attempt, o.not_before, \
        o.sent_epoch, o.sent_at, o.checkpoint, o.history, r.position, r.status, r.changed, r.attempt, r.at, r.ending \
     FROM task t LEFT JOIN open o ON o.id = t.id LEFT JOIN result r INDEXED BY result_task ON r.task = t.id ";
const RECORDS: &str = "SELECT kind, name, uid, revision, body FROM record ";

pub fn export(
    connection: &Connection,
    part: Part,
    after: Option<&Row>,
    limit: usize,
) -> rusqlite::Result<Vec<Row>> {
    let limit = page(limit);
    match part {
        Part::Meta => {
            let after = match after {
                Some(Row::Meta { key, .. }) => Some(key),
                _ => None,
            };
            connection
                .prepare_cached(
                    "SELECT key, value FROM meta WHERE ?1 IS NULL OR key > ?1 ORDER BY key LIMIT ?2",
                )?
                .query_map((after, limit), meta_of)?
                .collect()
        }
        Part::Records => {
            let (kind, name) = match after {
                Some(Row::Record(record)) => (record.kind.as_str(), record.name.as_str()),
                _ => ("", ""),
            };
            connection
                .prepare_cached(&format!(
                    "{RECORDS} WHERE (kind, name) > (?1, ?2) ORDER BY kind, name LIMIT ?3"
                ))?
                .query_map((kind, name, limit), record_of)?
                .collect()
        }
        Part::Changes => {
            let after = match after {
                Some(Row::Change { revision, .. }) => ordered(*revision),
                _ => 0,
            };
            connection
                .prepare_cached(
                    "SELECT revision, kind, name, deleted FROM change WHERE revision > ?1 \
                     ORDER BY revision LIMIT ?2",
                )?
                .query_map((after, limit), |row| {
                    Ok(Row::Change {
                        revision: unsigned(row.get(0)?),
                        kind: row.get(1)?,
                        name: row.get(2)?,
                        deleted: row.get(3)?,
                    })
                })?
                .collect()
        }
        Part::Tasks => {
            let after = match after {
                Some(Row::Task(task)) => ordered(task.id.0),
                _ => -1,
            };
            connection
                .prepare_cached(&format!("{TASKS} WHERE t.id > ?1 ORDER BY t.id LIMIT ?2"))?
                .query_map((after, limit), |row| Ok(Row::Task(task_of(row)?)))?
                .collect()
        }
        Part::Entries => entries(connection, after, limit),
        Part::Counters if after.is_some() => Ok(Vec::new()),
        Part::Counters => {
            let head = Head::load(connection)?;
            Ok(vec![Row::Counters(Counters {
                revision: unsigned(head.revision),
                change_oldest: unsigned(head.change_oldest),
                position: unsigned(head.position),
                last_id: unsigned(head.last_id),
                records: unsigned(head.records),
                tasks_open: unsigned(head.tasks_open),
                tasks_ended: unsigned(head.tasks_ended),
            })])
        }
    }
}

/// The rows of these keys, those that are there.
pub fn rows(connection: &Connection, keys: &[Key]) -> rusqlite::Result<Vec<Row>> {
    let mut metas = connection.prepare_cached("SELECT key, value FROM meta WHERE key = ?1")?;
    let mut records =
        connection.prepare_cached(&format!("{RECORDS} WHERE kind = ?1 AND name = ?2"))?;
    let mut tasks = connection.prepare_cached(&format!("{TASKS} WHERE t.id = ?1"))?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let row = match key {
            Key::Meta(key) => metas.query_row((key,), meta_of).optional()?,
            Key::Record(kind, name) => records.query_row((kind, name), record_of).optional()?,
            Key::Task(id) => tasks
                .query_row((ordered(id.0),), |row| Ok(Row::Task(task_of(row)?)))
                .optional()?,
        };
        found.extend(row);
    }
    Ok(found)
}

pub fn held(connection: &Connection, run: RunId, batch: u32) -> rusqlite::Result<Vec<TaskId>> {
    connection
        .prepare_cached(
            "SELECT id FROM open INDEXED BY open_held WHERE priority = 0 AND run = ?1 AND batch <= ?2",
        )?
        .query_map((ordered(run.0), batch), |row| {
            Ok(TaskId(unsigned(row.get(0)?)))
        })?
        .collect()
}

/// Within the writer's transaction; whoever knows what was there must forget it after.
pub fn clear(connection: &Connection, applier: &mut Applier<'_>) -> rusqlite::Result<()> {
    for table in [
        "task",
        "lane",
        "lane_part",
        "open",
        "result",
        "record",
        "change",
        "stream",
        "entry",
        "meta",
    ] {
        connection.execute(&format!("DELETE FROM {table}"), ())?;
    }
    applier.streams.clear();
    applier.head = Head {
        change_oldest: 1,
        ..Head::default()
    };
    Ok(())
}

fn meta_of(row: &Columns<'_>) -> rusqlite::Result<Row> {
    Ok(Row::Meta {
        key: row.get(0)?,
        value: bytes(row, 1)?,
    })
}

fn record_of(row: &Columns<'_>) -> rusqlite::Result<Row> {
    Ok(Row::Record(StoredRecord {
        kind: row.get(0)?,
        name: row.get(1)?,
        uid: Uid(unsigned(row.get(2)?)),
        revision: unsigned(row.get(3)?),
        body: bytes(row, 4)?,
    }))
}

fn bytes(row: &Columns<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob()?))
}

fn number<T>(row: &Columns<'_>, column: usize, of: fn(u8) -> Option<T>) -> rusqlite::Result<T> {
    let number: u8 = row.get(column)?;
    of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(
        column,
        i64::from(number),
    ))
}

fn task_of(row: &Columns<'_>) -> rusqlite::Result<TaskRow> {
    let open = row.get::<_, Option<i64>>(5)?.is_some();
    let stand = if open {
        let sent: (Option<i64>, Option<i64>) = (row.get(9)?, row.get(10)?);
        let checkpoint = row.get_ref(11)?.as_blob_or_null()?;
        RowStand::Open {
            priority: number(row, 5, Priority::from_number)?,
            line: row.get(6)?,
            attempt: row.get(7)?,
            not_before: row.get::<_, Option<i64>>(8)?.map(Time),
            sent: sent.0.zip(sent.1).map(|(fence, at)| Sent {
                fence: fence.cast_unsigned(),
                at: Time(at),
            }),
            checkpoint: checkpoint.map(Bytes::copy_from_slice),
            history: row.get(12)?,
        }
    } else {
        RowStand::Ended {
            position: unsigned(row.get(13)?),
            status: number(row, 14, Status::from_number)?,
            changed: row.get(15)?,
            attempt: row.get(16)?,
            at: Time(row.get(17)?),
            ending: bytes(row, 18)?,
        }
    };
    Ok(TaskRow {
        id: TaskId(unsigned(row.get(0)?)),
        target: Uid(unsigned(row.get(1)?)),
        run: row.get::<_, Option<i64>>(2)?.map(|r| RunId(unsigned(r))),
        batch: row.get(3)?,
        body: bytes(row, 4)?,
        stand,
    })
}

/// Streams are numbered as they came, which is another order in each store: they go by name.
fn entries(connection: &Connection, after: Option<&Row>, limit: i64) -> rusqlite::Result<Vec<Row>> {
    let (from, mut position) = match after {
        Some(Row::Entry {
            stream, position, ..
        }) => (stream.as_str(), *position),
        _ => ("", 0),
    };
    let streams: Vec<(i64, String)> = connection
        .prepare_cached("SELECT id, name FROM stream WHERE name >= ?1 ORDER BY name")?
        .query_map((from,), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut select = connection.prepare_cached(
        "SELECT id, key, at, body FROM entry WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = Vec::new();
    for (id, stream) in streams {
        let room = limit - ordered(rows.len() as u64);
        if room == 0 {
            break;
        }
        if stream != from {
            position = 0;
        }
        let (first, last) = entry_range(id, position);
        let found = select.query_map((first, last, room), |row| {
            Ok(Row::Entry {
                stream: stream.clone(),
                position: entry_position(row.get(0)?),
                key: row.get::<_, i64>(1)?.cast_unsigned(),
                at: Time(row.get(2)?),
                body: bytes(row, 3)?,
            })
        })?;
        for row in found {
            rows.push(row?);
        }
    }
    Ok(rows)
}

/// Within the writer's transaction.
pub fn import(
    connection: &Connection,
    applier: &mut Applier<'_>,
    rows: &[Row],
) -> rusqlite::Result<()> {
    for row in rows {
        match row {
            Row::Meta { key, value } => {
                applier.statements.meta_put.execute((key, &value[..]))?;
            }
            Row::Record(record) => {
                let row = (
                    &record.kind,
                    &record.name,
                    ordered(record.uid.0),
                    ordered(record.revision),
                    &record.body[..],
                );
                if applier.statements.record_update.execute(row)? == 0 {
                    applier.statements.record_insert.execute(row)?;
                }
            }
            Row::NoRecord { kind, name } => {
                applier.statements.record_delete.execute((kind, name))?;
            }
            Row::Change {
                revision,
                kind,
                name,
                deleted,
            } => {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO change(revision, kind, name, deleted) VALUES (?1, ?2, ?3, ?4)")?
                    .execute((ordered(*revision), kind, name, deleted))?;
            }
            Row::Task(task) => import_task(connection, applier, task)?,
            Row::Entry {
                stream,
                position,
                key,
                at,
                body,
            } => {
                let (id, _) = entry_range(applier.stream(stream)?, *position);
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO entry(id, key, at, body) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute((id, key.cast_signed(), at.0, &body[..]))?;
            }
            Row::Counters(counters) => {
                applier.head = Head {
                    revision: ordered(counters.revision),
                    change_oldest: ordered(counters.change_oldest),
                    position: ordered(counters.position),
                    last_id: ordered(counters.last_id),
                    records: ordered(counters.records),
                    tasks_open: ordered(counters.tasks_open),
                    tasks_ended: ordered(counters.tasks_ended),
                };
            }
        }
    }
    Ok(())
}

fn import_task(
    connection: &Connection,
    applier: &mut Applier<'_>,
    task: &TaskRow,
) -> rusqlite::Result<()> {
    let id = ordered(task.id.0);
    let (run, target) = (task.run.map(|r| ordered(r.0)), ordered(task.target.0));
    let there: Option<i64> = connection
        .prepare_cached("SELECT target FROM task WHERE id = ?1")?
        .query_row((id,), |row| row.get(0))
        .optional()?;
    if there.is_none() {
        let row = (id, target, run, task.batch, &task.body[..]);
        applier.statements.task_insert.execute(row)?;
        applier.place(Place { target, task: id })?;
    } else {
        // The fixed part of a task never changes; how it stands may have.
        connection
            .prepare_cached("DELETE FROM open WHERE id = ?1")?
            .execute((id,))?;
        connection
            .prepare_cached(
                "DELETE FROM result WHERE position = (SELECT position FROM result WHERE task = ?1)",
            )?
            .execute((id,))?;
    }
    match &task.stand {
        RowStand::Open {
            priority,
            line,
            attempt,
            not_before,
            sent,
            checkpoint,
            history,
        } => connection
            .prepare_cached(
                "INSERT INTO open(id, priority, line, attempt, run, batch, not_before, sent_epoch, sent_at, checkpoint, history) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute((
                id,
                *priority as u8,
                line,
                attempt,
                run,
                task.batch,
                not_before.map(|at| at.0),
                sent.map(|sent| sent.fence.cast_signed()),
                sent.map(|sent| sent.at.0),
                checkpoint.as_deref(),
                history,
            ))?,
        RowStand::Ended {
            position,
            status,
            changed,
            attempt,
            at,
            ending,
        } => applier.statements.result_insert.execute((
            ordered(*position),
            id,
            *status as u8,
            changed,
            attempt,
            at.0,
            &ending[..],
        ))?,
    };
    Ok(())
}
