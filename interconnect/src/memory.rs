//! The embedded broker: queues in this process's memory. What is in it is gone with the process, so logic marks tasks as
//! sent durably where repeating them would do harm, and sends the others again after a restart.

use crate::{Broker, BrokerError, Delivery, Directory, Entries, Message, Queue, Subscription, Tag};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_model::Class;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// Messages waiting in one queue. Logic keeps its windows far below; a writer that does not is told.
pub const DEPTH_MAX: usize = 131_072;

#[derive(Clone, Default)]
pub struct MemoryBroker {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    queues: Mutex<HashMap<Queue, Arc<Lane>>>,
    retained: Mutex<Retained>,
    retained_changed: Notify,
}

/// One queue.
#[derive(Default)]
struct Lane {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<(Bytes, bool)>,
    /// How many messages those would take together who wait for some now.
    wanted: usize,
    /// Who took some last.
    last: u64,
    /// Subscribers so far, each numbered from 1.
    subscribers: u64,
}

/// A subscriber waits for messages: as long as this lives, a share of what arrives is left for it.
struct Wanted<'a> {
    lane: &'a Lane,
    room: usize,
}

impl<'a> Wanted<'a> {
    fn new(lane: &'a Lane, room: usize) -> Self {
        lane.waiting.lock().wanted += room;
        Wanted { lane, room }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.lane.waiting.lock().wanted -= self.room;
    }
}

/// How many of the waiting messages one may take who has room for `room`, when others wait for `others` more: by
/// credit, so that many free slots get many and few get some. At least one, so that it never stands still.
fn share(waiting: usize, room: usize, others: usize) -> usize {
    let shared = waiting.saturating_mul(room);
    shared.div_ceil((room + others).max(1)).min(room)
}

#[derive(Default)]
struct Retained {
    version: u64,
    entries: BTreeMap<String, (u64, Option<Bytes>)>,
}

impl Queue {
    /// The queue of this name, for a broker that is told names by another process; None when no queue is called so.
    pub fn parse(name: &str) -> Option<Queue> {
        let known = match name.split_once('.') {
            None => matches!(name, "report" | "blob" | "parked"),
            Some(("wee", wee)) => !wee.is_empty(),
            Some(("task", rest)) => rest.rsplit_once('.').is_some_and(|(line, class)| {
                line.contains('.') && Class::ALL.iter().any(|c| c.as_str() == class)
            }),
            Some(_) => false,
        };
        known.then(|| Queue(name.into()))
    }
}

impl MemoryBroker {
    pub fn new() -> Self {
        Self::default()
    }

    fn lane(&self, queue: &Queue) -> Arc<Lane> {
        let mut queues = self.inner.queues.lock();
        if let Some(lane) = queues.get(queue) {
            return lane.clone();
        }
        queues.entry(queue.clone()).or_default().clone()
    }
}

impl Broker for MemoryBroker {
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let mut by_queue: Vec<(Queue, Vec<Bytes>)> = Vec::new();
        for message in batch {
            match by_queue
                .iter_mut()
                .find(|(queue, _)| *queue == message.queue)
            {
                Some((_, bodies)) => bodies.push(message.body),
                None => by_queue.push((message.queue, vec![message.body])),
            }
        }
        let lanes: Vec<_> = by_queue
            .into_iter()
            .map(|(queue, bodies)| (self.lane(&queue), queue, bodies))
            .collect();
        let full = lanes.iter().find(|(lane, _, bodies)| {
            lane.waiting.lock().messages.len() + bodies.len() > DEPTH_MAX
        });
        let result = match full {
            Some((_, queue, _)) => Err(BrokerError::Full {
                queue: queue.clone(),
                depth_max: DEPTH_MAX,
            }),
            None => {
                for (lane, _, bodies) in lanes {
                    lane.waiting
                        .lock()
                        .messages
                        .extend(bodies.into_iter().map(|body| (body, false)));
                    lane.arrived.notify_one();
                }
                Ok(())
            }
        };
        std::future::ready(result).boxed()
    }

    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>> {
        let lane = self.lane(&queue);
        let number = {
            let mut waiting = lane.waiting.lock();
            waiting.subscribers += 1;
            waiting.subscribers
        };
        let subscription = MemorySubscription {
            lane,
            number,
            credit: credit as usize,
            next_tag: 0,
            out: BTreeMap::new(),
        };
        std::future::ready(Ok(Box::new(subscription) as Box<dyn Subscription>)).boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        let depth = self.lane(&queue).waiting.lock().messages.len() as u64;
        std::future::ready(Ok(depth)).boxed()
    }

    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>> {
        {
            let mut retained = self.inner.retained.lock();
            retained.version += 1;
            let version = retained.version;
            retained.entries.insert(key, (version, value));
        }
        self.inner.retained_changed.notify_waiters();
        std::future::ready(Ok(())).boxed()
    }

    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>> {
        let directory = MemoryDirectory {
            inner: self.inner.clone(),
            prefix,
            seen: 0,
            first: true,
        };
        std::future::ready(Ok(Box::new(directory) as Box<dyn Directory>)).boxed()
    }

    fn lacks(&self) -> Vec<String> {
        vec!["messages in flight do not outlive the process".to_owned()]
    }
}

struct MemorySubscription {
    lane: Arc<Lane>,
    number: u64,
    credit: usize,
    next_tag: u64,
    out: BTreeMap<Tag, Bytes>,
}

