//! From the broker to this WEE: one subscription per pool and class, with as much credit as there is room.

use crate::directory::BROKER_RETRY;
use crate::hand_over::Leave;
use crate::pools::PoolKey;
use crate::shell::{Event, Received, Shell};
use futures::FutureExt;
use sengu_interconnect::{BrokerError, Queue, Subscription, Tag};
use sengu_model::Class;
use std::sync::Arc;
use tokio::sync::Notify;

/// Tasks taken from the broker at once.
const RECEIVE_MAX: usize = 512;
/// Tasks that a broken pool takes and rejects per tick: few, so that a whole WEE beside it gets the others.
pub const REJECTIONS_PER_TICK: u32 = 16;

/// One subscription for tasks.
#[derive(Default)]
pub struct Intake {
    subscription: Option<Box<dyn Subscription>>,
    /// The wait for deliveries is under way, for at most this many.
    armed: Option<u32>,
    subscribing: bool,
    poke: Arc<Notify>,
    pub acks: Vec<Tag>,
    credit: u32,
    closed: bool,
}

impl Intake {
    /// Closed, and nothing of it is left.
    pub fn is_settled(&self) -> bool {
        self.subscription.is_none() && self.armed.is_none() && !self.subscribing
    }
}

pub fn slot(class: Class) -> usize {
    match class {
        Class::Control => 0,
        Class::Observe => 1,
    }
}

impl Shell {
    pub fn subscribe(&mut self, at: PoolKey, class: Class) {
        let pool = &mut self.pools[at];
        let queue = Queue::tasks(&self.config.zone, &pool.kind, &pool.version, class);
        let intake = &mut pool.intakes[slot(class)];
        intake.closed = false;
        if !intake.is_settled() {
            return;
        }
        intake.subscribing = true;
        intake.credit = 0;
        let broker = self.broker.clone();
        self.source(async move {
            let result = broker.subscribe(queue, 0).await;
            if result.is_err() {
                tokio::time::sleep(BROKER_RETRY).await;
            }
            Event::Subscribed(at, class, result)
        });
    }

    pub fn on_subscribed(
        &mut self,
        at: PoolKey,
        class: Class,
        result: Result<Box<dyn Subscription>, BrokerError>,
    ) {
        self.pools.touch(at);
        let pool = &mut self.pools[at];
        let intake = &mut pool.intakes[slot(class)];
        intake.subscribing = false;
        if intake.closed {
            return;
        }
        match result {
            Ok(subscription) => intake.subscription = Some(subscription),
            Err(e) => {
                tracing::warn!(kind = %pool.kind, error = %e, "subscribe to tasks");
                self.subscribe(at, class);
            }
        }
    }

    /// Waits for as many tasks as there is room for, in the background.
    pub fn arm(&mut self, at: PoolKey, class: Class) {
        let (choked, now_ms) = (self.is_choked(), self.now_ms);
        let pool = &mut self.pools[at];
        let mut room = pool.room(class).min(RECEIVE_MAX as u32);
        if !pool.waiting[slot(class)].is_empty() || choked {
            room = 0;
        }
        if pool.broken.is_some() && !choked {
            room = match pool.refuses(now_ms) {
                Some(_) => pool.rejections_left,
                None => u32::from(pool.is_without_tasks()),
            };
        }
        let intake = &mut pool.intakes[slot(class)];
        if let Some(armed) = intake.armed {
            if armed > room || !intake.acks.is_empty() {
                intake.poke.notify_one();
            }
            return;
        }
        let Some(mut subscription) = intake.subscription.take() else {
            return;
        };
        let acks = std::mem::take(&mut intake.acks);
        if !acks.is_empty()
            && let Err(e) = subscription.ack(&acks)
        {
            // It will come again, and its fence keeps it from being done again.
            tracing::warn!(kind = %pool.kind, error = %e, "ack");
        }
        if intake.closed {
            return;
        }
        let waiting = u32::try_from(pool.waiting[slot(class)].len()).unwrap_or(u32::MAX);
        let unacked = waiting.saturating_add(pool.claimed[slot(class)]);
        let credit = room.saturating_add(unacked);
        if credit != intake.credit {
            intake.credit = credit;
            subscription.set_credit(credit);
        }
        if room == 0 {
            intake.subscription = Some(subscription);
            return;
        }
        intake.armed = Some(room);
        let poke = intake.poke.clone();
        self.sources.push(
            async move {
                let received = tokio::select! {
                    biased;
                    received = subscription.receive(room as usize) => match received {
                        Ok(deliveries) => Received::Tasks(deliveries),
                        Err(e) => Received::Broken(e),
                    },
                    () = poke.notified() => Received::Poked,
                };
                Event::Received(at, class, subscription, received)
            }
            .boxed(),
        );
    }

    pub fn close_intake(&mut self, at: PoolKey, class: Class) {
        let intake = &mut self.pools[at].intakes[slot(class)];
        intake.closed = true;
        intake.poke.notify_one();
        self.pools.touch(at);
    }

    pub fn on_received(
        &mut self,
        at: PoolKey,
        class: Class,
        subscription: Box<dyn Subscription>,
        received: Received,
    ) {
        self.pools.touch(at);
        let pool = &mut self.pools[at];
        let intake = &mut pool.intakes[slot(class)];
        intake.armed = None;
        if intake.closed {
            // What was delivered last goes back to the broker with the subscription.
            intake.subscription = Some(subscription);
            return;
        }
        match received {
            Received::Tasks(deliveries) => {
                intake.subscription = Some(subscription);
                let count = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
                pool.rejections_left = pool.rejections_left.saturating_sub(count);
                for delivery in deliveries {
                    self.on_delivery(at, class, delivery);
                }
            }
            Received::Poked => intake.subscription = Some(subscription),
            Received::Broken(e) => {
                tracing::warn!(kind = %pool.kind, error = %e, "receive tasks");
                drop(subscription);
                // What it had delivered will be delivered again.
                intake.acks.clear();
                pool.waiting[slot(class)].retain_mut(|waiting| {
                    waiting.tag = None;
                    let stays = waiting.leave != Leave::NotAsked;
                    if !stays {
                        self.fences.forget(waiting.task, waiting.fence);
                    }
                    stays
                });
                self.keep_claims_of(at, class);
                self.forget_held_back(at, class);
                self.subscribe(at, class);
            }
        }
    }
}
