//! Several processes on one database, and what goes wrong between them and it: nothing that was acknowledged is lost,
//! nothing that was refused is there, nobody is held up for long, and readers miss nothing.

mod common;
#[path = "common/proxy.rs"]
mod proxy;

use common::{LIMIT, Server, append, insert, insist, open, put, server};
use sengu_store::{Batch, Op, Store, StoreError};
use sengu_store_postgres::{PostgresStore, Settings};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The limit that the driver names, and what a busy machine adds.
const REFUSED_WITHIN: Duration = Duration::from_secs(15);

/// All bodies of a stream.
async fn bodies(store: &dyn Store, stream: &str) -> Vec<String> {
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let page = store
            .entries(stream, 0, after, 1_000)
            .await
            .expect("entries");
        let Some(last) = page.last() else { return all };
        after = last.position;
        let texts = page
            .iter()
            .map(|e| String::from_utf8_lossy(&e.body).into_owned());
        all.extend(texts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_two_instances_write() {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 40;
    let settings = server().settings();
    let stores = [
        Arc::new(open(&settings).await),
        Arc::new(open(&settings).await),
    ];
    let total = 2 * WRITERS * ROUNDS;
    let follower = tokio::spawn({
        let store = open(&settings).await;
        async move {
            let (mut revision, mut position) = (0, 0);
            let until = Instant::now() + LIMIT;
            while revision < total || position < total {
                assert!(
                    Instant::now() < until,
                    "at {revision} and {position} of {total}"
                );
                let page = store.changes(revision, 50).await.expect("changes");
                for change in page.changes {
                    assert_eq!(change.revision, revision + 1, "every revision, in order");
                    revision = change.revision;
                }
                assert!(page.newest >= revision);
                for entry in store.entries("s", 0, position, 50).await.expect("entries") {
                    assert_eq!(entry.position, position + 1, "every position, in order");
                    position = entry.position;
                }
            }
        }
    });
    let mut writers = Vec::new();
    for (instance, store) in stores.iter().enumerate() {
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.push(tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let name = format!("{instance}-{writer}-{round}");
                    let ops = vec![put(&name), append("s", &name)];
                    store.commit(ops.into()).await.expect("commit");
                    let seen = store.record("Target", &name).await.expect("record");
                    assert!(seen.is_some(), "what was acknowledged is seen");
                }
            }));
        }
    }
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    follower.await.expect("nothing was skipped");
    let status = stores[0].status().await.expect("status");
    assert_eq!((status.revision, status.records), (total, total));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_was_ended_by_another_instance_is_fenced() {
    let settings = server().settings();
    let (old, new) = (open(&settings).await, open(&settings).await);
    let epoch = |value: &'static str| Op::PutMeta {
        key: "epoch".into(),
        value: value.into(),
    };
    let expect = |value: &'static str| Op::ExpectMeta {
        key: "epoch".into(),
        value: Some(value.into()),
    };
    old.commit(Batch::one(epoch("1"))).await.expect("commit");
    old.commit(vec![expect("1"), insert(1)].into())
        .await
        .expect("commit");
    new.commit(vec![expect("1"), epoch("2")].into())
        .await
        .expect("commit");
    let late = old.commit(vec![expect("1"), insert(2)].into()).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    new.commit(vec![expect("2"), insert(2)].into())
        .await
        .expect("commit");
    // The old life's writer knows nothing of the stream that the new one has made.
    new.commit(Batch::one(append("s", "new")))
        .await
        .expect("commit");
    old.commit(Batch::one(append("t", "old")))
        .await
        .expect("commit");
    old.commit(Batch::one(append("s", "old")))
        .await
        .expect("commit");
    assert_eq!(bodies(&new, "s").await, ["new", "old"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_are_cut_are_done_once_or_not_at_all() {
    let proxy = proxy::Proxy::start(server().port).await;
    let direct = server().settings();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port);
    let settings = Settings {
        url,
        ..direct.clone()
    };
    let store = Arc::new(open(&settings).await);
    proxy.every.store(7, Ordering::Relaxed);
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let (store, cuts) = (store.clone(), proxy.cuts.clone());
            tokio::spawn(async move {
                let (mut done, mut refused) = (Vec::new(), Vec::new());
                let until = Instant::now() + LIMIT;
                for round in 0_u64.. {
                    let id = 1 + round * 8 + writer;
                    let ops = vec![
                        append("s", &id.to_string()),
                        insert(id),
                        put(&id.to_string()),
                    ];
                    match store.commit(ops.into()).await {
                        Ok(_) => done.push(id.to_string()),
                        Err(StoreError::Unavailable(_)) => refused.push(id.to_string()),
                        Err(other) => panic!("{other:?}"),
                    }
                    if cuts.load(Ordering::Relaxed) >= 9 || Instant::now() > until {
                        break;
                    }
                }
                (done, refused)
            })
        })
        .collect();
    let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for writer in writers {
        let (mine, not) = writer.await.expect("a writer ends");
        done.extend(mine);
        refused.extend(not);
    }
    assert!(
        proxy.cuts.load(Ordering::Relaxed) >= 9,
        "each sort of cut was met"
    );
    let found = bodies(&open(&direct).await, "s").await;
    assert_eq!(found.len(), done.len(), "nothing twice");
    let found: BTreeSet<String> = found.into_iter().collect();
    assert_eq!(
        found, done,
        "what was acknowledged, and nothing of {refused:?}"
    );
}

