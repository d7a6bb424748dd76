//! Applies the operations of one batch inside the writer's transaction. Every expectation of a batch is checked before
//! its first write, so that a refused batch leaves nothing behind and needs no savepoint.

use crate::error::from_engine;
use crate::head::{self, Head};
use crate::lanes::{Lanes, Part, Place};
use crate::schema::{entry_position, entry_range, ordered, unsigned};
use rusqlite::{Connection, OptionalExtension, Statement};
use sengu_model::outcome::Status;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::{Batch, Committed, Expect, NewTask, Op, Revision, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

macro_rules! statements {
    ($($name:ident: $sql:expr,)*) => {
        /// Every statement of the writer, prepared once.
        pub struct Statements<'c> { $(pub $name: Statement<'c>,)* }
        impl<'c> Statements<'c> {
            pub fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
                Ok(Self { $($name: connection.prepare($sql)?,)* })
            }
        }
    };
}

statements! {
    begin: "BEGIN IMMEDIATE",
    commit: "COMMIT",
    save_head: head::UPDATE,
    task_insert: "INSERT INTO task(id, target, run, batch, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    lane_insert: "INSERT INTO lane(part, target, id) VALUES (?1, ?2, ?3)",
    lane_part_insert: "INSERT INTO lane_part(id, last) VALUES (?1, ?2)",
    open_insert: "INSERT INTO open(id, priority, line, attempt, run, batch) VALUES (?1, ?2, ?3, 1, ?4, ?5)",
    // Nearly every task ends in its first attempt: then one delete tells all.
    open_end_first: "DELETE FROM open WHERE id = ?1 AND attempt = 1",
    open_end: "DELETE FROM open WHERE id = ?1 RETURNING attempt",
    result_insert: "INSERT INTO result(position, task, status, changed, attempt, at, ending) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    open_sent: "UPDATE open SET sent_epoch = ?2, sent_at = ?3, attempt = ?4 WHERE id = ?1",
    open_checkpoint: "UPDATE open SET checkpoint = ?2 WHERE id = ?1",
    open_retry: "UPDATE open SET attempt = ?2, not_before = ?3, sent_epoch = NULL, sent_at = NULL, \
        history = CASE WHEN history IS NULL THEN ?4 ELSE history || char(10) || ?4 END \
        WHERE id = ?1",
    held_release: "UPDATE open INDEXED BY open_held SET priority = ?3 WHERE priority = 0 AND run = ?1 AND batch <= ?2",
    held_results: "INSERT INTO result(position, task, status, changed, attempt, at, ending) \
        SELECT ?2 + row_number() OVER (ORDER BY batch, id), id, ?3, 0, attempt, ?4, ?5 \
        FROM open INDEXED BY open_held WHERE priority = 0 AND run = ?1",
    held_delete: "DELETE FROM open INDEXED BY open_held WHERE priority = 0 AND run = ?1",
    record_revision: "SELECT revision FROM record WHERE kind = ?1 AND name = ?2",
    record_update: "UPDATE record SET uid = ?3, revision = ?4, body = ?5 WHERE kind = ?1 AND name = ?2",
    record_insert: "INSERT INTO record(kind, name, uid, revision, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    record_delete: "DELETE FROM record WHERE kind = ?1 AND name = ?2",
    change_insert: "INSERT INTO change(revision, kind, name, deleted) VALUES (?1, ?2, ?3, ?4)",
    stream_find: "SELECT id FROM stream WHERE name = ?1",
    stream_insert: "INSERT INTO stream(name) VALUES (?1)",
    entry_insert: "INSERT INTO entry(id, key, at, body) VALUES (?1, ?2, ?3, ?4)",
    meta_find: "SELECT value FROM meta WHERE key = ?1",
    meta_put: "INSERT INTO meta(key, value) VALUES (?1, ?2) \
        ON CONFLICT(key) DO UPDATE SET value = excluded.value",
}

/// The writer's state within and between transactions.
pub struct Applier<'c> {
    connection: &'c Connection,
    pub statements: Statements<'c>,
    pub head: Head,
    /// Ids of streams seen; forgotten when a transaction is undone.
    pub streams: HashMap<String, i64>,
    lanes: Arc<Lanes>,
    /// Tasks of this transaction that `lanes` does not know yet.
    pub places: Vec<Place>,
}

/// Why a batch was not applied.
pub enum Refused {
    /// Nothing of it was written.
    Clean(StoreError),
    /// Part of it may have been written: undo the transaction.
    Torn(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Refused {
        Refused::Torn(error)
    }
}

impl<'c> Applier<'c> {
    pub fn new(connection: &'c Connection, lanes: Arc<Lanes>) -> rusqlite::Result<Self> {
        Ok(Self {
            lanes,
            places: Vec::new(),
            connection,
            statements: Statements::prepare(connection)?,
            head: Head::load(connection)?,
            streams: HashMap::new(),
        })
    }

    pub fn apply(&mut self, batch: &Batch) -> Result<Committed, Refused> {
        self.check(batch).map_err(Refused::Clean)?;
        let mut done = Committed::default();
        for op in &batch.ops {
            self.apply_one(op, &mut done)?;
        }
        Ok(done)
    }

