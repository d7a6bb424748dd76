//! Measures what a task costs the store: it is inserted, marked as sent, then ended, each durable before the next step.
//!
//! `cargo run --release -p sengu-store-postgres --example lifecycles URL [lifecycles] [backlog]` prints for 1 and for 256
//! callers of one task each, and for 8 callers of 256 tasks each: lifecycles per second, CPU microseconds per lifecycle
//! in this process, and how long an insert waited for its acknowledgement. Then the same with a backlog, and pages of
//! 100,000 records. The schema `sengu_lifecycles` is made for it and removed at the end.

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use sengu_model::outcome::Status;
use sengu_model::task::Priority;
use sengu_model::{TaskId, Time, Uid};
use sengu_store::{Batch, Expect, NewTask, Op, Store};
use sengu_store_postgres::{PostgresStore, Settings, migrate};
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
    /// A commit between insert and end.
    marked: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the address of a database");
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (lifecycles, backlog) = (number(100_000), number(200_000));
    let settings = Settings {
        url,
        password: None,
        ca_pem: None,
        schema: "sengu_lifecycles".into(),
        connections_max: 4,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = PostgresStore::open(settings.clone()).await.expect("open");
        let store = Arc::new(store);
        let singles = Load {
            callers: 256,
            tasks_per_batch: 1,
            lifecycles,
            marked: false,
        };
        let one = Load {
            callers: 1,
            lifecycles: 500,
            ..singles
        };
        let batches = Load {
            callers: 8,
            tasks_per_batch: 256,
            ..singles
        };
        let marked = Load {
            marked: true,
            ..singles
        };
        measure("1 caller", &store, one).await;
        measure("256 callers", &store, singles).await;
        measure("256 callers, marked as sent", &store, marked).await;
        measure("8 batches of 256", &store, batches).await;
        if backlog > 0 {
            let started = Instant::now();
            fill(&store, backlog).await;
            let took = started.elapsed().as_secs_f64();
            println!("backlog of {backlog} tasks in {took:.1} s");
            measure("256 callers, backlog", &store, singles).await;
        }
        many_records(&store, 100_000).await;
        let status = store.status().await.expect("status");
        println!("{}, {} MB", status.engine, status.bytes >> 20);
        store.close().await.expect("close");
        migrate(&settings, 0).await.expect("remove the tables");
    });
}

async fn measure(name: &str, store: &Arc<PostgresStore>, load: Load) {
    let (wall, cpu) = (Instant::now(), cpu());
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
    println!(
        "{name:28} {:8.0}/s  {:5.1} us CPU  insert p50 {:6.2} ms  p99 {:6.2} ms  max {:6.1} ms",
        done / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / done,
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

async fn caller(store: Arc<PostgresStore>, load: Load, share: u64) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..share {
        let first = NEXT_ID.fetch_add(load.tasks_per_batch, Ordering::Relaxed);
        let ids = first..first + load.tasks_per_batch;
        let fence = Op::ExpectMeta {
            key: "epoch".into(),
            value: None,
        };
        let ops = |of: fn(u64) -> Op| {
            let ops = std::iter::once(fence.clone()).chain(ids.clone().map(of));
            Batch { ops: ops.collect() }
        };
        let started = Instant::now();
        store.commit(ops(insert)).await.expect("insert");
        waits.push(started.elapsed());
        if load.marked {
            store.commit(ops(sent)).await.expect("mark");
        }
        store.commit(ops(end)).await.expect("end");
    }
    waits
}

fn insert(id: u64) -> Op {
    Op::InsertTask(NewTask {
        id: TaskId(id),
        // Spread over the targets in no order, as requests come.
        target: Uid((1_780_000_000_000 << 20) + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000),
        run: None,
        priority: Priority::People,
        batch: 0,
        line: 0,
        body: Bytes::from_static(BODY),
    })
}

fn sent(id: u64) -> Op {
    Op::MarkSent {
        task: TaskId(id),
        priority: Priority::People,
        fence: 1,
        attempt: 1,
        at: Time(1_790_000_000_000),
    }
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

async fn fill(store: &PostgresStore, tasks: u64) {
    for _ in 0..tasks / 1_000 {
        let first = NEXT_ID.fetch_add(1_000, Ordering::Relaxed);
        let ops = (first..first + 1_000).map(insert).collect();
        store.commit(Batch { ops }).await.expect("fill");
    }
}

/// Records of 1 kB, made 1,000 at a time, then read in pages of 2,000.
async fn many_records(store: &PostgresStore, records: u64) {
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
    println!("{records} records made in {:?}", started.elapsed());
    let started = Instant::now();
    let (mut after, mut found): (Option<(String, String)>, usize) = (None, 0);
    loop {
        let cursor = after
            .as_ref()
            .map(|(kind, name)| (kind.as_str(), name.as_str()));
        let page = store.records("", cursor, 2_000).await.expect("records");
        let Some(last) = page.last() else { break };
        after = Some((last.kind.clone(), last.name.clone()));
        found += page.len();
    }
    println!("{found} read in pages of 2,000 in {:?}", started.elapsed());
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
