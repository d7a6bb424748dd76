//! Records, expectations and the change stream.

use super::commit;
use crate::{Batch, Expect, Op, Revision, Store, StoreError, StoredRecord};
use bytes::Bytes;
use sengu_model::Uid;
use std::future::Future;
use std::sync::Arc;

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    put_get_delete(&*open().await).await;
    lists_in_order_by_pages(&*open().await).await;
    expectations_hold_or_nothing_is_written(&*open().await).await;
    expectations_see_the_batch_before_them(&*open().await).await;
    changes_are_gapless(&*open().await).await;
    a_deleted_record_may_come_back(&*open().await).await;
}

pub(super) fn put(kind: &str, name: &str, expect: Expect, body: &str) -> Op {
    Op::PutRecord {
        kind: kind.into(),
        name: name.into(),
        uid: Uid(name.len() as u64 + 1),
        expect,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub(super) fn delete(kind: &str, name: &str, expect: Expect) -> Op {
    Op::DeleteRecord {
        kind: kind.into(),
        name: name.into(),
        expect,
    }
}

async fn body(store: &dyn Store, kind: &str, name: &str) -> Option<String> {
    let record = store.record(kind, name).await.expect("read a record")?;
    Some(String::from_utf8_lossy(&record.body).into_owned())
}

async fn put_get_delete(store: &dyn Store) {
    assert_eq!(
        store.record("Target", "a").await.expect("read"),
        None,
        "nothing yet"
    );
    let made = commit(store, vec![put("Target", "a", Expect::Absent, "one")]).await;
    assert_eq!(made.revisions, [1], "the first write is revision 1");
    let record = store
        .record("Target", "a")
        .await
        .expect("read")
        .expect("is there");
    let wanted = StoredRecord {
        kind: "Target".into(),
        name: "a".into(),
        uid: Uid(2),
        revision: 1,
        body: Bytes::from("one"),
    };
    assert_eq!(record, wanted);
    assert_eq!(body(store, "Secret", "a").await, None, "kinds are apart");
    let again = commit(store, vec![put("Target", "a", Expect::Revision(1), "two")]).await;
    assert_eq!(again.revisions, [2]);
    assert_eq!(body(store, "Target", "a").await.as_deref(), Some("two"));
    let status = store.status().await.expect("status");
    assert_eq!((status.records, status.revision, status.last_id), (1, 2, 2));
    let gone = commit(store, vec![delete("Target", "a", Expect::Revision(2))]).await;
    assert_eq!(gone.revisions, [3], "a delete is a write");
    assert_eq!(body(store, "Target", "a").await, None);
    let nothing = commit(store, vec![delete("Target", "a", Expect::Anything)]).await;
    assert_eq!(
        nothing.revisions,
        [0],
        "deleting what is absent writes nothing"
    );
    let status = store.status().await.expect("status");
    assert_eq!((status.records, status.revision), (0, 3));
    let empty = commit(store, vec![put("Target", "empty", Expect::Anything, "")]).await;
    assert_eq!(empty.revisions, [4]);
    assert_eq!(
        body(store, "Target", "empty").await.as_deref(),
        Some(""),
        "an empty body is a body"
    );
    assert!(
        commit(store, vec![]).await.revisions.is_empty(),
        "an empty batch is fine"
    );
}

async fn lists_in_order_by_pages(store: &dyn Store) {
    let mut ops = Vec::new();
    for n in (0..25).rev() {
        ops.push(put("Target", &format!("t-{n:02}"), Expect::Absent, "x"));
    }
    ops.push(put("Secret", "z", Expect::Absent, "s"));
    ops.push(put("Zone", "Ä", Expect::Absent, "z"));
    commit(store, ops).await;
    for kind in ["", "Target"] {
        let mut names = Vec::new();
        let mut after: Option<(String, String)> = None;
        loop {
            let cursor = after.as_ref().map(|(k, n)| (k.as_str(), n.as_str()));
            let page = store.records(kind, cursor, 10).await.expect("list");
            assert!(page.len() <= 10, "a page keeps its limit");
            let Some(last) = page.last() else { break };
            after = Some((last.kind.clone(), last.name.clone()));
            names.extend(page.iter().map(|r| format!("{}/{}", r.kind, r.name)));
        }
        let mut wanted: Vec<String> = (0..25).map(|n| format!("Target/t-{n:02}")).collect();
        if kind.is_empty() {
            wanted.insert(0, "Secret/z".into());
            wanted.push("Zone/Ä".into());
        }
        assert_eq!(
            names, wanted,
            "every record once, in order, for kind {kind:?}"
        );
    }
    let none = store.records("Nothing", None, 10).await.expect("list");
    assert!(none.is_empty(), "a kind without records");
}

async fn conflict(store: &dyn Store, ops: Vec<Op>) -> (String, String, Option<Revision>) {
    match store.commit(Batch { ops }).await {
        Err(StoreError::Conflict { kind, name, found }) => (kind, name, found),
        other => panic!("wanted a conflict, got {other:?}"),
    }
}

async fn expectations_hold_or_nothing_is_written(store: &dyn Store) {
    commit(store, vec![put("Target", "a", Expect::Absent, "one")]).await;
    let cases = [
        (put("Target", "a", Expect::Absent, "no"), "a", Some(1)),
        (put("Target", "a", Expect::Revision(7), "no"), "a", Some(1)),
        (put("Target", "b", Expect::Revision(1), "no"), "b", None),
        (delete("Target", "a", Expect::Revision(2)), "a", Some(1)),
        (delete("Target", "b", Expect::Revision(1)), "b", None),
        (delete("Target", "a", Expect::Absent), "a", Some(1)),
    ];
    for (refused, name, found) in cases {
        let ops = vec![
            put("Target", "other", Expect::Anything, "no"),
            Op::InsertTask(super::task(9, 9)),
            Op::PutMeta {
                key: "k".into(),
                value: Bytes::from("no"),
            },
            refused.clone(),
        ];
        let said = conflict(store, ops).await;
        assert_eq!(said, ("Target".into(), name.into(), found), "{refused:?}");
    }
    assert_eq!(
        body(store, "Target", "other").await,
        None,
        "all or nothing: records"
    );
    assert_eq!(
        store.meta("k").await.expect("meta"),
        None,
        "all or nothing: meta"
    );
    let task = store.task(sengu_model::TaskId(9)).await.expect("task");
    assert_eq!(task, None, "all or nothing: tasks");
    let status = store.status().await.expect("status");
    assert_eq!(
        (status.revision, status.records, status.tasks_open),
        (1, 1, 0)
    );
}

async fn expectations_see_the_batch_before_them(store: &dyn Store) {
    let both = vec![
        put("Target", "a", Expect::Absent, "one"),
        put("Target", "a", Expect::Revision(1), "two"),
        delete("Target", "a", Expect::Revision(2)),
        put("Target", "a", Expect::Absent, "three"),
    ];
    assert_eq!(commit(store, both).await.revisions, [1, 2, 3, 4]);
    assert_eq!(body(store, "Target", "a").await.as_deref(), Some("three"));
    let twice = vec![
        put("Target", "b", Expect::Absent, "one"),
        put("Target", "b", Expect::Absent, "two"),
    ];
    assert_eq!(conflict(store, twice).await.1, "b");
    assert_eq!(body(store, "Target", "b").await, None);
}

async fn changes_are_gapless(store: &dyn Store) {
    let none = store.changes(0, 10).await.expect("changes");
    assert_eq!((none.changes.len(), none.newest), (0, 0));
    for n in 0..12 {
        commit(
            store,
            vec![put("Target", &format!("t{n:02}"), Expect::Absent, "x")],
        )
        .await;
    }
    commit(store, vec![put("Target", "t03", Expect::Anything, "y")]).await;
    commit(store, vec![delete("Target", "t05", Expect::Anything)]).await;
    let mut from = 0;
    let mut seen = std::collections::BTreeMap::new();
    loop {
        let page = store.changes(from, 5).await.expect("changes");
        assert_eq!(page.newest, 14, "the newest revision is told");
        assert!(page.changes.len() <= 5);
        let Some(last) = page.changes.last() else {
            break;
        };
        for pair in page.changes.windows(2) {
            assert!(pair[0].revision < pair[1].revision, "in order");
        }
        assert!(page.changes[0].revision > from, "nothing twice");
        from = last.revision;
        for change in page.changes {
            if let Some(record) = &change.record {
                assert_eq!(
                    (record.revision, &record.name),
                    (change.revision, &change.name)
                );
                let written = if change.revision == 13 { "y" } else { "x" };
                assert_eq!(record.body, written, "as it was at its revision");
            }
            let text = change
                .record
                .map(|r| String::from_utf8_lossy(&r.body).into_owned());
            seen.insert(change.name, text);
        }
    }
    assert_eq!(from, 14, "the reader arrives at the newest revision");
    assert_eq!(seen.len(), 12, "every record is seen");
    assert_eq!(seen["t03"].as_deref(), Some("y"), "the last write wins");
    assert_eq!(seen["t05"], None, "a delete is seen");
    let beyond = store
        .changes(100, 5)
        .await
        .expect("a cursor ahead of the store");
    assert!(beyond.changes.is_empty());
}

async fn a_deleted_record_may_come_back(store: &dyn Store) {
    commit(store, vec![put("Target", "a", Expect::Absent, "one")]).await;
    commit(store, vec![delete("Target", "a", Expect::Anything)]).await;
    commit(store, vec![put("Target", "a", Expect::Absent, "two")]).await;
    let seen = store.changes(1, 10).await.expect("changes");
    let last = seen.changes.last().expect("a change");
    assert_eq!(last.revision, 3);
    let record = last.record.as_ref().expect("it is there again");
    assert_eq!(record.body, "two");
}
