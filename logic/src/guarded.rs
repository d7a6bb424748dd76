//! The store as one life of logic may use it: every commit names the life's epoch where others share the store, so that
//! nothing is written by a life that another one has ended, however late it wakes up. And a life ends that does not know
//! whether a commit of it was done: what it has in memory may not be what is kept.

use crate::leader::{EPOCH, Seat};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Uid};
use sengu_store::{
    Batch, Changes, Committed, Entry, Line, Op, OpenTask, Position, Retention, Revision, RunTask,
    Store, StoreError, StoreStatus, StoredRecord, StoredTask, TaskQuery,
};
use std::sync::Arc;

pub struct Guarded {
    store: Arc<dyn Store>,
    seat: Arc<Seat>,
    /// None on a store that no other process can open.
    epoch: Option<Bytes>,
}

impl Guarded {
    /// `shared`: others may open the store too.
    pub fn new(store: Arc<dyn Store>, seat: Arc<Seat>, shared: bool) -> Guarded {
        let epoch = shared.then(|| seat.epoch.to_string().into());
        Guarded { store, seat, epoch }
    }
}

impl Store for Guarded {
    fn commit(&self, mut batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        if let Some(epoch) = &self.epoch {
            let expect = Op::ExpectMeta {
                key: EPOCH.to_owned(),
                value: Some(epoch.clone()),
            };
            batch.ops.insert(0, expect);
        }
        async move {
            let committed = self.store.commit(batch).await;
            if let Err(error) = &committed
                && error.ends_life()
            {
                self.seat.lose(error);
            }
            committed
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>> {
        self.store.record(kind, name)
    }

    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>> {
        self.store.records(kind, after, limit)
    }

    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>> {
        self.store.changes(from, limit)
    }

    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.store.open_tasks(priority, line, after, limit)
    }

    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>> {
        self.store.lines()
    }

    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        self.store.lane_tasks(target, after, limit)
    }

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>> {
        self.store.task(id)
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>> {
        self.store.tasks(query)
    }

    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>> {
        self.store.run_tasks(run)
    }

    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.store.entries(stream, key, after, limit)
    }

    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.store.entries_back(stream, before, limit)
    }

    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>> {
        self.store.results(after, limit)
    }

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.store.meta(key)
    }

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>> {
        self.store.status()
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.store.retain(retention)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.close()
    }
}
