//! Writes a plan: a few statements of many rows each, sent one behind the other with the commit at their end.

use crate::error::Trouble;
use crate::head::Head;
use crate::load;
use crate::numbers::{ordered, unsigned};
use crate::plan::{Plan, Stand, Writes, Written};
use crate::session::{Params, Session};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use sengu_model::outcome::Status;
use sengu_model::{RunId, Time};
use sengu_store::{Batch, Committed, NewTask, Op, StoreError};
use std::collections::HashMap;

const TASKS: &str = "INSERT INTO task(id, target, run, batch, body) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])";
const OPEN: &str = "INSERT INTO open(id, target, priority, line, attempt, run, batch) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[])";
const TOUCHED: &str = "UPDATE open o SET attempt = u.attempt, \
     not_before = coalesce(u.not_before, o.not_before), \
     sent_epoch = CASE WHEN u.sent THEN u.sent_epoch ELSE o.sent_epoch END, \
     sent_at = CASE WHEN u.sent THEN u.sent_at ELSE o.sent_at END, \
     checkpoint = coalesce(u.checkpoint, o.checkpoint), \
     history = CASE WHEN u.note IS NULL THEN o.history \
        WHEN o.history IS NULL THEN u.note ELSE o.history || chr(10) || u.note END \
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bytea[], $8::text[]) \
        AS u(id, attempt, not_before, sent, sent_epoch, sent_at, checkpoint, note) \
     WHERE o.id = u.id";
const GONE: &str = "DELETE FROM open WHERE id = ANY($1::bigint[])";
const RESULTS: &str = "INSERT INTO result(position, task, status, changed, attempt, at, ending) \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bytea[])";
const RECORDS: &str = "INSERT INTO record(kind, name, uid, revision, body) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) \
     ON CONFLICT (kind, name) DO UPDATE SET uid = excluded.uid, revision = excluded.revision, body = excluded.body";
const RECORDS_GONE: &str = "DELETE FROM record r USING unnest($1::text[], $2::text[]) AS k(kind, name) \
     WHERE r.kind = k.kind AND r.name = k.name";
const CHANGES: &str = "INSERT INTO change(revision, kind, name, deleted) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[])";
const STREAMS: &str =
    "INSERT INTO stream(id, name) SELECT * FROM unnest($1::integer[], $2::text[])";
const ENTRIES: &str = "INSERT INTO entry(stream, position, key, at, body) \
     SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])";
const METAS: &str = "INSERT INTO meta(key, value) SELECT * FROM unnest($1::text[], $2::bytea[]) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const DONE: &str = "INSERT INTO writer(id, done, at) VALUES ($1, $2, now()) \
     ON CONFLICT (id) DO UPDATE SET done = excluded.done, at = excluded.at";
const MINE: &str = "SELECT done FROM writer WHERE id = $1";
const RELEASE: &str =
    "UPDATE open SET priority = $3 WHERE priority = 0 AND run = $1 AND batch <= $2";
const END_HELD: &str = "INSERT INTO result(position, task, status, changed, attempt, at, ending) \
     SELECT $2 + row_number() OVER (ORDER BY batch, id), id, $3, false, attempt, $4, $5 \
     FROM open WHERE priority = 0 AND run = $1";
const HELD_GONE: &str = "DELETE FROM open WHERE priority = 0 AND run = $1";

/// All that a writer says: prepared when it connects, since what must be asked for first would change the order.
pub const STATEMENTS: [&str; 18] = [
    crate::head::LOCK,
    crate::head::UPDATE,
    TASKS,
    OPEN,
    TOUCHED,
    GONE,
    RESULTS,
    RECORDS,
    RECORDS_GONE,
    CHANGES,
    STREAMS,
    ENTRIES,
    METAS,
    DONE,
    MINE,
    RELEASE,
    END_HELD,
    HELD_GONE,
];

type Answers = Vec<Result<Committed, StoreError>>;
type Statement<'s> = BoxFuture<'s, Result<(), Trouble>>;

/// The mark that a transaction leaves, by which its outcome is found when the answer was lost.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    pub writer: i64,
    pub number: i64,
}

impl Mark {
    pub async fn leave(&self, session: &Session) -> Result<(), Trouble> {
        session
            .execute(DONE, &[&self.writer, &self.number])
            .await
            .map(drop)
    }

