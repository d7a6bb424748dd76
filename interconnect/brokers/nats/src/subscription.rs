//! One subscription as its owner sees it. What has arrived, what is out and what is to be answered lies in `Desk`; the
//! pump (`pump.rs`) brings and takes in the background. Nothing here waits for the server.

use crate::broker::Core;
use crate::delivery::{Answer, Answered};
use crate::error::{NatsError, away};
use crate::limits::ACK_WAIT;
use async_nats::Subject;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Delivery, Subscription, Tag};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// A message that was delivered to this process and not answered yet.
pub struct Held {
    pub ack: Subject,
    pub body: Bytes,
    pub redelivered: bool,
    /// When the server last heard that somebody is at work on it.
    pub told: Instant,
}

#[derive(Default)]
pub struct Desk {
    pub credit: usize,
    /// Arrived, and not given to the owner yet. In order.
    pub ready: VecDeque<Held>,
    /// Given to the owner, without their bodies.
    pub out: BTreeMap<Tag, Held>,
    /// What the pump is to send, in order.
    pub answers: Vec<Answered>,
    last_tag: u64,
    /// The owner is gone.
    pub is_closed: bool,
    /// Nothing more will come.
    pub over: Option<NatsError>,
}

impl Desk {
    pub fn held(&self) -> usize {
        self.ready.len() + self.out.len()
    }
}

#[derive(Default)]
pub struct Shared {
    pub desk: Mutex<Desk>,
    /// Something is ready, or it is over.
    pub arrived: Notify,
    /// The owner did something.
    pub asked: Notify,
}

impl Shared {
    /// Ends it: what is ready comes again by another subscription, what is out may still be acked.
    pub fn end(&self, why: NatsError) {
        let mut desk = self.desk.lock();
        desk.over.get_or_insert(why);
        drop(desk);
        self.arrived.notify_one();
    }
}

pub struct NatsSubscription {
    shared: Arc<Shared>,
    core: Arc<Core>,
}

impl NatsSubscription {
    pub fn new(shared: Arc<Shared>, core: Arc<Core>) -> Self {
        NatsSubscription { shared, core }
    }

    fn take(&self, max: usize) -> Option<Result<Vec<Delivery>, BrokerError>> {
        let mut desk = self.shared.desk.lock();
        if let Some(why) = &desk.over {
            return Some(Err(away(why.clone())));
        }
        let room = desk.credit.saturating_sub(desk.out.len()).min(max);
        let count = room.min(desk.ready.len());
        if count == 0 {
            return None;
        }
        let mut deliveries = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(mut held) = desk.ready.pop_front() else {
                break;
            };
            desk.last_tag += 1;
            let tag = Tag(desk.last_tag);
            deliveries.push(Delivery {
                tag,
                body: std::mem::take(&mut held.body),
                redelivered: held.redelivered,
            });
            desk.out.insert(tag, held);
        }
        Some(Ok(deliveries))
    }

    fn answer(&self, tags: &[Tag], answer: Answer) -> Result<(), BrokerError> {
        let mut later = Vec::new();
        let mut result = Ok(());
        {
            let mut desk = self.shared.desk.lock();
            for tag in tags {
                let Some(held) = desk.out.remove(tag) else {
                    result = Err(BrokerError::UnknownTag(*tag));
                    break;
                };
                match desk.over.is_some() {
                    false => desk.answers.push((held.ack, answer)),
                    true => later.push((held.ack, answer)),
                }
            }
        }
        self.core.answer_later(later);
        self.shared.asked.notify_one();
        result
    }
}

impl Subscription for NatsSubscription {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            loop {
                let arrived = self.shared.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if let Some(taken) = self.take(max) {
                    return taken;
                }
                arrived.await;
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.answer(tags, Answer::Ack)
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.answer(tags, Answer::Nak)
    }

    fn set_credit(&mut self, credit: u32) {
        self.shared.desk.lock().credit = credit as usize;
        self.shared.asked.notify_one();
    }
}

impl Drop for NatsSubscription {
    fn drop(&mut self) {
        let mut later = Vec::new();
        {
            let mut desk = self.shared.desk.lock();
            desk.is_closed = true;
            if desk.over.is_some() {
                // What was out too long is somebody else's by now.
                let out = std::mem::take(&mut desk.out);
                let ours = out
                    .into_values()
                    .filter(|held| held.told.elapsed() < ACK_WAIT);
                later.extend(ours.map(|held| (held.ack, Answer::Nak)));
            }
        }
        self.core.answer_later(later);
        self.shared.asked.notify_one();
    }
}
