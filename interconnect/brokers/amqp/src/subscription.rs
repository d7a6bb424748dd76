//! One subscription as its subscriber sees it. What is said here takes effect by the pump, which alone talks to the
//! server: so nothing here waits, and dropping a future loses nothing.

use crate::conn::Conn;
use crate::credit::Counts;
use crate::error::{AmqpError, away};
use crate::pump::Pump;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Delivery, Queue, Subscription, Tag};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// Shared by a subscription and its pump.
pub struct Slot {
    pub state: Mutex<State>,
    /// For the subscriber: something arrived, or it is over.
    pub arrived: Notify,
    /// For the pump: something was said.
    pub said: Notify,
}

/// Tags are the server's, which count up over the channel.
pub struct State {
    pub credit: usize,
    /// Delivered, and not yet received.
    pub ready: VecDeque<Ready>,
    /// Received, and neither acked nor given back.
    pub out: BTreeSet<u64>,
    /// Acked; the server does not know yet.
    pub acks: BTreeSet<u64>,
    /// Given back; the server does not know yet.
    pub backs: BTreeSet<u64>,
    /// What consumers before the present one delivered has tags up to this.
    pub old_until: u64,
    pub is_closing: bool,
    pub over: Option<AmqpError>,
}

pub struct Ready {
    pub tag: u64,
    pub body: Bytes,
    pub is_redelivered: bool,
}

impl State {
    /// Delivered, and neither acked nor given back.
    pub fn not_acked(&self) -> usize {
        self.ready.len() + self.out.len()
    }

    pub fn counts(&self, prefetch: usize) -> Counts {
        let until = self.old_until;
        let ready = self.ready.partition_point(|ready| ready.tag <= until);
        let old = self.out.range(..=until).count() + ready;
        Counts {
            credit: self.credit,
            prefetch,
            old,
            own: self.not_acked() - old,
            held: self.acks.len(),
        }
    }
}

pub struct AmqpSubscription {
    slot: Arc<Slot>,
}

impl AmqpSubscription {
    /// # Errors
    /// When the queue cannot be consumed from.
    pub async fn open(
        conn: Arc<Conn>,
        queue: Queue,
        credit: u32,
    ) -> Result<AmqpSubscription, AmqpError> {
        // It may have gone since it was last declared.
        conn.forget(&queue).await;
        let name = conn.ensure(&queue).await?;
        let channel = conn.channel().await?;
        let slot = Arc::new(Slot {
            state: Mutex::new(State {
                credit: credit as usize,
                ready: VecDeque::new(),
                out: BTreeSet::new(),
                acks: BTreeSet::new(),
                backs: BTreeSet::new(),
                old_until: 0,
                is_closing: false,
                over: None,
            }),
            arrived: Notify::new(),
            said: Notify::new(),
        });
        let mut pump = Pump::new(conn.clone(), channel, queue.clone(), name, slot.clone());
        pump.begin().await?;
        tokio::spawn(pump.run());
        let subscription = AmqpSubscription { slot };
        // Whoever is told that somebody is there publishes at once.
        conn.kept(std::iter::once(&queue)).await?;
        Ok(subscription)
    }

    fn settle(
        &mut self,
        tags: &[Tag],
        into: impl Fn(&mut State) -> &mut BTreeSet<u64>,
    ) -> Result<(), BrokerError> {
        let mut state = self.slot.state.lock();
        if let Some(why) = &state.over {
            return Err(away(why.clone()));
        }
        let unknown = tags.iter().find(|tag| {
            let is_out = state.out.remove(&tag.0);
            if is_out {
                into(&mut state).insert(tag.0);
            }
            !is_out
        });
        drop(state);
        self.slot.said.notify_one();
        match unknown {
            Some(tag) => Err(BrokerError::UnknownTag(*tag)),
            None => Ok(()),
        }
    }
}

impl Subscription for AmqpSubscription {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            loop {
                {
                    let mut state = self.slot.state.lock();
                    if let Some(why) = &state.over {
                        return Err(away(why.clone()));
                    }
                    let room = state.credit.saturating_sub(state.out.len()).min(max);
                    let count = room.min(state.ready.len());
                    if count > 0 {
                        let taken: Vec<Ready> = state.ready.drain(..count).collect();
                        state.out.extend(taken.iter().map(|ready| ready.tag));
                        return Ok(taken.into_iter().map(delivery).collect());
                    }
                }
                // There is one receiver, and what is notified while it does not wait is kept for it.
                self.slot.arrived.notified().await;
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.settle(tags, |state| &mut state.acks)
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        self.settle(tags, |state| &mut state.backs)
    }

    fn set_credit(&mut self, credit: u32) {
        self.slot.state.lock().credit = credit as usize;
        self.slot.said.notify_one();
    }
}

impl Drop for AmqpSubscription {
    fn drop(&mut self) {
        self.slot.state.lock().is_closing = true;
        self.slot.said.notify_one();
    }
}

fn delivery(ready: Ready) -> Delivery {
    Delivery {
        tag: Tag(ready.tag),
        body: ready.body,
        redelivered: ready.is_redelivered,
    }
}
