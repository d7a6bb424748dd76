//! What goes wrong around a store: a second process, a newer file, no space, no database at all.

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{TaskId, Time, Uid};
use sengu_store::{Batch, NewTask, Op, Retention, Store, StoreError, TASK_LOG, TaskQuery};
use sengu_store_sqlite::SqliteStore;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const PLACE: &str = "SENGU_TEST_STORE";

fn insert(id: u64, bytes: usize) -> Op {
    Op::InsertTask(NewTask {
        id: TaskId(id),
        target: Uid(id % 3),
        run: None,
        priority: Priority::People,
        batch: 0,
        line: 0,
        body: Bytes::from(vec![b'x'; bytes]),
    })
}

#[tokio::test]
async fn a_second_store_on_one_directory_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let first = SqliteStore::open(place.path()).expect("open");
    match SqliteStore::open(place.path()) {
        Err(StoreError::InUse { place: named }) => {
            assert_eq!(named, place.path().display().to_string());
        }
        other => panic!("wanted InUse, got {other:?}"),
    }
    first
        .commit(Batch::one(insert(1, 10)))
        .await
        .expect("the first goes on");
    first.close().await.expect("close");
    let again = SqliteStore::open(place.path()).expect("a closed store is free");
    drop(again);
    SqliteStore::open(place.path()).expect("a dropped store is free");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let place = tempfile::tempdir().expect("a temporary directory");
    drop(SqliteStore::open(place.path()).expect("open"));
    let file = place.path().join("store.db");
    let version = |number: i64| {
        let connection = rusqlite::Connection::open(&file).expect("open the file");
        connection
            .pragma_update(None, "user_version", number)
            .expect("set the version");
    };
    version(99);
    let said = SqliteStore::open(place.path())
        .expect_err("a newer schema")
        .to_string();
    assert!(
        said.contains("has schema 99, this program knows up to 1"),
        "{said}"
    );
    version(1);
    SqliteStore::open(place.path()).expect("nothing was touched");
}

#[test]
fn what_is_no_store_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(
        place.path().join("store.db"),
        "this is no database at all".repeat(100),
    )
    .expect("write");
    let said = SqliteStore::open(place.path());
    assert!(matches!(said, Err(StoreError::Broken { .. })), "{said:?}");
    let said = SqliteStore::open(&place.path().join("store.db"));
    assert!(matches!(said, Err(StoreError::Unavailable(_))), "{said:?}");
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let targets = 3;
    let mut wanted = vec![0_usize; targets];
    // Some of the tasks are in written parts of lanes, the newest are not; some arrive late.
    for round in 0..5_u64 {
        let store = SqliteStore::open(place.path()).expect("open");
        let ids = (0..4_000)
            .map(|n| 1_000_000 + round * 4_000 + n)
            .chain([10 + round]);
        let ops = ids.map(|id| insert(id, 10)).collect();
        store.commit(Batch { ops }).await.expect("insert");
        if round % 2 == 0 {
            store.close().await.expect("close");
        }
        for id in (0..4_000)
            .map(|n| 1_000_000 + round * 4_000 + n)
            .chain([10 + round])
        {
            wanted[usize::try_from(id % 3).expect("small")] += 1;
        }
    }
    let store = SqliteStore::open(place.path()).expect("open");
    for (target, wanted) in wanted.into_iter().enumerate() {
        let target = Uid(target as u64);
        let query = TaskQuery {
            target: Some(target),
            limit: 100_000,
            ..TaskQuery::default()
        };
        let ids: Vec<TaskId> = store
            .tasks(query)
            .await
            .expect("tasks")
            .iter()
            .map(|task| task.id)
            .collect();
        assert_eq!(ids.len(), wanted, "all tasks of {target}");
        assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "newest first");
        let lane = store
            .lane_tasks(target, TaskId(0), 100_000)
            .await
            .expect("lane");
        assert!(
            lane.iter().map(|task| task.id).eq(ids.into_iter().rev()),
            "the same as a lane"
        );
    }
}

