//! The WEE while its broker is away: nothing is lost, nothing is done twice, and work stops before its leases end.

mod common;

use bytes::Bytes;
use common::{House, echo};
use futures::FutureExt;
use futures::future::BoxFuture;
use sengu_interconnect::{
    Broker, BrokerError, Delivery, Directory, Entries, MemoryBroker, Message, Queue, Subscription,
    Tag,
};
use sengu_model::wire::envelope::Event;
use sengu_model::{Effect, Outcome};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A broker behind a line that can be cut.
struct Line {
    broker: Arc<MemoryBroker>,
    cut: watch::Sender<bool>,
}

impl Line {
    fn check(&self) -> Result<(), BrokerError> {
        if *self.cut.borrow() {
            Err(BrokerError::Away(None))
        } else {
            Ok(())
        }
    }
}

impl Broker for Line {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            self.check()?;
            self.broker.publish(batch).await
        }
        .boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        async move {
            self.check()?;
            let behind = self.broker.subscribe(queue, credit).await?;
            let cut = self.cut.subscribe();
            Ok(Box::new(Cuttable { behind, cut }) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.broker.depth(queue)
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            self.check()?;
            self.broker.retain(key, value).await
        }
        .boxed()
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        async move {
            self.check()?;
            let behind = self.broker.directory(prefix).await?;
            let cut = self.cut.subscribe();
            Ok(Box::new(CuttableDirectory { behind, cut }) as Box<dyn Directory>)
        }
        .boxed()
    }

    fn lacks(&self) -> Vec<String> {
        Vec::new()
    }
}

struct Cuttable {
    behind: Box<dyn Subscription>,
    cut: watch::Receiver<bool>,
}

impl Subscription for Cuttable {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            tokio::select! {
                biased;
                _ = self.cut.wait_for(|cut| *cut) => Err(BrokerError::Away(None)),
                received = self.behind.receive(max) => received,
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.behind.ack(tags)
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.behind.redeliver(tags)
    }

    fn set_credit(&mut self, credit: u32) {
        self.behind.set_credit(credit);
    }
}

struct CuttableDirectory {
    behind: Box<dyn Directory>,
    cut: watch::Receiver<bool>,
}

impl Directory for CuttableDirectory {
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>> {
        async move {
            tokio::select! {
                biased;
                _ = self.cut.wait_for(|cut| *cut) => Err(BrokerError::Away(None)),
                entries = self.behind.next() => entries,
            }
        }
        .boxed()
    }
}

async fn house() -> (House, watch::Sender<bool>) {
    let broker = Arc::new(MemoryBroker::new());
    let cut = watch::Sender::new(false);
    let line = Arc::new(Line {
        broker: broker.clone(),
        cut: cut.clone(),
    });
    let house = House::behind(line, broker, |_| {}).await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    (house, cut)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_absence_costs_nothing() {
    let (mut house, cut) = house().await;
    let mut long = house.ask("echo", "once", Effect::Once);
    long.params = json!({"sleep_ms": 2_500});
    house.send(&long).await;
    house.pool_until("echo", |p| p.slots_busy == 1).await;
    cut.send_replace(true);
    let meanwhile = house.ask("echo", "noop", Effect::Idempotent);
    house.send(&meanwhile).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    cut.send_replace(false);
    let ended = house.end(&long).await;
    assert!(matches!(ended.outcome, Some(Outcome::Done(_))), "{ended:?}");
    assert_eq!(house.end(&meanwhile).await.event, Event::Ended);
    let ends = house
        .said
        .iter()
        .filter(|s| s.event == Event::Ended)
        .count();
    assert_eq!(ends, 2);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_cancelled_before_its_leases_end() {
    let (mut house, cut) = house().await;
    let mut long = house.ask("echo", "once", Effect::Once);
    long.params = json!({"sleep_ms": 60_000});
    long.timeout_ms = 120_000;
    house.send(&long).await;
    let task = long.task;
    house
        .until("started", move |said| {
            said.iter()
                .find(|s| s.task == task && s.event == Event::Started)
                .map(|_| ())
        })
        .await;
    house.pool_until("echo", |p| p.slots_busy == 1).await;
    cut.send_replace(true);
    let began = Instant::now();
    house.pool_until("echo", |p| p.slots_busy == 0).await;
    // A beat must have been stuck for 15 s, and the first may be 5 s away.
    let after = began.elapsed();
    assert!(after > Duration::from_secs(14), "{after:?}");
    cut.send_replace(false);
    let ended = house.end(&long).await;
    assert!(
        matches!(ended.outcome, Some(Outcome::Cancelled { .. })),
        "{ended:?}"
    );
    let next = house.ask("echo", "noop", Effect::Idempotent);
    assert_eq!(house.run(&next).await.event, Event::Ended, "it goes on");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_comes_back_empty_changes_nothing_at_once() {
    let (mut house, cut) = house().await;
    let first = house.ask("echo", "noop", Effect::Idempotent);
    assert_eq!(house.run(&first).await.event, Event::Ended);
    house.wish(true, false).await;
    house
        .wait_for("cordoned", |status| status.spec.cordoned)
        .await;
    // As after a restart of a logic whose broker forgets.
    cut.send_replace(true);
    house.retain("wee-spec/wee-1", None).await;
    house.withdraw("echo", "1.0.0").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    cut.send_replace(false);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let status = house.status();
    assert!(status.spec.cordoned, "{status:?}");
    assert_eq!(status.pools.len(), 1);
    house.wish(false, false).await;
    let next = house.ask("echo", "noop", Effect::Idempotent);
    assert_eq!(house.run(&next).await.event, Event::Ended);
    house.close().await;
}
