//! Connections that break, fall silent or come back: nothing is lost, and nothing stale is kept.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use bytes::Bytes;
use common::{LIMIT, Line, LineState, QUICK, Served, depth_until, number, numbers, queue, until};
use sengu_interconnect::{Broker, BrokerError, Delivery, MemoryBroker, Message, Subscription, Tag};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

async fn receive(subscription: &mut dyn Subscription, max: usize) -> Vec<Delivery> {
    let received = timeout(LIMIT, subscription.receive(max)).await;
    received.expect("in time").expect("receive")
}

fn tags(deliveries: &[Delivery]) -> Vec<Tag> {
    deliveries.iter().map(|d| d.tag).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_out_on_a_broken_connection_comes_again() {
    let served = Served::unix().await;
    let line = Line::to(served.path.clone());
    let broker = common::join(&line.url, "wee-1");
    broker.publish(numbers("w", 0..10)).await.unwrap();
    let mut subscription = broker.subscribe(queue("w"), 6).await.unwrap();
    let mut out = Vec::new();
    while out.len() < 4 {
        out.extend(receive(subscription.as_mut(), 4 - out.len()).await);
    }
    subscription.ack(&tags(&out[..1])).unwrap();
    depth_until(served.broker.as_ref(), "w", 3).await;
    line.set(LineState::Cut);
    let mut gone = timeout(LIMIT, subscription.receive(1)).await.unwrap();
    while gone.is_ok() {
        // What had come before the line was cut.
        gone = timeout(LIMIT, subscription.receive(1)).await.unwrap();
    }
    assert!(matches!(gone, Err(BrokerError::Away(Some(_)))), "{gone:?}");
    assert!(subscription.receive(1).await.is_err(), "for good");
    assert!(subscription.ack(&tags(&out[1..])).is_err(), "tags are void");
    assert!(subscription.redeliver(&tags(&out[1..])).is_err());
    subscription.set_credit(9);
    depth_until(served.broker.as_ref(), "w", 9).await;
    line.set(LineState::Open);
    until("joined again", async || {
        broker.depth(queue("w")).await.is_ok()
    })
    .await;
    let mut anew = broker.subscribe(queue("w"), 20).await.unwrap();
    let mut got = BTreeMap::new();
    while got.len() < 9 {
        let some = receive(anew.as_mut(), 20).await;
        anew.ack(&tags(&some)).unwrap();
        got.extend(some.iter().map(|d| (number(&d.body), d.redelivered)));
    }
    assert!(!got.contains_key(&0), "it was acked");
    // Six were out: of those one was acked, and its credit used anew.
    assert!(got.iter().filter(|(n, _)| **n < 6).all(|(_, again)| *again));
    depth_until(broker.as_ref(), "w", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_line_is_given_up_by_both_ends() {
    let served = Served::unix().await;
    let line = Line::to(served.path.clone());
    let broker = common::join(&line.url, "wee-1");
    broker.publish(numbers("w", 0..3)).await.unwrap();
    let mut subscription = broker.subscribe(queue("w"), 3).await.unwrap();
    let mut count = 0;
    while count < 3 {
        count += receive(subscription.as_mut(), 3).await.len();
    }
    let began = Instant::now();
    line.set(LineState::Silent);
    let gone = timeout(LIMIT, subscription.receive(1)).await.unwrap();
    assert!(matches!(gone, Err(BrokerError::Away(_))));
    assert!(
        began.elapsed() >= QUICK.silence_max / 2,
        "signs of life count"
    );
    // The other end gave it up too: what was out is back.
    depth_until(served.broker.as_ref(), "w", 3).await;
    line.set(LineState::Open);
    until("joined again", async || {
        broker.depth(queue("w")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_to_say_is_no_reason_to_end() {
    let served = Served::unix().await;
    let broker = served.join("wee-1");
    let mut subscription = broker.subscribe(queue("w"), 3).await.unwrap();
    let quiet = timeout(QUICK.silence_max * 2, subscription.receive(1)).await;
    assert!(quiet.is_err(), "still the same connection: {quiet:?}");
    broker.publish(numbers("w", 0..1)).await.unwrap();
    assert_eq!(receive(subscription.as_mut(), 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_keeps_nothing_that_is_no_more() {
    let served = Served::unix().await;
    let line = Line::to(served.path.clone());
    let follower = common::join(&line.url, "wee-1");
    let behind = &served.broker;
    for key in ["worker/a", "worker/b", "other/c"] {
        behind.retain(key.to_owned(), value("1")).await.unwrap();
    }
    let mut directory = follower.directory("worker/".to_owned()).await.unwrap();
    let first = directory.next().await.unwrap();
    let entry = |key: &str, value| (key.to_owned(), value);
    assert_eq!(
        first,
        [entry("worker/a", value("1")), entry("worker/b", value("1"))]
    );
    line.set(LineState::Cut);
    until("away", async || {
        timeout(Duration::from_millis(50), follower.depth(queue("w")))
            .await
            .is_err()
    })
    .await;
    behind.retain("worker/a".to_owned(), None).await.unwrap();
    behind
        .retain("worker/d".to_owned(), value("2"))
        .await
        .unwrap();
    // It waits out the absence, and dropping the wait loses nothing.
    for _ in 0..3 {
        let waiting = timeout(Duration::from_millis(50), directory.next()).await;
        assert!(waiting.is_err());
    }
    line.set(LineState::Open);
    let again = timeout(LIMIT, directory.next()).await.unwrap().unwrap();
    let again: BTreeMap<_, _> = again.into_iter().collect();
    let expected = BTreeMap::from([
        entry("worker/a", None),
        entry("worker/b", value("1")),
        entry("worker/d", value("2")),
    ]);
    assert_eq!(again, expected);
    behind.retain("worker/b".to_owned(), None).await.unwrap();
    let gone = timeout(LIMIT, directory.next()).await.unwrap().unwrap();
    assert_eq!(gone, [entry("worker/b", None)]);
}

async fn entries(broker: &MemoryBroker) -> BTreeSet<String> {
    let mut directory = broker.directory(String::new()).await.unwrap();
    let all = directory.next().await.unwrap();
    all.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_without_a_word_leaves_no_announcement() {
    let served = Served::unix().await;
    let (dies, lives) = (served.join("dies"), served.join("lives"));
    dies.retain("wee/dies".to_owned(), value("1"))
        .await
        .unwrap();
    dies.retain("wee/taken".to_owned(), value("1"))
        .await
        .unwrap();
    lives
        .retain("wee/lives".to_owned(), value("1"))
        .await
        .unwrap();
    // Somebody else keeps this one now.
    lives
        .retain("wee/taken".to_owned(), value("2"))
        .await
        .unwrap();
    let began = Instant::now();
    drop(dies);
    until("the withdrawal", async || {
        !entries(&served.broker).await.contains("wee/dies")
    })
    .await;
    assert!(
        began.elapsed() >= QUICK.retained_grace / 2,
        "it had a grace"
    );
    let left = entries(&served.broker).await;
    assert_eq!(
        left,
        BTreeSet::from(["wee/lives".to_owned(), "wee/taken".to_owned()])
    );
    lives.retain("wee/lives".to_owned(), None).await.unwrap();
    assert!(!entries(&served.broker).await.contains("wee/lives"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_keeps_its_announcement() {
    let served = Served::unix().await;
    let line = Line::to(served.path.clone());
    let broker = common::join(&line.url, "wee-1");
    broker.retain("wee/1".to_owned(), value("1")).await.unwrap();
    let mut directory = served.broker.directory("wee/".to_owned()).await.unwrap();
    directory.next().await.unwrap();
    line.set(LineState::Cut);
    // What it says while it is away holds when it is back.
    let away = broker.retain("wee/1".to_owned(), value("2")).await;
    assert!(matches!(away, Err(BrokerError::Away(_))), "{away:?}");
    line.set(LineState::Open);
    let mut newest = None;
    let began = Instant::now();
    while began.elapsed() < QUICK.retained_grace * 3 {
        if let Ok(entries) = timeout(Duration::from_millis(100), directory.next()).await {
            for (_, value) in entries.unwrap() {
                newest = Some(value);
            }
        }
    }
    assert_eq!(newest, Some(value("2")), "and it is not withdrawn later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_a_little_for_an_interconnect_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none");
    let url = format!("unix://{}", path.display()).parse().unwrap();
    let broker = common::join(&url, "early");
    let began = Instant::now();
    let error = broker.publish(numbers("w", 0..1)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Away(Some(_))), "{error:?}");
    assert!(began.elapsed() >= QUICK.away_wait / 2);

    let served = Served::unix().await;
    std::os::unix::fs::symlink(&served.path, &path).unwrap();
    until("it joins by itself", async || {
        broker.publish(numbers("w", 0..1)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_all_and_the_next_life_is_joined() {
    let first = Served::unix().await;
    let line = Line::to(first.path.clone());
    let broker = common::join(&line.url, "wee-1");
    broker.retain("wee/1".to_owned(), value("1")).await.unwrap();
    let mut subscription = broker.subscribe(queue("w"), 1).await.unwrap();
    let path = first.path.clone();
    let began = Instant::now();
    first.stop().await;
    assert!(began.elapsed() < Duration::from_secs(20));
    let gone = timeout(LIMIT, subscription.receive(1)).await.unwrap();
    assert!(matches!(gone, Err(BrokerError::Away(_))));
    // Another process in the same place, with nothing in its memory.
    let next = Served::unix().await;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&next.path, &path).unwrap();
    until("the announcement", async || {
        entries(&next.broker).await.contains("wee/1")
    })
    .await;
    broker.publish(numbers("w", 0..1)).await.unwrap();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_credit_gives_back_what_nobody_took() {
    let served = Served::unix().await;
    let broker = served.join("wee-1");
    broker.publish(numbers("w", 0..8)).await.unwrap();
    let mut subscription = broker.subscribe(queue("w"), 8).await.unwrap();
    depth_until(broker.as_ref(), "w", 0).await;
    let taken = receive(subscription.as_mut(), 2).await;
    subscription.set_credit(3);
    depth_until(broker.as_ref(), "w", 8 - taken.len() as u64 - 1).await;
    let mut other = served.broker.subscribe(queue("w"), 8).await.unwrap();
    let others = other.receive(8).await.unwrap();
    assert!(others.iter().all(|d| d.redelivered));
    assert_eq!(receive(subscription.as_mut(), 8).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batches_are_whole_or_nothing() {
    let served = Served::unix().await;
    let broker = served.join("wee-1");
    let message = |n: usize| Message {
        queue: queue(if n.is_multiple_of(2) { "even" } else { "odd" }),
        body: vec![n as u8; 700_000 + n].into(),
    };
    let batch: Vec<Message> = (0..40).map(message).collect();
    let (a, b) = tokio::join!(broker.publish(batch.clone()), broker.publish(batch));
    a.unwrap();
    b.unwrap();
    assert_eq!(broker.depth(queue("odd")).await.unwrap(), 40);
    let mut even = broker.subscribe(queue("even"), 4).await.unwrap();
    let mut got = 0;
    while got < 40 {
        let some = receive(even.as_mut(), 4).await;
        for delivery in &some {
            let n = delivery.body.len() - 700_000;
            assert!(delivery.body.iter().all(|b| *b == n as u8));
        }
        got += some.len();
        even.ack(&tags(&some)).unwrap();
    }

    let filled = sengu_interconnect::memory::DEPTH_MAX - 10;
    let small = numbers("full", 0..1).remove(0);
    broker.publish(vec![small.clone(); filled]).await.unwrap();
    let mut large = vec![small; 11];
    large[0].body = vec![0; 3 << 20].into();
    large[5].body = vec![0; 3 << 20].into();
    match broker.publish(large).await {
        Err(BrokerError::Full {
            queue: full,
            depth_max,
        }) => {
            assert_eq!(full, queue("full"));
            assert_eq!(depth_max, sengu_interconnect::memory::DEPTH_MAX);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        broker.depth(queue("full")).await.unwrap(),
        filled as u64,
        "nothing of it was taken"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_was_given_up_disturbs_no_other() {
    let served = Served::unix().await;
    let broker = served.join("wee-1");
    let mut large = numbers("w", 0..6);
    for message in &mut large {
        message.body = vec![1; 900_000].into();
    }
    for micros in 0..200 {
        let publish = broker.publish(large.clone());
        let _ = timeout(Duration::from_micros(micros * 10), publish).await;
        broker.publish(numbers("small", 0..1)).await.unwrap();
    }
    assert_eq!(broker.depth(queue("small")).await.unwrap(), 200);
    let whole = broker.depth(queue("w")).await.unwrap();
    assert_eq!(whole % 6, 0, "batches are whole or nothing");
    broker.publish(large).await.unwrap();
    assert_eq!(broker.depth(queue("w")).await.unwrap(), whole + 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_lines_break_and_waits_are_dropped() {
    const COUNT: u32 = 3_000;
    let served = Served::unix().await;
    let lines: Vec<Line> = (0..3).map(|_| Line::to(served.path.clone())).collect();
    let brokers: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(n, line)| common::join(&line.url, &format!("wee-{n}")))
        .collect();
    let (sender, mut seen) = tokio::sync::mpsc::channel::<u32>(64);
    for broker in brokers.clone() {
        let sender = sender.clone();
        tokio::spawn(async move {
            loop {
                let Ok(mut subscription) = broker.subscribe(queue("w"), 50).await else {
                    continue;
                };
                loop {
                    let received =
                        timeout(Duration::from_micros(300), subscription.receive(20)).await;
                    let some = match received {
                        Ok(Ok(some)) => some,
                        Ok(Err(_)) => break,
                        Err(_) => continue,
                    };
                    for delivery in &some {
                        if sender.send(number(&delivery.body)).await.is_err() {
                            return;
                        }
                    }
                    let _ = subscription.ack(&tags(&some));
                }
            }
        });
    }
    let breaking = tokio::spawn(async move {
        for n in 0.. {
            let line: &Line = &lines[n % lines.len()];
            tokio::time::sleep(Duration::from_millis(70)).await;
            line.set(LineState::Cut);
            tokio::time::sleep(Duration::from_millis(20)).await;
            line.set(LineState::Open);
        }
    });
    let publisher: Arc<MemoryBroker> = served.broker.clone();
    tokio::spawn(async move {
        for n in (0..COUNT).step_by(10) {
            publisher.publish(numbers("w", n..n + 10)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut all = BTreeSet::new();
    while all.len() < COUNT as usize {
        let one = timeout(LIMIT, seen.recv()).await.expect("all come in time");
        all.insert(one.unwrap());
    }
    breaking.abort();
}