    /// Compares every expectation with what will be there when its turn comes.
    fn check(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut will_be: HashMap<(&str, &str), Option<i64>> = HashMap::new();
        let mut meta_will_be: HashMap<&str, &[u8]> = HashMap::new();
        let mut revision = self.head.revision;
        for op in &batch.ops {
            let (kind, name, expect, put) = match op {
                Op::PutMeta { key, value } => {
                    meta_will_be.insert(key, value);
                    continue;
                }
                Op::ExpectMeta { key, value } => {
                    let holds = match meta_will_be.get(key.as_str()) {
                        Some(found) => value.as_deref() == Some(*found),
                        None => self
                            .meta_is(key, value.as_deref())
                            .map_err(|e| from_engine("read meta", e))?,
                    };
                    if holds {
                        continue;
                    }
                    return Err(StoreError::Fenced { key: key.clone() });
                }
                Op::PutRecord {
                    kind, name, expect, ..
                } => (kind, name, *expect, true),
                Op::DeleteRecord { kind, name, expect } => (kind, name, *expect, false),
                _ => continue,
            };
            let key = (kind.as_str(), name.as_str());
            let found = match will_be.get(&key) {
                Some(found) => *found,
                // Whatever is there will be replaced.
                None if put && expect == Expect::Anything => None,
                None => self
                    .statements
                    .record_revision
                    .query_row(key, |row| row.get(0))
                    .optional()
                    .map_err(|e| from_engine("read a record's revision", e))?,
            };
            if !holds(expect, found) {
                return Err(StoreError::Conflict {
                    kind: kind.clone(),
                    name: name.clone(),
                    found: found.map(unsigned),
                });
            }
            if put || found.is_some() {
                revision += 1;
            }
            will_be.insert(key, put.then_some(revision));
        }
        Ok(())
    }

    /// Whether meta `key` has this value, compared where it lies.
    fn meta_is(&mut self, key: &str, wanted: Option<&[u8]>) -> rusqlite::Result<bool> {
        let mut rows = self.statements.meta_find.query((key,))?;
        match rows.next()? {
            Some(row) => Ok(wanted == Some(row.get_ref(0)?.as_blob()?)),
            None => Ok(wanted.is_none()),
        }
    }

    fn apply_one(&mut self, op: &Op, done: &mut Committed) -> rusqlite::Result<()> {
        match op {
            Op::InsertTask(task) => self.insert_task(task),
            // The priority is where the caller last saw the task; an open task is found by its id alone.
            Op::End {
                task,
                status,
                changed,
                at,
                ending,
                ..
            } => {
                let end = End {
                    status: *status,
                    changed: *changed,
                    at: *at,
                    ending,
                };
                self.end(*task, &end, done)
            }
            // A task that is not open is left alone by these three.
            Op::MarkSent {
                task,
                fence,
                attempt,
                at,
                ..
            } => {
                let row = (ordered(task.0), fence.cast_signed(), at.0, attempt);
                self.statements.open_sent.execute(row).map(drop)
            }
            Op::Checkpoint { task, value, .. } => {
                let row = (ordered(task.0), &value[..]);
                self.statements.open_checkpoint.execute(row).map(drop)
            }
            Op::Retry {
                task,
                attempt,
                not_before,
                note,
                ..
            } => {
                let row = (
                    ordered(task.0),
                    attempt,
                    not_before.0,
                    note.replace('\n', " "),
                );
                self.statements.open_retry.execute(row).map(drop)
            }
            Op::Release { run, batch, to } => {
                let moved = self.statements.held_release.execute((
                    ordered(run.0),
                    i64::from(*batch),
                    *to as u8,
                ))?;
                done.moved += moved as u64;
                Ok(())
            }
            Op::EndHeld {
                run,
                status,
                at,
                ending,
            } => self.end_held(
                *run,
                &End {
                    status: *status,
                    changed: false,
                    at: *at,
                    ending,
                },
                done,
            ),
            Op::PutRecord {
                kind,
                name,
                uid,
                body,
                ..
            } => {
                let revision = self.put_record(kind, name, *uid, body)?;
                done.revisions.push(revision);
                Ok(())
            }
            Op::DeleteRecord { kind, name, .. } => {
                let revision = self.delete_record(kind, name)?;
                done.revisions.push(revision);
                Ok(())
            }
            Op::Append {
                stream,
                key,
                at,
                body,
            } => self.append(stream, *key, *at, body, done),
            Op::PutMeta { key, value } => {
                self.statements.meta_put.execute((key, &value[..]))?;
                Ok(())
            }
            // Checked before the first write.
            Op::ExpectMeta { .. } => Ok(()),
        }
    }

    /// Writes the newest tasks as a sorted part of `lane`.
    pub fn write_part(&mut self, part: Part, rows: &[Place]) -> rusqlite::Result<()> {
        self.statements
            .lane_part_insert
            .execute((part.id, part.last))?;
        for row in rows {
            self.statements
                .lane_insert
                .execute((part.id, row.target, row.task))?;
        }
        Ok(())
    }

