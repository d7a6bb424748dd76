//! The suite that every broker must pass. A driver's test calls `run` with a function that opens an empty broker.

use crate::{Broker, Message, Queue, Subscription, Tag};
use bytes::Bytes;
use sengu_model::Class;
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

const LIMIT: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(200);

/// # Panics
/// When the broker breaks the contract; the message says which part.
pub async fn run<F, Fut>(open: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Broker>>,
{
    delivers_in_order_to_one(open().await).await;
    credit_bounds_what_is_out(open().await).await;
    unacked_comes_again_when_the_subscriber_goes(open().await).await;
    redeliver_gives_it_to_another(open().await).await;
    two_subscribers_share(open().await).await;
    a_burst_is_spread_over_all_that_wait(open().await).await;
    one_without_credit_keeps_nobody_waiting(open().await).await;
    a_dropped_receive_loses_nothing(open().await).await;
    directory_gives_all_then_changes(open().await).await;
}

fn queue(kind: &str) -> Queue {
    Queue::tasks("default", kind, "1.0.0", Class::Control)
}

fn messages(kind: &str, range: std::ops::Range<u32>) -> Vec<Message> {
    range
        .map(|n| Message {
            queue: queue(kind),
            body: Bytes::from(n.to_string()),
        })
        .collect()
}

/// Receives until `count` bodies are there, acking each.
async fn collect(subscription: &mut dyn Subscription, count: usize) -> Vec<u32> {
    let mut got = Vec::new();
    while got.len() < count {
        let some = tokio::time::timeout(LIMIT, subscription.receive(16)).await;
        let some = some.expect("a delivery in time").expect("receive");
        let tags: Vec<Tag> = some.iter().map(|d| d.tag).collect();
        subscription.ack(&tags).expect("ack");
        got.extend(some.iter().map(|d| number(&d.body)));
    }
    got
}

fn number(body: &Bytes) -> u32 {
    std::str::from_utf8(body)
        .ok()
        .and_then(|t| t.parse().ok())
        .expect("bodies are untouched")
}

async fn quiet(subscription: &mut dyn Subscription) {
    let more = tokio::time::timeout(QUIET, subscription.receive(1)).await;
    assert!(more.is_err(), "nothing more may be delivered");
}

async fn delivers_in_order_to_one(broker: Arc<dyn Broker>) {
    broker.publish(messages("a", 0..50)).await.expect("publish");
    broker.publish(messages("b", 0..1)).await.expect("publish");
    assert_eq!(broker.depth(queue("a")).await.expect("depth"), 50);
    let mut a = broker.subscribe(queue("a"), 100).await.expect("subscribe");
    assert_eq!(
        collect(a.as_mut(), 50).await,
        (0..50).collect::<Vec<_>>(),
        "in order"
    );
    quiet(a.as_mut()).await;
    assert_eq!(broker.depth(queue("a")).await.expect("depth"), 0);
}

async fn credit_bounds_what_is_out(broker: Arc<dyn Broker>) {
    broker.publish(messages("a", 0..10)).await.expect("publish");
    let mut a = broker.subscribe(queue("a"), 3).await.expect("subscribe");
    let mut out = Vec::new();
    while out.len() < 3 {
        out.extend(a.receive(10).await.expect("receive"));
    }
    assert_eq!(out.len(), 3, "no more than the credit");
    quiet(a.as_mut()).await;
    a.ack(&[out[0].tag]).expect("ack");
    assert_eq!(
        a.receive(10).await.expect("receive").len(),
        1,
        "an ack makes room"
    );
    a.set_credit(10);
    let mut more = 0;
    while more < 6 {
        more += a.receive(10).await.expect("receive").len();
    }
    assert!(
        a.ack(&[Tag(u64::MAX)]).is_err(),
        "an unknown tag is refused"
    );
}

async fn unacked_comes_again_when_the_subscriber_goes(broker: Arc<dyn Broker>) {
    broker.publish(messages("a", 0..4)).await.expect("publish");
    let mut first = broker.subscribe(queue("a"), 10).await.expect("subscribe");
    let mut out = Vec::new();
    while out.len() < 4 {
        out.extend(first.receive(10).await.expect("receive"));
    }
    assert!(out.iter().all(|d| !d.redelivered));
    first.ack(&[out[1].tag]).expect("ack");
    drop(first);
    let mut second = broker.subscribe(queue("a"), 10).await.expect("subscribe");
    let got: BTreeSet<u32> = collect(second.as_mut(), 3).await.into_iter().collect();
    assert_eq!(got, BTreeSet::from([0, 2, 3]), "what was not acked");
}

async fn redeliver_gives_it_to_another(broker: Arc<dyn Broker>) {
    broker.publish(messages("a", 0..1)).await.expect("publish");
    let mut first = broker.subscribe(queue("a"), 10).await.expect("subscribe");
    let out = first.receive(1).await.expect("receive");
    first.redeliver(&[out[0].tag]).expect("redeliver");
    first.set_credit(0);
    let mut second = broker.subscribe(queue("a"), 10).await.expect("subscribe");
    let again = tokio::time::timeout(LIMIT, second.receive(1))
        .await
        .expect("in time");
    let again = again.expect("receive");
    assert!(again[0].redelivered, "marked as redelivered");
}

async fn two_subscribers_share(broker: Arc<dyn Broker>) {
    let mut first = broker.subscribe(queue("a"), 1).await.expect("subscribe");
    let mut second = broker.subscribe(queue("a"), 1).await.expect("subscribe");
    broker.publish(messages("a", 0..2)).await.expect("publish");
    let (a, b) = tokio::join!(
        tokio::time::timeout(LIMIT, first.receive(1)),
        tokio::time::timeout(LIMIT, second.receive(1))
    );
    let (a, b) = (
        a.expect("in time").expect("one"),
        b.expect("in time").expect("one"),
    );
    assert_ne!(
        number(&a[0].body),
        number(&b[0].body),
        "each message goes to one"
    );
}

async fn a_burst_is_spread_over_all_that_wait(broker: Arc<dyn Broker>) {
    let mut first = broker.subscribe(queue("a"), 40).await.expect("subscribe");
    let mut second = broker.subscribe(queue("a"), 40).await.expect("subscribe");
    let publish = async {
        tokio::time::sleep(QUIET).await;
        broker.publish(messages("a", 0..40)).await.expect("publish");
    };
    let (a, b, ()) = tokio::join!(
        tokio::time::timeout(LIMIT, first.receive(40)),
        tokio::time::timeout(LIMIT, second.receive(40)),
        publish
    );
    for got in [a, b] {
        let got = got.expect("a share in time").expect("receive");
        assert!(!got.is_empty(), "who waits gets a share");
    }
}

async fn one_without_credit_keeps_nobody_waiting(broker: Arc<dyn Broker>) {
    broker.publish(messages("a", 0..1)).await.expect("publish");
    let mut first = broker.subscribe(queue("a"), 1).await.expect("subscribe");
    let _out = first.receive(1).await.expect("receive");
    let mut second = broker.subscribe(queue("a"), 10).await.expect("subscribe");
    let publish = async {
        tokio::time::sleep(QUIET).await;
        broker.publish(messages("a", 1..2)).await.expect("publish");
    };
    let served = async {
        let (got, ()) = tokio::join!(second.receive(1), publish);
        got.expect("receive")
    };
    tokio::select! {
        _ = first.receive(1) => panic!("no more than the credit"),
        got = tokio::time::timeout(LIMIT, served) => {
            let got = got.expect("the one with credit gets it in time");
            assert_eq!(number(&got[0].body), 1);
        }
    }
}

async fn a_dropped_receive_loses_nothing(broker: Arc<dyn Broker>) {
    let mut a = broker.subscribe(queue("a"), 10).await.expect("subscribe");
    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_millis(5), a.receive(1)).await;
    }
    broker.publish(messages("a", 0..3)).await.expect("publish");
    assert_eq!(collect(a.as_mut(), 3).await, [0, 1, 2]);
}

