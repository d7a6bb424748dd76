//! The suite of a move. A driver's test calls `run` with functions that open an empty store to move from and to.

use super::records::{delete, put};
use super::streams::append;
use super::{LIMIT, commit, end, insert, task, task_of};
use crate::moving::{Key, Move, Part, ROWS_PER_PAGE, Row, digest};
use crate::{Expect, Op, Retention, TASK_LOG, TaskQuery};
use bytes::Bytes;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};

/// Fills `from`, moves it into `to` (both empty), and looks at both.
///
/// # Panics
/// When the contract is broken; the message says which part.
pub async fn run(from: &dyn Move, to: &dyn Move) {
    let suite = async {
        fill(from).await;
        is_cleared(to).await;
        // Broken off in the middle, then done again with a page of another size.
        move_part(from, to, Part::Records, 3, Some(2)).await;
        move_part(from, to, Part::Tasks, 2, Some(3)).await;
        // What was open when it was first moved has ended since.
        commit(from, vec![end(4, Priority::People, Status::Failed)]).await;
        for part in Part::ALL {
            move_part(from, to, part, 4, None).await;
        }
        is_copied_by_key(from, to).await;
        for part in Part::ALL {
            move_part(from, to, part, ROWS_PER_PAGE, None).await;
            let (one, other) = (digest(from, part).await, digest(to, part).await);
            let one = one.expect("digest");
            assert!(one.rows > 0, "{part:?} has rows");
            assert_eq!(one, other.expect("digest"), "{part:?}");
        }
        reads_the_same(from, to).await;
        goes_on_where_it_was(from, to).await;
    };
    tokio::time::timeout(LIMIT, suite)
        .await
        .expect("the suite ends in time");
}

async fn fill(store: &dyn Move) {
    let meta = |key: &str, value: &'static [u8]| Op::PutMeta {
        key: key.into(),
        value: Bytes::from_static(value),
    };
    commit(
        store,
        vec![meta("epoch", b"7"), meta("", b""), meta("raw", b"\0\xff")],
    )
    .await;
    for n in 0..12 {
        let kind = ["Target", "Zone"][n % 2];
        commit(
            store,
            vec![put(kind, &format!("n{n}Ä"), Expect::Anything, "x")],
        )
        .await;
    }
    commit(store, vec![put("Target", "n0Ä", Expect::Anything, "y")]).await;
    commit(store, vec![delete("Target", "n2Ä", Expect::Anything)]).await;
    let kept = Retention {
        tasks_before: Time(0),
        entries_before: Time(0),
        audit_before: Time(0),
        changes_kept: 9,
    };
    store.retain(kept).await.expect("retain");
    insert(store, (1..=9).map(|n| task(n, n % 3))).await;
    insert(
        store,
        (11..=14).map(|n| task_of(n, n, 100, 2, Priority::Held)),
    )
    .await;
    let (id, priority) = (TaskId(3), Priority::People);
    let sent = |task, fence| Op::MarkSent {
        task,
        priority,
        fence,
        attempt: 1,
        at: Time(5),
    };
    let retry = |note: &str| Op::Retry {
        task: id,
        priority,
        attempt: 2,
        not_before: Time(-9),
        note: note.into(),
    };
    let value = Bytes::from_static(b"\0before");
    let checkpoint = Op::Checkpoint {
        task: id,
        priority,
        value,
    };
    commit(
        store,
        vec![sent(id, 1), checkpoint, retry(""), retry("busy")],
    )
    .await;
    commit(store, vec![sent(TaskId(5), u64::MAX)]).await;
    for (id, status) in [(2, Status::Done), (1, Status::Unknown)] {
        commit(
            store,
            vec![append(TASK_LOG, id, 3, "line"), end(id, priority, status)],
        )
        .await;
    }
    commit(
        store,
        vec![
            append("audit", u64::MAX, -3, "a"),
            append("audit", 0, 4, ""),
        ],
    )
    .await;
}

/// What a move that was broken off has left goes, and nothing of it comes back.
async fn is_cleared(to: &dyn Move) {
    fill(to).await;
    let mark = Row::Meta {
        key: "mark".into(),
        value: Bytes::from_static(b"m"),
    };
    to.clear(vec![mark.clone()]).await.expect("clear");
    for part in Part::ALL {
        let rows = to.export(part, None, 9).await.expect("export");
        match part {
            Part::Meta => assert_eq!(rows, std::slice::from_ref(&mark)),
            Part::Counters => assert_eq!(to.status().await.expect("status").last_id, 0),
            _ => assert!(rows.is_empty(), "{part:?} is empty"),
        }
    }
    let none = to.lane_tasks(Uid(1), TaskId(0), 9).await;
    assert!(none.expect("lane").is_empty(), "lanes are empty");
    assert_eq!(to.status().await.expect("status").revision, 0);
    to.clear(Vec::new()).await.expect("clear again");
}

