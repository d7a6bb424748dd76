//! The simulated store: a group commit with a latency, and the ways in which stores fail. What it has acknowledged
//! outlives every life; what it has not may or may not be there.

pub mod state;

use crate::life::Life;
use crate::trap::Traps;
use crate::world::note;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Uid};
use sengu_store::{
    Batch, Changes, Committed, Entry, Line, Op, OpenTask, Position, Retention, Revision, RunTask,
    Store, StoreError, StoreStatus, StoredRecord, StoredTask, TaskQuery,
};
use state::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How it behaves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mood {
    pub commit_ms: u64,
    pub read_ms: u64,
    /// Refuses all: disk full, or the server is away.
    pub refuses: bool,
}

impl Default for Mood {
    fn default() -> Self {
        Mood {
            commit_ms: 2,
            read_ms: 0,
            refuses: false,
        }
    }
}

/// Who is cut off from the store is told so after this.
const CONNECT_MAX: Duration = Duration::from_secs(2);

type Waiting = (Batch, oneshot::Sender<Result<Committed, StoreError>>);

#[derive(Default)]
struct Inner {
    state: State,
    mood: Mood,
    queue: Vec<Waiting>,
    flushing: bool,
    /// Of the next commits, so many are applied and not answered.
    unanswered: u32,
}

#[derive(Clone, Default)]
pub struct SimStore(Arc<Mutex<Inner>>);

impl SimStore {
    pub fn set_mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.0.lock().mood);
    }

    /// The next `count` commits are applied, and whoever asked is told that the store broke.
    pub fn lose_answers(&self, count: u32) {
        self.0.lock().unanswered = count;
    }

    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.lock().state)
    }

    /// Straight into the state, before anything runs.
    pub fn fill(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.0.lock().state.apply(batch)
    }

    /// The store as one life sees it.
    pub fn seen_by(&self, life: &Arc<Life>, traps: Arc<Traps>) -> Arc<dyn Store> {
        Arc::new(Seen {
            store: self.clone(),
            life: life.clone(),
            traps,
            closed: AtomicBool::new(false),
        })
    }

    fn begin_flush(&self) {
        let wait = {
            let mut inner = self.0.lock();
            if inner.flushing {
                return;
            }
            inner.flushing = true;
            inner.mood.commit_ms
        };
        // The store's own: it goes on whatever becomes of those who asked.
        let store = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            store.flush();
        });
    }

    fn flush(&self) {
        let mut inner = self.0.lock();
        inner.flushing = false;
        let queue = std::mem::take(&mut inner.queue);
        for (batch, reply) in queue {
            let mut result = match inner.mood.refuses {
                true => Err(unavailable()),
                false => inner.state.apply(&batch),
            };
            note!(
                "commit of {}: {}",
                batch.ops.len(),
                if result.is_ok() { "durable" } else { "refused" }
            );
            if result.is_ok() && inner.unanswered > 0 {
                inner.unanswered -= 1;
                result = Err(StoreError::Unsettled);
            }
            let _ = reply.send(result);
        }
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        let inner = self.0.lock();
        match inner.mood.refuses {
            true => Err(unavailable()),
            false => Ok(read(&inner.state)),
        }
    }

    async fn wait(&self) {
        let wait = self.0.lock().mood.read_ms;
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the simulator says so".into())
}

struct Seen {
    store: SimStore,
    life: Arc<Life>,
    traps: Arc<Traps>,
    closed: AtomicBool,
}

impl Seen {
    async fn reach(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        if self.traps.is_cut_from_store() {
            tokio::time::sleep(CONNECT_MAX).await;
            return Err(unavailable());
        }
        Ok(())
    }

    fn reading<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&State) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        async move {
            self.store.wait().await;
            self.reach().await?;
            self.store.read(read)
        }
        .boxed()
    }
}

impl Store for Seen {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            let marks = batch.ops.iter().any(|op| matches!(op, Op::MarkSent { .. }));
            self.traps.before_commit(&self.life, marks).await;
            self.reach().await?;
            let (reply, answer) = oneshot::channel();
            self.store.0.lock().queue.push((batch, reply));
            self.store.begin_flush();
            let result = answer.await.unwrap_or_else(|_| Err(unavailable()));
            if result.is_ok() {
                self.traps.after_commit(&self.life).await;
            }
            result
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>> {
        self.reading(move |s| s.record(kind, name))
    }

    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>> {
        self.reading(move |s| s.records(kind, after, limit))
    }

    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>> {
        let read = self.reading(move |s| s.changes(from, limit));
        async move { read.await.flatten() }.boxed()
    }

    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.reading(move |s| s.open_tasks(priority, line, after, limit))
    }

    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>> {
        self.reading(State::lines)
    }

    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.reading(move |s| s.lane_tasks(target, after, limit))
    }

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>> {
        self.reading(move |s| s.task(id))
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>> {
        self.reading(move |s| s.tasks(&query))
    }

    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>> {
        self.reading(move |s| s.run_tasks(run))
    }

    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.reading(move |s| s.entries(stream, key, after, limit))
    }

    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.reading(move |s| s.entries_back(stream, before, limit))
    }

    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>> {
        self.reading(move |s| s.results(after, limit))
    }

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.reading(move |s| s.meta(key))
    }

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>> {
        self.reading(State::status)
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            self.reach().await?;
            let mut inner = self.store.0.lock();
            match inner.mood.refuses {
                true => Err(unavailable()),
                false => Ok(inner.state.retain(retention)),
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let before = self.closed.swap(true, Ordering::Relaxed);
        let closed = match before {
            true => Err(StoreError::Closed),
            false => Ok(()),
        };
        std::future::ready(closed).boxed()
    }
}
