//! What the simulated store holds: plain maps, applied batch by batch. No time, no faults.

mod read;

use bytes::Bytes;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::{
    Batch, Change, Changes, Committed, Entry, Expect, Line, NewTask, Op, OpenTask, Position,
    Retention, Revision, RunTask, Sent, Stand, StoreError, StoreStatus, StoredRecord, StoredTask,
    TASK_LOG, TaskQuery,
};
use std::collections::{BTreeMap, BTreeSet};

/// Kind and name of a record, and whether it was deleted.
type Written = (String, String, bool);

#[derive(Debug, Default)]
pub struct State {
    records: BTreeMap<(String, String), StoredRecord>,
    changes: BTreeMap<Revision, Written>,
    /// Changes up to here are gone.
    compacted: Revision,
    revision: Revision,
    pub tasks: BTreeMap<TaskId, Row>,
    open: BTreeMap<(u8, Line), BTreeSet<TaskId>>,
    lanes: BTreeMap<Uid, BTreeSet<TaskId>>,
    runs: BTreeMap<RunId, BTreeSet<TaskId>>,
    pub results: BTreeMap<Position, TaskId>,
    position: Position,
    entries: BTreeMap<String, BTreeMap<Position, Entry>>,
    meta: BTreeMap<String, Bytes>,
    last_id: u64,
    ended: u64,
    pub open_count: u64,
    /// Ends of tasks that had ended.
    pub stale_ends: u64,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub new: NewTask,
    pub state: RowState,
}

#[derive(Debug, Clone)]
pub enum RowState {
    Open {
        priority: Priority,
        attempt: u32,
        not_before: Option<Time>,
        sent: Option<Sent>,
        checkpoint: Option<Bytes>,
        history: String,
    },
    Ended {
        status: Status,
        changed: bool,
        attempt: u32,
        at: Time,
        ending: Bytes,
    },
}

impl Row {
    fn open(&self) -> Option<OpenTask> {
        let RowState::Open {
            priority,
            attempt,
            not_before,
            sent,
            checkpoint,
            history,
        } = &self.state
        else {
            return None;
        };
        Some(OpenTask {
            id: self.new.id,
            target: self.new.target,
            run: self.new.run,
            priority: *priority,
            batch: self.new.batch,
            attempt: *attempt,
            not_before: *not_before,
            sent: *sent,
            checkpoint: checkpoint.clone(),
            history: history.clone(),
            body: self.new.body.clone(),
        })
    }

    fn stored(&self) -> StoredTask {
        let stand = match &self.state {
            RowState::Ended {
                status,
                changed,
                at,
                ending,
                ..
            } => Stand::Ended {
                status: *status,
                changed: *changed,
                at: *at,
                ending: ending.clone(),
            },
            RowState::Open { .. } => match self.open() {
                Some(open) => Stand::Open(Box::new(open)),
                None => unreachable!("an open row is open"),
            },
        };
        StoredTask {
            id: self.new.id,
            target: self.new.target,
            run: self.new.run,
            batch: self.new.batch,
            body: self.new.body.clone(),
            stand,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, RowState::Open { .. })
    }
}

impl State {
    /// All of the batch, or nothing.
    pub fn apply(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        self.check(batch)?;
        let mut done = Committed::default();
        for op in &batch.ops {
            self.apply_one(op, &mut done);
        }
        Ok(done)
    }

