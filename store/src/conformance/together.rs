//! Many callers at once, and the end of a store.

use super::records::put;
use super::streams::append;
use super::{LIMIT, commit, end, insert, task};
use crate::{Batch, Expect, Op, Store, StoreError, TaskQuery};
use sengu_model::TaskId;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

const WRITERS: u64 = 64;
const ROUNDS: u64 = 50;

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    concurrent_writers_lose_nothing(open().await).await;
    a_refused_batch_harms_no_other(open().await).await;
    one_of_many_wins(open().await).await;
    a_watcher_misses_nothing(open().await).await;
    a_closed_store_says_so(open().await).await;
}

/// Each writer sees its own acknowledged writes at once.
async fn concurrent_writers_lose_nothing(store: Arc<dyn Store>) {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut revisions = Vec::new();
                for round in 0..ROUNDS {
                    let id = 1 + round * WRITERS + writer;
                    let name = format!("w{writer}-{round}");
                    let ops = vec![
                        Op::InsertTask(task(id, writer)),
                        put("Target", &name, Expect::Absent, "x"),
                        append("audit", writer + 1, 0, "a"),
                    ];
                    revisions.extend(commit(&*store, ops).await.revisions);
                    if round % 10 == 0 {
                        let seen = store.task(TaskId(id)).await.expect("task");
                        assert!(seen.is_some(), "an acknowledged task is seen");
                        let seen = store.record("Target", &name).await.expect("record");
                        assert!(seen.is_some(), "an acknowledged record is seen");
                        let lane = store.lane_tasks(sengu_model::Uid(writer), TaskId(id - 1), 9);
                        assert_eq!(lane.await.expect("lane").len(), 1, "and in its lane");
                    }
                    commit(&*store, vec![end(id, Priority::People, Status::Done)]).await;
                }
                revisions
            })
        })
        .collect();
    let mut revisions = BTreeSet::new();
    for writer in writers {
        revisions.extend(writer.await.expect("a writer ends"));
    }
    let total = WRITERS * ROUNDS;
    assert!(
        revisions.iter().copied().eq(1..=total),
        "every revision once, without a gap"
    );
    let status = store.status().await.expect("status");
    assert_eq!(
        (
            status.revision,
            status.records,
            status.tasks_open,
            status.tasks_ended
        ),
        (total, total, 0, total)
    );
    let all = TaskQuery {
        limit: 10_000,
        ..TaskQuery::default()
    };
    assert_eq!(store.tasks(all).await.expect("tasks").len() as u64, total);
    assert_eq!(
        store.results(0, 10_000).await.expect("results").len() as u64,
        total
    );
    let entries = store.entries("audit", 0, 0, 10_000).await.expect("entries");
    assert_eq!(entries.len() as u64, total);
}

/// Refusals of both sorts, among commits that share their flush.
async fn a_refused_batch_harms_no_other(store: Arc<dyn Store>) {
    insert(&*store, [task(1, 1)]).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..10 {
                    let id = 100 + round * WRITERS + writer;
                    let ops = match writer % 8 {
                        0 => vec![Op::InsertTask(task(id, 1)), Op::InsertTask(task(1, 1))],
                        1 => vec![
                            Op::InsertTask(task(id, 1)),
                            put("Target", "absent", Expect::Revision(9), "x"),
                        ],
                        _ => vec![Op::InsertTask(task(id, 1))],
                    };
                    let said = store.commit(Batch { ops }).await;
                    match (writer % 8, &said) {
                        (0, Err(StoreError::Broken { .. }))
                        | (1, Err(StoreError::Conflict { .. }))
                        | (2.., Ok(_)) => {}
                        _ => panic!("writer {writer}: {said:?}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    let status = store.status().await.expect("status");
    assert_eq!(status.tasks_open, 1 + WRITERS / 8 * 6 * 10);
    assert_eq!(status.records, 0);
}

/// Optimistic locking: of many writers with one expectation, one succeeds.
async fn one_of_many_wins(store: Arc<dyn Store>) {
    commit(&*store, vec![put("Target", "a", Expect::Absent, "0")]).await;
    for revision in 1..=5 {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let store = store.clone();
                let op = put(
                    "Target",
                    "a",
                    Expect::Revision(revision),
                    &writer.to_string(),
                );
                tokio::spawn(async move { store.commit(Batch::one(op)).await })
            })
            .collect();
        let mut won = Vec::new();
        for writer in writers {
            match writer.await.expect("a writer ends") {
                Ok(committed) => won.extend(committed.revisions),
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, [revision + 1], "one and only one");
    }
}

/// A reader that follows the cursor sees the last write of every record, in order, while many write.
async fn a_watcher_misses_nothing(store: Arc<dyn Store>) {
    let total = 16 * 30;
    let watcher = tokio::spawn({
        let store = store.clone();
        async move {
            let (mut from, mut seen) = (0, BTreeSet::new());
            while from < total {
                let page = store.changes(from, 20).await.expect("changes");
                assert!(page.newest >= from, "time goes forward");
                for change in page.changes {
                    assert!(change.revision > from, "in order, nothing twice");
                    from = change.revision;
                    seen.insert(change.name);
                }
                tokio::task::yield_now().await;
            }
            seen
        }
    });
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..30 {
                    // Half of the names are the writer's own; the other half are shared.
                    let name = match round % 2 {
                        0 => format!("own-{writer}-{round}"),
                        _ => format!("shared-{round}"),
                    };
                    commit(&*store, vec![put("Target", &name, Expect::Anything, "x")]).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    let seen = tokio::time::timeout(LIMIT, watcher)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(seen.len(), 16 * 15 + 15, "every record was seen");
}

async fn a_closed_store_says_so(store: Arc<dyn Store>) {
    let writers: Vec<_> = (1..=20)
        .map(|id| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(Batch::one(Op::InsertTask(task(id, 1)))).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await.expect("close");
    for writer in writers {
        let said = writer.await.expect("a writer ends");
        assert!(
            matches!(said, Ok(_) | Err(StoreError::Closed)),
            "done or refused: {said:?}"
        );
    }
    let write = store.commit(Batch::one(Op::InsertTask(task(99, 1)))).await;
    assert!(matches!(write, Err(StoreError::Closed)), "{write:?}");
    let read = store.task(TaskId(1)).await;
    assert!(matches!(read, Err(StoreError::Closed)), "{read:?}");
    assert!(
        matches!(store.close().await, Err(StoreError::Closed)),
        "closing is a call too"
    );
}
