//! Measures what a task costs the store: it is inserted, then ended, each durable before the next step.
//!
//! `cargo run --release -p sengu-store-sqlite --example lifecycle [lifecycles] [backlog] [targets] [directory]`
//! prints for 256 callers of one task each, and for 8 callers of 256 tasks each: lifecycles per second, CPU
//! microseconds per lifecycle, and how long an insert waited for its acknowledgement. Then the same with a backlog,
//! and how long large questions and large runs take.

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Time, Uid};
use sengu_store::{Batch, Expect, NewTask, Op, Store, TaskQuery};
use sengu_store_sqlite::SqliteStore;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Like the ids that sengu gives: milliseconds since 1970, then a counter.
static NEXT_ID: AtomicU64 = AtomicU64::new(1_790_000_000_000 << 20);

const BODY: &[u8] = br#"{"target":"bmc-00001234","kind":"redfish","action":"power.set","effect":"idempotent","params":{"state":"off"},"timeoutMs":30000,"origin":"run","batch":3}"#;
const ENDING: &[u8] = br#"{"outcome":{"status":"done","changed":true,"before":"on","after":"off"},"startedAt":"2026-09-21T14:13:20.123Z","endedAt":"2026-09-21T14:13:20.456Z","attempts":1,"wee":"local","instance":"redfish@1.0.0/2"}"#;

#[derive(Clone, Copy)]
struct Load {
    callers: u64,
    tasks_per_batch: u64,
    lifecycles: u64,
    targets: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (lifecycles, backlog, targets) = (number(200_000), number(1_000_000), number(1_000));
    let place = tempfile::tempdir_in(arguments.next().unwrap_or_else(|| ".".into()));
    let place = place.expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = Arc::new(SqliteStore::open(place.path()).expect("open"));
        let singles = Load {
            callers: 256,
            tasks_per_batch: 1,
            lifecycles,
            targets,
        };
        let batches = Load {
            callers: 8,
            tasks_per_batch: 256,
            lifecycles,
            targets,
        };
        measure(
            "1 caller",
            &store,
            Load {
                callers: 1,
                lifecycles: 1_000,
                ..singles
            },
        )
        .await;
        measure("256 callers", &store, singles).await;
        measure("8 batches of 256", &store, batches).await;
        if backlog > 0 {
            let started = Instant::now();
            fill(&store, backlog, targets).await;
            println!(
                "backlog of {backlog} tasks in {:.1} s",
                started.elapsed().as_secs_f64()
            );
            measure("256 callers, backlog", &store, singles).await;
            measure("8 batches of 256, backlog", &store, batches).await;
            questions(&store, targets).await;
        }
        a_large_run(&store, 100_000).await;
        many_records(&store, 100_000).await;
        let status = store.status().await.expect("status");
        println!(
            "{} MB on disk, {} MB resident",
            status.bytes >> 20,
            resident_kib() >> 10
        );
        store.close().await.expect("close");
    });
}

async fn measure(name: &str, store: &Arc<SqliteStore>, load: Load) {
    let (wall, cpu, threads) = (Instant::now(), cpu(), cpu_by_thread());
    let share = load.lifecycles / load.callers / load.tasks_per_batch;
    let callers: Vec<_> = (0..load.callers)
        .map(|_| tokio::spawn(caller(store.clone(), load, share)))
        .collect();
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.expect("a caller ends"));
    }
    let (wall, cpu) = (wall.elapsed(), self::cpu() - cpu);
    waits.sort_unstable();
    let done = (share * load.callers * load.tasks_per_batch) as f64;
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / done;
    println!(
        "{name:28} {:8.0}/s  {:5.1} us CPU  insert p50 {:6.2} ms  p99 {:6.2} ms  max {:6.1} ms",
        done / wall.as_secs_f64(),
        each(cpu),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    for (thread, spent) in cpu_by_thread() {
        let spent = spent - threads.get(&thread).copied().unwrap_or_default();
        println!("    {thread:24} {:5.1} us", each(spent));
    }
}

async fn caller(store: Arc<SqliteStore>, load: Load, share: u64) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..share {
        let first = NEXT_ID.fetch_add(load.tasks_per_batch, Ordering::Relaxed);
        let ids = first..first + load.tasks_per_batch;
        let ops = ids
            .clone()
            .map(|id| insert(id, load.targets, Priority::People))
            .collect();
        let started = Instant::now();
        store.commit(Batch { ops }).await.expect("insert");
        waits.push(started.elapsed());
        let ops = ids.map(end).collect();
        store.commit(Batch { ops }).await.expect("end");
    }
    waits
}

fn insert(id: u64, targets: u64, priority: Priority) -> Op {
    Op::InsertTask(NewTask {
        id: TaskId(id),
        // Spread over the targets in no order, as requests come.
        target: Uid((1_780_000_000_000 << 20) + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % targets),
        run: None,
        priority,
        batch: 0,
        line: 0,
        body: Bytes::from_static(BODY),
    })
}

fn end(id: u64) -> Op {
    Op::End {
        task: TaskId(id),
        priority: Priority::People,
        status: Status::Done,
        changed: true,
        at: Time(1_790_000_000_000),
        ending: Bytes::from_static(ENDING),
    }
}

