//! A store into which imports go slowly, or no longer.

use crate::moving::{Key, Move, Part, Row};
use crate::switch::{Current, Switch};
use crate::{
    Batch, Changes, Committed, Entry, Line, OpenTask, Position, Retention, Revision, RunTask,
    Store, StoreError, StoreStatus, StoredRecord, StoredTask, TaskQuery,
};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Uid};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub struct Frail {
    inner: Arc<dyn Move>,
    /// Speaks the port for it.
    port: Arc<Switch>,
    left: AtomicI64,
    each: Mutex<Duration>,
}

impl Frail {
    pub fn new(inner: Arc<dyn Move>) -> Frail {
        let port = Switch::new(Current {
            store: inner.clone(),
            rows: None,
        });
        Frail {
            inner,
            port,
            left: AtomicI64::new(i64::MAX),
            each: Mutex::default(),
        }
    }

    /// After so many the store is away.
    pub fn imports_left(&self, imports: i64) {
        self.left.store(imports, Ordering::Relaxed);
    }

    pub fn every_import_takes(&self, time: Duration) {
        *self.each.lock() = time;
    }
}

impl Move for Frail {
    fn export(
        &self,
        part: Part,
        after: Option<Row>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.inner.export(part, after, limit)
    }

    fn import(&self, rows: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
                return Err(StoreError::Unavailable("it is away".into()));
            }
            let each = *self.each.lock();
            tokio::time::sleep(each).await;
            self.inner.import(rows).await
        }
        .boxed()
    }

    fn rows(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.inner.rows(keys)
    }

    fn held(&self, run: RunId, batch: u32) -> BoxFuture<'_, Result<Vec<TaskId>, StoreError>> {
        self.inner.held(run, batch)
    }

    fn clear(&self, metas: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.clear(metas)
    }
}

impl Store for Frail {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.port.commit(batch)
    }

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>> {
        self.port.record(kind, name)
    }

    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>> {
        self.port.records(kind, after, limit)
    }

    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>> {
        self.port.changes(from, limit)
    }

    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.port.open_tasks(priority, line, after, limit)
    }

    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>> {
        self.port.lines()
    }

    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.port.lane_tasks(target, after, limit)
    }

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>> {
        self.port.task(id)
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>> {
        self.port.tasks(query)
    }

    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>> {
        self.port.run_tasks(run)
    }

    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.port.entries(stream, key, after, limit)
    }

    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.port.entries_back(stream, before, limit)
    }

    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>> {
        self.port.results(after, limit)
    }

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.port.meta(key)
    }

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>> {
        self.port.status()
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.port.retain(retention)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.port.close()
    }
}
