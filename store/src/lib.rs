//! The Store port: records, tasks, streams, one cursor; and the suite that every store must pass.
//!
//! This crate exists so that logic can be written without seeing any database. A store keeps bytes and narrow columns; it
//! must never interpret a body. Everything that `commit` acknowledged is durable; nothing of a refused batch is.

pub mod blobs;
mod check;
pub mod conformance;
pub mod mark;
pub mod mover;
pub mod moving;
pub mod switch;

pub use check::{Check, Verdict};

use bytes::Bytes;
use futures::future::BoxFuture;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use std::fmt;

/// Counts writes of records over the whole store: the cursor of watch, index, audit and backup.
pub type Revision = u64;
/// Position in a stream, from 1, growing; there may be gaps.
pub type Position = u64;
/// Open tasks wait in lines that are read apart, so that those that cannot go now stand before no others. The caller
/// gives the number; a store must bear a few hundred of them.
pub type Line = u16;
/// The stream of task logs, keyed by task id: its entries go when retention deletes their task.
pub const TASK_LOG: &str = "task-log";
/// The stream of who did what.
pub const AUDIT: &str = "audit";

/// A place where the truth is kept. One value is shared by all; every call may run at the same time as others.
pub trait Store: Send + Sync + 'static {
    /// Applies all operations or none. Resolves once they are durable; concurrent calls share one flush.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>>;

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>>;

    /// Records of `kind` (all kinds when empty) in (kind, name) order after `after`, at most `limit`.
    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>>;

    /// Writes of records after revision `from`, in order, at most `limit`. Several writes of one record between two
    /// reads may be given as the last one only.
    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>>;

    /// Open tasks of one priority and line with ids above `after`, in id order, at most `limit`.
    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>>;

    /// The priorities and lines that have open tasks.
    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>>;

    /// Open tasks of one target (not `Held`) with ids above `after`, in id order, at most `limit`.
    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>>;

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>>;

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>>;

    /// How the tasks of a run stand, newest task per target only.
    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>>;

    /// Entries of `stream` with `key` (all keys when 0) after `after`, at most `limit`.
    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>>;

    /// Entries of `stream` before `before`, newest first, at most `limit`.
    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>>;

    /// Ended tasks in the order in which they ended, after `after`: the stream of results.
    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>>;

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>>;

    /// Deletes what retention no longer keeps, in small steps so that commits are not held up: ended tasks (with their
    /// results and log entries) that ended before `tasks_before`, stream entries as `Retention::before` says, changes
    /// older than the newest `changes_kept`. Returns how many rows went.
    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Flushes and closes; later calls give `Closed`.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub ops: Vec<Op>,
}

