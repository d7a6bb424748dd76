//! The suite that every store must pass. A driver's test calls `run` with a function that opens an empty store.
//!
//! A test panics with the part of the contract that was broken; it never looks below the port.

pub mod blobs;
mod fences;
mod lists;
pub mod mover;
pub mod moving;
mod records;
mod retention;
mod streams;
mod tasks;
mod together;

use crate::{Batch, NewTask, Op, Store};
use bytes::Bytes;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Nothing in the suite may take longer, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// # Panics
/// When the store breaks the contract; the message says which part.
pub async fn run<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    let suite = async {
        records::run(&open).await;
        tasks::run(&open).await;
        lists::run(&open).await;
        streams::run(&open).await;
        retention::run(&open).await;
        fences::run(&open).await;
        together::run(&open).await;
    };
    tokio::time::timeout(5 * LIMIT, suite)
        .await
        .expect("the suite ends in time");
}

/// A new task of `target` outside any run, for people.
fn task(id: u64, target: u64) -> NewTask {
    NewTask {
        id: TaskId(id),
        target: Uid(target),
        run: None,
        priority: Priority::People,
        batch: 0,
        line: 0,
        body: Bytes::from(format!("body {id}")),
    }
}

/// A new task of a run.
fn task_of(id: u64, target: u64, run: u64, batch: u32, priority: Priority) -> NewTask {
    NewTask {
        run: Some(RunId(run)),
        batch,
        priority,
        ..task(id, target)
    }
}

fn end(id: u64, priority: Priority, status: Status) -> Op {
    Op::End {
        task: TaskId(id),
        priority,
        status,
        changed: status == Status::Done,
        at: Time(1_000),
        ending: Bytes::from(format!("ending {id}")),
    }
}

async fn insert(store: &dyn Store, tasks: impl IntoIterator<Item = NewTask>) {
    let ops: Vec<Op> = tasks.into_iter().map(Op::InsertTask).collect();
    store.commit(Batch { ops }).await.expect("insert tasks");
}

async fn commit(store: &dyn Store, ops: Vec<Op>) -> crate::Committed {
    store.commit(Batch { ops }).await.expect("commit")
}
