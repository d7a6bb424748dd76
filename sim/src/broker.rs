//! The simulated broker: the embedded one, seen by each party through a wire that can be cut, slowed and doubled. Its
//! queues outlive every party.

use crate::life::Life;
use crate::world::{self, note};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_interconnect::contact::Contact;
use sengu_interconnect::{
    Broker, BrokerError, Delivery, Directory, Entries, MemoryBroker, Message, Queue, Subscription,
    Tag,
};
use sengu_model::wire::envelope::TaskEnvelope;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How the wire between one party and the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wire {
    /// Cannot be reached, and the party knows.
    pub away: bool,
    /// What the party publishes is accepted and vanishes.
    pub swallows: bool,
    /// What the party publishes is taken, but it is not told so.
    pub mute: bool,
    /// Nothing comes to the party.
    pub deaf: bool,
    /// Connections made before this number are broken.
    epoch: u64,
    pub latency_ms: u64,
    /// Published messages that come twice, in per mille.
    pub doubled: u64,
    /// Published messages that are overtaken, in per mille.
    pub overtaken: u64,
}

/// How long a party waits for a confirm that does not come.
const CONFIRM_WAIT: Duration = Duration::from_secs(10);
/// An overtaken message comes at most this much later.
const OVERTAKEN_MS_MAX: u64 = 3_000;

#[derive(Clone, Default)]
pub struct SimBroker {
    inner: MemoryBroker,
    wires: Arc<Mutex<BTreeMap<String, Arc<Ends>>>>,
    twice: Twice,
}

/// Messages that come twice, by queue and body: how often each has come.
type Twice = Arc<Mutex<BTreeMap<(Queue, u64), u32>>>;

struct Ends {
    wire: watch::Sender<Wire>,
    contact: watch::Sender<Contact>,
}

impl Default for Ends {
    fn default() -> Self {
        Ends {
            wire: watch::Sender::new(Wire {
                latency_ms: 1,
                ..Wire::default()
            }),
            contact: watch::Sender::new(Contact::There),
        }
    }
}

impl SimBroker {
    fn ends(&self, party: &str) -> Arc<Ends> {
        self.wires
            .lock()
            .entry(party.to_owned())
            .or_default()
            .clone()
    }

    /// The broker as this party sees it in this life.
    pub fn seen_by(&self, party: &str, life: &Arc<Life>) -> Arc<dyn Broker> {
        Arc::new(Seen {
            inner: self.inner.clone(),
            twice: self.twice.clone(),
            party: party.to_owned(),
            ends: self.ends(party),
            life: life.clone(),
            traps: Arc::default(),
        })
    }

    /// As `seen_by`, and ends the life at a point of its own choice.
    pub fn seen_with_traps(
        &self,
        party: &str,
        life: &Arc<Life>,
        traps: Arc<crate::trap::Traps>,
    ) -> Arc<dyn Broker> {
        Arc::new(Seen {
            inner: self.inner.clone(),
            twice: self.twice.clone(),
            party: party.to_owned(),
            ends: self.ends(party),
            life: life.clone(),
            traps,
        })
    }

    pub fn change(&self, party: &str, change: impl FnOnce(&mut Wire)) {
        let ends = self.ends(party);
        ends.wire.send_modify(|wire| {
            let was_away = wire.away;
            change(wire);
            if wire.away && !was_away {
                wire.epoch += 1;
            }
        });
        let away = ends.wire.borrow().away;
        let now = match away {
            true => Contact::Away {
                since: std::time::Instant::now(),
                why: "the simulator says so".to_owned(),
            },
            false => Contact::There,
        };
        ends.contact.send_if_modified(|contact| {
            let differs = (*contact == Contact::There) == away;
            *contact = now;
            differs
        });
    }

    /// Every connection breaks; what is in the queues stays.
    pub fn restart(&self) {
        for ends in self.wires.lock().values() {
            ends.wire.send_modify(|wire| wire.epoch += 1);
        }
    }

    pub fn parties(&self) -> Vec<String> {
        self.wires.lock().keys().cloned().collect()
    }

