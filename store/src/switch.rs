//! A store and a place for blobs that can be replaced by others while they are used.
//!
//! Commits go through a gate that a move closes for a moment. While a move is on, whatever a commit may have changed is
//! noted, before and after it is applied: a row that differs between the two stores and is not noted is a defect. When
//! no move is on, a commit costs one uncontended lock more.

mod blobs;
mod touched;

pub use blobs::SwitchBlobs;
pub use touched::{Taken, Touched, Watch};

use crate::moving::Move;
use crate::{
    Batch, Changes, Committed, Entry, Line, OpenTask, Position, Retention, Revision, RunTask,
    Store, StoreError, StoreStatus, StoredRecord, StoredTask, TaskQuery,
};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::{Mutex, RwLock};
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Uid};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use touched::Noted;

/// The store in use.
#[derive(Clone)]
pub struct Current {
    /// As commits and reads use it.
    pub store: Arc<dyn Store>,
    /// The same without what stands before it; None where it cannot be moved.
    pub rows: Option<Arc<dyn Move>>,
}

pub struct Switch {
    current: RwLock<Current>,
    /// Held for reading by each commit, for writing by the switch.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// Held by retention, and by a move for as long as it is on.
    retaining: Arc<tokio::sync::Mutex<()>>,
    watching: AtomicBool,
    noted: Mutex<Noted>,
}

impl Switch {
    pub fn new(current: Current) -> Arc<Switch> {
        Arc::new(Switch {
            current: RwLock::new(current),
            gate: tokio::sync::RwLock::new(()),
            retaining: Arc::default(),
            watching: AtomicBool::new(false),
            noted: Mutex::default(),
        })
    }

    pub fn current(&self) -> Current {
        self.current.read().clone()
    }

    fn store(&self) -> Arc<dyn Store> {
        self.current.read().store.clone()
    }

    /// Only while the gate is held for writing.
    pub(crate) fn replace(&self, next: Current) {
        *self.current.write() = next;
    }

    /// Begins to note what is touched. None while another move is on.
    ///
    /// # Errors
    /// The store's.
    pub async fn watch(self: &Arc<Self>) -> Result<Option<Watch>, StoreError> {
        // Retention deletes without being noted: what is under way ends first, and none begins.
        let retaining = self.retaining.clone().lock_owned().await;
        if self.watching.load(Ordering::Acquire) {
            return Ok(None);
        }
        {
            let _closed = self.gate.write().await;
            *self.noted.lock() = Noted::default();
            self.watching.store(true, Ordering::Release);
        }
        let watch = Watch::new(self.clone(), retaining);
        settled(&*self.store()).await?;
        Ok(Some(watch))
    }
}

/// Waits until everything that was ever handed to the store is applied, also what nobody waits for any more: stores
/// apply in order.
///
/// # Errors
/// The store's.
pub(crate) async fn settled(store: &dyn Store) -> Result<(), StoreError> {
    store.commit(Batch::default()).await.map(drop)
}

impl Store for Switch {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            let _open = self.gate.read().await;
            let store = self.store();
            if !self.watching.load(Ordering::Acquire) {
                return store.commit(batch).await;
            }
            // Noted once more when dropped, also by a caller that goes away.
            let _note = touched::note(&self.noted, &batch);
            store.commit(batch).await
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>> {
        let store = self.store();
        async move { store.record(kind, name).await }.boxed()
    }

    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>> {
        let store = self.store();
        async move { store.records(kind, after, limit).await }.boxed()
    }

    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>> {
        let store = self.store();
        async move { store.changes(from, limit).await }.boxed()
    }

    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        let store = self.store();
        async move { store.open_tasks(priority, line, after, limit).await }.boxed()
    }

    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>> {
        let store = self.store();
        async move { store.lines().await }.boxed()
    }

    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        let store = self.store();
        async move { store.lane_tasks(target, after, limit).await }.boxed()
    }

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>> {
        let store = self.store();
        async move { store.task(id).await }.boxed()
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>> {
        let store = self.store();
        async move { store.tasks(query).await }.boxed()
    }

    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>> {
        let store = self.store();
        async move { store.run_tasks(run).await }.boxed()
    }

    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let store = self.store();
        async move { store.entries(stream, key, after, limit).await }.boxed()
    }

    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let store = self.store();
        async move { store.entries_back(stream, before, limit).await }.boxed()
    }

    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>> {
        let store = self.store();
        async move { store.results(after, limit).await }.boxed()
    }

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        let store = self.store();
        async move { store.meta(key).await }.boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>> {
        let store = self.store();
        async move { store.status().await }.boxed()
    }

    /// Does nothing while a move is on: the next turn does more.
    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let Ok(_turn) = self.retaining.try_lock() else {
                return Ok(0);
            };
            self.store().retain(retention).await
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let store = self.store();
        async move { store.close().await }.boxed()
    }
}
