//! Rows as they are, out of and into the tables: see `sengu_store::moving`.

use crate::apply::column;
use crate::error::Trouble;
use crate::head::Head;
use crate::numbers::{ordered, page, small, unsigned};
use crate::pool::Pool;
use crate::read::each;
use crate::read::tasks::{priority_of, status_of};
use crate::session::{Params, Session};
use bytes::Bytes;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::moving::{Counters, Key, Part, Row, RowStand, TaskRow};
use sengu_store::{Sent, StoreError, StoredRecord};
use std::collections::{HashMap, HashSet};
use tokio_postgres::Row as Columns;

const WHAT: &str = "export rows";
const META: &str = "SELECT key, value FROM meta WHERE key > $1 ORDER BY key LIMIT $2";
const META_FIRST: &str = "SELECT key, value FROM meta ORDER BY key LIMIT $1";
const RECORDS: &str = "SELECT kind, name, uid, revision, body FROM record WHERE (kind, name) > ($1, $2) \
     ORDER BY kind, name LIMIT $3";
const CHANGES: &str = "SELECT revision, kind, name, deleted FROM change WHERE revision > $1 ORDER BY revision LIMIT $2";
const TASKS: &str = "SELECT t.id, t.target, t.run, t.batch, t.body, o.priority, o.line, o.attempt, o.not_before, \
        o.sent_epoch, o.sent_at, o.checkpoint, o.history, r.position, r.status, r.changed, r.attempt, r.at, r.ending \
     FROM task t LEFT JOIN open o ON o.id = t.id LEFT JOIN result r ON r.task = t.id \
     WHERE t.id > $1 ORDER BY t.id LIMIT $2";
const TASKS_OF: &str = "SELECT t.id, t.target, t.run, t.batch, t.body, o.priority, o.line, o.attempt, o.not_before, \
        o.sent_epoch, o.sent_at, o.checkpoint, o.history, r.position, r.status, r.changed, r.attempt, r.at, r.ending \
     FROM task t LEFT JOIN open o ON o.id = t.id LEFT JOIN result r ON r.task = t.id \
     WHERE t.id = ANY($1::bigint[])";
const METAS_OF: &str = "SELECT key, value FROM meta WHERE key = ANY($1::text[])";
const RECORDS_OF: &str = "SELECT r.kind, r.name, r.uid, r.revision, r.body \
     FROM unnest($1::text[], $2::text[]) AS wanted(kind, name) \
     JOIN record r ON r.kind = wanted.kind AND r.name = wanted.name";
const HELD: &str = "SELECT id FROM open WHERE priority = 0 AND run = $1 AND batch <= $2";
/// Blobs stay: they are named by what is in them.
const CLEAR: &str = "TRUNCATE task, open, result, record, change, stream, entry, meta";
const STREAMS: &str = "SELECT id, name FROM stream WHERE name >= $1 ORDER BY name";
const ENTRIES: &str = "SELECT position, key, at, body FROM entry WHERE stream = $1 AND position > $2 ORDER BY position LIMIT $3";

pub async fn export(
    pool: &Pool,
    part: Part,
    after: Option<&Row>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let limit = page(limit);
    match (part, after) {
        (Part::Meta, Some(Row::Meta { key, .. })) => {
            each(WHAT, &pool.rows(WHAT, META, &[key, &limit]).await?, meta_of)
        }
        (Part::Meta, _) => each(
            WHAT,
            &pool.rows(WHAT, META_FIRST, &[&limit]).await?,
            meta_of,
        ),
        (Part::Records, after) => {
            let (kind, name) = match after {
                Some(Row::Record(record)) => (record.kind.as_str(), record.name.as_str()),
                _ => ("", ""),
            };
            let rows = pool.rows(WHAT, RECORDS, &[&kind, &name, &limit]).await?;
            each(WHAT, &rows, record_of)
        }
        (Part::Changes, after) => {
            let after = match after {
                Some(Row::Change { revision, .. }) => ordered(*revision),
                _ => 0,
            };
            each(
                WHAT,
                &pool.rows(WHAT, CHANGES, &[&after, &limit]).await?,
                change_of,
            )
        }
        (Part::Tasks, after) => {
            let after = match after {
                Some(Row::Task(task)) => ordered(task.id.0),
                _ => -1,
            };
            each(
                WHAT,
                &pool.rows(WHAT, TASKS, &[&after, &limit]).await?,
                task_of,
            )
        }
        (Part::Entries, after) => entries(pool, after, limit).await,
        (Part::Counters, Some(_)) => Ok(Vec::new()),
        (Part::Counters, None) => {
            let rows = pool.rows(WHAT, crate::head::SELECT, &[]).await?;
            each(WHAT, &rows, |row| Ok(counters_of(Head::of(row)?)))
        }
    }
}