    /// Puts a new task into its target's lane.
    pub fn place(&mut self, place: Place) -> rusqlite::Result<()> {
        match self.lanes.part_of(place.task) {
            None => self.places.push(place),
            // Overtaken by later ids: rare, so its place in a part that is already written may cost a page.
            Some(part) => {
                let row = (part.id, place.target, place.task);
                self.statements.lane_insert.execute(row)?;
            }
        }
        Ok(())
    }

    fn insert_task(&mut self, task: &NewTask) -> rusqlite::Result<()> {
        let id = ordered(task.id.0);
        let run = task.run.map(|r| ordered(r.0));
        let target = ordered(task.target.0);
        self.statements
            .task_insert
            .execute((id, target, run, task.batch, &task.body[..]))?;
        self.place(Place { target, task: id })?;
        let row = (id, task.priority as u8, task.line, run, task.batch);
        self.statements.open_insert.execute(row)?;
        self.head.saw(task.id.0);
        if let Some(run) = task.run {
            self.head.saw(run.0);
        }
        self.head.tasks_open += 1;
        Ok(())
    }

    fn end(&mut self, task: TaskId, end: &End<'_>, done: &mut Committed) -> rusqlite::Result<()> {
        let id = ordered(task.0);
        let attempt = match self.statements.open_end_first.execute((id,))? {
            1 => Some(1),
            _ => self.close_retried(id)?,
        };
        let Some(attempt) = attempt else {
            done.stale.push(task);
            return Ok(());
        };
        self.head.position += 1;
        self.statements.result_insert.execute((
            self.head.position,
            id,
            end.status as u8,
            end.changed,
            attempt,
            end.at.0,
            end.ending,
        ))?;
        self.head.tasks_open -= 1;
        self.head.tasks_ended += 1;
        done.position = unsigned(self.head.position);
        Ok(())
    }

    /// Closes a task in a later attempt. Gives the attempt; None when it is not open.
    fn close_retried(&mut self, id: i64) -> rusqlite::Result<Option<i64>> {
        let mut rows = self.statements.open_end.query((id,))?;
        let attempt = rows.next()?.map(|row| row.get(0)).transpose()?;
        // The delete is complete only when the statement has run to its end.
        while rows.next()?.is_some() {}
        Ok(attempt)
    }

    fn end_held(
        &mut self,
        run: RunId,
        end: &End<'_>,
        done: &mut Committed,
    ) -> rusqlite::Result<()> {
        let run = ordered(run.0);
        let ended = self.statements.held_results.execute((
            run,
            self.head.position,
            end.status as u8,
            end.at.0,
            end.ending,
        ))?;
        if ended == 0 {
            return Ok(());
        }
        self.statements.held_delete.execute((run,))?;
        let ended = ended as u64;
        self.head.position += ordered(ended);
        self.head.tasks_open -= ordered(ended);
        self.head.tasks_ended += ordered(ended);
        done.moved += ended;
        done.position = unsigned(self.head.position);
        Ok(())
    }

    fn put_record(
        &mut self,
        kind: &str,
        name: &str,
        uid: Uid,
        body: &[u8],
    ) -> rusqlite::Result<Revision> {
        self.head.revision += 1;
        let row = (kind, name, ordered(uid.0), self.head.revision, body);
        if self.statements.record_update.execute(row)? == 0 {
            self.statements.record_insert.execute(row)?;
            self.head.records += 1;
        }
        self.head.saw(uid.0);
        self.statements
            .change_insert
            .execute((self.head.revision, kind, name, false))?;
        Ok(unsigned(self.head.revision))
    }

    /// Gives 0 when there was nothing to delete.
    fn delete_record(&mut self, kind: &str, name: &str) -> rusqlite::Result<Revision> {
        if self.statements.record_delete.execute((kind, name))? == 0 {
            return Ok(0);
        }
        self.head.revision += 1;
        self.head.records -= 1;
        self.statements
            .change_insert
            .execute((self.head.revision, kind, name, true))?;
        Ok(unsigned(self.head.revision))
    }

    fn append(
        &mut self,
        stream: &str,
        key: u64,
        at: Time,
        body: &[u8],
        done: &mut Committed,
    ) -> rusqlite::Result<()> {
        let stream = self.stream(stream)?;
        self.head.position += 1;
        let (id, _) = entry_range(stream, unsigned(self.head.position));
        self.statements
            .entry_insert
            .execute((id, key.cast_signed(), at.0, body))?;
        done.position = entry_position(id);
        Ok(())
    }

    pub fn stream(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.streams.get(name) {
            return Ok(*id);
        }
        let found = self
            .statements
            .stream_find
            .query_row((name,), |r| r.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                self.statements.stream_insert.execute((name,))?;
                self.connection.last_insert_rowid()
            }
        };
        self.streams.insert(name.to_owned(), id);
        Ok(id)
    }
}

struct End<'a> {
    status: Status,
    changed: bool,
    at: Time,
    ending: &'a [u8],
}

fn holds(expect: Expect, found: Option<i64>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(wanted) => found.map(unsigned) == Some(wanted),
    }
}
