//! One remote subscription at the serving end: it owns the broker's own subscription, so whatever becomes of the
//! connection, what is out and not acked is delivered again when this ends.

use crate::error::LinkError;
use crate::frame::{self, Settled};
use crate::limits::{BODY_BYTES_MAX, RECEIVE_MAX};
use crate::outbound::Outbound;
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Delivery, Subscription, Tag};
use std::sync::Arc;
use tokio::sync::Notify;

/// What the joined end wants of its subscription, gathered until the pump looks.
#[derive(Default)]
pub struct Wishes {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    settled: Settled,
    /// Deliveries out. More than these cannot be settled, so what is gathered is bounded.
    out: usize,
    ended: bool,
    /// The pump has ended.
    gone: bool,
}

impl Wishes {
    /// # Errors
    /// When more is settled than is out.
    pub fn add(&self, settled: Settled) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        if state.gone {
            return Ok(());
        }
        if settled.credit.is_some() {
            state.settled.credit = settled.credit;
        }
        state.settled.acks.extend(settled.acks);
        state.settled.backs.extend(settled.backs);
        if state.settled.acks.len() + state.settled.backs.len() > state.out {
            return Err(LinkError::Protocol("more is settled than is out"));
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// No more deliveries are wanted; what was settled still holds.
    pub fn end(&self) {
        self.state.lock().ended = true;
        self.changed.notify_one();
    }

    fn take(&self) -> (Settled, bool) {
        let mut state = self.state.lock();
        let settled = std::mem::take(&mut state.settled);
        state.out = state
            .out
            .saturating_sub(settled.acks.len() + settled.backs.len());
        (settled, state.ended)
    }
}

/// Marks the end, however it comes.
struct Gone(Arc<Wishes>);
impl Drop for Gone {
    fn drop(&mut self) {
        self.0.state.lock().gone = true;
    }
}

pub async fn pump(
    id: u64,
    wishes: Arc<Wishes>,
    mut subscription: Box<dyn Subscription>,
    out: Arc<Outbound>,
) {
    let gone = Gone(wishes.clone());
    if let Err(e) = deliver(id, &wishes, subscription.as_mut(), &out).await {
        tracing::warn!(error = %e, "a joined end's subscription ends");
        drop(subscription);
        drop(gone);
        out.say_with_room(|out| frame::subscription_gone(out, id))
            .await;
    }
}

async fn deliver(
    id: u64,
    wishes: &Wishes,
    subscription: &mut dyn Subscription,
    out: &Outbound,
) -> Result<(), BrokerError> {
    let mut unsaid: Vec<Delivery> = Vec::new();
    let mut said = 0;
    loop {
        let (settled, ended) = wishes.take();
        settle(subscription, &settled)?;
        if ended {
            return Ok(());
        }
        // Nothing is taken from the broker while the other end does not read what it has.
        tokio::select! {
            biased;
            () = wishes.changed.notified() => continue,
            () = out.room() => {}
        }
        if said < unsaid.len() {
            let count = frame::deliver_count(&unsaid[said..]);
            out.say(|out| frame::deliver(out, id, &unsaid[said..said + count]));
            said += count;
            continue;
        }
        let received = tokio::select! {
            biased;
            () = wishes.changed.notified() => continue,
            received = subscription.receive(RECEIVE_MAX) => received?,
        };
        unsaid = received;
        said = 0;
        drop_what_no_frame_holds(id, subscription, &mut unsaid)?;
        wishes.state.lock().out += unsaid.len();
    }
}

fn settle(subscription: &mut dyn Subscription, settled: &Settled) -> Result<(), BrokerError> {
    // First the credit: what is given back must not come again when there is none.
    if let Some(credit) = settled.credit {
        subscription.set_credit(credit);
    }
    if !settled.acks.is_empty() {
        subscription.ack(&settled.acks)?;
    }
    if !settled.backs.is_empty() {
        subscription.redeliver(&settled.backs)?;
    }
    Ok(())
}

/// No end could ever take it, so it would come again for ever.
fn drop_what_no_frame_holds(
    id: u64,
    subscription: &mut dyn Subscription,
    deliveries: &mut Vec<Delivery>,
) -> Result<(), BrokerError> {
    let mut too_large: Vec<Tag> = Vec::new();
    deliveries.retain(|delivery| {
        let fits = delivery.body.len() <= BODY_BYTES_MAX;
        if !fits {
            let bytes = delivery.body.len();
            tracing::error!(
                subscription = id,
                bytes,
                "a message that no frame holds is dropped"
            );
            too_large.push(delivery.tag);
        }
        fits
    });
    if too_large.is_empty() {
        return Ok(());
    }
    subscription.ack(&too_large)
}