impl MemorySubscription {
    fn room(&self, max: usize) -> usize {
        self.credit.saturating_sub(self.out.len()).min(max)
    }

    fn take(&mut self, room: usize) -> Vec<Delivery> {
        let mut waiting = self.lane.waiting.lock();
        // This one's own wish is among those while it waits.
        let others = waiting.wanted.saturating_sub(room);
        let count = share(waiting.messages.len(), room, others);
        let taken: Vec<_> = waiting.messages.drain(..count).collect();
        if count > 0 {
            waiting.last = self.number;
        }
        let more = !waiting.messages.is_empty();
        drop(waiting);
        if more && count > 0 {
            // Another subscriber may have slept through the one notification of this batch.
            self.lane.arrived.notify_one();
        }
        taken
            .into_iter()
            .map(|(body, redelivered)| {
                self.next_tag += 1;
                let tag = Tag(self.next_tag);
                self.out.insert(tag, body.clone());
                Delivery {
                    tag,
                    body,
                    redelivered,
                }
            })
            .collect()
    }
}

impl Subscription for MemorySubscription {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            let lane = self.lane.clone();
            let room = self.room(max);
            if room == 0 {
                // Only an ack, redeliver or more credit makes room, and those need `&mut self`. It must not stand in
                // line for what arrives: others would never hear of it.
                std::future::pending::<()>().await;
            }
            let others_next = {
                let waiting = lane.waiting.lock();
                waiting.last == self.number && waiting.wanted > 0
            };
            if others_next {
                // Those who were woken for what this one left have not run yet.
                tokio::task::yield_now().await;
            }
            let _wanted = Wanted::new(&lane, room);
            loop {
                let arrived = lane.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                let taken = self.take(room);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                arrived.await;
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        for tag in tags {
            self.out.remove(tag).ok_or(BrokerError::UnknownTag(*tag))?;
        }
        Ok(())
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        let mut waiting = self.lane.waiting.lock();
        for tag in tags.iter().rev() {
            let body = self.out.remove(tag).ok_or(BrokerError::UnknownTag(*tag))?;
            waiting.messages.push_front((body, true));
        }
        drop(waiting);
        self.lane.arrived.notify_one();
        Ok(())
    }

    fn set_credit(&mut self, credit: u32) {
        self.credit = credit as usize;
    }
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        let tags: Vec<Tag> = self.out.keys().copied().collect();
        // Every tag is out, so nothing can be refused.
        let _ = self.redeliver(&tags);
    }
}

struct MemoryDirectory {
    inner: Arc<Inner>,
    prefix: String,
    seen: u64,
    first: bool,
}

impl Directory for MemoryDirectory {
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>> {
        async move {
            let inner = self.inner.clone();
            loop {
                let changed = inner.retained_changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let fresh: Entries = {
                    let retained = inner.retained.lock();
                    let fresh = retained
                        .entries
                        .range(self.prefix.clone()..)
                        .take_while(|(key, _)| key.starts_with(&self.prefix))
                        .filter(|(_, (version, value))| {
                            *version > self.seen && !(self.first && value.is_none())
                        })
                        .map(|(key, (_, value))| (key.clone(), value.clone()))
                        .collect();
                    self.seen = retained.version;
                    fresh
                };
                if self.first || !fresh.is_empty() {
                    self.first = false;
                    return Ok(fresh);
                }
                changed.await;
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_suite() {
        crate::conformance::run(|| async { Arc::new(MemoryBroker::new()) as Arc<dyn Broker> })
            .await;
    }

    #[test]
    fn shares_are_by_credit() {
        for ((waiting, room, others), count) in [
            ((100, 128, 0), 100),
            ((100, 128, 4), 97),
            ((3, 4, 128), 1),
            ((100, 50, 50), 50),
            ((7, 1, 0), 1),
            ((1, 1, 1_000), 1),
            ((0, 8, 8), 0),
            ((9, 0, 0), 0),
        ] {
            assert_eq!(
                share(waiting, room, others),
                count,
                "{waiting} {room} {others}"
            );
        }
    }

    #[test]
    fn queues_are_known_by_name() {
        assert_eq!(Queue::parse("report"), Some(Queue::reports()));
        assert_eq!(Queue::parse("wee.a.b"), Some(Queue::wee("a.b")));
        for name in [
            "blob",
            "task.zone.ssh.control",
            "task.a.b.ssh.1.0.0.observe",
        ] {
            let queue = Queue::parse(name);
            assert_eq!(queue.as_ref().map(Queue::as_str), Some(name));
        }
        for name in [
            "",
            "reports",
            "report.x",
            "wee",
            "wee.",
            "task.a",
            "task.a.observe",
            "x.y",
        ] {
            assert_eq!(Queue::parse(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_takes_nothing() {
        let broker = MemoryBroker::new();
        let queue = Queue::reports();
        let one = Message {
            queue: queue.clone(),
            body: Bytes::from_static(b"x"),
        };
        broker.publish(vec![one.clone(); DEPTH_MAX]).await.unwrap();
        assert!(matches!(
            broker.publish(vec![one]).await,
            Err(BrokerError::Full { .. })
        ));
        assert_eq!(broker.depth(queue).await.unwrap(), DEPTH_MAX as u64);
    }
}