async fn fill(store: &SqliteStore, tasks: u64, targets: u64) {
    for _ in 0..tasks / 1_000 {
        let first = NEXT_ID.fetch_add(1_000, Ordering::Relaxed);
        let ops = (first..first + 1_000)
            .map(|id| insert(id, targets, Priority::Batch))
            .collect();
        store.commit(Batch { ops }).await.expect("fill");
    }
}

async fn questions(store: &SqliteStore, targets: u64) {
    let started = Instant::now();
    let page = store
        .open_tasks(Priority::Batch, 0, TaskId(0), 1_024)
        .await
        .expect("open tasks");
    println!(
        "a page of {} open tasks in {:?}",
        page.len(),
        started.elapsed()
    );
    let (started, before, mut found) = (Instant::now(), cpu(), 0);
    for task in page.iter().take(500) {
        found += store
            .lane_tasks(task.target, task.id, 16)
            .await
            .expect("lane")
            .len();
    }
    let (wall, each) = (started.elapsed(), (cpu() - before) / 500);
    println!("500 lanes ({found} tasks, {targets} targets) in {wall:?}, {each:?} CPU each");
}

/// One run over `targets` targets: held, released by tenths, one half done, the rest stopped.
async fn a_large_run(store: &SqliteStore, targets: u64) {
    let run = RunId(NEXT_ID.fetch_add(1 + targets, Ordering::Relaxed));
    let held = |n: u64| match insert(run.0 + 1 + n, targets, Priority::Held) {
        Op::InsertTask(task) => {
            let batch = u32::try_from(1 + n * 10 / targets).expect("a tenth");
            Op::InsertTask(NewTask {
                run: Some(run),
                batch,
                target: Uid(n),
                ..task
            })
        }
        other => other,
    };
    let started = Instant::now();
    for first in (0..targets).step_by(1_000) {
        let ops = (first..first + 1_000).map(held).collect();
        store.commit(Batch { ops }).await.expect("insert");
    }
    println!("run of {targets}: inserted in {:?}", started.elapsed());
    let started = Instant::now();
    for batch in 1..=5 {
        let release = Op::Release {
            run,
            batch,
            to: Priority::People,
        };
        store.commit(Batch::one(release)).await.expect("release");
    }
    println!(
        "    5 batches of {} released in {:?}",
        targets / 10,
        started.elapsed()
    );
    let started = Instant::now();
    for first in (0..targets / 2).step_by(1_000) {
        let ops = (first..first + 1_000).map(|n| end(run.0 + 1 + n)).collect();
        store.commit(Batch { ops }).await.expect("end");
    }
    println!("    {} ended in {:?}", targets / 2, started.elapsed());
    let started = Instant::now();
    let shown = store.run_tasks(run).await.expect("run").len();
    println!("    {shown} shown in {:?}", started.elapsed());
    let (status, at, ending) = (Status::Cancelled, Time(0), Bytes::from_static(ENDING));
    let started = Instant::now();
    let stop = Op::EndHeld {
        run,
        status,
        at,
        ending,
    };
    let stopped = store.commit(Batch::one(stop)).await.expect("stop").moved;
    println!(
        "    {stopped} held ones stopped at once in {:?}",
        started.elapsed()
    );
    let status = vec![Status::Failed, Status::Cancelled];
    let query = TaskQuery {
        run: Some(run),
        status,
        limit: 100,
        ..TaskQuery::default()
    };
    let started = Instant::now();
    let listed = store.tasks(query).await.expect("tasks").len();
    println!(
        "    a page of {listed} stopped ones in {:?}",
        started.elapsed()
    );
}

/// Records of 1 kB, made and then changed, 1,000 at a time.
async fn many_records(store: &SqliteStore, records: u64) {
    for what in ["made", "changed"] {
        let started = Instant::now();
        for first in (0..records).step_by(1_000) {
            let put = |n: u64| Op::PutRecord {
                kind: "Target".into(),
                name: format!("bmc-{n:08}"),
                uid: Uid(n),
                expect: Expect::Anything,
                body: Bytes::from(vec![b'x'; 1_000]),
            };
            let ops = (first..first + 1_000).map(put).collect();
            store.commit(Batch { ops }).await.expect("put");
        }
        println!("{records} records {what} in {:?}", started.elapsed());
    }
    let started = Instant::now();
    let after = Some(("Target", "bmc-00050000"));
    let page = store
        .records("Target", after, 1_000)
        .await
        .expect("records")
        .len();
    println!("    a page of {page} in {:?}", started.elapsed());
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// CPU time of each thread that has used any, by name; threads of one name are added up.
fn cpu_by_thread() -> BTreeMap<String, Duration> {
    let mut sum = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task")
        .expect("threads")
        .flatten()
    {
        let read = |file| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let nanoseconds = read("schedstat")
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok());
        *sum.entry(read("comm").trim().to_owned()).or_default() +=
            Duration::from_nanos(nanoseconds.unwrap_or(0));
    }
    sum
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS"));
    line.and_then(|l| l.split_whitespace().nth(1))
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