async fn directory_gives_all_then_changes(broker: Arc<dyn Broker>) {
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    broker
        .retain("wee/a".to_owned(), value("1"))
        .await
        .expect("retain");
    broker
        .retain("wee/b".to_owned(), value("1"))
        .await
        .expect("retain");
    broker
        .retain("wee/b".to_owned(), None)
        .await
        .expect("retain");
    broker
        .retain("worker/x".to_owned(), value("1"))
        .await
        .expect("retain");
    let mut directory = broker
        .directory("wee/".to_owned())
        .await
        .expect("directory");
    let first = directory.next().await.expect("next");
    assert_eq!(first, [("wee/a".to_owned(), value("1"))]);
    broker
        .retain("wee/a".to_owned(), value("2"))
        .await
        .expect("retain");
    broker
        .retain("wee/c".to_owned(), value("1"))
        .await
        .expect("retain");
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 2 || seen.get("wee/a") != Some(&value("2")) {
        let more = tokio::time::timeout(LIMIT, directory.next())
            .await
            .expect("in time");
        seen.extend(more.expect("next"));
    }
    broker
        .retain("wee/a".to_owned(), None)
        .await
        .expect("retain");
    let gone = tokio::time::timeout(LIMIT, directory.next())
        .await
        .expect("in time");
    assert_eq!(gone.expect("next"), [("wee/a".to_owned(), None)]);
}