    /// Number of the last transaction of this writer that the database has.
    pub async fn last(&self, session: &Session) -> Result<Option<i64>, Trouble> {
        let rows = session.rows(MINE, &[&self.writer]).await?;
        let last = rows.first().map(|row| row.try_get::<_, i64>(0));
        Ok(last.transpose()?)
    }

    /// Whether the transaction with this mark was committed. The lock is taken first, which that transaction held from
    /// before its commit was sent: nobody can hold it while the outcome is open.
    pub async fn was_left(&self, session: &Session) -> Result<bool, Trouble> {
        let found = async {
            session.batch("BEGIN").await?;
            Head::lock(session).await?;
            Ok::<bool, Trouble>(self.last(session).await? == Some(self.number))
        };
        let found = found.await;
        let ended = session.batch("ROLLBACK").await;
        let found = found?;
        ended.map(|()| found)
    }
}

/// Whether the database itself does part of the batch, so that it must be alone in its transaction.
pub fn is_alone(batch: &Batch) -> bool {
    batch.ops.iter().any(is_set)
}

fn is_set(op: &Op) -> bool {
    matches!(op, Op::Release { .. } | Op::EndHeld { .. })
}

/// What a transaction came to before its commit.
pub struct Prepared<'a> {
    pub answers: Answers,
    pub head: Head,
    head_before: Head,
    writes: Writes<'a>,
    pub streams: HashMap<String, i32>,
    worked: bool,
}

impl Prepared<'_> {
    /// Nothing is to be written: every batch was refused, or says nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && !self.worked && self.head == self.head_before
    }
}

/// Begins the transaction and works out what each batch comes to.
pub async fn prepare<'a>(
    session: &Session,
    batches: &[&'a Batch],
    streams: &HashMap<String, i32>,
) -> Result<Prepared<'a>, Trouble> {
    let known = load::begin(session, batches, streams).await?;
    let head_before = known.head;
    let mut plan = Plan::new(known);
    let mut answers = Answers::with_capacity(batches.len());
    let mut worked = false;
    for batch in batches {
        if let Err(refused) = plan.check(batch) {
            answers.push(Err(refused));
            continue;
        }
        let mut done = Committed::default();
        if is_alone(batch) {
            worked = true;
            apply_by_pieces(session, &mut plan, batch, &mut done).await?;
        } else {
            for op in &batch.ops {
                plan.apply(op, &mut done);
            }
        }
        answers.push(Ok(done));
    }
    Ok(Prepared {
        answers,
        head: plan.known.head,
        head_before,
        writes: plan.take(),
        streams: plan.known.streams,
        worked,
    })
}

async fn apply_by_pieces<'a>(
    session: &Session,
    plan: &mut Plan<'a>,
    batch: &'a Batch,
    done: &mut Committed,
) -> Result<(), Trouble> {
    let mut rest = &batch.ops[..];
    while let Some(first) = rest.first() {
        if is_set(first) {
            send(statements(session, &plan.take())).await?;
            work(session, &mut plan.known.head, first, done).await?;
            rest = &rest[1..];
            let next = rest.iter().take_while(|op| !is_set(op)).collect::<Vec<_>>();
            load::open_again(session, &next, &mut plan.known).await?;
        } else {
            plan.apply(first, done);
            rest = &rest[1..];
        }
    }
    Ok(())
}

/// What is done to all held tasks of a run at once.
async fn work(
    session: &Session,
    head: &mut Head,
    op: &Op,
    done: &mut Committed,
) -> Result<(), Trouble> {
    match op {
        Op::Release { run, batch, to } => {
            let (run, batch, to) = (ordered(run.0), i64::from(*batch), i16::from(*to as u8));
            done.moved += session.execute(RELEASE, &[&run, &batch, &to]).await?;
        }
        Op::EndHeld {
            run,
            status,
            at,
            ending,
        } => {
            let ended = end_held(session, head.position, *run, *status, *at, ending).await?;
            if ended > 0 {
                head.position += ordered(ended);
                head.tasks_open -= ordered(ended);
                head.tasks_ended += ordered(ended);
                done.moved += ended;
                done.position = unsigned(head.position);
            }
        }
        _ => {}
    }
    Ok(())
}

