#![allow(clippy::unwrap_used)]
//! The retained directory on a real Mosquitto, with its faults.

mod common;

use bytes::Bytes;
use common::{LIMIT, Line, LineState, Mosquitto, address, is_away, open, there, value, within};
use sengu_interconnect::{Broker, BrokerError, Directory};
use std::collections::BTreeMap;
use std::time::Duration;

type Seen = BTreeMap<String, Option<Bytes>>;

async fn follow(directory: &mut dyn Directory, seen: &mut Seen, holds: impl Fn(&Seen) -> bool) {
    while !holds(seen) {
        seen.extend(within("a change", directory.next()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_look_shows_all_of_a_large_directory_under_hostile_names() {
    let mosquitto = Mosquitto::start("").await;
    let broker = mosquitto.open("a").await;
    let many = (0..6_000).map(|n| (format!("wee/{n}"), value(&"x".repeat(400))));
    let hostile = [
        "wee/#",
        "wee/+",
        "wee/a/b/c",
        "wee/ %é\n\0",
        "wee/$SYS",
        "wee//",
        "wee/%41",
        "wee/",
    ];
    let hostile = hostile.iter().map(|key| ((*key).to_owned(), value(key)));
    let all: BTreeMap<String, Option<Bytes>> = many.chain(hostile).collect();
    let calls = all
        .iter()
        .map(|(key, value)| broker.retain(key.clone(), value.clone()));
    within("all is kept", futures::future::try_join_all(calls))
        .await
        .unwrap();
    broker.retain("wee".to_owned(), value("no")).await.unwrap();
    broker
        .retain("weed/a".to_owned(), value("no"))
        .await
        .unwrap();
    let other = mosquitto.open("b").await;
    let mut directory = other.directory("wee/".to_owned()).await.unwrap();
    let first: Seen = directory.next().await.unwrap().into_iter().collect();
    assert_eq!(first.len(), all.len());
    assert_eq!(first, all);
    let mut whole = other.directory(String::new()).await.unwrap();
    assert_eq!(whole.next().await.unwrap().len(), all.len() + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgets_is_told_again_and_followers_see_only_changes() {
    let mut mosquitto = Mosquitto::start("persistence false").await;
    let (broker, other) = (mosquitto.open("a").await, mosquitto.open("b").await);
    broker.retain("wee/a".to_owned(), value("1")).await.unwrap();
    broker.retain("wee/b".to_owned(), value("1")).await.unwrap();
    other.retain("wee/c".to_owned(), value("1")).await.unwrap();
    other.retain("wee/c".to_owned(), None).await.unwrap();
    let mut directory = other.directory("wee/".to_owned()).await.unwrap();
    assert_eq!(directory.next().await.unwrap().len(), 2);
    mosquitto.kill();
    there(&broker, false).await;
    let error = broker
        .retain("wee/a".to_owned(), value("2"))
        .await
        .unwrap_err();
    assert!(is_away(&error), "{error}");
    let Err(error) = broker.directory(String::new()).await else {
        panic!("it is away");
    };
    assert!(is_away(&error), "{error}");
    mosquitto.again().await;
    there(&broker, true).await;
    there(&other, true).await;
    // A directory that came back earlier may have seen them gone in between.
    let wanted: Seen = [("wee/a", "2"), ("wee/b", "1")]
        .map(|(key, text)| (key.to_owned(), value(text)))
        .into();
    let mut seen: Seen = [("wee/b".to_owned(), value("1"))].into();
    follow(directory.as_mut(), &mut seen, |seen| *seen == wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_keeps_has_all_after_a_kill() {
    let mut mosquitto = Mosquitto::start("persistence true\nautosave_interval 1").await;
    let broker = mosquitto.open("a").await;
    broker.retain("wee/a".to_owned(), value("1")).await.unwrap();
    mosquitto.signal("-USR1");
    let database = mosquitto.folder.path().join("mosquitto.db");
    common::until("the broker has saved", async || {
        std::fs::read(&database).is_ok_and(|db| db.windows(5).any(|part| part == b"wee/a"))
    })
    .await;
    drop(broker);
    mosquitto.kill();
    mosquitto.again().await;
    let other = mosquitto.open("b").await;
    let mut directory = other.directory("wee/".to_owned()).await.unwrap();
    assert_eq!(
        directory.next().await.unwrap(),
        [("wee/a".to_owned(), value("1"))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_the_line_was_silent_is_seen_afterwards() {
    let mosquitto = Mosquitto::start("").await;
    let line = Line::to(mosquitto.port).await;
    let (near, far) = (
        mosquitto.open("near").await,
        open(address(line.port), "far").await,
    );
    for key in ["wee/gone", "wee/stays", "wee/changes"] {
        near.retain(key.to_owned(), value("1")).await.unwrap();
    }
    let mut directory = far.directory("wee/".to_owned()).await.unwrap();
    assert_eq!(directory.next().await.unwrap().len(), 3);
    line.set(LineState::Silent);
    near.retain("wee/gone".to_owned(), None).await.unwrap();
    near.retain("wee/changes".to_owned(), value("2"))
        .await
        .unwrap();
    near.retain("wee/new".to_owned(), value("1")).await.unwrap();
    // Without an answer the call ends by its limit, and the silence is noticed.
    let error = within("an end", far.retain("x".to_owned(), value("1")))
        .await
        .unwrap_err();
    assert!(is_away(&error), "{error}");
    there(&far, false).await;
    line.set(LineState::Open);
    there(&far, true).await;
    let mut seen = Seen::new();
    follow(directory.as_mut(), &mut seen, |seen| seen.len() >= 3).await;
    let wanted = [
        ("wee/changes", value("2")),
        ("wee/gone", None),
        ("wee/new", value("1")),
    ];
    assert_eq!(
        seen,
        wanted.map(|(key, value)| (key.to_owned(), value)).into()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_cannot_keep_is_refused_and_the_connection_stays() {
    let mosquitto = Mosquitto::start("max_packet_size 20000").await;
    let broker = mosquitto.open("a").await;
    let large = Some(Bytes::from(vec![b'x'; 30_000]));
    let error = broker.retain("wee/a".to_owned(), large).await.unwrap_err();
    assert!(
        matches!(
            error,
            BrokerError::TooLarge {
                bytes_max: 20_000,
                ..
            }
        ),
        "{error}"
    );
    for (key, body) in [
        ("k".repeat(1_000), value("1")),
        ("wee/a".to_owned(), value("")),
    ] {
        assert!(broker.retain(key, body).await.is_err());
    }
    broker.retain("wee/a".to_owned(), value("1")).await.unwrap();
    let mut contact = broker.contact();
    assert!(
        !contact.has_changed().unwrap(),
        "{:?}",
        contact.borrow_and_update()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_next_loses_nothing() {
    let mosquitto = Mosquitto::start("").await;
    let broker = mosquitto.open("a").await;
    let mut directory = broker.directory("wee/".to_owned()).await.unwrap();
    assert!(directory.next().await.unwrap().is_empty());
    for _ in 0..5 {
        let next = tokio::time::timeout(Duration::from_millis(5), directory.next()).await;
        assert!(next.is_err());
    }
    broker.retain("wee/a".to_owned(), value("1")).await.unwrap();
    let next = tokio::time::timeout(LIMIT, directory.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(next, [("wee/a".to_owned(), value("1"))]);
}
