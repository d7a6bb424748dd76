//! What happens to the server itself: it is killed and comes back, and it runs out of memory. It has one of its own.

use crate::common::{self, LIMIT, Rabbit, contact_until, numbers, queue};
use sengu_broker_amqp::AmqpBroker;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{Broker, BrokerError, Tag};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_the_server_is_killed_or_short_of_memory() {
    // The server dies with the thread that started it, and this one lives as long as the test.
    let mut rabbit = tokio::task::block_in_place(Rabbit::start);
    let broker = AmqpBroker::open(rabbit.address(), "test".to_owned());
    broker.until_there(LIMIT).await.unwrap();

    short_of_memory(&rabbit, broker.clone()).await;

    let accepted = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = {
        let (broker, accepted, stop) = (broker.clone(), accepted.clone(), stop.clone());
        tokio::spawn(async move {
            let mut sure = BTreeSet::new();
            let mut next = 0;
            while !stop.load(Ordering::SeqCst) {
                let batch = next..next + 20;
                next += 20;
                match broker.publish(numbers("k", batch.clone())).await {
                    Ok(()) => {
                        sure.extend(batch);
                        accepted.fetch_add(20, Ordering::SeqCst);
                    }
                    Err(BrokerError::Away(_)) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Err(e) => panic!("{e:?}"),
                }
            }
            sure
        })
    };
    let more_than = async |count: u32| {
        common::until_within("more is accepted", LIMIT * 4, async || {
            accepted.load(Ordering::SeqCst) > count
        })
        .await;
    };
    let mut all = broker.subscribe(queue("k"), 10).await.unwrap();
    // It is killed right after it took the first batch in a queue that was not there before.
    more_than(0).await;
    let out = all.receive(10).await.unwrap();
    assert!(!out.is_empty());
    tokio::task::block_in_place(|| rabbit.kill());
    contact_until(broker.as_ref(), LIMIT, |c| {
        matches!(c, Contact::Away { .. })
    })
    .await;
    let began = Instant::now();
    let lost = broker.publish(numbers("k", 0..1)).await;
    assert!(matches!(lost, Err(BrokerError::Away(_))));
    assert!(began.elapsed() < Duration::from_secs(1), "away at once");
    let over = tokio::time::timeout(LIMIT, all.receive(1)).await;
    assert!(matches!(over.unwrap(), Err(BrokerError::Away(_))));
    assert!(matches!(all.ack(&[out[0].tag]), Err(BrokerError::Away(_))));
    assert!(broker.subscribe(queue("k"), 1).await.is_err());

    tokio::task::block_in_place(|| rabbit.boot());
    contact_until(broker.as_ref(), LIMIT * 2, |c| *c == Contact::There).await;
    let before = accepted.load(Ordering::SeqCst);
    more_than(before).await;
    stop.store(true, Ordering::SeqCst);
    let mut missing = publishing.await.unwrap();

    let mut all = broker.subscribe(queue("k"), 500).await.unwrap();
    while !missing.is_empty() {
        let some = tokio::time::timeout(LIMIT, all.receive(500)).await;
        let some = some
            .unwrap_or_else(|_| panic!("lost: {missing:?}"))
            .unwrap();
        for delivery in &some {
            let number = std::str::from_utf8(&delivery.body).unwrap();
            missing.remove(&number.parse().unwrap());
        }
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        all.ack(&tags).unwrap();
    }
}

async fn short_of_memory(rabbit: &Rabbit, broker: Arc<dyn Broker>) {
    broker.publish(numbers("m", 0..10)).await.unwrap();
    let mut all = broker.subscribe(queue("m"), 5).await.unwrap();
    tokio::task::block_in_place(|| rabbit.ctl(&["set_vm_memory_high_watermark", "0"]));
    let began = Instant::now();
    let refused = broker.publish(numbers("m", 10..11)).await;
    assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");
    assert!(began.elapsed() < LIMIT, "a bounded wait");
    contact_until(broker.as_ref(), LIMIT, |c| {
        matches!(c, Contact::Blocked { .. })
    })
    .await;
    // Whoever consumes is not held up.
    assert_eq!(common::collect(all.as_mut(), 10).await.len(), 10);
    let (waits, ()) = tokio::join!(broker.publish(numbers("m", 20..21)), async {
        tokio::task::block_in_place(|| rabbit.ctl(&["set_vm_memory_high_watermark", "0.4"]));
    });
    // Within the wait or not: it goes on by itself.
    assert!(matches!(waits, Ok(()) | Err(BrokerError::Away(_))));
    contact_until(broker.as_ref(), LIMIT, |c| *c == Contact::There).await;
    broker.publish(numbers("m", 30..31)).await.unwrap();
    while common::collect(all.as_mut(), 1).await.last() != Some(&30) {}
}