    fn check(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut records: BTreeMap<(&str, &str), Option<Revision>> = BTreeMap::new();
        let mut meta: BTreeMap<&str, &Bytes> = BTreeMap::new();
        let mut revision = self.revision;
        for op in &batch.ops {
            let (kind, name, expect, put) = match op {
                Op::PutRecord {
                    kind, name, expect, ..
                } => (kind, name, *expect, true),
                Op::DeleteRecord { kind, name, expect } => (kind, name, *expect, false),
                Op::PutMeta { key, value } => {
                    meta.insert(key, value);
                    continue;
                }
                Op::ExpectMeta { key, value } => {
                    let found = meta.get(key.as_str()).copied();
                    if found.or(self.meta.get(key)) != value.as_ref() {
                        return Err(StoreError::Fenced { key: key.clone() });
                    }
                    continue;
                }
                _ => continue,
            };
            let key = (kind.as_str(), name.as_str());
            let found = records.get(&key).copied().unwrap_or_else(|| {
                let found = self.records.get(&(kind.clone(), name.clone()));
                found.map(|r| r.revision)
            });
            let holds = match expect {
                Expect::Anything => true,
                Expect::Absent => found.is_none(),
                Expect::Revision(wanted) => found == Some(wanted),
            };
            if !holds {
                return Err(StoreError::Conflict {
                    kind: kind.clone(),
                    name: name.clone(),
                    found,
                });
            }
            if put || found.is_some() {
                revision += 1;
            }
            records.insert(key, put.then_some(revision));
        }
        let twice = |op: &Op| matches!(op, Op::InsertTask(new) if self.tasks.contains_key(&new.id));
        if batch.ops.iter().any(twice) {
            return Err(StoreError::Broken {
                what: "a task id is used twice".to_owned(),
                source: None,
            });
        }
        Ok(())
    }

    fn apply_one(&mut self, op: &Op, done: &mut Committed) {
        match op {
            Op::PutRecord {
                kind,
                name,
                uid,
                body,
                ..
            } => {
                self.revision += 1;
                let stored = StoredRecord {
                    kind: kind.clone(),
                    name: name.clone(),
                    uid: *uid,
                    revision: self.revision,
                    body: body.clone(),
                };
                self.records.insert((kind.clone(), name.clone()), stored);
                let written = (kind.clone(), name.clone(), false);
                self.changes.insert(self.revision, written);
                self.last_id = self.last_id.max(uid.0);
                done.revisions.push(self.revision);
            }
            Op::DeleteRecord { kind, name, .. } => {
                let key = (kind.clone(), name.clone());
                if self.records.remove(&key).is_none() {
                    done.revisions.push(0);
                    return;
                }
                self.revision += 1;
                self.changes.insert(self.revision, (key.0, key.1, true));
                done.revisions.push(self.revision);
            }
            Op::InsertTask(new) => self.insert(new),
            Op::MarkSent {
                task,
                fence,
                attempt: now,
                at,
                ..
            } => {
                if let Some(RowState::Open { attempt, sent, .. }) = self.row(*task) {
                    *attempt = *now;
                    *sent = Some(Sent {
                        fence: *fence,
                        at: *at,
                    });
                }
            }
            Op::Checkpoint { task, value, .. } => {
                if let Some(RowState::Open { checkpoint, .. }) = self.row(*task) {
                    *checkpoint = Some(value.clone());
                }
            }
            Op::Retry {
                task,
                attempt: next,
                not_before: at,
                note,
                ..
            } => {
                if let Some(RowState::Open {
                    attempt,
                    not_before,
                    sent,
                    history,
                    ..
                }) = self.row(*task)
                {
                    *attempt = *next;
                    *not_before = Some(*at);
                    *sent = None;
                    if !history.is_empty() {
                        history.push('\n');
                    }
                    history.push_str(&note.replace('\n', " "));
                }
            }
            Op::End {
                task,
                status,
                changed,
                at,
                ending,
                ..
            } => {
                if self.end(*task, *status, *changed, *at, ending) {
                    done.position = self.position;
                } else {
                    self.stale_ends += 1;
                    done.stale.push(*task);
                }
            }
            Op::Release { run, batch, to } => {
                for id in self.held(*run) {
                    let Some(row) = self.tasks.get_mut(&id).filter(|r| r.new.batch <= *batch)
                    else {
                        continue;
                    };
                    let line = row.new.line;
                    if let RowState::Open { priority, .. } = &mut row.state {
                        *priority = *to;
                    }
                    self.unlist(Priority::Held, line, id);
                    self.open.entry((*to as u8, line)).or_default().insert(id);
                    done.moved += 1;
                }
            }
            Op::EndHeld {
                run,
                status,
                at,
                ending,
            } => {
                let mut held = self.held(*run);
                held.sort_by_key(|id| (self.tasks.get(id).map(|r| r.new.batch), *id));
                for id in held {
                    self.end(id, *status, false, *at, ending);
                    done.moved += 1;
                    done.position = self.position;
                }
            }
            Op::Append {
                stream,
                key,
                at,
                body,
            } => {
                self.position += 1;
                let entry = Entry {
                    position: self.position,
                    key: *key,
                    at: *at,
                    body: body.clone(),
                };
                let stream = self.entries.entry(stream.clone()).or_default();
                stream.insert(self.position, entry);
                done.position = self.position;
            }
            Op::PutMeta { key, value } => {
                self.meta.insert(key.clone(), value.clone());
            }
            Op::ExpectMeta { .. } => {} // checked before the first write
        }
    }