/// The rows of these keys, those that are there.
pub async fn rows(pool: &Pool, keys: &[Key]) -> Result<Vec<Row>, StoreError> {
    let (mut metas, mut kinds, mut names, mut tasks) = (vec![], vec![], vec![], vec![]);
    for key in keys {
        match key {
            Key::Meta(key) => metas.push(key.as_str()),
            Key::Record(kind, name) => {
                kinds.push(kind.as_str());
                names.push(name.as_str());
            }
            Key::Task(id) => tasks.push(ordered(id.0)),
        }
    }
    let mut found = Vec::with_capacity(keys.len());
    if !metas.is_empty() {
        let rows = pool.rows(WHAT, METAS_OF, &[&metas]).await?;
        found.extend(each(WHAT, &rows, meta_of)?);
    }
    if !kinds.is_empty() {
        let rows = pool.rows(WHAT, RECORDS_OF, &[&kinds, &names]).await?;
        found.extend(each(WHAT, &rows, record_of)?);
    }
    if !tasks.is_empty() {
        let rows = pool.rows(WHAT, TASKS_OF, &[&tasks]).await?;
        found.extend(each(WHAT, &rows, task_of)?);
    }
    Ok(found)
}

pub async fn held(pool: &Pool, run: RunId, batch: u32) -> Result<Vec<TaskId>, StoreError> {
    let (run, batch) = (ordered(run.0), i64::from(batch));
    let rows = pool.rows(WHAT, HELD, &[&run, &batch]).await?;
    each(WHAT, &rows, |row| Ok(TaskId(unsigned(row.try_get(0)?))))
}

/// Within the writer's transaction. Gives the counters of a store that holds nothing.
pub async fn clear(session: &Session) -> Result<Head, Trouble> {
    session.batch(CLEAR).await?;
    Ok(Head {
        change_oldest: 1,
        ..Head::default()
    })
}

fn bytes(row: &Columns, column: usize) -> Result<Bytes, Trouble> {
    Ok(Bytes::copy_from_slice(row.try_get(column)?))
}

fn meta_of(row: &Columns) -> Result<Row, Trouble> {
    Ok(Row::Meta {
        key: row.try_get(0)?,
        value: bytes(row, 1)?,
    })
}

fn record_of(row: &Columns) -> Result<Row, Trouble> {
    Ok(Row::Record(StoredRecord {
        kind: row.try_get(0)?,
        name: row.try_get(1)?,
        uid: Uid(unsigned(row.try_get(2)?)),
        revision: unsigned(row.try_get(3)?),
        body: bytes(row, 4)?,
    }))
}

fn change_of(row: &Columns) -> Result<Row, Trouble> {
    Ok(Row::Change {
        revision: unsigned(row.try_get(0)?),
        kind: row.try_get(1)?,
        name: row.try_get(2)?,
        deleted: row.try_get(3)?,
    })
}

fn counters_of(head: Head) -> Row {
    Row::Counters(Counters {
        revision: unsigned(head.revision),
        change_oldest: unsigned(head.change_oldest),
        position: unsigned(head.position),
        last_id: unsigned(head.last_id),
        records: unsigned(head.records),
        tasks_open: unsigned(head.tasks_open),
        tasks_ended: unsigned(head.tasks_ended),
    })
}

fn task_of(row: &Columns) -> Result<Row, Trouble> {
    let open = row.try_get::<_, Option<i16>>(5)?.is_some();
    let stand = if open {
        let sent: (Option<i64>, Option<i64>) = (row.try_get(9)?, row.try_get(10)?);
        let line: i32 = row.try_get(6)?;
        let checkpoint: Option<&[u8]> = row.try_get(11)?;
        RowStand::Open {
            priority: priority_of(row, 5)?,
            line: u16::try_from(line).unwrap_or(u16::MAX),
            attempt: small(row.try_get(7)?),
            not_before: row.try_get::<_, Option<i64>>(8)?.map(Time),
            sent: sent.0.zip(sent.1).map(|(fence, at)| Sent {
                fence: fence.cast_unsigned(),
                at: Time(at),
            }),
            checkpoint: checkpoint.map(Bytes::copy_from_slice),
            history: row.try_get(12)?,
        }
    } else {
        RowStand::Ended {
            position: unsigned(row.try_get(13)?),
            status: status_of(row, 14)?,
            changed: row.try_get(15)?,
            attempt: small(row.try_get(16)?),
            at: Time(row.try_get(17)?),
            ending: bytes(row, 18)?,
        }
    };
    Ok(Row::Task(TaskRow {
        id: TaskId(unsigned(row.try_get(0)?)),
        target: Uid(unsigned(row.try_get(1)?)),
        run: row
            .try_get::<_, Option<i64>>(2)?
            .map(|r| RunId(unsigned(r))),
        batch: small(row.try_get(3)?),
        body: bytes(row, 4)?,
        stand,
    }))
}