async fn end_held(
    session: &Session,
    position: i64,
    run: RunId,
    status: Status,
    at: Time,
    ending: &[u8],
) -> Result<u64, Trouble> {
    let (run, status) = (ordered(run.0), i16::from(status as u8));
    let ended = session
        .execute(END_HELD, &[&run, &position, &status, &at.0, &ending])
        .await?;
    if ended > 0 {
        session.execute(HELD_GONE, &[&run]).await?;
    }
    Ok(ended)
}

/// Sends all that is left with the commit behind it. When one statement is refused the server undoes all of them, and
/// the commit too says so; any error here leaves the outcome to be asked for.
pub async fn finish(session: &Session, prepared: &Prepared<'_>, mark: Mark) -> Result<(), Trouble> {
    let mut all = statements(session, &prepared.writes);
    all.push(prepared.head.save(session).boxed());
    all.push(async move { mark.leave(session).await }.boxed());
    all.push(session.batch("COMMIT").boxed());
    send(all).await
}

/// Sends statements in order without waiting in between; gives the first error.
async fn send(statements: Vec<Statement<'_>>) -> Result<(), Trouble> {
    join_all(statements).await.into_iter().collect()
}

fn statements<'s>(session: &'s Session, writes: &'s Writes<'s>) -> Vec<Statement<'s>> {
    let all = [
        (writes.streams.is_empty(), streams(session, writes).boxed()),
        (writes.tasks.is_empty(), tasks(session, writes).boxed()),
        (writes.stands.is_empty(), stands(session, writes).boxed()),
        (writes.results.is_empty(), results(session, writes).boxed()),
        (writes.records.is_empty(), records(session, writes).boxed()),
        (writes.entries.is_empty(), entries(session, writes).boxed()),
        (writes.metas.is_empty(), metas(session, writes).boxed()),
    ];
    let all = all.into_iter().filter(|(empty, _)| !empty);
    all.map(|(_, statement)| statement).collect()
}

/// One column of many rows.
pub fn column<T, V>(rows: &[T], value: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

async fn tasks(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let rows = &writes.tasks;
    let ids = column(rows, |t| ordered(t.id.0));
    let targets = column(rows, |t| ordered(t.target.0));
    let runs = column(rows, |t| t.run.map(|run| ordered(run.0)));
    let batches = column(rows, |t| i64::from(t.batch));
    let bodies = column(rows, |t| &t.body[..]);
    let params: Params<'_> = &[&ids, &targets, &runs, &batches, &bodies];
    session.execute(TASKS, params).await.map(drop)
}

/// Open rows: those that are new, those that changed and those that are gone.
async fn stands(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let mut new = Vec::new();
    let mut touched = Vec::new();
    let mut gone = Vec::new();
    for (id, stand) in &writes.stands {
        match stand.new {
            Some(_) if stand.ended => continue,
            Some(task) => new.push((*id, task)),
            None if stand.ended => {
                gone.push(*id);
                continue;
            }
            None => {}
        }
        if stand.touched {
            touched.push((*id, stand));
        }
    }
    // By id, so that what belongs together lies together.
    new.sort_unstable_by_key(|(id, _)| *id);
    let (made, changed, ended) = tokio::join!(
        biased;
        open(session, &new),
        touch(session, &touched),
        end(session, &gone),
    );
    made.and(changed).and(ended)
}

async fn open(session: &Session, rows: &[(i64, &NewTask)]) -> Result<(), Trouble> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids = column(rows, |(id, _)| *id);
    let targets = column(rows, |(_, t)| ordered(t.target.0));
    let priorities = column(rows, |(_, t)| i16::from(t.priority as u8));
    let lines = column(rows, |(_, t)| i32::from(t.line));
    let attempts = column(rows, |_| 1_i64);
    let runs = column(rows, |(_, t)| t.run.map(|run| ordered(run.0)));
    let batches = column(rows, |(_, t)| i64::from(t.batch));
    let params: Params<'_> = &[
        &ids,
        &targets,
        &priorities,
        &lines,
        &attempts,
        &runs,
        &batches,
    ];
    session.execute(OPEN, params).await.map(drop)
}

