//! `kill -9` at any moment: everything acknowledged is there afterwards, and nothing half.
//!
//! The test starts itself as a child that commits as fast as it can and prints each acknowledgement.

use bytes::Bytes;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{TaskId, Time, Uid};
use sengu_store::{Batch, Expect, NewTask, Op, Stand, Store, StoredTask, TaskQuery};
use sengu_store_sqlite::SqliteStore;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ROUNDS: u64 = 24;
const CALLERS: u64 = 8;
/// Tasks of one batch, which are there together or not at all. Enough to write parts of lanes in a few rounds.
const TASKS: u64 = 20;
/// Keeps the store small enough to be checked whole after every round.
const BATCHES_PER_CALLER_MAX: u64 = 20;
const TARGETS: u64 = 5;
const PLACE: &str = "SENGU_TEST_STORE";

#[test]
fn everything_acknowledged_survives_kill_9() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    if let Some(place) = std::env::var_os(PLACE) {
        runtime.block_on(commit_for_ever(Path::new(&place)));
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let lines = run_and_kill(place.path(), round);
        acknowledged += lines.len();
        runtime.block_on(check(place.path(), &lines));
    }
    assert!(
        acknowledged > 100,
        "the children came to commit: {acknowledged}"
    );
}

/// The first id not used by the store.
async fn next_id(store: &SqliteStore) -> u64 {
    store.status().await.expect("status").last_id / TASKS * TASKS + TASKS
}