/// Streams are numbered as they came, which is another order in each store: they go by name.
async fn entries(pool: &Pool, after: Option<&Row>, limit: i64) -> Result<Vec<Row>, StoreError> {
    let (from, mut position) = match after {
        Some(Row::Entry {
            stream, position, ..
        }) => (stream.as_str(), ordered(*position)),
        _ => ("", 0),
    };
    let streams = pool.rows(WHAT, STREAMS, &[&from]).await?;
    let streams = each(WHAT, &streams, |row| {
        Ok((row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?))
    })?;
    let mut found = Vec::new();
    for (id, stream) in streams {
        let room = limit - ordered(found.len() as u64);
        if room == 0 {
            break;
        }
        if stream != from {
            position = 0;
        }
        let rows = pool.rows(WHAT, ENTRIES, &[&id, &position, &room]).await?;
        found.extend(each(WHAT, &rows, |row| {
            Ok(Row::Entry {
                stream: stream.clone(),
                position: unsigned(row.try_get(0)?),
                key: row.try_get::<_, i64>(1)?.cast_unsigned(),
                at: Time(row.try_get(2)?),
                body: bytes(row, 3)?,
            })
        })?);
    }
    Ok(found)
}

const PUT_META: &str = "INSERT INTO meta(key, value) SELECT * FROM unnest($1::text[], $2::bytea[]) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const PUT_RECORDS: &str = "INSERT INTO record(kind, name, uid, revision, body) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) \
     ON CONFLICT (kind, name) DO UPDATE SET uid = excluded.uid, revision = excluded.revision, body = excluded.body";
const NO_RECORDS: &str = "DELETE FROM record r USING unnest($1::text[], $2::text[]) AS gone(kind, name) \
     WHERE r.kind = gone.kind AND r.name = gone.name";
const PUT_CHANGES: &str = "INSERT INTO change(revision, kind, name, deleted) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) \
     ON CONFLICT (revision) DO UPDATE SET kind = excluded.kind, name = excluded.name, deleted = excluded.deleted";
const PUT_TASKS: &str = "INSERT INTO task(id, target, run, batch, body) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[]) \
     ON CONFLICT (id) DO NOTHING";
const OPEN_GONE: &str = "DELETE FROM open WHERE id = ANY($1::bigint[])";
const RESULTS_GONE: &str = "DELETE FROM result WHERE task = ANY($1::bigint[])";
const PUT_OPEN: &str = "INSERT INTO open(id, target, priority, line, attempt, run, batch, not_before, sent_epoch, sent_at, checkpoint, history) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], \
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[], $12::text[])";
const PUT_RESULTS: &str = "INSERT INTO result(position, task, status, changed, attempt, at, ending) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bytea[])";
const ALL_STREAMS: &str = "SELECT id, name FROM stream";
const PUT_STREAMS: &str =
    "INSERT INTO stream(id, name) SELECT * FROM unnest($1::integer[], $2::text[])";
const PUT_ENTRIES: &str = "INSERT INTO entry(stream, position, key, at, body) \
     SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[]) \
     ON CONFLICT (stream, position) DO UPDATE SET key = excluded.key, at = excluded.at, body = excluded.body";

/// All that an import says, to be prepared when a writer connects.
pub const STATEMENTS: [&str; 12] = [
    PUT_META,
    PUT_RECORDS,
    NO_RECORDS,
    PUT_CHANGES,
    PUT_TASKS,
    OPEN_GONE,
    RESULTS_GONE,
    PUT_OPEN,
    PUT_RESULTS,
    ALL_STREAMS,
    PUT_STREAMS,
    PUT_ENTRIES,
];

/// Rows of one page by sort; of one key the last.
#[derive(Default)]
struct Sorted<'a> {
    metas: HashMap<&'a str, &'a [u8]>,
    /// None: it is to go.
    records: HashMap<(&'a str, &'a str), Option<&'a StoredRecord>>,
    changes: HashMap<u64, (&'a str, &'a str, bool)>,
    tasks: HashMap<TaskId, &'a TaskRow>,
    entries: HashMap<(&'a str, u64), (i64, i64, &'a [u8])>,
    counters: Option<&'a Counters>,
}

