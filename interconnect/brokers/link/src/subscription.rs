//! A subscription at the joining end. What was delivered waits here, at most as much as its credit; what is beyond a
//! credit that was lowered goes back, so that nothing waits here that another could do.

use crate::conn::Conn;
use crate::error::{LinkError, away};
use crate::frame::{self, Settled};
use bytes::BytesMut;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Delivery, Queue, Subscription, Tag};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// Deliveries that came when there was no credit for them: more of them than the serving end ever had credit for means
/// that it does not keep to the credit at all.
const BEYOND_MAX: usize = 1 << 20;

pub struct SubscriptionSlot {
    id: u64,
    state: Mutex<State>,
    arrived: Notify,
}

struct State {
    ready: VecDeque<Delivery>,
    out: HashSet<Tag>,
    credit: usize,
    settled: Settled,
    /// The writer knows that there is something to settle.
    dirty: bool,
    gone: bool,
}

impl State {
    /// Gives back, last first, what there is no credit for.
    fn give_back(&mut self) {
        let beyond = (self.ready.len() + self.out.len()).saturating_sub(self.credit);
        let kept = self.ready.len().saturating_sub(beyond);
        let backs = self.ready.drain(kept..).map(|delivery| delivery.tag);
        self.settled.backs.extend(backs);
    }

    /// Whether the writer must be told that there is something to settle.
    fn becomes_dirty(&mut self) -> bool {
        let settled = &self.settled;
        let something =
            settled.credit.is_some() || !settled.acks.is_empty() || !settled.backs.is_empty();
        something && !std::mem::replace(&mut self.dirty, true)
    }
}

impl SubscriptionSlot {
    pub fn deliver(
        self: &Arc<Self>,
        conn: &Conn,
        deliveries: Vec<Delivery>,
    ) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        state.ready.extend(deliveries);
        state.give_back();
        if state.settled.backs.len() > BEYOND_MAX {
            return Err(LinkError::Protocol("more deliveries than credit"));
        }
        let tell = state.becomes_dirty();
        drop(state);
        self.arrived.notify_one();
        if tell {
            conn.settle(self.clone());
        }
        Ok(())
    }

    pub fn gone(&self) {
        self.state.lock().gone = true;
        self.wake();
    }

    pub fn wake(&self) {
        self.arrived.notify_one();
    }

    pub fn write_settled(&self, out: &mut BytesMut) {
        let mut state = self.state.lock();
        state.dirty = false;
        let settled = std::mem::take(&mut state.settled);
        frame::settle(out, self.id, &settled);
    }
}

pub struct LinkSubscription {
    conn: Arc<Conn>,
    slot: Arc<SubscriptionSlot>,
}

impl LinkSubscription {
    /// # Errors
    /// As `Broker::subscribe`.
    pub async fn open(
        conn: Arc<Conn>,
        queue: Queue,
        credit: u32,
    ) -> Result<LinkSubscription, BrokerError> {
        let id = conn.number();
        let slot = Arc::new(SubscriptionSlot {
            id,
            state: Mutex::new(State {
                ready: VecDeque::new(),
                out: HashSet::new(),
                credit: credit as usize,
                settled: Settled::default(),
                dirty: false,
                gone: false,
            }),
            arrived: Notify::new(),
        });
        conn.subscriptions.lock().insert(id, slot.clone());
        // From here on, dropping it takes it back.
        let subscription = LinkSubscription { conn, slot };
        subscription.conn.subscribe(id, credit, &queue).await?;
        Ok(subscription)
    }

    /// Changes the state, and has the writer tell what is to be settled.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.slot.state.lock();
        let changed = change(&mut state);
        let tell = state.becomes_dirty();
        drop(state);
        if tell {
            self.conn.settle(self.slot.clone());
        }
        changed
    }
}

impl Subscription for LinkSubscription {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            loop {
                let arrived = self.slot.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                self.conn.check()?;
                {
                    let mut state = self.slot.state.lock();
                    if state.gone {
                        let why = "it gave the subscription up".to_owned();
                        return Err(away(Arc::new(LinkError::Behind(why))));
                    }
                    let count = state.ready.len().min(max);
                    if count > 0 {
                        let taken: Vec<Delivery> = state.ready.drain(..count).collect();
                        state.out.extend(taken.iter().map(|delivery| delivery.tag));
                        return Ok(taken);
                    }
                }
                arrived.await;
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.conn.check()?;
        self.change(|state| {
            for tag in tags {
                if !state.out.remove(tag) {
                    return Err(BrokerError::UnknownTag(*tag));
                }
                state.settled.acks.push(*tag);
            }
            Ok(())
        })
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.conn.check()?;
        self.change(|state| {
            for tag in tags {
                if !state.out.remove(tag) {
                    return Err(BrokerError::UnknownTag(*tag));
                }
                state.settled.backs.push(*tag);
            }
            Ok(())
        })
    }

    fn set_credit(&mut self, credit: u32) {
        self.change(|state| {
            if state.credit != credit as usize {
                state.credit = credit as usize;
                state.settled.credit = Some(credit);
                state.give_back();
            }
        });
    }
}

impl Drop for LinkSubscription {
    fn drop(&mut self) {
        self.conn.unsubscribe(self.slot.id);
    }
}
