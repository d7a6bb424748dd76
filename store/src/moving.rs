//! Moving everything that a store keeps into another one, row by row, with all its numbers: revisions, positions, ids.
//!
//! How: nothing else writes to either store. For each part of `Part::ALL` in turn, export pages after the last row of the
//! page before, and import each; then compare the digests of each part. Importing a row again changes nothing, so a move
//! that was broken off is begun again from any row. `Counters` go last: until then the target is no store to work with.
//! `mover` does it while others write to the source.

use crate::{Position, Revision, Store, StoreError, StoredRecord};
use bytes::Bytes;
use futures::future::BoxFuture;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use sha2::{Digest as _, Sha256};

/// Rows that are exported or hashed at a time.
pub const ROWS_PER_PAGE: usize = 1_000;

/// Rows of one sort. Their order is the order of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// By key.
    Meta,
    /// By kind and name.
    Records,
    /// By revision.
    Changes,
    /// By id.
    Tasks,
    /// By stream and position.
    Entries,
    /// One row.
    Counters,
}

impl Part {
    pub const ALL: [Part; 6] = [
        Part::Meta,
        Part::Records,
        Part::Changes,
        Part::Tasks,
        Part::Entries,
        Part::Counters,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Part::Meta => "meta",
            Part::Records => "records",
            Part::Changes => "changes",
            Part::Tasks => "tasks",
            Part::Entries => "entries",
            Part::Counters => "counters",
        }
    }
}

