//! The embedded broker: queues in this process's memory. What is in it is gone with the process, so logic marks tasks as
//! sent durably where repeating them would do harm, and sends the others again after a restart.

use crate::{Broker, BrokerError, Delivery, Directory, Entries, Message, Queue, Subscription, Tag};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
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

/// Waiting messages of one queue.
#[derive(Default)]
struct Lane {
    waiting: Mutex<VecDeque<(Bytes, bool)>>,
    arrived: Notify,
}

#[derive(Default)]
struct Retained {
    version: u64,
    entries: BTreeMap<String, (u64, Option<Bytes>)>,
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
        let full = lanes
            .iter()
            .find(|(lane, _, bodies)| lane.waiting.lock().len() + bodies.len() > DEPTH_MAX);
        let result = match full {
            Some((_, queue, _)) => Err(BrokerError::Full {
                queue: queue.clone(),
                depth_max: DEPTH_MAX,
            }),
            None => {
                for (lane, _, bodies) in lanes {
                    lane.waiting
                        .lock()
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
        let subscription = MemorySubscription {
            lane: self.lane(&queue),
            credit: credit as usize,
            next_tag: 0,
            out: BTreeMap::new(),
        };
        std::future::ready(Ok(Box::new(subscription) as Box<dyn Subscription>)).boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        let depth = self.lane(&queue).waiting.lock().len() as u64;
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
    credit: usize,
    next_tag: u64,
    out: BTreeMap<Tag, Bytes>,
}

impl MemorySubscription {
    fn take(&mut self, max: usize) -> Vec<Delivery> {
        let room = self.credit.saturating_sub(self.out.len()).min(max);
        let mut waiting = self.lane.waiting.lock();
        let count = room.min(waiting.len());
        let taken: Vec<_> = waiting.drain(..count).collect();
        let more = !waiting.is_empty();
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
            loop {
                let arrived = lane.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                let taken = self.take(max);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                if self.out.len() >= self.credit {
                    // Only an ack, redeliver or more credit makes room, and those need `&mut self`.
                    std::future::pending::<()>().await;
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
            waiting.push_front((body, true));
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