/// Within the writer's transaction, under the lock. Gives the counters as they are then.
pub async fn import(session: &Session, mut head: Head, rows: &[Row]) -> Result<Head, Trouble> {
    let mut sorted = Sorted::default();
    for row in rows {
        match row {
            Row::Meta { key, value } => {
                sorted.metas.insert(key, value);
            }
            Row::Record(record) => {
                let key = (record.kind.as_str(), record.name.as_str());
                sorted.records.insert(key, Some(record));
            }
            Row::NoRecord { kind, name } => {
                sorted.records.insert((kind, name), None);
            }
            Row::Change {
                revision,
                kind,
                name,
                deleted,
            } => {
                sorted.changes.insert(*revision, (kind, name, *deleted));
            }
            Row::Task(task) => {
                sorted.tasks.insert(task.id, task);
            }
            Row::Entry {
                stream,
                position,
                key,
                at,
                body,
            } => {
                let row = (key.cast_signed(), at.0, &body[..]);
                sorted.entries.insert((stream, *position), row);
            }
            Row::Counters(counters) => sorted.counters = Some(counters),
        }
    }
    without_nul(&sorted)?;
    records(session, &sorted).await?;
    tasks(session, &sorted).await?;
    put_entries(session, &sorted).await?;
    if let Some(counters) = sorted.counters {
        head = Head {
            revision: ordered(counters.revision),
            change_oldest: ordered(counters.change_oldest),
            position: ordered(counters.position),
            last_id: ordered(counters.last_id),
            records: ordered(counters.records),
            tasks_open: ordered(counters.tasks_open),
            tasks_ended: ordered(counters.tasks_ended),
        };
    }
    Ok(head)
}

fn without_nul(sorted: &Sorted<'_>) -> Result<(), Trouble> {
    let metas = sorted.metas.keys().copied();
    let records = sorted
        .records
        .keys()
        .flat_map(|(kind, name)| [*kind, *name]);
    let changes = sorted
        .changes
        .values()
        .flat_map(|(kind, name, _)| [*kind, *name]);
    let streams = sorted.entries.keys().map(|(stream, _)| *stream);
    let mut all = metas.chain(records).chain(changes).chain(streams);
    match all.find(|name| name.contains('\0')) {
        Some(name) => Err(Trouble::Odd(format!(
            "{name:?} has a NUL, which cannot be kept"
        ))),
        None => Ok(()),
    }
}

async fn records(session: &Session, sorted: &Sorted<'_>) -> Result<(), Trouble> {
    if !sorted.metas.is_empty() {
        let (keys, values): (Vec<&str>, Vec<&[u8]>) =
            sorted.metas.iter().map(|(k, v)| (*k, *v)).unzip();
        session.execute(PUT_META, &[&keys, &values]).await?;
    }
    let gone = sorted.records.iter().filter(|(_, record)| record.is_none());
    let (kinds, names): (Vec<&str>, Vec<&str>) = gone.map(|(key, _)| *key).unzip();
    if !kinds.is_empty() {
        session.execute(NO_RECORDS, &[&kinds, &names]).await?;
    }
    let rows: Vec<&StoredRecord> = sorted.records.values().copied().flatten().collect();
    if !rows.is_empty() {
        let params: Params<'_> = &[
            &column(&rows, |r| r.kind.as_str()),
            &column(&rows, |r| r.name.as_str()),
            &column(&rows, |r| ordered(r.uid.0)),
            &column(&rows, |r| ordered(r.revision)),
            &column(&rows, |r| &r.body[..]),
        ];
        session.execute(PUT_RECORDS, params).await?;
    }
    if !sorted.changes.is_empty() {
        let rows: Vec<_> = sorted.changes.iter().collect();
        let params: Params<'_> = &[
            &column(&rows, |(revision, _)| ordered(**revision)),
            &column(&rows, |(_, (kind, _, _))| *kind),
            &column(&rows, |(_, (_, name, _))| *name),
            &column(&rows, |(_, (_, _, deleted))| *deleted),
        ];
        session.execute(PUT_CHANGES, params).await?;
    }
    Ok(())
}