    /// All wires are whole again.
    pub fn heal(&self) {
        for party in self.parties() {
            self.change(&party, |wire| {
                *wire = Wire {
                    epoch: wire.epoch,
                    latency_ms: 1,
                    ..Wire::default()
                };
            });
        }
    }
}

struct Seen {
    inner: MemoryBroker,
    twice: Twice,
    party: String,
    ends: Arc<Ends>,
    life: Arc<Life>,
    traps: Arc<crate::trap::Traps>,
}

impl Seen {
    fn wire(&self) -> Wire {
        *self.ends.wire.borrow()
    }
}

fn away<T>() -> Result<T, BrokerError> {
    Err(BrokerError::Away(None))
}

impl Broker for Seen {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            let wire = self.wire();
            if wire.away {
                return away();
            }
            self.traps.before_publish(&self.life).await;
            if wire.latency_ms > 0 {
                tokio::time::sleep(Duration::from_millis(wire.latency_ms)).await;
            }
            let wire = self.wire();
            if wire.away {
                return away();
            }
            for message in &batch {
                note!(
                    "{} publishes to {}: {} bytes, {:x}{}",
                    self.party,
                    message.queue,
                    message.body.len(),
                    digest(&message.body),
                    if wire.swallows { ", swallowed" } else { "" }
                );
            }
            if wire.swallows {
                return Ok(());
            }
            let mut at_once = Vec::with_capacity(batch.len());
            for message in batch {
                if wire.doubled > 0 && world::chance(wire.doubled) {
                    let key = (message.queue.clone(), digest(&message.body));
                    self.twice.lock().insert(key, 0);
                    if let Ok(task) = serde_json::from_slice::<TaskEnvelope>(&message.body) {
                        world::with(|w| w.doubled.insert(task.task));
                    }
                    later(&self.inner, message.clone());
                }
                if wire.overtaken > 0 && world::chance(wire.overtaken) {
                    later(&self.inner, message);
                } else {
                    at_once.push(message);
                }
            }
            self.inner.publish(at_once).await?;
            self.traps.after_publish(&self.life).await;
            if wire.mute {
                tokio::time::sleep(CONFIRM_WAIT).await;
                return away();
            }
            Ok(())
        }
        .boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        async move {
            let wire = self.wire();
            if wire.away {
                return away();
            }
            if wire.latency_ms > 0 {
                tokio::time::sleep(Duration::from_millis(wire.latency_ms)).await;
            }
            let inner = self.inner.subscribe(queue.clone(), credit).await?;
            let subscription = SimSubscription {
                inner: Some(inner),
                epoch: wire.epoch,
                wire: self.ends.wire.subscribe(),
                twice: self.twice.clone(),
                party: self.party.clone(),
                queue,
                next_tag: 0,
                tags: BTreeMap::new(),
            };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        match self.wire().away {
            true => std::future::ready(away()).boxed(),
            false => self.inner.depth(queue),
        }
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            let wire = self.wire();
            if wire.away {
                return away();
            }
            if wire.latency_ms > 0 {
                tokio::time::sleep(Duration::from_millis(wire.latency_ms)).await;
            }
            if !self.wire().swallows {
                self.inner.retain(key, value).await?;
            }
            if wire.mute {
                tokio::time::sleep(CONFIRM_WAIT).await;
                return away();
            }
            Ok(())
        }
        .boxed()
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        async move {
            let wire = self.wire();
            if wire.away {
                return away();
            }
            let inner = self.inner.directory(prefix).await?;
            let directory = SimDirectory {
                inner,
                epoch: wire.epoch,
                wire: self.ends.wire.subscribe(),
            };
            Ok(Box::new(directory) as Box<dyn Directory>)
        }
        .boxed()
    }

    fn lacks(&self) -> Vec<String> {
        Vec::new()
    }

    fn contact(&self) -> watch::Receiver<Contact> {
        self.ends.contact.subscribe()
    }
}