/// One write. Order within a batch is kept.
#[derive(Debug, Clone)]
pub enum Op {
    PutRecord {
        kind: String,
        name: String,
        uid: Uid,
        expect: Expect,
        body: Bytes,
    },
    DeleteRecord {
        kind: String,
        name: String,
        expect: Expect,
    },
    InsertTask(NewTask),
    /// The task left for a WEE: written before it is sent when its effect may not be repeated.
    MarkSent {
        task: TaskId,
        priority: Priority,
        /// Which attempt of which life of logic, as logic packs it.
        fence: u64,
        attempt: u32,
        at: Time,
    },
    /// What a probe will need; kept with the open task.
    Checkpoint {
        task: TaskId,
        priority: Priority,
        value: Bytes,
    },
    /// Back to waiting. The task keeps its id and place in its lane.
    Retry {
        task: TaskId,
        priority: Priority,
        attempt: u32,
        not_before: Time,
        note: String,
    },
    /// The task is over. Ignored (and counted in `Committed::stale`) when it is not open.
    End {
        task: TaskId,
        priority: Priority,
        status: Status,
        changed: bool,
        at: Time,
        ending: Bytes,
    },
    /// Tasks of a run up to `batch` that are `Held` become `to`.
    Release {
        run: RunId,
        batch: u32,
        to: Priority,
    },
    /// Every `Held` task of the run ends at once with this outcome.
    EndHeld {
        run: RunId,
        status: Status,
        at: Time,
        ending: Bytes,
    },
    Append {
        stream: String,
        key: u64,
        at: Time,
        body: Bytes,
    },
    PutMeta {
        key: String,
        value: Bytes,
    },
    /// Meta `key` has exactly this value (None: it is absent) when the turn of this operation comes; otherwise the
    /// whole batch is refused with `Fenced`. Stands in front of the commits of a life that another one may end.
    ExpectMeta {
        key: String,
        value: Option<Bytes>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Absent,
    /// The record is there at this revision.
    Revision(Revision),
}

#[derive(Debug, Clone)]
pub struct NewTask {
    pub id: TaskId,
    pub target: Uid,
    pub run: Option<RunId>,
    pub priority: Priority,
    /// Batch of its run; 0 without a run.
    pub batch: u32,
    pub line: Line,
    /// Serialised `TaskBody`.
    pub body: Bytes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Revision of each `PutRecord` and `DeleteRecord`, in order of the operations; 0 for a delete of what was absent.
    pub revisions: Vec<Revision>,
    /// `End`s that found no open task.
    pub stale: Vec<TaskId>,
    /// Tasks ended by `EndHeld`, or made ready by `Release`.
    pub moved: u64,
    /// Position of the last result or entry appended, 0 for none.
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub kind: String,
    pub name: String,
    pub uid: Uid,
    pub revision: Revision,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    pub kind: String,
    pub name: String,
    /// None when it was deleted.
    pub record: Option<StoredRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// The newest revision of the store when this was read.
    pub newest: Revision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTask {
    pub id: TaskId,
    pub target: Uid,
    pub run: Option<RunId>,
    pub priority: Priority,
    pub batch: u32,
    pub attempt: u32,
    pub not_before: Option<Time>,
    /// Set by `MarkSent`, cleared by `Retry`.
    pub sent: Option<Sent>,
    pub checkpoint: Option<Bytes>,
    /// Notes of `Retry`s, one line each.
    pub history: String,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// As `MarkSent` said.
    pub fence: u64,
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTask {
    pub id: TaskId,
    pub target: Uid,
    pub run: Option<RunId>,
    pub batch: u32,
    pub body: Bytes,
    pub stand: Stand,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    Open(Box<OpenTask>),
    /// Serialised `Ending`.
    Ended {
        status: Status,
        changed: bool,
        at: Time,
        ending: Bytes,
    },
}

/// Tasks newest first. All given conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct TaskQuery {
    pub target: Option<Uid>,
    pub run: Option<RunId>,
    /// Ended with one of these; empty and `open` unset = any.
    pub status: Vec<Status>,
    /// Only open ones.
    pub open: bool,
    /// Ids below this.
    pub before: Option<TaskId>,
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTask {
    pub id: TaskId,
    pub target: Uid,
    pub batch: u32,
    pub attempt: u32,
    /// None while open; then `priority` tells held from waiting.
    pub status: Option<Status>,
    pub changed: bool,
    pub priority: Option<Priority>,
    pub sent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub key: u64,
    pub at: Time,
    pub body: Bytes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Name and version of the engine.
    pub engine: String,
    pub revision: Revision,
    pub records: u64,
    pub tasks_open: u64,
    pub tasks_ended: u64,
    pub bytes: u64,
    /// Greatest id ever used by a task, run or record, so that ids never repeat.
    pub last_id: u64,
    /// What this engine cannot do, in words for people.
    pub lacks: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub tasks_before: Time,
    pub entries_before: Time,
    /// For the stream `AUDIT`, in the place of `entries_before`.
    pub audit_before: Time,
    pub changes_kept: u64,
}

impl Retention {
    /// Entries of this stream go when they are older.
    pub fn before(&self, stream: &str) -> Time {
        match stream {
            AUDIT => self.audit_before,
            _ => self.entries_before,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record is not at the expected revision. Nothing of the batch was applied.
    #[error("{kind}/{name} is at revision {found:?}")]
    Conflict {
        kind: String,
        name: String,
        found: Option<Revision>,
    },
    /// `from` is older than what is kept.
    #[error("changes before revision {oldest} are no longer kept")]
    Compacted { oldest: Revision },
    /// Disk full, read-only, gone. Nothing of the batch was applied; the store is intact.
    #[error("the store cannot write")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Meta `key` is not as expected. Nothing of the batch was applied, and nothing with this expectation will be.
    #[error("another life has taken over: {key} is no longer what it was")]
    Fenced { key: String },
    /// The store went away in the middle. The batch was applied as a whole or not at all, and which of them is not known.
    #[error("the store went away during a commit; whether it was done is not known")]
    Unsettled,
    /// It was put back to an earlier state while it was open. Nothing of the batch was applied, and nothing will be until
    /// the store is opened anew.
    #[error("the store has lost commits that it had acknowledged")]
    Behind,
    /// Another process has it.
    #[error("{place} is in use by another process")]
    InUse { place: String },
    /// What it kept is elsewhere now, and nothing may be written here.
    #[error("the store was moved to {to} at {at}")]
    Moved { to: String, at: Time },
    /// A move into it has not come to its end.
    #[error("the store holds a copy of {from} that was never put to use")]
    Unfinished { from: String },
    #[error("the store is closed")]
    Closed,
    #[error("{what}")]
    Broken {
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl StoreError {
    /// Whoever holds in memory what the store holds can do so no longer: it belongs to another, or is not what it was.
    pub fn ends_life(&self) -> bool {
        matches!(
            self,
            StoreError::Fenced { .. } | StoreError::Unsettled | StoreError::Behind
        )
    }
}

impl Batch {
    pub fn one(op: Op) -> Batch {
        Batch { ops: vec![op] }
    }
}

impl From<Vec<Op>> for Batch {
    fn from(ops: Vec<Op>) -> Batch {
        Batch { ops }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Anything => f.write_str("anything"),
            Expect::Absent => f.write_str("absent"),
            Expect::Revision(r) => write!(f, "revision {r}"),
        }
    }
}
