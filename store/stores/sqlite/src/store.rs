//! The port, spoken by the writer's queue and the readers.

use crate::apply::Applier;
use crate::error::{broken, from_engine};
use crate::head::Head;
use crate::lanes::Lanes;
use crate::lock::{self, DirectoryLock};
use crate::readers::Readers;
use crate::writer::{self, BATCHES_WAITING_MAX, Message};
use crate::{moving, read, schema};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Uid};
use sengu_store::moving::{Key, Move, Part, Row};
use sengu_store::{
    Batch, Changes, Committed, Entry, Line, OpenTask, Position, Retention, Revision, RunTask,
    Store, StoreError, StoreStatus, StoredRecord, StoredTask, TaskQuery,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// A data directory, open. Dropping it finishes what was accepted and releases the directory.
pub struct SqliteStore {
    place: PathBuf,
    /// None once closed.
    queue: Mutex<Option<mpsc::Sender<Message>>>,
    lanes: Arc<Lanes>,
    readers: Readers,
    writer: Mutex<Option<Held>>,
}

/// What must end in this order: the writer's thread, then the lock.
struct Held {
    thread: JoinHandle<()>,
    _lock: DirectoryLock,
}

impl SqliteStore {
    /// Opens the store in `directory`, which is made when it is not there.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Broken` when its schema is newer than this program, `Unavailable` when
    /// the directory cannot be written.
    pub fn open(directory: &Path) -> Result<SqliteStore, StoreError> {
        let database = schema::prepare_directory(directory)?;
        let lock = lock::lock(directory)?;
        let connection = schema::open_writer(&database)?;
        let lanes = Lanes::load(&connection).map(Arc::new);
        let lanes = lanes.map_err(|e| from_engine("read the store's tables", e))?;
        Applier::new(&connection, lanes.clone())
            .map_err(|e| from_engine("read the store's tables", e))?;
        let (queue, waiting) = mpsc::channel(BATCHES_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let lanes = lanes.clone();
                move || writer::run(connection, lanes, waiting)
            })
            .map_err(|e| StoreError::Unavailable(Box::new(e)))?;
        Ok(SqliteStore {
            place: directory.to_owned(),
            queue: Mutex::new(Some(queue)),
            lanes,
            readers: Readers::new(database),
            writer: Mutex::new(Some(Held {
                thread,
                _lock: lock,
            })),
        })
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(writer::Reply<T>) -> Message,
    ) -> Result<T, StoreError> {
        let queue = self.queue.lock().clone().ok_or(StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        queue.send(message(reply)).await.map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Why the writer does not answer.
    fn gone(&self) -> StoreError {
        if self.queue.lock().is_none() {
            StoreError::Closed
        } else {
            broken("the writer stopped")
        }
    }

    /// Waits for the threads, which end when there is no sender or they were told to close.
    fn join(&self) {
        self.readers.close();
        if let Some(held) = self.writer.lock().take()
            && held.thread.join().is_err()
        {
            tracing::error!(place = %self.place.display(), "the store's writer panicked");
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(what, read).await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // No call can be under way: each borrows the store.
        drop(self.queue.lock().take());
        self.join();
    }
}

impl Store for SqliteStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.ask(|reply| Message::Commit(batch, reply)).boxed()
    }

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>> {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        self.read("read a record", move |c| {
            read::records::record(c, &kind, &name)
        })
        .boxed()
    }

    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>> {
        let kind = kind.to_owned();
        let after = after.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
        self.read("list records", move |c| {
            read::records::records(c, &kind, after.as_ref(), limit)
        })
        .boxed()
    }

    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>> {
        async move {
            self.read("read changes", move |c| {
                read::records::changes(c, from, limit)
            })
            .await?
            .map_err(|oldest| StoreError::Compacted { oldest })
        }
        .boxed()
    }

    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.read("list open tasks", move |c| {
            read::tasks::open_tasks(c, priority, line, after, limit)
        })
        .boxed()
    }

    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>> {
        self.read("list lines of open tasks", read::tasks::lines)
            .boxed()
    }

    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        let lanes = self.lanes.clone();
        self.read("list a lane", move |c| {
            read::tasks::lane_tasks(c, &lanes, target, after, limit)
        })
        .boxed()
    }

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>> {
        self.read("read a task", move |c| read::tasks::task(c, id))
            .boxed()
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>> {
        let lanes = self.lanes.clone();
        self.read("list tasks", move |c| read::tasks::tasks(c, &lanes, &query))
            .boxed()
    }

    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>> {
        self.read("list the tasks of a run", move |c| {
            read::tasks::run_tasks(c, run)
        })
        .boxed()
    }

    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let stream = stream.to_owned();
        self.read("read a stream", move |c| {
            read::streams::entries(c, &stream, key, after, limit)
        })
        .boxed()
    }

    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let stream = stream.to_owned();
        self.read("read a stream", move |c| {
            read::streams::entries_back(c, &stream, before, limit)
        })
        .boxed()
    }

    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>> {
        self.read("read results", move |c| {
            read::tasks::results(c, after, limit)
        })
        .boxed()
    }

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let key = key.to_owned();
        self.read("read meta", move |c| read::records::meta(c, &key))
            .boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>> {
        async move {
            let head = self.read("read the counters", Head::load).await?;
            Ok(StoreStatus {
                engine: format!("SQLite {}", rusqlite::version()),
                revision: schema::unsigned(head.revision),
                records: schema::unsigned(head.records),
                tasks_open: schema::unsigned(head.tasks_open),
                tasks_ended: schema::unsigned(head.tasks_ended),
                bytes: schema::bytes_on_disk(&self.place),
                last_id: schema::unsigned(head.last_id),
                lacks: vec!["use by more than one process or machine at a time".into()],
            })
        }
        .boxed()
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let mut rows = 0;
            loop {
                match self.ask(|reply| Message::Retain(retention, reply)).await? {
                    0 => return Ok(rows),
                    step => rows += step,
                }
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let queue = self.queue.lock().take().ok_or(StoreError::Closed)?;
            // Readers first: the last connection to go is the one that writes the log back.
            self.readers.close();
            let (reply, answer) = oneshot::channel();
            let told = queue.send(Message::Close(reply)).await;
            drop(queue);
            if told.is_ok() {
                // The writer may have ended by itself; joining says so.
                let _ = answer.await;
            }
            self.join();
            Ok(())
        }
        .boxed()
    }
}

impl Move for SqliteStore {
    fn export(
        &self,
        part: Part,
        after: Option<Row>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.read("export rows", move |c| {
            // One moment for all statements of a page.
            let snapshot = c.unchecked_transaction()?;
            moving::export(&snapshot, part, after.as_ref(), limit)
        })
        .boxed()
    }

    fn import(&self, rows: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|reply| Message::Import(rows, reply)).boxed()
    }

    fn rows(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.read("read rows", move |c| moving::rows(c, &keys))
            .boxed()
    }

    fn held(&self, run: RunId, batch: u32) -> BoxFuture<'_, Result<Vec<TaskId>, StoreError>> {
        self.read("read held tasks", move |c| moving::held(c, run, batch))
            .boxed()
    }

    fn clear(&self, metas: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|reply| Message::Clear(metas, reply)).boxed()
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
