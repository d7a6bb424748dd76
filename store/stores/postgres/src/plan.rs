//! What a group of batches means, worked out in memory from what was read under the lock: which batches are refused,
//! and the rows that all others leave behind. Pure. A refused batch leaves no trace here, so it needs no savepoint.

use crate::head::Head;
use crate::numbers::{ordered, unsigned};
use sengu_model::outcome::Status;
use sengu_model::{TaskId, Time};
use sengu_store::{Batch, Committed, Expect, NewTask, Op, StoreError};
use std::collections::{HashMap, HashSet};

/// What the database holds of what the group names.
#[derive(Debug, Default)]
pub struct Known {
    pub head: Head,
    /// Expected values only.
    pub metas: HashMap<String, Vec<u8>>,
    /// Revisions.
    pub records: HashMap<(String, String), i64>,
    /// Ids that are taken.
    pub tasks: HashSet<i64>,
    /// Attempts of open tasks.
    pub open: HashMap<i64, i64>,
    pub streams: HashMap<String, i32>,
}

/// How a task that was open, or is new, stands at the end of the group.
#[derive(Debug, Default)]
pub struct Stand<'a> {
    pub new: Option<&'a NewTask>,
    pub attempt: i64,
    pub ended: bool,
    /// Anything below was set.
    pub touched: bool,
    pub not_before: Option<i64>,
    /// None: as it was.
    pub sent: Option<Option<(i64, i64)>>,
    pub checkpoint: Option<&'a [u8]>,
    pub note: Option<String>,
}

#[derive(Debug)]
pub struct Ended<'a> {
    pub position: i64,
    pub task: i64,
    pub status: i16,
    pub changed: bool,
    pub attempt: i64,
    pub at: i64,
    pub ending: &'a [u8],
}

#[derive(Debug)]
pub struct Written<'a> {
    pub revision: i64,
    pub kind: &'a str,
    pub name: &'a str,
    /// None: deleted.
    pub row: Option<(i64, &'a [u8])>,
}

#[derive(Debug)]
pub struct Appended<'a> {
    pub stream: i32,
    pub position: i64,
    pub key: i64,
    pub at: i64,
    pub body: &'a [u8],
}

/// The rows to write.
#[derive(Debug, Default)]
pub struct Writes<'a> {
    pub tasks: Vec<&'a NewTask>,
    pub stands: HashMap<i64, Stand<'a>>,
    pub results: Vec<Ended<'a>>,
    /// In order of revision; the last one of a record is what stays.
    pub records: Vec<Written<'a>>,
    pub streams: Vec<(i32, &'a str)>,
    pub entries: Vec<Appended<'a>>,
    pub metas: HashMap<&'a str, &'a [u8]>,
}

impl Writes<'_> {
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.stands.is_empty()
            && self.results.is_empty()
            && self.records.is_empty()
            && self.entries.is_empty()
            && self.metas.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct Plan<'a> {
    pub known: Known,
    pub writes: Writes<'a>,
    records: HashMap<(&'a str, &'a str), Option<i64>>,
}

fn refused(what: String) -> StoreError {
    StoreError::Broken { what, source: None }
}

/// PostgreSQL's text has no NUL.
fn text(what: &str, value: &str) -> Result<(), StoreError> {
    if value.contains('\0') {
        return Err(refused(format!(
            "{what} {value:?} has a NUL, which cannot be kept"
        )));
    }
    Ok(())
}

fn holds(expect: Expect, found: Option<i64>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => found.is_none(),
        Expect::Revision(wanted) => found.map(unsigned) == Some(wanted),
    }
}