/// Comes after a while, behind others.
fn later(inner: &MemoryBroker, message: Message) {
    let inner = inner.clone();
    let wait = world::between(1, OVERTAKEN_MS_MAX);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        // A full queue drops what was doubled, and nothing is ever full here.
        let _ = inner.publish(vec![message]).await;
    });
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash & 0xffff_ffff
}

/// Waits until the wire lets something through; an error when the connection is broken.
async fn open(wire: &mut watch::Receiver<Wire>, epoch: u64) -> Result<(), BrokerError> {
    let state = wire
        .wait_for(|wire| wire.away || wire.epoch != epoch || !wire.deaf)
        .await;
    match state {
        Ok(wire) if !wire.away && wire.epoch == epoch => Ok(()),
        _ => away(),
    }
}

/// Waits until the wire no longer lets things through.
async fn shut(wire: &mut watch::Receiver<Wire>, epoch: u64) {
    let _ = wire
        .wait_for(|wire| wire.away || wire.epoch != epoch || wire.deaf)
        .await;
}

struct SimSubscription {
    inner: Option<Box<dyn Subscription>>,
    epoch: u64,
    wire: watch::Receiver<Wire>,
    twice: Twice,
    party: String,
    queue: Queue,
    next_tag: u64,
    tags: BTreeMap<Tag, Tag>,
}

impl SimSubscription {
    fn is_broken(&self) -> bool {
        let wire = self.wire.borrow();
        wire.away || wire.epoch != self.epoch
    }

    /// The second copy of a message is marked, as brokers do.
    fn came_before(&self, body: &Bytes) -> bool {
        let mut twice = self.twice.lock();
        if twice.is_empty() {
            return false;
        }
        match twice.get_mut(&(self.queue.clone(), digest(body))) {
            Some(times) => {
                *times += 1;
                *times > 1
            }
            None => false,
        }
    }

    fn inner_tags(&mut self, tags: &[Tag]) -> Result<Vec<Tag>, BrokerError> {
        let known = |tag: &Tag| self.tags.remove(tag).ok_or(BrokerError::UnknownTag(*tag));
        tags.iter().map(known).collect()
    }
}

impl Subscription for SimSubscription {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            let mut watching = self.wire.clone();
            loop {
                if let Err(error) = open(&mut self.wire, self.epoch).await {
                    // What it had goes back into the queue.
                    self.inner = None;
                    return Err(error);
                }
                let Some(inner) = &mut self.inner else {
                    return away();
                };
                let received = tokio::select! {
                    biased;
                    () = shut(&mut watching, self.epoch) => continue,
                    received = inner.receive(max) => received?,
                };
                let mut deliveries = Vec::with_capacity(received.len());
                for delivery in received {
                    self.next_tag += 1;
                    let tag = Tag(self.next_tag);
                    self.tags.insert(tag, delivery.tag);
                    let redelivered = delivery.redelivered | self.came_before(&delivery.body);
                    deliveries.push(Delivery {
                        tag,
                        redelivered,
                        ..delivery
                    });
                }
                note!(
                    "{} receives {} from {}",
                    self.party,
                    deliveries.len(),
                    self.queue
                );
                return Ok(deliveries);
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        if self.is_broken() {
            return away();
        }
        let tags = self.inner_tags(tags)?;
        match &mut self.inner {
            Some(inner) => inner.ack(&tags),
            None => away(),
        }
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        if self.is_broken() {
            return away();
        }
        let tags = self.inner_tags(tags)?;
        match &mut self.inner {
            Some(inner) => inner.redeliver(&tags),
            None => away(),
        }
    }

    fn set_credit(&mut self, credit: u32) {
        if let Some(inner) = &mut self.inner {
            inner.set_credit(credit);
        }
    }
}

struct SimDirectory {
    inner: Box<dyn Directory>,
    epoch: u64,
    wire: watch::Receiver<Wire>,
}

impl Directory for SimDirectory {
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>> {
        async move {
            let mut watching = self.wire.clone();
            loop {
                open(&mut self.wire, self.epoch).await?;
                tokio::select! {
                    biased;
                    () = shut(&mut watching, self.epoch) => {}
                    entries = self.inner.next() => return entries,
                }
            }
        }
        .boxed()
    }
}