/// What the port cannot show: rows that nobody would ever find again.
#[tokio::test]
async fn retention_leaves_no_row_behind() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(place.path()).expect("open");
    let ids = 1..=20_000_u64;
    for first in ids.clone().step_by(2_000) {
        let ops = (first..first + 2_000).map(|id| insert(id, 10)).collect();
        store.commit(Batch { ops }).await.expect("insert");
    }
    let end = |id| Op::End {
        task: TaskId(id),
        priority: Priority::People,
        status: Status::Failed,
        changed: false,
        at: Time(1),
        ending: Bytes::from_static(b"e"),
    };
    let log = |id| Op::Append {
        stream: TASK_LOG.into(),
        key: id,
        at: Time(1),
        body: Bytes::from_static(b"line"),
    };
    let ops = ids.clone().map(end).chain(ids.map(log)).collect();
    store.commit(Batch { ops }).await.expect("end");
    let retention = Retention {
        tasks_before: Time(2),
        entries_before: Time(0),
        audit_before: Time(0),
        changes_kept: 0,
    };
    store.retain(retention).await.expect("retain");
    store.close().await.expect("close");
    let connection = rusqlite::Connection::open(place.path().join("store.db")).expect("open");
    for table in ["task", "open", "lane", "result", "entry"] {
        let rows: i64 = connection
            .query_row(&format!("SELECT count(*) FROM {table}"), (), |row| {
                row.get(0)
            })
            .expect("count");
        assert_eq!(rows, 0, "in {table}");
    }
    let parts: i64 = connection
        .query_row("SELECT count(*) FROM lane_part", (), |row| row.get(0))
        .expect("count");
    assert_eq!(parts, 1, "the newest part says where memory begins");
}

/// Runs itself again under a file size limit: to SQLite this is a disk that takes no more.
#[test]
fn without_space_nothing_breaks_and_with_space_it_goes_on() {
    if let Some(place) = std::env::var_os(PLACE) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build();
        runtime
            .expect("a runtime")
            .block_on(fill_up(Path::new(&place)));
        return;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let program = std::env::current_exe().expect("this test");
    let status = Command::new("/bin/sh")
        // The signal of the limit is ignored, so that a write fails instead.
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(program)
        .args([
            "--exact",
            "without_space_nothing_breaks_and_with_space_it_goes_on",
            "--nocapture",
        ])
        .env(PLACE, place.path())
        .status()
        .expect("start the child");
    assert!(status.success(), "the child found fault: {status}");
}

fn file_bytes_max(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: bytes,
            maximum,
        },
    )
    .expect("set the limit");
}

async fn fill_up(place: &Path) {
    let store = Arc::new(SqliteStore::open(place).expect("open"));
    store
        .commit(Batch::one(insert(1, 10)))
        .await
        .expect("insert");
    for limit in [1 << 20, 3 << 20, 9 << 20] {
        file_bytes_max(Some(limit));
        let callers: Vec<_> = (0..16_u64)
            .map(|caller| {
                let store = store.clone();
                tokio::spawn(async move { insert_until_refused(&store, limit + caller).await })
            })
            .collect();
        let mut inserted = 0;
        for caller in callers {
            inserted += caller.await.expect("a caller ends");
        }
        let status = store.status().await.expect("reading goes on");
        let query = TaskQuery {
            before: None,
            limit: 1_000_000,
            ..TaskQuery::default()
        };
        let listed = store.tasks(query).await.expect("reading goes on").len() as u64;
        assert_eq!(status.tasks_open, listed, "the counters tell the truth");
        assert!(inserted <= listed, "what was acknowledged is there");
        file_bytes_max(None);
        store
            .commit(Batch::one(insert(limit + 999, 10)))
            .await
            .expect("goes on with space");
    }
    let before = store.status().await.expect("status").tasks_open;
    store.close().await.expect("close");
    let again = SqliteStore::open(place).expect("open again");
    assert_eq!(
        again.status().await.expect("status").tasks_open,
        before,
        "intact"
    );
}

/// Inserts until there is no space; how many were acknowledged.
async fn insert_until_refused(store: &SqliteStore, first: u64) -> u64 {
    for n in 0..10_000 {
        let id = first * 10_000 + n;
        match store.commit(Batch::one(insert(id, 8 << 10))).await {
            Ok(_) => {}
            Err(StoreError::Unavailable(_)) => {
                let task = store.task(TaskId(id)).await.expect("reading goes on");
                assert!(task.is_none(), "what was refused is not there");
                return n;
            }
            Err(other) => panic!("wanted Unavailable, got {other:?}"),
        }
    }
    panic!("the limit was never met");
}