impl<'a> Plan<'a> {
    pub fn new(known: Known) -> Plan<'a> {
        Plan {
            known,
            ..Plan::default()
        }
    }

    fn revision(&self, kind: &str, name: &str) -> Option<i64> {
        match self.records.get(&(kind, name)) {
            Some(found) => *found,
            None => {
                let key = (kind.to_owned(), name.to_owned());
                self.known.records.get(&key).copied()
            }
        }
    }

    fn meta(&self, key: &str) -> Option<&[u8]> {
        match self.writes.metas.get(key) {
            Some(value) => Some(value),
            None => self.known.metas.get(key).map(Vec::as_slice),
        }
    }

    /// Compares everything that the batch expects with what will be there when its turn comes.
    pub fn check(&self, batch: &'a Batch) -> Result<(), StoreError> {
        let mut records: HashMap<(&str, &str), Option<i64>> = HashMap::new();
        let mut metas: HashMap<&str, &[u8]> = HashMap::new();
        let mut inserted: HashSet<i64> = HashSet::new();
        let mut revision = self.known.head.revision;
        for op in &batch.ops {
            let (kind, name, expect, put) = match op {
                Op::PutRecord {
                    kind, name, expect, ..
                } => (kind, name, *expect, true),
                Op::DeleteRecord { kind, name, expect } => (kind, name, *expect, false),
                Op::InsertTask(task) => {
                    let id = ordered(task.id.0);
                    if self.known.tasks.contains(&id) || !inserted.insert(id) {
                        return Err(refused(format!("there is a task {} already", task.id)));
                    }
                    continue;
                }
                Op::PutMeta { key, value } => {
                    text("the meta key", key)?;
                    metas.insert(key, value);
                    continue;
                }
                Op::ExpectMeta { key, value } => {
                    let found = metas.get(key.as_str()).copied();
                    if found.or_else(|| self.meta(key)) != value.as_deref() {
                        return Err(StoreError::Fenced { key: key.clone() });
                    }
                    continue;
                }
                Op::Append { stream, .. } => {
                    text("the stream", stream)?;
                    continue;
                }
                _ => continue,
            };
            let key = (kind.as_str(), name.as_str());
            let found = records.get(&key).copied();
            let found = found.unwrap_or_else(|| self.revision(kind, name));
            if !holds(expect, found) {
                return Err(StoreError::Conflict {
                    kind: kind.clone(),
                    name: name.clone(),
                    found: found.map(unsigned),
                });
            }
            if put {
                text("the kind", kind)?;
                text("the name", name)?;
            }
            if put || found.is_some() {
                revision += 1;
            }
            records.insert(key, put.then_some(revision));
        }
        Ok(())
    }

    /// Writes one operation of a batch that was checked. `Release` and `EndHeld` are the database's own work.
    pub fn apply(&mut self, op: &'a Op, done: &mut Committed) {
        match op {
            Op::InsertTask(task) => self.insert(task),
            Op::MarkSent {
                task,
                fence,
                attempt,
                at,
                ..
            } => self.touch(*task, |stand| {
                stand.sent = Some(Some((fence.cast_signed(), at.0)));
                stand.attempt = i64::from(*attempt);
            }),
            Op::Checkpoint { task, value, .. } => {
                self.touch(*task, |stand| stand.checkpoint = Some(value));
            }
            Op::Retry {
                task,
                attempt,
                not_before,
                note,
                ..
            } => self.touch(*task, |stand| {
                let note = note.replace('\n', " ").replace('\0', "\u{fffd}");
                stand.attempt = i64::from(*attempt);
                stand.not_before = Some(not_before.0);
                stand.sent = Some(None);
                stand.note = Some(match stand.note.take() {
                    Some(notes) => format!("{notes}\n{note}"),
                    None => note,
                });
            }),
            Op::End {
                task,
                status,
                changed,
                at,
                ending,
                ..
            } => self.end(*task, *status, *changed, *at, ending, done),
            Op::PutRecord {
                kind,
                name,
                uid,
                body,
                ..
            } => {
                if self.revision(kind, name).is_none() {
                    self.known.head.records += 1;
                }
                self.known.head.saw(uid.0);
                self.write(kind, name, Some((ordered(uid.0), body)), done);
            }
            Op::DeleteRecord { kind, name, .. } => {
                if self.revision(kind, name).is_none() {
                    done.revisions.push(0);
                    return;
                }
                self.known.head.records -= 1;
                self.write(kind, name, None, done);
            }
            Op::Append {
                stream,
                key,
                at,
                body,
            } => {
                self.known.head.position += 1;
                let position = self.known.head.position;
                let stream = self.stream(stream);
                self.writes.entries.push(Appended {
                    stream,
                    position,
                    key: key.cast_signed(),
                    at: at.0,
                    body,
                });
                done.position = unsigned(position);
            }
            Op::PutMeta { key, value } => {
                self.writes.metas.insert(key, value);
            }
            Op::ExpectMeta { .. } | Op::Release { .. } | Op::EndHeld { .. } => {}
        }
    }

    fn insert(&mut self, task: &'a NewTask) {
        let id = ordered(task.id.0);
        self.known.tasks.insert(id);
        self.known.head.saw(task.id.0);
        if let Some(run) = task.run {
            self.known.head.saw(run.0);
        }
        self.known.head.tasks_open += 1;
        self.writes.tasks.push(task);
        let stand = Stand {
            new: Some(task),
            attempt: 1,
            ..Stand::default()
        };
        self.writes.stands.insert(id, stand);
    }

    /// The stand of a task that is open now.
    fn open(&mut self, id: i64) -> Option<&mut Stand<'a>> {
        if !self.writes.stands.contains_key(&id) {
            let attempt = *self.known.open.get(&id)?;
            let stand = Stand {
                attempt,
                ..Stand::default()
            };
            self.writes.stands.insert(id, stand);
        }
        self.writes.stands.get_mut(&id).filter(|stand| !stand.ended)
    }

    /// A task that is not open is left alone.
    fn touch(&mut self, task: TaskId, change: impl FnOnce(&mut Stand<'a>)) {
        if let Some(stand) = self.open(ordered(task.0)) {
            stand.touched = true;
            change(stand);
        }
    }

    fn end(
        &mut self,
        task: TaskId,
        status: Status,
        changed: bool,
        at: Time,
        ending: &'a [u8],
        done: &mut Committed,
    ) {
        let id = ordered(task.0);
        let Some(stand) = self.open(id) else {
            done.stale.push(task);
            return;
        };
        stand.ended = true;
        let attempt = stand.attempt;
        let head = &mut self.known.head;
        head.position += 1;
        head.tasks_open -= 1;
        head.tasks_ended += 1;
        done.position = unsigned(head.position);
        self.writes.results.push(Ended {
            position: head.position,
            task: id,
            status: i16::from(status as u8),
            changed,
            attempt,
            at: at.0,
            ending,
        });
    }

    fn write(
        &mut self,
        kind: &'a str,
        name: &'a str,
        row: Option<(i64, &'a [u8])>,
        done: &mut Committed,
    ) {
        self.known.head.revision += 1;
        let revision = self.known.head.revision;
        self.records.insert((kind, name), row.map(|_| revision));
        self.writes.records.push(Written {
            revision,
            kind,
            name,
            row,
        });
        done.revisions.push(unsigned(revision));
    }

    fn stream(&mut self, name: &'a str) -> i32 {
        if let Some(id) = self.known.streams.get(name) {
            return *id;
        }
        let id = 1 + self.known.streams.values().max().copied().unwrap_or(0);
        self.known.streams.insert(name.to_owned(), id);
        self.writes.streams.push((id, name));
        id
    }

    /// What was planned so far, to be written before the database does work of its own. What was read of open tasks
    /// must then be read anew.
    pub fn take(&mut self) -> Writes<'a> {
        for (key, value) in &self.writes.metas {
            self.known.metas.insert((*key).to_owned(), value.to_vec());
        }
        self.known.open.clear();
        std::mem::take(&mut self.writes)
    }
}
