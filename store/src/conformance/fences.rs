//! A life that another one has ended writes nothing more.

use super::{commit, insert, task};
use crate::{Batch, Op, Store, StoreError};
use bytes::Bytes;
use sengu_model::TaskId;
use std::future::Future;
use std::sync::Arc;

const WRITERS: u64 = 64;

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    a_fenced_batch_writes_nothing(&*open().await).await;
    a_fence_sees_the_batch_before_it(&*open().await).await;
    a_fenced_batch_harms_no_other(open().await).await;
    nothing_of_an_ended_life_comes_after_the_next(open().await).await;
}

fn put(value: &str) -> Op {
    Op::PutMeta {
        key: "epoch".into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn expect(value: Option<&str>) -> Op {
    Op::ExpectMeta {
        key: "epoch".into(),
        value: value.map(|v| Bytes::copy_from_slice(v.as_bytes())),
    }
}

async fn fenced(store: &dyn Store, ops: Vec<Op>) {
    match store.commit(Batch { ops }).await {
        Err(StoreError::Fenced { key }) => assert_eq!(key, "epoch"),
        other => panic!("wanted Fenced, got {other:?}"),
    }
}

async fn a_fenced_batch_writes_nothing(store: &dyn Store) {
    let write = |id| Op::InsertTask(task(id, 1));
    fenced(store, vec![write(1), expect(Some("1"))]).await;
    fenced(store, vec![write(1), expect(Some(""))]).await;
    commit(store, vec![expect(None), write(2), put("1")]).await;
    fenced(store, vec![expect(None), write(3)]).await;
    fenced(store, vec![expect(Some("2")), write(3)]).await;
    fenced(store, vec![expect(Some("")), write(3)]).await;
    fenced(store, vec![write(3), expect(Some("11"))]).await;
    let same = commit(store, vec![expect(Some("1")), write(4)]).await;
    assert!(same.revisions.is_empty(), "an expectation is no write");
    commit(store, vec![put("")]).await;
    fenced(store, vec![expect(None), write(5)]).await;
    commit(store, vec![expect(Some("")), write(6)]).await;
    for (id, there) in [
        (1, false),
        (2, true),
        (3, false),
        (4, true),
        (5, false),
        (6, true),
    ] {
        let found = store.task(TaskId(id)).await.expect("task").is_some();
        assert_eq!(found, there, "task {id}");
    }
    assert_eq!(store.status().await.expect("status").tasks_open, 3);
}

async fn a_fence_sees_the_batch_before_it(store: &dyn Store) {
    commit(store, vec![put("1")]).await;
    commit(store, vec![expect(Some("1")), put("2"), expect(Some("2"))]).await;
    fenced(store, vec![put("3"), expect(Some("2"))]).await;
    let found = store.meta("epoch").await.expect("meta");
    assert_eq!(found.as_deref(), Some(&b"2"[..]), "nothing of the refused");
}

/// Refused batches share their flush with others.
async fn a_fenced_batch_harms_no_other(store: Arc<dyn Store>) {
    commit(&*store, vec![put("7")]).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..10 {
                    let old = writer % 4 == 0;
                    let fence = expect(Some(if old { "6" } else { "7" }));
                    let id = 1 + round * WRITERS + writer;
                    let ops = vec![fence, Op::InsertTask(task(id, 1))];
                    match store.commit(Batch { ops }).await {
                        Ok(_) if !old => {}
                        Err(StoreError::Fenced { .. }) if old => {}
                        other => panic!("writer {writer}: {other:?}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    let status = store.status().await.expect("status");
    assert_eq!(status.tasks_open, WRITERS / 4 * 3 * 10);
}

/// Lives take over from one another while their writers go on: every entry of a life lies before those of the next.
async fn nothing_of_an_ended_life_comes_after_the_next(store: Arc<dyn Store>) {
    commit(&*store, vec![put("0")]).await;
    insert(&*store, [task(1, 1)]).await;
    let lives: Vec<_> = (0..4_u64)
        .map(|life| {
            let store = store.clone();
            tokio::spawn(async move {
                let (mine, next) = (life.to_string(), (life + 1).to_string());
                for round in 0_u64.. {
                    let entry = super::streams::append("lives", life + 1, 0, "x");
                    let mut ops = vec![expect(Some(&mine)), entry];
                    if round == 20 {
                        ops.push(put(&next));
                    }
                    match store.commit(Batch { ops }).await {
                        Ok(_) => {}
                        // Not yet, or no longer.
                        Err(StoreError::Fenced { .. }) if round > 20 => return,
                        Err(StoreError::Fenced { .. }) => loop {
                            let now = store.meta("epoch").await.expect("meta");
                            if now.as_deref() == Some(mine.as_bytes()) {
                                break;
                            }
                            tokio::task::yield_now().await;
                        },
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for life in lives {
        life.await.expect("a life ends");
    }
    let entries = store.entries("lives", 0, 0, 1_000).await.expect("entries");
    assert!(entries.len() >= 4 * 20, "each has written");
    let grow = entries.windows(2).all(|pair| pair[0].key <= pair[1].key);
    assert!(grow, "one life after the other");
}