async fn tasks(session: &Session, sorted: &Sorted<'_>) -> Result<(), Trouble> {
    if sorted.tasks.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<&TaskRow> = sorted.tasks.values().copied().collect();
    rows.sort_unstable_by_key(|task| task.id);
    let ids = column(&rows, |t| ordered(t.id.0));
    let params: Params<'_> = &[
        &ids,
        &column(&rows, |t| ordered(t.target.0)),
        &column(&rows, |t| t.run.map(|run| ordered(run.0))),
        &column(&rows, |t| i64::from(t.batch)),
        &column(&rows, |t| &t.body[..]),
    ];
    let gone: Params<'_> = &[&ids];
    let (put, open, results) = tokio::join!(
        biased;
        session.execute(PUT_TASKS, params),
        session.execute(OPEN_GONE, gone),
        session.execute(RESULTS_GONE, gone),
    );
    put.and(open).and(results)?;
    put_open(session, &rows).await?;
    put_results(session, &rows).await
}

async fn put_open(session: &Session, rows: &[&TaskRow]) -> Result<(), Trouble> {
    let mut all = Vec::new();
    for task in rows {
        if let RowStand::Open {
            priority,
            line,
            attempt,
            not_before,
            sent,
            checkpoint,
            history,
        } = &task.stand
        {
            let numbers = (
                i16::from(*priority as u8),
                i32::from(*line),
                i64::from(*attempt),
            );
            // PostgreSQL's text has no NUL.
            let history = history.as_ref().map(|text| text.replace('\0', "\u{fffd}"));
            all.push((
                task,
                numbers,
                *not_before,
                *sent,
                checkpoint.as_deref(),
                history,
            ));
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let params: Params<'_> = &[
        &column(&all, |r| ordered(r.0.id.0)),
        &column(&all, |r| ordered(r.0.target.0)),
        &column(&all, |r| r.1.0),
        &column(&all, |r| r.1.1),
        &column(&all, |r| r.1.2),
        &column(&all, |r| r.0.run.map(|run| ordered(run.0))),
        &column(&all, |r| i64::from(r.0.batch)),
        &column(&all, |r| r.2.map(|at| at.0)),
        &column(&all, |r| r.3.map(|sent| sent.fence.cast_signed())),
        &column(&all, |r| r.3.map(|sent| sent.at.0)),
        &column(&all, |r| r.4),
        &column(&all, |r| r.5.clone()),
    ];
    session.execute(PUT_OPEN, params).await.map(drop)
}

async fn put_results(session: &Session, rows: &[&TaskRow]) -> Result<(), Trouble> {
    let mut all = Vec::new();
    for task in rows {
        if let RowStand::Ended {
            position,
            status,
            changed,
            attempt,
            at,
            ending,
        } = &task.stand
        {
            let numbers = (i16::from(*status as u8), *changed, i64::from(*attempt));
            all.push((
                ordered(*position),
                ordered(task.id.0),
                numbers,
                at.0,
                &ending[..],
            ));
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let params: Params<'_> = &[
        &column(&all, |r| r.0),
        &column(&all, |r| r.1),
        &column(&all, |r| r.2.0),
        &column(&all, |r| r.2.1),
        &column(&all, |r| r.2.2),
        &column(&all, |r| r.3),
        &column(&all, |r| r.4),
    ];
    session.execute(PUT_RESULTS, params).await.map(drop)
}

async fn put_entries(session: &Session, sorted: &Sorted<'_>) -> Result<(), Trouble> {
    if sorted.entries.is_empty() {
        return Ok(());
    }
    let mut streams: HashMap<String, i32> = HashMap::new();
    for row in session.rows(ALL_STREAMS, &[]).await? {
        streams.insert(row.try_get(1)?, row.try_get(0)?);
    }
    let named: HashSet<&str> = sorted.entries.keys().map(|(stream, _)| *stream).collect();
    let new: Vec<&str> = named
        .into_iter()
        .filter(|name| !streams.contains_key(*name))
        .collect();
    if !new.is_empty() {
        let last = streams.values().max().copied().unwrap_or(0);
        let ids: Vec<i32> = (last + 1..).take(new.len()).collect();
        session.execute(PUT_STREAMS, &[&ids, &new]).await?;
        streams.extend(new.iter().map(|name| (*name).to_owned()).zip(ids));
    }
    let rows: Vec<_> = sorted.entries.iter().collect();
    let params: Params<'_> = &[
        &column(&rows, |((stream, _), _)| {
            streams.get(*stream).copied().unwrap_or(0)
        }),
        &column(&rows, |((_, position), _)| ordered(*position)),
        &column(&rows, |(_, (key, _, _))| *key),
        &column(&rows, |(_, (_, at, _))| *at),
        &column(&rows, |(_, (_, _, body))| *body),
    ];
    session.execute(PUT_ENTRIES, params).await.map(drop)
}
