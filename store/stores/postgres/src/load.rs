//! Begins a transaction, takes the lock, and reads what the group's batches name: one trip to the server, whatever the
//! number of batches. What is read is narrow, so that the answer fits into the buffers of a connection whose client
//! is paused, and the server can then end its transaction.

use crate::error::Trouble;
use crate::head::Head;
use crate::numbers::ordered;
use crate::plan::Known;
use crate::session::Session;
use sengu_store::{Batch, Op};
use std::collections::{HashMap, HashSet};

const METAS: &str = "SELECT key, value FROM meta WHERE key = ANY($1::text[])";
const RECORDS: &str = "SELECT r.kind, r.name, r.revision FROM unnest($1::text[], $2::text[]) AS k(kind, name) \
     JOIN record r ON r.kind = k.kind AND r.name = k.name";
const TASKS: &str = "SELECT id FROM task WHERE id = ANY($1::bigint[])";
const OPEN: &str = "SELECT id, attempt FROM open WHERE id = ANY($1::bigint[])";
const STREAMS: &str = "SELECT id, name FROM stream";

/// All of the above, to be prepared when a writer connects.
pub const STATEMENTS: [&str; 5] = [METAS, RECORDS, TASKS, OPEN, STREAMS];

/// What a group needs to know.
#[derive(Default)]
struct Wanted<'a> {
    metas: HashSet<&'a str>,
    records: HashSet<(&'a str, &'a str)>,
    inserted: HashSet<i64>,
    open: HashSet<i64>,
    streams: bool,
}

impl<'a> Wanted<'a> {
    fn of(ops: impl Iterator<Item = &'a Op>, streams: &HashMap<String, i32>) -> Wanted<'a> {
        let mut wanted = Wanted::default();
        for op in ops {
            match op {
                Op::ExpectMeta { key, .. } if !key.contains('\0') => {
                    wanted.metas.insert(key);
                }
                Op::PutRecord { kind, name, .. } | Op::DeleteRecord { kind, name, .. } => {
                    // Such a name is never there.
                    if !kind.contains('\0') && !name.contains('\0') {
                        wanted.records.insert((kind, name));
                    }
                }
                Op::InsertTask(task) => {
                    wanted.inserted.insert(ordered(task.id.0));
                }
                Op::MarkSent { task, .. }
                | Op::Checkpoint { task, .. }
                | Op::Retry { task, .. }
                | Op::End { task, .. } => {
                    wanted.open.insert(ordered(task.0));
                }
                Op::Append { stream, .. } => wanted.streams |= !streams.contains_key(stream),
                Op::ExpectMeta { .. }
                | Op::PutMeta { .. }
                | Op::Release { .. }
                | Op::EndHeld { .. } => {}
            }
        }
        wanted
    }
}

/// Begins, locks and reads.
pub async fn begin(
    session: &Session,
    batches: &[&Batch],
    streams: &HashMap<String, i32>,
) -> Result<Known, Trouble> {
    let ops = batches.iter().flat_map(|batch| &batch.ops);
    let wanted = Wanted::of(ops, streams);
    // Sent one behind the other: each is its own statement, so what follows the lock sees every commit before it.
    let (begun, head, known) = tokio::join!(
        biased;
        session.batch("BEGIN"),
        Head::lock(session),
        read(session, &wanted),
    );
    begun?;
    let mut known = known?;
    known.head = head?;
    if !wanted.streams {
        known.streams.clone_from(streams);
    }
    Ok(known)
}

/// Reads open tasks anew, in the transaction that goes on.
pub async fn open_again(session: &Session, ops: &[&Op], known: &mut Known) -> Result<(), Trouble> {
    let wanted = Wanted::of(ops.iter().copied(), &known.streams);
    known.open = open(session, &wanted.open).await?;
    Ok(())
}

async fn read(session: &Session, wanted: &Wanted<'_>) -> Result<Known, Trouble> {
    let (metas, records, tasks, open, streams) = tokio::join!(
        biased;
        metas(session, &wanted.metas),
        records(session, &wanted.records),
        tasks(session, &wanted.inserted),
        open(session, &wanted.open),
        streams(session, wanted.streams),
    );
    Ok(Known {
        head: Head::default(),
        metas: metas?,
        records: records?,
        tasks: tasks?,
        open: open?,
        streams: streams?,
    })
}

async fn metas(
    session: &Session,
    keys: &HashSet<&str>,
) -> Result<HashMap<String, Vec<u8>>, Trouble> {
    let mut found = HashMap::new();
    if !keys.is_empty() {
        let keys: Vec<&str> = keys.iter().copied().collect();
        for row in session.rows(METAS, &[&keys]).await? {
            found.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(found)
}

async fn records(
    session: &Session,
    keys: &HashSet<(&str, &str)>,
) -> Result<HashMap<(String, String), i64>, Trouble> {
    let mut found = HashMap::new();
    if !keys.is_empty() {
        let (kinds, names): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
        for row in session.rows(RECORDS, &[&kinds, &names]).await? {
            found.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
        }
    }
    Ok(found)
}

async fn tasks(session: &Session, ids: &HashSet<i64>) -> Result<HashSet<i64>, Trouble> {
    let mut found = HashSet::new();
    if !ids.is_empty() {
        let ids: Vec<i64> = ids.iter().copied().collect();
        for row in session.rows(TASKS, &[&ids]).await? {
            found.insert(row.try_get(0)?);
        }
    }
    Ok(found)
}

async fn open(session: &Session, ids: &HashSet<i64>) -> Result<HashMap<i64, i64>, Trouble> {
    let mut found = HashMap::new();
    if !ids.is_empty() {
        let ids: Vec<i64> = ids.iter().copied().collect();
        for row in session.rows(OPEN, &[&ids]).await? {
            found.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(found)
}

async fn streams(session: &Session, wanted: bool) -> Result<HashMap<String, i32>, Trouble> {
    let mut found = HashMap::new();
    if wanted {
        for row in session.rows(STREAMS, &[]).await? {
            found.insert(row.try_get(1)?, row.try_get(0)?);
        }
    }
    Ok(found)
}
