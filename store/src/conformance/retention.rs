//! What retention deletes and what it must keep.

use super::records::put;
use super::streams::{append, bodies};
use super::{commit, end, insert, task, task_of};
use crate::{AUDIT, Expect, Op, Retention, Store, StoreError, TASK_LOG, TaskQuery};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use std::future::Future;
use std::sync::Arc;

/// Deletes nothing.
const ALL: Retention = Retention {
    tasks_before: Time(0),
    entries_before: Time(0),
    audit_before: Time(0),
    changes_kept: u64::MAX,
};

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    ended_tasks_go_with_what_belongs_to_them(&*open().await).await;
    entries_go_by_age(&*open().await).await;
    changes_go_by_count(&*open().await).await;
    much_goes_while_commits_go_on(open().await).await;
}

fn ended_at(id: u64, at: i64) -> Op {
    match end(id, Priority::People, Status::Failed) {
        Op::End {
            task,
            priority,
            status,
            changed,
            ending,
            ..
        } => Op::End {
            task,
            priority,
            status,
            changed,
            at: Time(at),
            ending,
        },
        other => other,
    }
}

async fn ended_tasks_go_with_what_belongs_to_them(store: &dyn Store) {
    insert(store, (1..=6).map(|n| task(n, 10))).await;
    insert(store, [task_of(7, 10, 100, 1, Priority::Batch)]).await;
    for id in 1..=6 {
        let line = append(TASK_LOG, id, 500, &format!("line of {id}"));
        let audit = append("audit", id, 500, &format!("audit of {id}"));
        commit(store, vec![line, audit]).await;
    }
    for id in [2, 1, 4, 3] {
        let at = if id < 3 { 100 } else { 200 };
        commit(store, vec![ended_at(id, at)]).await;
    }
    assert_eq!(
        store.retain(ALL).await.expect("retain"),
        0,
        "everything is kept"
    );
    let rows = store
        .retain(Retention {
            tasks_before: Time(200),
            ..ALL
        })
        .await
        .expect("retain");
    assert!(rows >= 2, "rows are counted");
    for id in 1..=7 {
        let kept = store.task(TaskId(id)).await.expect("task").is_some();
        assert_eq!(kept, id > 2, "task {id}: ended before the limit, or not");
    }
    let results = store.results(0, 10).await.expect("results");
    assert_eq!(
        results
            .iter()
            .map(|(_, task)| task.id.0)
            .collect::<Vec<_>>(),
        [4, 3]
    );
    assert!(
        bodies(store, TASK_LOG, 1).await.is_empty(),
        "its log went with it"
    );
    assert_eq!(bodies(store, TASK_LOG, 0).await.len(), 4);
    assert_eq!(
        bodies(store, "audit", 0).await.len(),
        6,
        "other streams have an age of their own"
    );
    let query = TaskQuery {
        target: Some(Uid(10)),
        limit: 10,
        ..TaskQuery::default()
    };
    let listed = store.tasks(query).await.expect("tasks");
    assert_eq!(
        listed.iter().map(|task| task.id.0).collect::<Vec<_>>(),
        [7, 6, 5, 4, 3]
    );
    let failed = TaskQuery {
        status: vec![Status::Failed],
        limit: 10,
        ..TaskQuery::default()
    };
    assert_eq!(store.tasks(failed).await.expect("tasks").len(), 2);
    assert_eq!(store.run_tasks(RunId(100)).await.expect("run").len(), 1);
    let status = store.status().await.expect("status");
    assert_eq!((status.tasks_open, status.tasks_ended), (3, 2));
    assert_eq!(status.last_id, 100, "ids are never given again");
}

async fn entries_go_by_age(store: &dyn Store) {
    for at in 0..10 {
        commit(store, vec![append(AUDIT, 0, at, "who")]).await;
        let (event, log) = (append("events", 0, at, "a"), append(TASK_LOG, 5, at, "l"));
        commit(store, vec![event, log]).await;
    }
    let rows = store
        .retain(Retention {
            entries_before: Time(6),
            audit_before: Time(3),
            ..ALL
        })
        .await
        .expect("retain");
    assert_eq!(rows, 15);
    assert_eq!(bodies(store, AUDIT, 0).await.len(), 7, "kept longer");
    assert_eq!(bodies(store, "events", 0).await.len(), 4);
    assert_eq!(bodies(store, TASK_LOG, 5).await.len(), 4);
    let before = store.entries("events", 0, 0, 10).await.expect("entries");
    store
        .retain(Retention {
            entries_before: Time(100),
            ..ALL
        })
        .await
        .expect("retain");
    let said = commit(store, vec![append("events", 0, 100, "new")]).await;
    assert!(
        before.iter().all(|entry| entry.position < said.position),
        "a position is never given twice, even when all entries are gone"
    );
}

async fn changes_go_by_count(store: &dyn Store) {
    for n in 0..30 {
        commit(
            store,
            vec![put("Target", &format!("t{n:02}"), Expect::Absent, "x")],
        )
        .await;
    }
    let rows = store
        .retain(Retention {
            changes_kept: 10,
            ..ALL
        })
        .await
        .expect("retain");
    assert_eq!(rows, 20);
    for from in [0, 19] {
        match store.changes(from, 100).await {
            Err(StoreError::Compacted { oldest }) => assert_eq!(oldest, 21),
            other => panic!("wanted Compacted from {from}, got {other:?}"),
        }
    }
    let kept = store.changes(20, 100).await.expect("changes");
    assert_eq!(kept.changes.len(), 10, "a reader at the edge loses nothing");
    assert_eq!(kept.changes[0].revision, 21);
    let records = store.records("Target", None, 100).await.expect("records");
    assert_eq!(records.len(), 30, "records are not touched");
    store
        .retain(Retention {
            changes_kept: 0,
            ..ALL
        })
        .await
        .expect("retain");
    let none = store
        .changes(30, 100)
        .await
        .expect("a reader that has seen all");
    assert_eq!((none.changes.len(), none.newest), (0, 30));
    commit(store, vec![put("Target", "new", Expect::Absent, "x")]).await;
    assert_eq!(
        store.changes(30, 100).await.expect("changes").changes.len(),
        1
    );
}

async fn much_goes_while_commits_go_on(store: Arc<dyn Store>) {
    for piece in 0..10_u64 {
        let ids = piece * 1_000 + 1..=piece * 1_000 + 1_000;
        insert(&*store, ids.clone().map(|id| task(id, id % 50))).await;
        let mut ops: Vec<Op> = ids.clone().map(|id| ended_at(id, 100)).collect();
        ops.extend(ids.map(|id| append(TASK_LOG, id, 100, "line")));
        commit(&*store, ops).await;
    }
    let deleter = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .retain(Retention {
                    tasks_before: Time(101),
                    ..ALL
                })
                .await
        }
    });
    let mut committed = 0_u64;
    while !deleter.is_finished() {
        committed += 1;
        insert(&*store, [task(20_000 + committed, 1)]).await;
    }
    let rows = deleter.await.expect("no panic").expect("retain");
    assert!(rows >= 10_000, "all ten thousand: {rows}");
    let status = store.status().await.expect("status");
    assert_eq!((status.tasks_open, status.tasks_ended), (committed, 0));
    assert!(store.results(0, 1).await.expect("results").is_empty());
    let query = TaskQuery {
        target: Some(Uid(1)),
        limit: 20_000,
        ..TaskQuery::default()
    };
    assert_eq!(
        store.tasks(query).await.expect("tasks").len() as u64,
        committed
    );
}
