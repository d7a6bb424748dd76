//! Execution environments that join logic's broker over a real connection, which breaks at the worst of moments.

mod common;

use common::{House, LIMIT, echo, until, until_some};
use futures::future::BoxFuture;
use sengu_broker_link::{JoinToken, LinkBroker, Listener, serve};
use sengu_interconnect::{
    Broker, BrokerError, Delivery, Directory, MemoryBroker, Message, Queue, Subscription, Tag,
};
use sengu_model::wire::envelope::Event;
use sengu_model::{Class, Effect, Outcome};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn token() -> JoinToken {
    "a-token-that-is-long-enough".parse().expect("a token")
}

fn join(to: SocketAddr, name: &str) -> Arc<LinkBroker> {
    let url = format!("tcp://{to}").parse().expect("a URL");
    LinkBroker::connect(url, name.to_owned(), token(), None)
}

/// A broker, served on loopback.
async fn served(broker: Arc<MemoryBroker>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("bound");
    let never = std::future::pending();
    tokio::spawn(serve(broker, Listener::Tcp(listener), token(), None, never));
    at
}

/// The way to `to`, whose connections break when the sender is told to.
async fn way(to: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let at = listener.local_addr().expect("bound");
    let breaks = watch::Sender::new(0);
    let told = breaks.clone();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let mut broken = told.subscribe();
            tokio::spawn(async move {
                let mut there = TcpStream::connect(to).await?;
                tokio::select! {
                    copied = tokio::io::copy_bidirectional(&mut here, &mut there) => copied.map(drop),
                    _ = broken.changed() => Ok(()),
                }
            });
        }
    });
    (at, breaks)
}

/// Acks are said and do not get through, as when the connection breaks first.
struct NoAcks {
    broker: Arc<dyn Broker>,
    lost: Arc<AtomicBool>,
}

struct NoAcksOf(Box<dyn Subscription>, Arc<AtomicBool>);

impl Broker for NoAcks {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.broker.publish(batch)
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        Box::pin(async move {
            let behind = self.broker.subscribe(queue, credit).await?;
            Ok(Box::new(NoAcksOf(behind, self.lost.clone())) as Box<dyn Subscription>)
        })
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.broker.depth(queue)
    }

    fn retain(
        &self,
        key: String,
        value: Option<bytes::Bytes>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.broker.retain(key, value)
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        self.broker.directory(prefix)
    }

    fn lacks(&self) -> Vec<String> {
        self.broker.lacks()
    }
}

impl Subscription for NoAcksOf {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        self.0.receive(max)
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        match self.1.load(Ordering::SeqCst) {
            true => Ok(()),
            false => self.0.ack(tags),
        }
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.0.redeliver(tags)
    }

    fn set_credit(&mut self, credit: u32) {
        self.0.set_credit(credit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_connection_brings_to_another_wee_is_not_begun_there() {
    let broker = Arc::new(MemoryBroker::new());
    let logic = served(broker.clone()).await;
    let (by_way, breaks) = way(logic).await;
    let lost = Arc::new(AtomicBool::new(true));
    let wees = Arc::new(NoAcks {
        broker: join(by_way, "wee-1"),
        lost: lost.clone(),
    });
    let mut house = House::behind(wees, broker, |_| {}).await;
    let (mut manifest, folder) = echo();
    // It has no room for what comes back, so that goes to the other one.
    manifest.slots = 1;
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "once", Effect::Once);
    // Longer than the other one needs to come up.
    ask.params = json!({"sleep_ms": 12_000});
    house.send(&ask).await;
    house.pool_until("echo", |p| p.slots_busy == 1).await;

    let other = house.another_behind("wee-2", join(logic, "wee-2"));
    let pool = || {
        let status = other.status();
        status.pools.iter().find(|p| p.kind == "echo").cloned()
    };
    until("the other has the worker", || pool().is_some()).await;
    assert_eq!(house.claimed(&ask), ["wee-1"]);
    breaks.send_modify(|n| *n += 1);
    lost.store(false, Ordering::SeqCst);
    until_some("it is delivered to the other", || {
        let claimed = house.claimed(&ask);
        claimed.iter().any(|wee| wee == "wee-2").then_some(())
    })
    .await;

    let ended = house.end(&ask).await;
    assert!(matches!(ended.outcome, Some(Outcome::Done(_))), "{ended:?}");
    assert_eq!(ended.wee, "wee-1");
    let next = house.ask("echo", "noop", Effect::Idempotent);
    house.run(&next).await;
    let ends = house.said.iter().filter(|s| s.task == ask.task);
    let ends = ends.filter(|s| s.event == Event::Ended).count();
    assert_eq!(ends, 1, "{}", house.story());
    let queue = Queue::tasks("default", "echo", "1.0.0", Class::Control);
    let broker = house.broker.clone();
    let drained = tokio::time::timeout(LIMIT, other.drain()).await;
    assert!(drained.is_ok());
    house.close().await;
    assert_eq!(
        broker.depth(queue).await.ok(),
        Some(0),
        "both copies are acked"
    );
}
