//! Append-only streams and meta.

use super::commit;
use crate::{Op, Position, Store};
use bytes::Bytes;
use sengu_model::Time;
use std::future::Future;
use std::sync::Arc;

pub(super) async fn run<F, Fut>(open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    streams_are_apart_and_in_order(&*open().await).await;
    keys_are_apart(&*open().await).await;
    meta_is_replaced(&*open().await).await;
    large_bodies_come_back_whole(&*open().await).await;
}

pub(super) fn append(stream: &str, key: u64, at: i64, body: &str) -> Op {
    Op::Append {
        stream: stream.into(),
        key,
        at: Time(at),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// All bodies of a stream, page after page.
pub(super) async fn bodies(store: &dyn Store, stream: &str, key: u64) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = store.entries(stream, key, after, 4).await.expect("entries");
        assert!(page.len() <= 4, "a page keeps its limit");
        let Some(last) = page.last() else { return seen };
        assert!(page[0].position > after, "nothing twice");
        assert!(
            page.windows(2)
                .all(|pair| pair[0].position < pair[1].position),
            "in order"
        );
        after = last.position;
        seen.extend(
            page.iter()
                .map(|entry| String::from_utf8_lossy(&entry.body).into_owned()),
        );
    }
}

async fn streams_are_apart_and_in_order(store: &dyn Store) {
    assert!(
        store
            .entries("audit", 0, 0, 10)
            .await
            .expect("entries")
            .is_empty(),
        "nothing yet"
    );
    let mut last = 0;
    for n in 0..10 {
        let ops = vec![
            append("audit", 0, n, &format!("a{n}")),
            append("events", 0, n, &format!("e{n}")),
            append("audit", 0, n, &format!("b{n}")),
        ];
        let said = commit(store, ops).await;
        assert!(said.position > last, "positions grow");
        last = said.position;
    }
    let wanted: Vec<String> = (0..10)
        .flat_map(|n| [format!("a{n}"), format!("b{n}")])
        .collect();
    assert_eq!(bodies(store, "audit", 0).await, wanted, "as appended");
    assert_eq!(bodies(store, "events", 0).await.len(), 10);
    let mut back = Vec::new();
    let mut before = Position::MAX;
    loop {
        let page = store.entries_back("audit", before, 3).await;
        let page = page.expect("entries");
        assert!(page.len() <= 3, "a page keeps its limit");
        let Some(oldest) = page.last() else { break };
        before = oldest.position;
        back.extend(
            page.iter()
                .map(|e| String::from_utf8_lossy(&e.body).into_owned()),
        );
    }
    back.reverse();
    assert_eq!(back, wanted, "the same from the other end");
    let none = store.entries_back("nothing", 5, 3).await.expect("entries");
    assert!(none.is_empty());
    let newest = store
        .entries("audit", 0, last - 1, 10)
        .await
        .expect("entries");
    assert_eq!(
        (newest.len(), newest[0].position),
        (1, last),
        "commit tells the last position"
    );
    assert_eq!(newest[0].at, Time(9));
    assert!(
        store
            .entries("audit", 0, last, 10)
            .await
            .expect("entries")
            .is_empty()
    );
}

async fn keys_are_apart(store: &dyn Store) {
    let great = u64::MAX;
    for n in 0..9 {
        let key = [7, 8, great][n % 3];
        commit(store, vec![append("log", key, 0, &format!("{n}"))]).await;
        commit(store, vec![append("other", key, 0, "no")]).await;
    }
    assert_eq!(bodies(store, "log", 7).await, ["0", "3", "6"]);
    assert_eq!(bodies(store, "log", great).await, ["2", "5", "8"]);
    assert_eq!(bodies(store, "log", 0).await.len(), 9, "key 0 reads all");
    assert!(bodies(store, "log", 9).await.is_empty());
    let page = store.entries("log", great, 0, 1).await.expect("entries");
    assert_eq!(page[0].key, great, "the key comes back");
}

async fn meta_is_replaced(store: &dyn Store) {
    let put = |value: &'static str| Op::PutMeta {
        key: "epoch".into(),
        value: value.into(),
    };
    assert_eq!(store.meta("epoch").await.expect("meta"), None);
    commit(store, vec![put("1")]).await;
    commit(store, vec![put("2"), put("3")]).await;
    assert_eq!(
        store.meta("epoch").await.expect("meta").as_deref(),
        Some(&b"3"[..])
    );
    commit(store, vec![put("")]).await;
    assert_eq!(
        store.meta("epoch").await.expect("meta").as_deref(),
        Some(&b""[..]),
        "empty is a value"
    );
}

async fn large_bodies_come_back_whole(store: &dyn Store) {
    // As large as the largest result or document, and no text.
    let large: Bytes = (0..1_u32 << 20).map(|n| (n % 251) as u8).collect();
    let mut new = super::task(1, 10);
    new.body = large.clone();
    let mut record = super::records::put("Target", "a", crate::Expect::Absent, "");
    if let Op::PutRecord { body, .. } = &mut record {
        *body = large.clone();
    }
    let entry = Op::Append {
        stream: "s".into(),
        key: 1,
        at: Time(0),
        body: large.clone(),
    };
    let meta = Op::PutMeta {
        key: "m".into(),
        value: large.clone(),
    };
    commit(store, vec![Op::InsertTask(new), record, entry, meta]).await;
    let task = store
        .task(sengu_model::TaskId(1))
        .await
        .expect("task")
        .expect("is there");
    assert!(task.body == large, "a task's body");
    let record = store
        .record("Target", "a")
        .await
        .expect("record")
        .expect("is there");
    assert!(record.body == large, "a record's body");
    let entries = store.entries("s", 1, 0, 1).await.expect("entries");
    assert!(entries[0].body == large, "an entry's body");
    assert!(
        store.meta("m").await.expect("meta").expect("is there") == large,
        "a meta value"
    );
}
