#![allow(clippy::unwrap_used)]
//! Task queues on a real Mosquitto: floods, cuts and restarts.

mod common;

use bytes::Bytes;
use common::{Line, LineState, Mosquitto, address, is_away, open, there, until, within};
use sengu_interconnect::{Broker, BrokerError, Message, Queue, Subscription, Tag};
use std::collections::BTreeSet;
use std::ops::Range;

fn queue() -> Queue {
    Queue::tasks("zone/+#", "kind", "1.0.0", sengu_model::Class::Control)
}

fn numbers(range: Range<u32>) -> Vec<Message> {
    let message = |n: u32| Message {
        queue: queue(),
        body: Bytes::from(n.to_string()),
    };
    range.map(message).collect()
}

/// Receives until quiet, acking all, into `seen`.
async fn drain(
    mut subscription: Box<dyn Subscription>,
    seen: &parking_lot::Mutex<BTreeSet<u32>>,
    all: usize,
) {
    while seen.lock().len() < all {
        let quiet = std::time::Duration::from_millis(200);
        let Ok(some) = tokio::time::timeout(quiet, subscription.receive(3)).await else {
            continue;
        };
        let some = some.unwrap();
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        seen.lock().extend(
            some.iter()
                .map(|d| -> u32 { std::str::from_utf8(&d.body).unwrap().parse().unwrap() }),
        );
        subscription.ack(&tags).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_to_few_slots_of_several_processes_is_done_once_each() {
    let mosquitto = Mosquitto::start("").await;
    let publisher = mosquitto.open("p").await;
    let (one, two) = (mosquitto.open("1").await, mosquitto.open("2").await);
    let mut subscriptions = Vec::new();
    for (broker, credit) in [(&one, 4), (&one, 1), (&two, 16)] {
        subscriptions.push(broker.subscribe(queue(), credit).await.unwrap());
    }
    // One that takes nothing in keeps nobody waiting.
    let _idle = two.subscribe(queue(), 2).await.unwrap();
    let (seen, all) = (parking_lot::Mutex::new(BTreeSet::new()), 5_000);
    let publish = async {
        for part in 0..10 {
            publisher
                .publish(numbers(part * 500..(part + 1) * 500))
                .await
                .unwrap();
        }
    };
    let drains = subscriptions.into_iter().map(|s| drain(s, &seen, all - 2));
    let (_, ()) = within(
        "all are done",
        futures::future::join(futures::future::join_all(drains), publish),
    )
    .await;
    assert!(
        seen.lock().len() >= all - 2,
        "all but what the idle one has in its slots"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cut_off_subscriber_had_is_given_to_another() {
    let mosquitto = Mosquitto::start("").await;
    let line = Line::to(mosquitto.port).await;
    let (near, far) = (
        mosquitto.open("near").await,
        open(address(line.port), "far").await,
    );
    let mut cut_off = far.subscribe(queue(), 10).await.unwrap();
    near.publish(numbers(0..5)).await.unwrap();
    let mut out = Vec::new();
    while out.len() < 5 {
        out.extend(within("all", cut_off.receive(5)).await.unwrap());
    }
    cut_off.ack(&[out[0].tag]).unwrap();
    line.set(LineState::Cut);
    let error = within("its end", cut_off.receive(5)).await.unwrap_err();
    assert!(is_away(&error), "{error}");
    assert!(is_away(&cut_off.ack(&[out[1].tag]).unwrap_err()));
    there(&far, false).await;
    let Err(error) = far.subscribe(queue(), 1).await else {
        panic!("it is away");
    };
    assert!(is_away(&error), "{error}");
    let mut other = near.subscribe(queue(), 10).await.unwrap();
    line.set(LineState::Open);
    let mut bodies = BTreeSet::new();
    while bodies.len() < 4 {
        for delivery in within("the rest", other.receive(10)).await.unwrap() {
            assert!(delivery.redelivered);
            bodies.insert(delivery.body);
        }
    }
    assert!(!bodies.contains(&out[0].body), "it was acked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_took_outlives_the_broker_and_is_bounded() {
    let mut mosquitto = Mosquitto::start("").await;
    let (publisher, other) = (mosquitto.open("p").await, mosquitto.open("o").await);
    publisher.publish(numbers(0..100)).await.unwrap();
    assert_eq!(publisher.depth(queue()).await.unwrap(), 100);
    mosquitto.kill();
    there(&publisher, false).await;
    there(&other, false).await;
    assert!(is_away(
        &publisher.publish(numbers(0..1)).await.unwrap_err()
    ));
    mosquitto.again().await;
    there(&publisher, true).await;
    there(&other, true).await;
    let (seen, subscription) = (
        parking_lot::Mutex::new(BTreeSet::new()),
        other.subscribe(queue(), 7),
    );
    within("all", drain(subscription.await.unwrap(), &seen, 100)).await;
    until("nothing is kept", async || {
        publisher.depth(queue()).await.unwrap() == 0
    })
    .await;
    let body = Bytes::from_static(b"x");
    let message = Message {
        queue: queue(),
        body,
    };
    let error = publisher.publish(vec![message; 70_000]).await.unwrap_err();
    assert!(matches!(error, BrokerError::Full { .. }), "{error}");
    assert_eq!(
        publisher.depth(queue()).await.unwrap(),
        0,
        "nothing of it was taken"
    );
}