    fn row(&mut self, id: TaskId) -> Option<&mut RowState> {
        self.tasks.get_mut(&id).map(|row| &mut row.state)
    }

    fn insert(&mut self, new: &NewTask) {
        self.last_id = self.last_id.max(new.id.0);
        if let Some(run) = new.run {
            self.last_id = self.last_id.max(run.0);
            self.runs.entry(run).or_default().insert(new.id);
        }
        let place = (new.priority as u8, new.line);
        self.open.entry(place).or_default().insert(new.id);
        self.lanes.entry(new.target).or_default().insert(new.id);
        self.open_count += 1;
        let state = RowState::Open {
            priority: new.priority,
            attempt: 1,
            not_before: None,
            sent: None,
            checkpoint: None,
            history: String::new(),
        };
        let row = Row {
            new: new.clone(),
            state,
        };
        self.tasks.insert(new.id, row);
    }

    fn unlist(&mut self, priority: Priority, line: Line, id: TaskId) {
        let place = (priority as u8, line);
        if let Some(list) = self.open.get_mut(&place) {
            list.remove(&id);
            if list.is_empty() {
                self.open.remove(&place);
            }
        }
    }

    /// False when it is not open.
    fn end(&mut self, id: TaskId, status: Status, changed: bool, at: Time, ending: &Bytes) -> bool {
        let Some(row) = self.tasks.get_mut(&id) else {
            return false;
        };
        let RowState::Open {
            priority, attempt, ..
        } = row.state
        else {
            return false;
        };
        row.state = RowState::Ended {
            status,
            changed,
            attempt,
            at,
            ending: ending.clone(),
        };
        let line = row.new.line;
        self.unlist(priority, line, id);
        self.position += 1;
        self.results.insert(self.position, id);
        self.open_count -= 1;
        self.ended += 1;
        true
    }

    fn held(&self, run: RunId) -> Vec<TaskId> {
        let of_run = self.runs.get(&run).into_iter().flatten();
        let is_held = |id: &&TaskId| {
            let row = self.tasks.get(id);
            row.is_some_and(|row| {
                matches!(
                    row.state,
                    RowState::Open {
                        priority: Priority::Held,
                        ..
                    }
                )
            })
        };
        of_run.filter(is_held).copied().collect()
    }

    pub fn retain(&mut self, retention: Retention) -> u64 {
        let mut rows = 0;
        let old = |row: &Row| matches!(&row.state, RowState::Ended { at, .. } if *at < retention.tasks_before);
        let gone: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, row)| old(row))
            .map(|(id, _)| *id)
            .collect();
        for id in &gone {
            if let Some(row) = self.tasks.remove(id) {
                if let Some(lane) = self.lanes.get_mut(&row.new.target) {
                    lane.remove(id);
                }
                if let Some(run) = row.new.run.and_then(|run| self.runs.get_mut(&run)) {
                    run.remove(id);
                }
                self.ended -= 1;
                rows += 1;
            }
        }
        let gone: BTreeSet<TaskId> = gone.into_iter().collect();
        if !gone.is_empty() {
            self.results.retain(|_, id| !gone.contains(id));
        }
        for (stream, entries) in &mut self.entries {
            let before = entries.len();
            entries.retain(|_, entry| {
                let of_gone = stream == TASK_LOG && gone.contains(&TaskId(entry.key));
                entry.at >= retention.before(stream) && !of_gone
            });
            rows += (before - entries.len()) as u64;
        }
        while self.changes.len() as u64 > retention.changes_kept {
            if let Some((revision, _)) = self.changes.pop_first() {
                self.compacted = revision;
                rows += 1;
            }
        }
        rows
    }
}

fn above(after: TaskId) -> (std::ops::Bound<TaskId>, std::ops::Bound<TaskId>) {
    (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)
}
