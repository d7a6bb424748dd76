//! What happens when the server, the network or a subscriber goes.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{LIMIT, Proxy, Server, address, collect, messages, number, queue, receive};
use futures::StreamExt as _;
use sengu_broker_nats::{NatsBroker, limits};
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{Broker, BrokerError, Queue, Subscription, Tag};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Subscribes as WEEs do: again and again until it is there.
async fn subscribe(broker: &NatsBroker, queue: &Queue, credit: u32) -> Box<dyn Subscription> {
    let by = Instant::now() + LIMIT;
    loop {
        match broker.subscribe(queue.clone(), credit).await {
            Ok(subscription) => return subscription,
            Err(e) => assert!(Instant::now() < by, "subscribe in time: {e:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until(broker: &NatsBroker, wanted: fn(&Contact) -> bool) {
    let mut contact = broker.contact();
    let reached = tokio::time::timeout(LIMIT, contact.wait_for(wanted)).await;
    reached.expect("contact in time").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_has_lost_nothing() {
    let mut server = Server::start().await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    broker.publish(messages(&tasks, 0..500)).await.unwrap();
    broker
        .retain("wee/x".to_owned(), Some(Bytes::from_static(b"1")))
        .await
        .unwrap();
    let mut subscription = broker.subscribe(tasks.clone(), 100).await.unwrap();
    let mut seen: BTreeSet<u32> = collect(subscription.as_mut(), 200)
        .await
        .into_iter()
        .collect();
    server.kill();
    let over = tokio::time::timeout(LIMIT, async {
        loop {
            match subscription.receive(10).await {
                Ok(some) => {
                    let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
                    seen.extend(some.iter().map(number));
                    subscription.ack(&tags).unwrap();
                }
                Err(e) => return e,
            }
        }
    });
    assert!(matches!(
        over.await.expect("told in time"),
        BrokerError::Away(_)
    ));
    drop(subscription);
    until(&broker, |c| matches!(c, Contact::Away { .. })).await;
    let began = Instant::now();
    let refused = broker.publish(messages(&tasks, 0..1)).await;
    assert!(matches!(refused, Err(BrokerError::Away(_))));
    assert!(began.elapsed() < Duration::from_secs(1), "at once");
    server.up().await;
    until(&broker, |c| *c == Contact::There).await;
    let mut subscription = subscribe(&broker, &tasks, 100).await;
    let by = Instant::now() + limits::ACK_WAIT + LIMIT;
    while (0..500).any(|n| !seen.contains(&n)) {
        assert!(Instant::now() < by, "{} of 500 came", seen.len());
        if let Ok(some) = tokio::time::timeout(LIMIT, subscription.receive(64)).await {
            let some = some.unwrap();
            let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
            subscription.ack(&tags).unwrap();
            seen.extend(some.iter().map(number));
        }
    }
    let mut directory = broker.directory("wee/".to_owned()).await.unwrap();
    let entries = directory.next().await.unwrap();
    assert_eq!(
        entries,
        [("wee/x".to_owned(), Some(Bytes::from_static(b"1")))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_told_what_is_retained() {
    let mut server = Server::start().await;
    let broker = server.broker("a").await;
    let value = Some(Bytes::from_static(b"1"));
    broker
        .retain("wee/x".to_owned(), value.clone())
        .await
        .unwrap();
    let mut directory = broker.directory("wee/".to_owned()).await.unwrap();
    directory.next().await.unwrap();
    server.kill();
    let over = tokio::time::timeout(LIMIT, directory.next()).await;
    assert!(matches!(
        over.expect("told in time"),
        Err(BrokerError::Away(_))
    ));
    std::fs::remove_dir_all(server.dir.path().join("data")).unwrap();
    server.up().await;
    until(&broker, |c| *c == Contact::There).await;
    let mut directory = broker.directory(String::new()).await.unwrap();
    assert_eq!(
        directory.next().await.unwrap(),
        [("wee/x".to_owned(), value)]
    );
    broker.publish(messages(&queue("ssh"), 0..1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_made_again_and_nothing_is_lost() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let broker = NatsBroker::open(address(proxy.port, "a"), "cut".to_owned());
    broker.until_there(LIMIT).await.unwrap();
    let tasks = queue("ssh");
    let mut subscription = broker.subscribe(tasks.clone(), 10).await.unwrap();
    broker.publish(messages(&tasks, 0..10)).await.unwrap();
    let first = receive(subscription.as_mut(), 1).await;
    proxy.cut();
    let over = tokio::time::timeout(LIMIT, async {
        while subscription.receive(10).await.is_ok() {}
    });
    over.await.expect("told in time");
    // It was done, though the connection is gone: the next one tells the server.
    subscription.ack(&[first[0].tag]).unwrap();
    let began = Instant::now();
    drop(subscription);
    until(&broker, |c| *c == Contact::There).await;
    let mut subscription = subscribe(&broker, &tasks, 10).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 9 {
        seen.extend(collect(subscription.as_mut(), 1).await);
    }
    assert!(
        !seen.contains(&number(&first[0])),
        "what was acked comes no more"
    );
    assert!(
        began.elapsed() < limits::ACK_WAIT / 2,
        "given back, not waited for"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dropped_subscriber_held_comes_again_at_once() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    broker.publish(messages(&tasks, 0..300)).await.unwrap();
    let mut first = broker.subscribe(tasks.clone(), 200).await.unwrap();
    let out = receive(first.as_mut(), 64).await;
    first.ack(&[out[0].tag]).unwrap();
    let began = Instant::now();
    drop(first);
    let mut second = broker.subscribe(tasks.clone(), 50).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 299 {
        seen.extend(collect(second.as_mut(), 1).await);
    }
    assert!(!seen.contains(&number(&out[0])));
    assert!(
        began.elapsed() < limits::ACK_WAIT / 2,
        "given back, not waited for"
    );
    let by = Instant::now() + LIMIT;
    while broker.depth(tasks.clone()).await.unwrap() > 0 {
        assert!(Instant::now() < by);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lowers_the_credit_gives_back_what_others_can_do() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    for round in 0..20 {
        let began = Instant::now();
        let mut first = broker.subscribe(tasks.clone(), 8).await.unwrap();
        let mut second = broker.subscribe(tasks.clone(), 8).await.unwrap();
        let publish = broker.publish(messages(&tasks, 0..8));
        first.set_credit(round % 3);
        publish.await.unwrap();
        first.set_credit(0);
        let mut seen = BTreeSet::new();
        while seen.len() < 8 {
            seen.extend(collect(second.as_mut(), 1).await);
        }
        assert!(
            began.elapsed() < limits::ACK_WAIT / 2,
            "given back, not waited for"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_all_who_take_it_is_put_aside() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    broker.publish(messages(&tasks, 7..8)).await.unwrap();
    let mut subscription = broker.subscribe(tasks.clone(), 1).await.unwrap();
    for _ in 0..limits::DELIVERIES_MAX {
        let out = receive(subscription.as_mut(), 1).await;
        subscription.redeliver(&[out[0].tag]).unwrap();
    }
    let mut parked = broker.subscribe(Queue::parked(), 1).await.unwrap();
    let aside = tokio::select! {
        aside = receive(parked.as_mut(), 1) => aside,
        _ = subscription.receive(1) => panic!("delivered once more"),
    };
    let body: serde_json::Value = serde_json::from_slice(&aside[0].body).unwrap();
    assert_eq!(body["queue"], tasks.as_str());
    assert_eq!(body["body"], "Nw==");
    assert!(
        body["reason"].as_str().unwrap().contains("20 times"),
        "{body}"
    );
    // Others go on.
    broker.publish(messages(&tasks, 8..9)).await.unwrap();
    assert_eq!(collect(subscription.as_mut(), 1).await, [8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_share_a_server_and_see_nothing_of_each_other() {
    let server = Server::start().await;
    let (one, two) = (server.broker("a").await, server.broker("a-b").await);
    let tasks = queue("ssh");
    one.publish(messages(&tasks, 0..3)).await.unwrap();
    one.retain("wee/x".to_owned(), Some(Bytes::new()))
        .await
        .unwrap();
    assert_eq!(two.depth(tasks.clone()).await.unwrap(), 0);
    assert_eq!(
        two.directory(String::new())
            .await
            .unwrap()
            .next()
            .await
            .unwrap(),
        []
    );
    two.publish(messages(&tasks, 9..10)).await.unwrap();
    let mut subscription = two.subscribe(tasks.clone(), 10).await.unwrap();
    assert_eq!(collect(subscription.as_mut(), 1).await, [9]);
    assert_eq!(one.depth(tasks).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_queues_work_side_by_side() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let queues: Vec<Queue> = (0..300).map(|n| queue(&format!("kind{n}"))).collect();
    let subscribing = queues
        .iter()
        .map(|queue| broker.subscribe(queue.clone(), 8));
    let mut subscriptions = futures::future::try_join_all(subscribing).await.unwrap();
    let batch = (0..).zip(&queues);
    let batch = batch
        .flat_map(|(n, queue)| messages(queue, n..n + 1))
        .collect();
    broker.publish(batch).await.unwrap();
    let receiving = subscriptions.iter_mut().map(|s| collect(s.as_mut(), 1));
    let numbers: Vec<u32> = futures::future::join_all(receiving).await.concat();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_is_blocked_until_it_has_some() {
    let server = Server::with(|dir| {
        format!("jetstream {{ store_dir: {dir:?}, max_file_store: 4MB }}\nmax_payload: 8MB\n")
    })
    .await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    let large = vec![0; 1 << 20];
    let mut error = None;
    for _ in 0..8 {
        let message = sengu_interconnect::Message {
            queue: tasks.clone(),
            body: Bytes::from(large.clone()),
        };
        if let Err(e) = broker.publish(vec![message]).await {
            error = Some(e);
            break;
        }
    }
    assert!(matches!(error, Some(BrokerError::Away(_))), "{error:?}");
    assert!(matches!(
        &*broker.contact().borrow(),
        Contact::Blocked { .. }
    ));
    // Somebody takes what is there: by itself it hears that there is room again.
    let mut subscription = broker.subscribe(tasks, 2).await.unwrap();
    let out = receive(subscription.as_mut(), 2).await;
    subscription
        .ack(&out.iter().map(|d| d.tag).collect::<Vec<_>>())
        .unwrap();
    until(&broker, |c| *c == Contact::There).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_takes_nothing_of_a_batch() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let (full, other): (Queue, Queue) = (queue("full"), queue("other"));
    let body = Bytes::from_static(b"x");
    let message = |queue: &Queue| sengu_interconnect::Message {
        queue: queue.clone(),
        body: body.clone(),
    };
    broker
        .publish(vec![message(&full); limits::DEPTH_MAX])
        .await
        .unwrap();
    let refused = broker
        .publish(vec![message(&other), message(&full), message(&other)])
        .await;
    assert!(matches!(refused, Err(BrokerError::Full { queue, .. }) if queue == full));
    assert_eq!(broker.depth(other).await.unwrap(), 0);
    assert_eq!(broker.depth(full).await.unwrap(), limits::DEPTH_MAX as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_dropped_ends_its_subscriptions() {
    let server = Server::start().await;
    let broker: Arc<NatsBroker> = server.broker("a").await;
    let mut subscription = broker.subscribe(queue("ssh"), 1).await.unwrap();
    drop(broker);
    let over = tokio::time::timeout(LIMIT, subscription.receive(1)).await;
    assert!(matches!(
        over.expect("told in time"),
        Err(BrokerError::Away(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_subscriber_held_comes_again_and_what_is_in_work_does_not() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    broker.publish(messages(&tasks, 0..2)).await.unwrap();
    let mut slow = broker.subscribe(tasks.clone(), 1).await.unwrap();
    let in_work = receive(slow.as_mut(), 1).await;
    // Another process takes the second one and is killed: nobody says goodbye for it.
    let killed = async_nats::connect(format!("127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let next = "$JS.API.CONSUMER.MSG.NEXT.a-work.task=2Edefault=2Essh=2E1=2E0=2E0=2Bb=2Econtrol";
    let inbox = killed.new_inbox();
    let mut taken = killed.subscribe(inbox.clone()).await.unwrap();
    killed
        .publish_with_reply(next, inbox, "".into())
        .await
        .unwrap();
    let taken = tokio::time::timeout(LIMIT, taken.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(taken.payload.as_ref(), b"1");
    drop(killed);
    let mut other = broker.subscribe(tasks.clone(), 10).await.unwrap();
    let again = tokio::time::timeout(limits::ACK_WAIT + LIMIT, other.receive(10)).await;
    let again = again.expect("again in time").unwrap();
    assert!(again[0].redelivered);
    assert_eq!(number(&again[0]), 1);
    let more = tokio::time::timeout(Duration::from_secs(1), other.receive(10)).await;
    assert!(more.is_err(), "what is in work for long is nobody else's");
    slow.ack(&[in_work[0].tag]).unwrap();
    other.ack(&[again[0].tag]).unwrap();
}

/// Each change takes a pull back: the server must not be left with all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_that_comes_and_goes_leaves_nothing_behind() {
    let server = Server::start().await;
    let broker = server.broker("a").await;
    let tasks = queue("ssh");
    let mut subscription = broker.subscribe(tasks.clone(), 4).await.unwrap();
    for round in 0..500 {
        subscription.set_credit(round % 5);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    subscription.set_credit(4);
    broker.publish(messages(&tasks, 0..100)).await.unwrap();
    let began = Instant::now();
    let numbers: BTreeSet<u32> = collect(subscription.as_mut(), 100)
        .await
        .into_iter()
        .collect();
    assert_eq!(numbers.len(), 100);
    assert!(began.elapsed() < limits::ACK_WAIT / 2, "none is mislaid");
    let client = async_nats::connect(format!("127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let info = "$JS.API.CONSUMER.INFO.a-work.task=2Edefault=2Essh=2E1=2E0=2E0=2Bb=2Econtrol";
    let info = client.request(info, "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    assert!(
        info["num_waiting"].as_u64().unwrap() <= limits::PULLS_MAX as u64,
        "{info}"
    );
}