/// Single rows: those that are there as they are, and those that are gone.
async fn is_copied_by_key(from: &dyn Move, to: &dyn Move) {
    commit(from, vec![delete("Zone", "n1Ä", Expect::Anything)]).await;
    commit(from, vec![put("Zone", "n3Ä", Expect::Anything, "z")]).await;
    commit(from, vec![end(6, Priority::People, Status::Done)]).await;
    let held = from.held(RunId(100), 2).await.expect("held");
    assert_eq!(held.len(), 4, "tasks 11 to 14 are held");
    assert!(from.held(RunId(100), 1).await.expect("held").is_empty());
    assert!(from.held(RunId(101), 2).await.expect("held").is_empty());
    let record = |name: &str| Key::Record("Zone".into(), name.into());
    let keys = vec![
        Key::Meta("raw".into()),
        Key::Meta("none".into()),
        record("n1Ä"),
        record("n3Ä"),
        record("n"),
        Key::Task(TaskId(6)),
        Key::Task(TaskId(99)),
    ];
    let mut rows = from.rows(keys.clone()).await.expect("rows");
    assert_eq!(rows.len(), 3, "what is not there is left out: {rows:?}");
    rows.push(Row::NoRecord {
        kind: "Zone".into(),
        name: "n1Ä".into(),
    });
    to.import(rows.clone()).await.expect("import");
    to.import(rows.clone()).await.expect("import again");
    rows.pop();
    let mut found = to.rows(keys).await.expect("rows");
    let name = |row: &Row| format!("{:?}", row.key());
    rows.sort_by_key(name);
    found.sort_by_key(name);
    assert_eq!(rows, found);
}

/// Moves up to `pages` pages of a part.
async fn move_part(from: &dyn Move, to: &dyn Move, part: Part, limit: usize, pages: Option<u32>) {
    let mut after: Option<Row> = None;
    for page in 0_u32.. {
        let rows = from
            .export(part, after.take(), limit)
            .await
            .expect("export");
        assert!(rows.len() <= limit, "a page keeps its limit");
        assert!(rows.iter().all(|row| row.part() == part));
        after = rows.last().cloned();
        if after.is_none() || Some(page) == pages {
            return;
        }
        to.import(rows).await.expect("import");
    }
}

async fn reads_the_same(from: &dyn Move, to: &dyn Move) {
    macro_rules! same {
        ($store:ident => $read:expr) => {{
            let $store = from;
            let one = $read.await.expect("read");
            let $store = to;
            let other = $read.await.expect("read");
            assert_eq!(one, other);
        }};
    }
    same!(s => s.records("", None, 100));
    for revision in [6, 9, 14] {
        let (one, other) = (
            from.changes(revision, 100).await,
            to.changes(revision, 100).await,
        );
        assert_eq!(one.expect("changes"), other.expect("changes"));
    }
    assert!(
        to.changes(0, 100).await.is_err(),
        "what was not kept is known not to be"
    );
    same!(s => s.results(0, 100));
    same!(s => s.run_tasks(RunId(100)));
    same!(s => s.entries("audit", 0, 0, 100));
    same!(s => s.entries("audit", u64::MAX, 0, 100));
    same!(s => s.entries(TASK_LOG, 1, 0, 100));
    same!(s => s.meta("raw"));
    for target in 0..=14 {
        same!(s => s.lane_tasks(Uid(target), TaskId(0), 100));
        same!(s => s.task(TaskId(target)));
        same!(s => s.tasks(TaskQuery {
            target: Some(Uid(target)),
            limit: 100,
            ..TaskQuery::default()
        }));
    }
    for priority in Priority::ALL {
        same!(s => s.open_tasks(priority, 0, TaskId(0), 100));
    }
    let (one, other) = (
        from.status().await.expect("status"),
        to.status().await.expect("status"),
    );
    let numbers = |s: crate::StoreStatus| {
        (
            s.revision,
            s.records,
            s.tasks_open,
            s.tasks_ended,
            s.last_id,
        )
    };
    assert_eq!(numbers(one), numbers(other));
}

async fn goes_on_where_it_was(from: &dyn Move, to: &dyn Move) {
    for ops in [
        vec![put("Target", "new", Expect::Absent, "x")],
        vec![append("audit", 1, 1, "n"), append("new", 1, 1, "n")],
        vec![
            end(3, Priority::People, Status::Done),
            end(1, Priority::People, Status::Done),
        ],
        vec![Op::InsertTask(task(21, 1))],
    ] {
        let (one, other) = (commit(from, ops.clone()).await, commit(to, ops).await);
        assert_eq!(one, other, "the next numbers are the same");
    }
    for part in Part::ALL {
        let (one, other) = (digest(from, part).await, digest(to, part).await);
        assert_eq!(one.expect("digest"), other.expect("digest"), "{part:?}");
    }
}
