//! Several servers of one database: the one that takes writes is found, kept and left in time; what was acknowledged is
//! there after a failover, or the store says that it is not.

mod common;

use common::{LIMIT, Server, append, insert, insist, open, put};
use sengu_store::{Batch, Check, Store, StoreError, Verdict};
use sengu_store_postgres::{Settings, check};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STREAMING: &str =
    "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";

fn over(servers: &[u16]) -> Settings {
    let hosts: Vec<String> = servers.iter().map(|p| format!("127.0.0.1:{p}")).collect();
    Settings {
        url: format!(
            "postgres://postgres@{}/postgres?target_session_attrs=read-write",
            hosts.join(",")
        ),
        password: None,
        ca_pem: None,
        schema: "several".into(),
        connections_max: 4,
    }
}

/// A primary whose commits wait for its standby.
async fn two() -> (Server, Server) {
    let primary = Server::start(&[]);
    let standby = primary.standby();
    primary.set("synchronous_standby_names", "*").await;
    let until = Instant::now() + LIMIT;
    while primary.sql(STREAMING).await != ["1"] {
        assert!(Instant::now() < until, "the standby follows");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (primary, standby)
}

/// As whoever runs the failover does it: the new primary has no standby to wait for.
async fn promote(standby: &Server) {
    tokio::task::block_in_place(|| standby.promote());
    standby.set("synchronous_standby_names", "").await;
}

fn verdict<'a>(found: &'a [Check], what: &str) -> &'a Verdict {
    let check = found.iter().find(|check| check.what == what);
    &check
        .unwrap_or_else(|| panic!("{what} in {found:?}"))
        .verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_failover_and_the_former_primary_is_not_used() {
    let (primary, standby) = two().await;
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = silent.local_addr().map(|a| (a.port(), silent));
    let (silent, _silent) = silent.expect("its address");
    // The one that only reads is named first.
    let settings = over(&[silent, standby.port, primary.port]);
    let store = Arc::new(open(&settings).await);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let (store, stop, count) = (store.clone(), stop.clone(), count.clone());
            tokio::spawn(async move {
                let mut done = BTreeSet::new();
                for round in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("{writer}-{round}");
                    match store.commit(Batch::one(append("s", &name))).await {
                        Ok(_) => {
                            done.insert(name);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(StoreError::Unavailable(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                done
            })
        })
        .collect();
    reaches(&count, 200).await;
    primary.kill();
    promote(&standby).await;
    let before = count.load(Ordering::Relaxed);
    reaches(&count, before + 200).await;
    stop.store(true, Ordering::Relaxed);
    let mut done = BTreeSet::new();
    for writer in writers {
        done.extend(writer.await.expect("a writer ends"));
    }
    let page = store.entries("s", 0, 0, 1_000_000).await.expect("entries");
    assert_eq!(page.len(), done.len(), "nothing twice");
    let found = page
        .iter()
        .map(|e| String::from_utf8_lossy(&e.body).into_owned());
    assert_eq!(found.collect::<BTreeSet<_>>(), done, "nothing lost");

    // It is back as it was, takes writes, and is named first.
    tokio::task::block_in_place(|| primary.resume());
    primary.set("synchronous_standby_names", "").await;
    let settings = over(&[primary.port, standby.port]);
    let again = open(&settings).await;
    insist(&again, vec![put("after")]).await;
    for reader in [&again, &*store] {
        let seen = reader.record("Target", "after").await.expect("record");
        assert!(seen.is_some(), "the one that was promoted last is used");
    }
    let found = check(&settings).await;
    assert!(
        matches!(verdict(&found, "writes"), Verdict::Poor(_)),
        "{found:?}"
    );
    // Alone it cannot be told from a primary. Those who know better wait for the other.
    standby.kill();
    let refused = again.commit(Batch::one(insert(1))).await;
    let Err(StoreError::Unavailable(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.to_string().contains("no server takes writes"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_a_failover_has_lost_are_noticed() {
    let primary = Server::start(&[]);
    let standby = primary.standby();
    let settings = over(&[primary.port, standby.port]);
    let store = open(&settings).await;
    insist(&store, vec![put("kept")]).await;
    let seen = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()";
    let until = Instant::now() + LIMIT;
    while primary.sql(seen).await != ["1"] {
        assert!(Instant::now() < until, "the standby follows");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // From here on it hears nothing.
    standby.set("primary_conninfo", "").await;
    let hears = "SELECT count(*) FROM pg_stat_wal_receiver";
    while standby.sql(hears).await != ["0"] {
        assert!(Instant::now() < until, "it stops to follow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    insist(&store, vec![put("lost")]).await;
    primary.kill();
    promote(&standby).await;
    // Nothing more is written by a process that has in memory what is gone.
    for _ in 0..2 {
        let late = store.commit(Batch::one(put("late"))).await;
        assert!(matches!(late, Err(StoreError::Behind)), "{late:?}");
    }
    let again = open(&settings).await;
    let record = async |name: &str| {
        again
            .record("Target", name)
            .await
            .expect("record")
            .is_some()
    };
    assert!(record("kept").await && !record("lost").await && !record("late").await);
    insist(&again, vec![put("new")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_of_each_server_what_it_is_and_whether_a_failover_may_lose_commits() {
    let (primary, standby) = two().await;
    let both = over(&[standby.port, primary.port]);
    let found = check(&both).await;
    assert!(!found.iter().any(Check::is_bad), "{found:?}");
    let said = |found: &[Check], part: &str| {
        let fits = |c: &&Check| c.what == "server" && format!("{c:?}").contains(part);
        found.iter().filter(fits).count()
    };
    assert_eq!(
        said(&found, &format!("{} stands by", standby.port)),
        1,
        "{found:?}"
    );
    assert_eq!(
        said(&found, &format!("{} takes writes", primary.port)),
        1,
        "{found:?}"
    );
    assert!(
        matches!(verdict(&found, "failover"), Verdict::Good(_)),
        "{found:?}"
    );
    for (key, value) in [
        ("synchronous_commit", "local"),
        ("synchronous_commit", "remote_write"),
        ("synchronous_standby_names", ""),
    ] {
        primary.set(key, value).await;
        let found = check(&both).await;
        let noted =
            matches!(verdict(&found, "failover"), Verdict::Poor(text) if text.contains(key));
        assert!(noted && !found.iter().any(Check::is_bad), "{found:?}");
        primary.set("synchronous_commit", "on").await;
    }
    let store = open(&both).await;
    let lacks = store.status().await.expect("status").lacks;
    assert!(
        lacks.iter().any(|l| l.contains("before a failover")),
        "{lacks:?}"
    );

    // One server is nobody's failover.
    let found = check(&over(&[primary.port])).await;
    assert!(!found.iter().any(|c| c.what == "failover"), "{found:?}");
    for only_reads in [over(&[standby.port]), over(&[standby.port, 1])] {
        let found = check(&only_reads).await;
        assert!(
            matches!(verdict(&found, "writes"), Verdict::Bad { .. }),
            "{found:?}"
        );
    }
    let nobody = check(&over(&[1, 2])).await;
    assert!(
        matches!(verdict(&nobody, "reach"), Verdict::Bad { .. }),
        "{nobody:?}"
    );
    let one_away = check(&over(&[1, primary.port])).await;
    assert!(!one_away.iter().any(Check::is_bad), "{one_away:?}");
    assert!(
        matches!(verdict(&one_away, "server"), Verdict::Poor(_)),
        "{one_away:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_standby_is_away_is_not_acknowledged() {
    let (primary, standby) = two().await;
    let settings = over(&[primary.port, standby.port]);
    let store = Arc::new(open(&settings).await);
    standby.kill();
    let commit = tokio::spawn({
        let store = store.clone();
        async move { store.commit(Batch::one(put("waits"))).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let until = Instant::now() + LIMIT;
    while primary.sql(waits).await != ["1"] {
        assert!(Instant::now() < until, "it waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = store.record("Target", "waits").await.expect("record");
    assert!(second.is_none() && !commit.is_finished());
    tokio::task::block_in_place(|| standby.resume());
    commit
        .await
        .expect("no panic")
        .expect("it is done in the end");
    let seen = store.record("Target", "waits").await.expect("record");
    assert!(seen.is_some());
}

async fn reaches(count: &AtomicU64, wanted: u64) {
    let until = Instant::now() + LIMIT;
    while count.load(Ordering::Relaxed) < wanted {
        assert!(Instant::now() < until, "it goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
