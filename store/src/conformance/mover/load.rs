//! Work that goes on while a store is moved, and what must be there afterwards.

use super::super::records::{delete, put};
use super::super::streams::append;
use super::super::{LIMIT, end, task, task_of};
use crate::switch::Switch;
use crate::{Committed, Entry, Expect, Op, Position, Stand, Store, StoreError};
use bytes::Bytes;
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const WRITERS: u64 = 3;
const STREAM: &str = "load";

/// What one writer was told is durable.
#[derive(Default)]
struct Known {
    records: BTreeMap<String, Option<String>>,
    /// By id; None while it is open.
    tasks: BTreeMap<u64, Option<Status>>,
    entries: Vec<(Position, String)>,
    metas: BTreeMap<String, String>,
}

pub struct Load {
    writers: Vec<JoinHandle<Known>>,
    follower: JoinHandle<(Vec<TaskId>, Vec<Entry>)>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

/// What must be there at the end.
pub struct Left {
    known: Vec<Known>,
    results: Vec<TaskId>,
    entries: Vec<Entry>,
}

/// Rows that were there before.
pub async fn fill(store: &dyn Store) {
    for n in 0..8 {
        let records = (0..50).map(|m| put("Old", &format!("r{n}-{m}"), Expect::Anything, "x"));
        store
            .commit(records.collect::<Vec<_>>().into())
            .await
            .expect("fill");
        let first = 10_000 + n * 50;
        let tasks = (first..first + 50).map(|id| Op::InsertTask(task(id, id % 7)));
        store
            .commit(tasks.collect::<Vec<_>>().into())
            .await
            .expect("fill");
        let ends = (first..first + 25).map(|id| end(id, Priority::People, Status::Done));
        store
            .commit(ends.collect::<Vec<_>>().into())
            .await
            .expect("fill");
        let lines = (0..20).map(|m| append("old", m, 1, "line"));
        store
            .commit(lines.collect::<Vec<_>>().into())
            .await
            .expect("fill");
    }
}

impl Load {
    pub fn start(switch: Arc<Switch>) -> Load {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let writers = (0..WRITERS)
            .map(|number| {
                let (switch, stop, done) = (switch.clone(), stop.clone(), done.clone());
                tokio::spawn(async move {
                    let mut known = Known::default();
                    let mut turn = 0;
                    while !stop.load(Ordering::Acquire) {
                        known.turn(&switch, number, turn).await;
                        turn += 1;
                        done.fetch_add(1, Ordering::AcqRel);
                    }
                    known
                })
            })
            .collect();
        let follower = tokio::spawn(follow(switch, stop.clone()));
        Load {
            writers,
            follower,
            stop,
            done,
        }
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    pub async fn has_done(&self, turns: u64) {
        let until = Instant::now() + LIMIT;
        while self.done() < turns {
            assert!(Instant::now() < until, "work goes on");
            let ended = self.writers.iter().any(JoinHandle::is_finished);
            assert!(!ended, "no writer has failed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) -> Left {
        self.stop.store(true, Ordering::Release);
        let mut known = Vec::new();
        for writer in self.writers {
            known.push(writer.await.expect("no commit was refused"));
        }
        let (results, entries) = self.follower.await.expect("a cursor stays valid");
        Left {
            known,
            results,
            entries,
        }
    }
}

impl Known {
    /// A bit of everything; each writer has names and ids of its own.
    async fn turn(&mut self, store: &Switch, writer: u64, turn: u64) {
        let first = 1_000_000 * (writer + 1) + turn * 10;
        let run = first;
        let name = |n: u64| format!("w{writer}-{n}");
        let body = format!("body {turn}");
        let mut ops = vec![put("Load", &name(turn % 40), Expect::Anything, &body)];
        self.records.insert(name(turn % 40), Some(body.clone()));
        if turn.is_multiple_of(3) {
            let gone = name((turn + 7) % 40);
            ops.push(delete("Load", &gone, Expect::Anything));
            self.records.insert(gone, None);
        }
        ops.push(Op::InsertTask(task(first, writer)));
        for n in 1..=3 {
            ops.push(Op::InsertTask(task_of(
                first + n,
                n,
                run,
                n as u32,
                Priority::Held,
            )));
        }
        self.tasks.extend((first..first + 4).map(|id| (id, None)));
        must(store, ops).await;

        let key = format!("cursor-{writer}");
        let text = format!("{writer} {turn}");
        let committed = must(
            store,
            vec![
                Op::PutMeta {
                    key: key.clone(),
                    value: Bytes::from(text.clone().into_bytes()),
                },
                append(STREAM, writer + 1, 1, &text),
            ],
        )
        .await;
        self.entries.push((committed.position, text.clone()));
        self.metas.insert(key, text);
        must(
            store,
            vec![Op::Release {
                run: RunId(run),
                batch: 2,
                to: Priority::People,
            }],
        )
        .await;
        let ended = end(first + 1, Priority::People, Status::Done);
        must(store, vec![ended]).await;
        self.tasks.insert(first + 1, Some(Status::Done));
        if turn.is_multiple_of(2) {
            let ending = Op::EndHeld {
                run: RunId(run),
                status: Status::Cancelled,
                at: Time(9),
                ending: Bytes::from_static(b"c"),
            };
            must(store, vec![ending]).await;
            self.tasks.insert(first + 3, Some(Status::Cancelled));
        }
        if turn >= 20 {
            // One of long ago, which has been copied by now.
            let old = first - 200;
            let retry = Op::Retry {
                task: TaskId(old),
                priority: Priority::People,
                attempt: 2,
                not_before: Time(5),
                note: "busy".to_owned(),
            };
            let ops = vec![retry, end(old, Priority::People, Status::Failed)];
            must(store, ops).await;
            self.tasks.insert(old, Some(Status::Failed));
        }
    }
}

async fn must(store: &Switch, ops: Vec<Op>) -> Committed {
    let committed = store.commit(ops.into()).await.expect("commit");
    assert!(committed.stale.is_empty(), "{:?}", committed.stale);
    committed
}

/// Reads on from its cursors, as those do who follow.
async fn follow(store: Arc<Switch>, stop: Arc<AtomicBool>) -> (Vec<TaskId>, Vec<Entry>) {
    let (mut results, mut entries) = (Vec::new(), Vec::<Entry>::new());
    let mut at = 0;
    let mut revision = 0;
    loop {
        let stopping = stop.load(Ordering::Acquire);
        let page = store.results(at, 100).await.expect("results");
        at = page.last().map_or(at, |(position, _)| *position);
        let more = !page.is_empty();
        results.extend(page.into_iter().map(|(_, task)| task.id));
        let after = entries.last().map_or(0, |e| e.position);
        let page = store.entries(STREAM, 0, after, 100).await.expect("entries");
        let more = more || !page.is_empty();
        entries.extend(page);
        match store.changes(revision, 100).await {
            Ok(changes) => {
                assert!(changes.newest >= revision, "revisions only grow");
                revision = changes.changes.last().map_or(revision, |c| c.revision);
            }
            Err(StoreError::Compacted { .. }) => panic!("nothing was compacted"),
            Err(error) => panic!("{error:?}"),
        }
        if stopping && !more {
            // Writers may still be at their last turn; what they add is read at the end.
            return (results, entries);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Left {
    /// Nothing is lost, nothing is there twice, nothing is there that nobody wrote.
    pub async fn holds(&self, store: &dyn Store) {
        let mut records = BTreeMap::new();
        let mut tasks = BTreeMap::new();
        let mut entries = Vec::new();
        for known in &self.known {
            records.extend(known.records.iter().filter_map(|(name, body)| {
                Some((name.clone(), Bytes::from(body.clone()?.into_bytes())))
            }));
            tasks.extend(known.tasks.clone());
            entries.extend(known.entries.clone());
            for (key, value) in &known.metas {
                let found = store.meta(key).await.expect("meta");
                assert_eq!(found.as_deref(), Some(value.as_bytes()), "{key}");
            }
        }
        let found = store.records("Load", None, 1_000).await.expect("records");
        let found: BTreeMap<_, _> = found.into_iter().map(|r| (r.name, r.body)).collect();
        assert_eq!(found, records);
        let old = store.records("Old", None, 1_000).await.expect("records");
        assert_eq!(old.len(), 400);
        let status = store.status().await.expect("status");
        let ended = tasks.values().filter(|s| s.is_some()).count() as u64;
        assert_eq!(status.tasks_ended, ended + 200);
        assert_eq!(status.tasks_open, tasks.len() as u64 - ended + 200);
        assert_eq!(status.records, records.len() as u64 + 400);
        for (id, wanted) in &tasks {
            let found = store.task(TaskId(*id)).await.expect("task");
            match (&found.expect("it is there").stand, wanted) {
                (Stand::Ended { status, .. }, Some(wanted)) => assert_eq!(status, wanted),
                (Stand::Open(_), None) => {}
                (other, wanted) => panic!("task {id}: {other:?}, not {wanted:?}"),
            }
        }
        entries.sort();
        let found = store
            .entries(STREAM, 0, 0, 1_000_000)
            .await
            .expect("entries");
        let text = |e: &Entry| (e.position, String::from_utf8_lossy(&e.body).into_owned());
        assert_eq!(found.iter().map(text).collect::<Vec<_>>(), entries);
        assert_eq!(self.entries[..], found[..self.entries.len()]);
        let results = store.results(0, 1_000_000).await.expect("results");
        let results: Vec<TaskId> = results.into_iter().map(|(_, task)| task.id).collect();
        assert_eq!(results.len() as u64, status.tasks_ended);
        let seen = self.results.len();
        assert_eq!(
            self.results[..],
            results[..seen],
            "results keep their order"
        );
    }
}