async fn touch(session: &Session, rows: &[(i64, &Stand<'_>)]) -> Result<(), Trouble> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids = column(rows, |(id, _)| *id);
    let attempts = column(rows, |(_, s)| s.attempt);
    let not_before = column(rows, |(_, s)| s.not_before);
    let sent = column(rows, |(_, s)| s.sent.is_some());
    let epochs = column(rows, |(_, s)| s.sent.flatten().map(|(epoch, _)| epoch));
    let times = column(rows, |(_, s)| s.sent.flatten().map(|(_, at)| at));
    let checkpoints = column(rows, |(_, s)| s.checkpoint);
    let notes = column(rows, |(_, s)| s.note.as_deref());
    let params: Params<'_> = &[
        &ids,
        &attempts,
        &not_before,
        &sent,
        &epochs,
        &times,
        &checkpoints,
        &notes,
    ];
    session.execute(TOUCHED, params).await.map(drop)
}

async fn end(session: &Session, ids: &[i64]) -> Result<(), Trouble> {
    if ids.is_empty() {
        return Ok(());
    }
    session.execute(GONE, &[&ids]).await.map(drop)
}

async fn results(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let rows = &writes.results;
    let positions = column(rows, |r| r.position);
    let tasks = column(rows, |r| r.task);
    let statuses = column(rows, |r| r.status);
    let changed = column(rows, |r| r.changed);
    let attempts = column(rows, |r| r.attempt);
    let times = column(rows, |r| r.at);
    let endings = column(rows, |r| r.ending);
    let params: Params<'_> = &[
        &positions, &tasks, &statuses, &changed, &attempts, &times, &endings,
    ];
    session.execute(RESULTS, params).await.map(drop)
}

/// Every write is a change; of each record only the last one stays.
async fn records(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let rows = &writes.records;
    let revisions = column(rows, |r| r.revision);
    let kinds = column(rows, |r| r.kind);
    let names = column(rows, |r| r.name);
    let deleted = column(rows, |r| r.row.is_none());
    let last: HashMap<_, _> = rows.iter().map(|r| ((r.kind, r.name), r)).collect();
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_unstable_by_key(|r| r.revision);
    let params: Params<'_> = &[&revisions, &kinds, &names, &deleted];
    let (changes, kept, gone) = tokio::join!(
        biased;
        session.execute(CHANGES, params),
        records_kept(session, &last),
        records_gone(session, &last),
    );
    changes.map(drop).and(kept).and(gone)
}

async fn records_kept(session: &Session, last: &[&Written<'_>]) -> Result<(), Trouble> {
    let kept: Vec<_> = last
        .iter()
        .filter_map(|r| r.row.map(|row| (r, row)))
        .collect();
    if kept.is_empty() {
        return Ok(());
    }
    let kinds = column(&kept, |(r, _)| r.kind);
    let names = column(&kept, |(r, _)| r.name);
    let uids = column(&kept, |(_, (uid, _))| *uid);
    let revisions = column(&kept, |(r, _)| r.revision);
    let bodies = column(&kept, |(_, (_, body))| *body);
    let params: Params<'_> = &[&kinds, &names, &uids, &revisions, &bodies];
    session.execute(RECORDS, params).await.map(drop)
}

async fn records_gone(session: &Session, last: &[&Written<'_>]) -> Result<(), Trouble> {
    let gone = last.iter().filter(|r| r.row.is_none());
    let (kinds, names): (Vec<&str>, Vec<&str>) = gone.map(|r| (r.kind, r.name)).unzip();
    if kinds.is_empty() {
        return Ok(());
    }
    session
        .execute(RECORDS_GONE, &[&kinds, &names])
        .await
        .map(drop)
}

async fn streams(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let (ids, names): (Vec<i32>, Vec<&str>) = writes.streams.iter().copied().unzip();
    session.execute(STREAMS, &[&ids, &names]).await.map(drop)
}

async fn entries(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let rows = &writes.entries;
    let streams = column(rows, |e| e.stream);
    let positions = column(rows, |e| e.position);
    let keys = column(rows, |e| e.key);
    let times = column(rows, |e| e.at);
    let bodies = column(rows, |e| e.body);
    let params: Params<'_> = &[&streams, &positions, &keys, &times, &bodies];
    session.execute(ENTRIES, params).await.map(drop)
}

async fn metas(session: &Session, writes: &Writes<'_>) -> Result<(), Trouble> {
    let (keys, values): (Vec<&str>, Vec<&[u8]>) =
        writes.metas.iter().map(|(k, v)| (*k, *v)).unzip();
    session.execute(METAS, &[&keys, &values]).await.map(drop)
}