async fn commit_for_ever(place: &Path) {
    let store = Arc::new(SqliteStore::open(place).expect("open after a kill"));
    let next = Arc::new(AtomicU64::new(next_id(&store).await));
    say("ready", 0);
    let callers = (0..CALLERS).map(|_| {
        let (store, next) = (store.clone(), next.clone());
        tokio::spawn(async move {
            for _ in 0..BATCHES_PER_CALLER_MAX {
                let first = next.fetch_add(TASKS, Ordering::Relaxed);
                store
                    .commit(Batch { ops: begin(first) })
                    .await
                    .expect("insert");
                say("inserted", first);
                store
                    .commit(Batch { ops: finish(first) })
                    .await
                    .expect("end");
                say("ended", first);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller ends");
    }
    // Done before the kill: the writer is idle then, which is a moment as well.
    std::future::pending::<()>().await;
}

fn say(what: &str, id: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what} {id}")
        .and_then(|()| out.flush())
        .expect("the parent reads");
}

fn begin(first: u64) -> Vec<Op> {
    let mut ops: Vec<Op> = (first..first + TASKS)
        .map(|id| {
            Op::InsertTask(NewTask {
                id: TaskId(id),
                target: Uid(id % TARGETS),
                run: None,
                priority: Priority::People,
                batch: 0,
                line: 0,
                body: Bytes::from(vec![b'x'; 200]),
            })
        })
        .collect();
    ops.push(Op::PutRecord {
        kind: "Batch".into(),
        name: first.to_string(),
        uid: Uid(1),
        expect: Expect::Absent,
        body: Bytes::new(),
    });
    ops.push(Op::Append {
        stream: "s".into(),
        key: first,
        at: Time(0),
        body: Bytes::new(),
    });
    ops
}

/// Ends the first half of the batch's tasks.
fn finish(first: u64) -> Vec<Op> {
    let end = |id| Op::End {
        task: TaskId(id),
        priority: Priority::People,
        status: Status::Done,
        changed: true,
        at: Time(0),
        ending: Bytes::from_static(b"ending"),
    };
    (first..first + TASKS / 2).map(end).collect()
}

fn run_and_kill(place: &Path, round: u64) -> Vec<(String, u64)> {
    let program = std::env::current_exe().expect("this test");
    let mut child = Command::new(program)
        .args([
            "--exact",
            "everything_acknowledged_survives_kill_9",
            "--nocapture",
        ])
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("start the child");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut said = Vec::new();
    // From the first moment (opening, recovery) to well into the work; different each round.
    let life = Duration::from_millis(round * 7 % 60);
    if !round.is_multiple_of(6) {
        for line in lines.by_ref() {
            if line.expect("text") == "ack ready 0" {
                break;
            }
        }
    }
    let killer = std::thread::spawn(move || {
        std::thread::sleep(life);
        child.kill().expect("kill");
        child.wait().expect("is gone");
    });
    for line in lines.map_while(Result::ok) {
        // A line cut by the kill has no number or a wrong one: only whole lines end with the next one's start.
        said.push(line);
    }
    killer.join().expect("killed");
    acknowledgements(&said)
}

/// Whole lines only: each is followed by the empty line with which the next begins.
fn acknowledgements(lines: &[String]) -> Vec<(String, u64)> {
    let whole = lines
        .windows(2)
        .filter(|pair| pair[1].is_empty())
        .map(|pair| &pair[0]);
    let parsed = whole.filter_map(|line| {
        let (what, id) = line.strip_prefix("ack ")?.split_once(' ')?;
        Some((what.to_owned(), id.parse().ok()?))
    });
    parsed.filter(|(what, _)| what != "ready").collect()
}

async fn check(place: &Path, acknowledged: &[(String, u64)]) {
    let store = SqliteStore::open(place).expect("open after the kill");
    let tasks = all_tasks(
        &store,
        TaskQuery {
            limit: 1_000,
            ..TaskQuery::default()
        },
    )
    .await;
    let ids: BTreeSet<u64> = tasks.iter().map(|task| task.id.0).collect();
    let ended: BTreeSet<u64> = tasks
        .iter()
        .filter(|task| matches!(task.stand, Stand::Ended { .. }))
        .map(|task| task.id.0)
        .collect();
    for (what, first) in acknowledged {
        let there = if what == "inserted" { &ids } else { &ended };
        assert!(
            there.contains(first),
            "{what} {first} was acknowledged and is lost"
        );
    }
    let batches: BTreeSet<u64> = ids.iter().map(|id| id / TASKS * TASKS).collect();
    for first in &batches {
        let parts = ids.range(first..&(first + TASKS)).count() as u64;
        let halves = ended.range(first..&(first + TASKS)).count() as u64;
        assert_eq!(parts, TASKS, "batch {first} is half there");
        assert!(
            halves == 0 || halves == TASKS / 2,
            "batch {first} is half ended: {halves}"
        );
        let record = store
            .record("Batch", &first.to_string())
            .await
            .expect("record");
        assert!(record.is_some(), "the record of batch {first}");
        let entries = store.entries("s", *first, 0, 10).await.expect("entries");
        assert_eq!(entries.len(), 1, "the entry of batch {first}");
    }
    let status = store.status().await.expect("status");
    assert_eq!(status.records, batches.len() as u64);
    assert_eq!(status.revision, batches.len() as u64);
    assert_eq!(status.tasks_ended, ended.len() as u64);
    assert_eq!(status.tasks_open, (ids.len() - ended.len()) as u64);
    assert_eq!(
        store
            .changes(0, usize::MAX)
            .await
            .expect("changes")
            .changes
            .len(),
        batches.len()
    );
    assert_eq!(
        store.results(0, usize::MAX).await.expect("results").len(),
        ended.len()
    );
    for target in 0..TARGETS {
        let query = TaskQuery {
            target: Some(Uid(target)),
            limit: 1_000,
            ..TaskQuery::default()
        };
        let listed = all_tasks(&store, query).await;
        let wanted = ids.iter().filter(|id| *id % TARGETS == target).count();
        assert_eq!(listed.len(), wanted, "the lane of target {target}");
    }
}

async fn all_tasks(store: &SqliteStore, mut query: TaskQuery) -> Vec<StoredTask> {
    let mut all = Vec::new();
    loop {
        let page = store.tasks(query.clone()).await.expect("tasks");
        let Some(last) = page.last() else { return all };
        query.before = Some(last.id);
        all.extend(page);
    }
}