/// Names one row that may change after it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Meta(String),
    Record(String, String),
    Task(TaskId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Meta {
        key: String,
        value: Bytes,
    },
    Record(StoredRecord),
    /// The record is not there: in imports only.
    NoRecord {
        kind: String,
        name: String,
    },
    Change {
        revision: Revision,
        kind: String,
        name: String,
        deleted: bool,
    },
    Task(TaskRow),
    Entry {
        stream: String,
        position: Position,
        key: u64,
        at: Time,
        body: Bytes,
    },
    Counters(Counters),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    pub id: TaskId,
    pub target: Uid,
    pub run: Option<RunId>,
    pub batch: u32,
    pub body: Bytes,
    pub stand: RowStand,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowStand {
    Open {
        priority: Priority,
        line: crate::Line,
        attempt: u32,
        not_before: Option<Time>,
        sent: Option<crate::Sent>,
        checkpoint: Option<Bytes>,
        /// None before the first retry.
        history: Option<String>,
    },
    Ended {
        position: Position,
        status: Status,
        changed: bool,
        attempt: u32,
        at: Time,
        ending: Bytes,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub revision: Revision,
    pub change_oldest: Revision,
    pub position: Position,
    pub last_id: u64,
    pub records: u64,
    pub tasks_open: u64,
    pub tasks_ended: u64,
}

/// A store whose content can be moved.
pub trait Move: Store {
    /// Rows of `part` after the row `after` (from the start when None), in order, at most `limit`; fewer are the last
    /// there are.
    fn export(
        &self,
        part: Part,
        after: Option<Row>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;

    /// Puts rows as they are, of any parts, in place of those with the same key. All of them or none, durably.
    fn import(&self, rows: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The rows of these keys as they are now, in any order; what is not there is left out.
    fn rows(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;

    /// Tasks of a run up to `batch` that are `Held`.
    fn held(&self, run: RunId, batch: u32) -> BoxFuture<'_, Result<Vec<TaskId>, StoreError>>;

    /// Deletes everything and puts rows of `Meta` there, in one step: what a move that was broken off has left goes.
    fn clear(&self, metas: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// What a part holds: how many rows, and the SHA-256 over all of them in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    pub rows: u64,
    pub sha256: String,
}

/// The digest of a part; the same for every store that holds the same.
///
/// # Errors
/// When the store cannot be read.
pub async fn digest(store: &dyn Move, part: Part) -> Result<Digest, StoreError> {
    let mut hash = Sha256::new();
    let (mut after, mut rows) = (None, 0);
    loop {
        let page = store.export(part, after.take(), ROWS_PER_PAGE).await?;
        for row in &page {
            row.hash_into(&mut hash);
        }
        rows += page.len() as u64;
        let Some(last) = page.into_iter().last() else {
            break;
        };
        after = Some(last);
    }
    let sha256 = hash.finalize();
    Ok(Digest {
        rows,
        sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// Each field with its length before it, so that no two rows look alike.
struct Fields<'h>(&'h mut Sha256);

impl Fields<'_> {
    fn bytes(&mut self, value: &[u8]) {
        self.0.update((value.len() as u64).to_be_bytes());
        self.0.update(value);
    }

    fn number(&mut self, value: u64) {
        self.0.update(value.to_be_bytes());
    }

    fn time(&mut self, value: Time) {
        self.0.update(value.0.to_be_bytes());
    }

    fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }
}

impl Row {
    pub fn part(&self) -> Part {
        match self {
            Row::Meta { .. } => Part::Meta,
            Row::Record(_) | Row::NoRecord { .. } => Part::Records,
            Row::Change { .. } => Part::Changes,
            Row::Task(_) => Part::Tasks,
            Row::Entry { .. } => Part::Entries,
            Row::Counters(_) => Part::Counters,
        }
    }

    /// None for rows that can change no more, or are none.
    pub fn key(&self) -> Option<Key> {
        match self {
            Row::Meta { key, .. } => Some(Key::Meta(key.clone())),
            Row::Record(record) => Some(Key::Record(record.kind.clone(), record.name.clone())),
            Row::NoRecord { kind, name } => Some(Key::Record(kind.clone(), name.clone())),
            Row::Task(task) => Some(Key::Task(task.id)),
            Row::Change { .. } | Row::Entry { .. } | Row::Counters(_) => None,
        }
    }

    /// About the bytes that it holds.
    pub fn bytes(&self) -> usize {
        match self {
            Row::Meta { key, value } => key.len() + value.len(),
            Row::Record(record) => record.kind.len() + record.name.len() + record.body.len(),
            Row::Task(task) => {
                task.body.len()
                    + match &task.stand {
                        RowStand::Open { checkpoint, .. } => {
                            checkpoint.as_ref().map_or(0, Bytes::len)
                        }
                        RowStand::Ended { ending, .. } => ending.len(),
                    }
            }
            Row::Entry { body, .. } => body.len(),
            Row::NoRecord { .. } | Row::Change { .. } | Row::Counters(_) => 0,
        }
    }

    pub(crate) fn hash_into(&self, hash: &mut Sha256) {
        let mut to = Fields(hash);
        match self {
            // Never exported.
            Row::NoRecord { .. } => {}
            Row::Meta { key, value } => {
                to.bytes(key.as_bytes());
                to.bytes(value);
            }
            Row::Record(record) => {
                to.bytes(record.kind.as_bytes());
                to.bytes(record.name.as_bytes());
                to.number(record.uid.0);
                to.number(record.revision);
                to.bytes(&record.body);
            }
            Row::Change {
                revision,
                kind,
                name,
                deleted,
            } => {
                to.number(*revision);
                to.bytes(kind.as_bytes());
                to.bytes(name.as_bytes());
                to.number(u64::from(*deleted));
            }
            Row::Task(task) => task.hash_into(&mut to),
            Row::Entry {
                stream,
                position,
                key,
                at,
                body,
            } => {
                to.bytes(stream.as_bytes());
                to.number(*position);
                to.number(*key);
                to.time(*at);
                to.bytes(body);
            }
            Row::Counters(counters) => {
                to.number(counters.revision);
                to.number(counters.change_oldest);
                to.number(counters.position);
                to.number(counters.last_id);
                to.number(counters.records);
                to.number(counters.tasks_open);
                to.number(counters.tasks_ended);
            }
        }
    }
}

impl TaskRow {
    fn hash_into(&self, to: &mut Fields<'_>) {
        to.number(self.id.0);
        to.number(self.target.0);
        to.maybe(self.run, |to, run| to.number(run.0));
        to.number(u64::from(self.batch));
        to.bytes(&self.body);
        match &self.stand {
            RowStand::Open {
                priority,
                line,
                attempt,
                not_before,
                sent,
                checkpoint,
                history,
            } => {
                to.number(0);
                to.number(u64::from(*priority as u8));
                to.number(u64::from(*line));
                to.number(u64::from(*attempt));
                to.maybe(*not_before, Fields::time);
                to.maybe(*sent, |to, sent| {
                    to.number(sent.fence);
                    to.time(sent.at);
                });
                to.maybe(checkpoint.as_deref(), Fields::bytes);
                to.maybe(history.as_deref(), |to, text| to.bytes(text.as_bytes()));
            }
            RowStand::Ended {
                position,
                status,
                changed,
                attempt,
                at,
                ending,
            } => {
                to.number(1);
                to.number(*position);
                to.number(u64::from(*status as u8));
                to.number(u64::from(*changed));
                to.number(u64::from(*attempt));
                to.time(*at);
                to.bytes(ending);
            }
        }
    }
}