/// A server of its own, killed while many write, away for a while, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_and_is_found_again() {
    let server = Server::start(&[]);
    let settings = server.settings();
    let store = Arc::new(open(&settings).await);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let refusals = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let (store, stop) = (store.clone(), stop.clone());
            let (count, refusals) = (count.clone(), refusals.clone());
            tokio::spawn(async move {
                let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
                for round in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("{writer}-{round}");
                    let started = Instant::now();
                    match store.commit(Batch::one(append("s", &name))).await {
                        Ok(_) => {
                            done.insert(name);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(StoreError::Unavailable(_)) => {
                            assert!(started.elapsed() < REFUSED_WITHIN, "refused in time");
                            refused.insert(name);
                            refusals.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
                (done, refused)
            })
        })
        .collect();
    reaches(&count, 200).await;
    server.kill();
    let started = Instant::now();
    let read = store.task(sengu_model::TaskId(1)).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert!(started.elapsed() < REFUSED_WITHIN);
    // One group may wait for its outcome; those behind it are refused.
    reaches_or_all_wait(&refusals, &store).await;
    let before = count.load(Ordering::Relaxed);
    tokio::task::block_in_place(|| server.resume());
    reaches(&count, before + 200).await;
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for writer in writers {
        let (mine, not) = writer.await.expect("a writer ends");
        done.extend(mine);
        refused.extend(not);
    }
    let found = bodies(&*store, "s").await;
    assert_eq!(found.len(), done.len(), "nothing twice");
    let found: BTreeSet<String> = found.into_iter().collect();
    assert_eq!(
        found, done,
        "what was acknowledged, and nothing that was refused"
    );
    assert!(found.is_disjoint(&refused));
}

async fn reaches(count: &AtomicU64, wanted: u64) {
    let until = Instant::now() + LIMIT;
    while count.load(Ordering::Relaxed) < wanted {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All writers may be in the group whose outcome is open: then another caller is refused in their place.
async fn reaches_or_all_wait(refusals: &AtomicU64, store: &PostgresStore) {
    let said = store.commit(Batch::one(append("other", "x"))).await;
    match said {
        Err(StoreError::Unavailable(_)) => {
            refusals.fetch_add(1, Ordering::Relaxed);
        }
        other => panic!("the server is away: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_connection_is_in_use_a_read_is_refused_in_time() {
    let settings = Settings {
        connections_max: 2,
        ..server().settings()
    };
    let store = Arc::new(open(&settings).await);
    store.commit(Batch::one(insert(1))).await.expect("commit");
    let (client, connection) = tokio_postgres::connect(&settings.url, tokio_postgres::NoTls)
        .await
        .expect("connect");
    tokio::spawn(connection);
    let lock = format!(
        "BEGIN; LOCK TABLE {}.task IN ACCESS EXCLUSIVE MODE",
        settings.schema
    );
    client.batch_execute(&lock).await.expect("lock");
    let reads: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                let read = store.task(sengu_model::TaskId(1)).await;
                assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
                assert!(started.elapsed() < REFUSED_WITHIN);
            })
        })
        .collect();
    for read in reads {
        read.await.expect("refused");
    }
    client.batch_execute("ROLLBACK").await.expect("unlock");
    let read = store.task(sengu_model::TaskId(1)).await;
    assert!(read.expect("task").is_some(), "it goes on");
}

const CHILD: &str = "SENGU_TEST_CHILD";

/// Not a test: the process that the next one pauses. It commits large batches for ever.
#[tokio::test]
#[ignore = "started by another test"]
async fn a_process_that_commits() {
    let Ok(schema) = std::env::var(CHILD) else {
        return;
    };
    let (url, schema) = schema.split_once(' ').expect("an address and a schema");
    let settings = Settings {
        url: url.into(),
        password: None,
        ca_pem: None,
        schema: schema.into(),
        connections_max: 2,
    };
    let store = open(&settings).await;
    for round in 0_u64.. {
        let first = 1_000_000 + round * 3_000;
        let ops: Vec<Op> = (first..first + 3_000).map(insert).collect();
        insist(&store, ops).await;
        insist(&store, vec![append("child", &round.to_string())]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_process_that_holds_the_lock_holds_up_nobody_for_long() {
    use rustix::process::{Pid, Signal, kill_process};
    let settings = server().settings();
    let store = open(&settings).await;
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_process_that_commits", "--ignored"])
        .env(CHILD, format!("{} {}", settings.url, settings.schema))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start");
    let process = Pid::from_child(&child);
    let until = Instant::now() + LIMIT;
    while bodies(&store, "child").await.len() < 2 {
        assert!(Instant::now() < until, "the child commits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Stopped again and again until it holds the lock: its transaction is open and the server waits for it.
    let holds = format!(
        "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid \
         WHERE a.state = 'idle in transaction' AND l.relation = '{}.head'::regclass",
        settings.schema
    );
    loop {
        assert!(Instant::now() < until, "it is met while it holds the lock");
        kill_process(process, Signal::STOP).expect("stop");
        tokio::time::sleep(Duration::from_millis(30)).await;
        if server().sql(&holds).await == ["1"] {
            break;
        }
        kill_process(process, Signal::CONT).expect("continue");
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let started = Instant::now();
    insist(&store, vec![append("other", "x")]).await;
    let waited = started.elapsed();
    assert!(
        waited < Duration::from_secs(8),
        "about 2 s, on a busy machine: {waited:?}"
    );
    let committed = bodies(&store, "child").await.len();
    kill_process(process, Signal::CONT).expect("continue");
    while bodies(&store, "child").await.len() < committed + 2 {
        assert!(Instant::now() < until, "the child goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().expect("it is ours");
    child.wait().expect("it ended");
    let mut rounds: Vec<u64> = Vec::new();
    rounds.extend(
        bodies(&store, "child")
            .await
            .iter()
            .map(|n| n.parse::<u64>().expect("a round")),
    );
    assert!(
        rounds.iter().copied().eq(0..rounds.len() as u64),
        "each round once"
    );
}
