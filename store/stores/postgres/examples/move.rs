//! Moves a filled SQLite store into PostgreSQL while work goes on, and prints rows per second, and how long commits were
//! held: `cargo run --release -p sengu-store-postgres --example move -- [records] [tasks] [back]`.
//!
//! The server is one of its own, on the data of a temporary folder and with `fsync=off`.

#[path = "../tests/common/mod.rs"]
mod common;

use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{TaskId, Time, Uid};
use sengu_store::conformance::mover::{plan, run_plan_within, switch};
use sengu_store::mover::PAUSE_MAX;
use sengu_store::moving::{Move, Part};
use sengu_store::switch::Switch;
use sengu_store::{Expect, NewTask, Op, Store as _};
use sengu_store_sqlite::SqliteStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BATCH: u64 = 1_000;
/// Tasks from their insert to their end, at a time, while the move is on.
const AT_ONCE: u64 = 16;
const LIMIT: Duration = Duration::from_secs(3_000);

fn put(n: u64) -> Op {
    Op::PutRecord {
        kind: "Target".into(),
        name: format!("target-{n:08}"),
        uid: Uid(n + 1),
        expect: Expect::Anything,
        body: format!(
            "{{\"metadata\":{{\"name\":\"target-{n:08}\"}},\"spec\":{{\"address\":\"192.0.2.1\"}}}}"
        )
        .into(),
    }
}

fn insert(id: u64) -> Op {
    Op::InsertTask(NewTask {
        id: TaskId(id),
        target: Uid(1 + id % 100_000),
        run: None,
        priority: Priority::People,
        batch: 0,
        line: 0,
        body: "{\"action\":\"read\",\"params\":{}}".into(),
    })
}

fn end(id: u64) -> Op {
    Op::End {
        task: TaskId(id),
        priority: Priority::People,
        status: Status::Done,
        changed: false,
        at: Time(1_000),
        ending: "{\"facts\":{\"model\":\"R750\"}}".into(),
    }
}

async fn fill(store: &dyn Move, records: u64, tasks: u64) {
    let commit = async |ops: Vec<Op>| store.commit(ops.into()).await.map(drop).expect("commit");
    for first in (0..records).step_by(BATCH as usize) {
        commit((first..(first + BATCH).min(records)).map(put).collect()).await;
    }
    for first in (0..tasks).step_by(BATCH as usize) {
        let ids = || (first..(first + BATCH).min(tasks)).map(|n| 2_000_000_000 + n);
        commit(ids().map(insert).collect()).await;
        // One in ten stays open.
        commit(ids().filter(|id| id % 10 != 0).map(end).collect()).await;
    }
}

/// Tasks that come and end all the time. Gives how many, and the longest commit in microseconds.
struct Work {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    longest: Arc<AtomicU64>,
}

impl Work {
    fn start(switch: &Arc<Switch>, base: u64) -> Work {
        let work = Work {
            stop: Arc::default(),
            done: Arc::default(),
            longest: Arc::default(),
        };
        for lane in 0..AT_ONCE {
            let (stop, done, longest) =
                (work.stop.clone(), work.done.clone(), work.longest.clone());
            let switch = switch.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = base + n * AT_ONCE + lane;
                    for op in [insert(id), end(id), put(id % 1_000)] {
                        let begun = Instant::now();
                        let done = switch.commit(vec![op].into()).await;
                        done.expect("commit");
                        let took = begun.elapsed().as_micros() as u64;
                        longest.fetch_max(took, Ordering::Relaxed);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    // A site with some hundred tasks a second.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        work
    }
}

async fn go(what: &str, from: Arc<dyn Move>, to: Arc<dyn Move>, base: u64) {
    let switch = switch(&from);
    let work = Work::start(&switch, base);
    let (mut plan, _) = plan(&switch, &to, what);
    plan.pause_max = PAUSE_MAX;
    let begun = Instant::now();
    let progress = run_plan_within(&plan, LIMIT).await.expect("moved");
    let took = begun.elapsed();
    work.stop.store(true, Ordering::Relaxed);
    let copied: u64 = progress.parts.values().map(|p| p.copied).sum();
    println!(
        "{what}: {copied} rows in {:.1} s, {:.0} rows/s with comparing; {} copied again",
        took.as_secs_f64(),
        copied as f64 / took.as_secs_f64(),
        progress.caught_up
    );
    for part in [Part::Records, Part::Changes, Part::Tasks] {
        let told = &progress.parts[&part];
        println!("  {part:?}: {:?}, {} again", told.compared, told.again);
    }
    println!(
        "  pause {:?} in {} tries; {} tasks meanwhile ({:.0}/s), longest commit {} ms",
        progress.pause.unwrap_or_default(),
        progress.pauses,
        work.done.load(Ordering::Relaxed),
        work.done.load(Ordering::Relaxed) as f64 / took.as_secs_f64(),
        work.longest.load(Ordering::Relaxed) / 1_000
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1);
    let mut number = |default| {
        numbers
            .next()
            .map_or(default, |n| n.parse().expect("a number"))
    };
    let (records, tasks, back) = (number(1_000_000_u64), number(1_000_000_u64), number(0_u64));
    let place = tempfile::tempdir().expect("a temporary directory");
    let sqlite = |name: &str| Arc::new(SqliteStore::open(&place.path().join(name)).expect("open"));
    let from = sqlite("from");
    let begun = Instant::now();
    fill(&*from, records, tasks).await;
    println!("filled in {:?}", begun.elapsed());
    let postgres = Arc::new(common::open(&common::server().settings()).await);
    go("into PostgreSQL", from, postgres.clone(), 4_000_000_000).await;
    if back > 0 {
        go("back", postgres, sqlite("to"), 5_000_000_000).await;
    }
}
