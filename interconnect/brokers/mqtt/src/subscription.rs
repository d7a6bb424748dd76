//! One subscriber of a queue, over a connection of its own. It belongs to the group that shares the queue as long as
//! nothing arrives for which it has no room; then it leaves, so that nobody waits behind it, and what is too much goes to
//! whoever has room. It is a member again as soon as it has room itself, and says so.
//!
//! The broker is told at once that a message has arrived: it would give it to nobody else anyhow. From then on this
//! process keeps it until the ack.

use crate::broker::Core;
use crate::error::{MqttError, away};
use crate::keeper::client_id;
use crate::queues::{Item, item};
use crate::session::{Session, Wish};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::RetainForwardRule;
use sengu_interconnect::{BrokerError, Delivery, Queue, Subscription, Tag};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// What was asked for and has not come within this time went to others.
const ASKED_MAX: Duration = Duration::from_secs(1);

pub(crate) struct MqttSubscription {
    shared: Arc<Shared>,
    next_tag: u64,
}

struct Shared {
    core: Arc<Core>,
    queue: Queue,
    state: Mutex<State>,
    /// For the one who receives.
    arrived: Notify,
    /// For the task that joins, asks and leaves.
    changed: Notify,
}

struct State {
    credit: usize,
    ready: VecDeque<Item>,
    out: BTreeMap<Tag, Item>,
    /// Somebody has more for this queue.
    more: bool,
    /// How many were asked for and have not come, and since when.
    asked: usize,
    asked_at: Instant,
    over: Option<Arc<MqttError>>,
}

impl State {
    fn room(&self) -> usize {
        self.credit.saturating_sub(self.out.len())
    }

    fn free(&self) -> usize {
        self.room().saturating_sub(self.ready.len())
    }

    /// What is there beyond the room for it, the newest, in order.
    fn surplus(&mut self) -> Vec<Item> {
        let room = self.room();
        match self.ready.len() > room {
            true => self.ready.drain(room..).collect(),
            false => Vec::new(),
        }
    }

    /// For how many to ask now.
    fn to_ask(&self, now: Instant) -> usize {
        let late = now.duration_since(self.asked_at) >= ASKED_MAX;
        let asked = if late { 0 } else { self.asked };
        match self.more && asked <= self.credit / 2 {
            true => self.free().saturating_sub(asked),
            false => 0,
        }
    }
}

impl MqttSubscription {
    /// Resolves when it is a member.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn open(
        core: Arc<Core>,
        queue: Queue,
        credit: u32,
    ) -> Result<MqttSubscription, Arc<MqttError>> {
        let way = core.way()?;
        let shared = Arc::new(Shared {
            core: core.clone(),
            queue,
            state: Mutex::new(State {
                credit: credit as usize,
                ready: VecDeque::new(),
                out: BTreeMap::new(),
                more: false,
                asked: 0,
                asked_at: Instant::now(),
                over: None,
            }),
            arrived: Notify::new(),
            changed: Notify::new(),
        });
        let (tell_acks, acks) = tokio::sync::mpsc::unbounded_channel();
        let this = shared.clone();
        let client_id = client_id(&core.name);
        let inbox = core.names.inbox(&client_id);
        let wish = Wish {
            client_id,
            pace: core.pace,
            on_publish: Box::new(move |publish| {
                // One of those is out per message of the broker's window.
                let _ = tell_acks.send(publish.pkid);
                let (item, more) = item(publish);
                this.arrive(item, more);
            }),
        };
        let session = Session::open(way, wish).await?;
        let rule = RetainForwardRule::Never;
        session.subscribe(&inbox, QoS::AtLeastOnce, rule).await?;
        let (tell, joined) = oneshot::channel();
        tokio::spawn(keep(shared.clone(), session, inbox, acks, tell));
        match joined.await {
            Ok(()) => Ok(MqttSubscription {
                shared,
                next_tag: 0,
            }),
            Err(_) => Err(shared.over()),
        }
    }
}

impl Shared {
    fn arrive(&self, item: Item, more: bool) {
        let mut state = self.state.lock();
        state.ready.push_back(item);
        state.more = more;
        state.asked = if more {
            state.asked.saturating_sub(1)
        } else {
            0
        };
        drop(state);
        self.arrived.notify_one();
        self.changed.notify_one();
    }

    fn over(&self) -> Arc<MqttError> {
        let over = self.state.lock().over.clone();
        over.unwrap_or_else(|| Arc::new(MqttError::Closing))
    }

    /// It ends: what was not acked is for others.
    fn end(&self, why: Arc<MqttError>) {
        let mut state = self.state.lock();
        if state.over.is_none() {
            state.over = Some(why);
        }
        let out = std::mem::take(&mut state.out).into_values();
        let out = out.map(|item| Item {
            again: true,
            ..item
        });
        let items: Vec<Item> = out.collect();
        let items = items
            .into_iter()
            .chain(std::mem::take(&mut state.ready))
            .collect();
        drop(state);
        self.core.hold(&self.queue, items, true);
        self.arrived.notify_one();
        self.changed.notify_one();
    }
}

/// Joins, asks and leaves as the room changes, until the connection or the subscription ends.
async fn keep(
    shared: Arc<Shared>,
    session: Session,
    inbox: String,
    mut acks: tokio::sync::mpsc::UnboundedReceiver<u16>,
    joined: oneshot::Sender<()>,
) {
    let core = &shared.core;
    let mut member = Member {
        session: &session,
        shared: &shared,
        share: core.names.share(&shared.queue),
        wanted: core.names.wanted(&shared.queue),
        inbox,
        is: false,
    };
    let mut joined = Some(joined);
    let why = loop {
        match member.settle().await {
            Ok(()) => {}
            Err(why) => break why,
        }
        if let Some(joined) = joined.take() {
            let _ = joined.send(());
        }
        if let Some(why) = shared.state.lock().over.clone() {
            break why;
        }
        tokio::select! {
            () = shared.changed.notified() => {}
            pkid = acks.recv() => if let Some(pkid) = pkid {
                session.ack(pkid);
                while let Ok(pkid) = acks.try_recv() {
                    session.ack(pkid);
                }
            },
            // Asks again for what did not come, should there be anything.
            () = tokio::time::sleep(ASKED_MAX), if member.waits() => {}
            why = session.died() => break why,
        }
    };
    // First nothing more may come here, so that nothing of it comes back.
    if session.why_dead().is_none() {
        drop(session.unsubscribe(&member.inbox));
        let _ = timeout(core.pace.call_max, session.unsubscribe(&member.share)).await;
    }
    shared.end(why);
    drop(joined);
}

struct Member<'a> {
    session: &'a Session,
    shared: &'a Shared,
    share: String,
    wanted: String,
    inbox: String,
    is: bool,
}

impl Member<'_> {
    fn waits(&self) -> bool {
        let state = self.shared.state.lock();
        state.more && state.free() > 0
    }

    async fn settle(&mut self) -> Result<(), Arc<MqttError>> {
        let (surplus, free) = {
            let mut state = self.shared.state.lock();
            (state.surplus(), state.free())
        };
        if !surplus.is_empty() {
            if self.is {
                self.is = false;
                let left = self.session.unsubscribe(&self.share);
                // When the broker is done with it, nothing more is on its way here.
                let _ = timeout(self.shared.core.pace.call_max, left).await;
            }
            let mut items = surplus;
            items.extend(self.shared.state.lock().surplus());
            self.shared.core.hold(&self.shared.queue, items, true);
            return Ok(());
        }
        if !self.is && free > 0 {
            let rule = RetainForwardRule::Never;
            self.session
                .subscribe(&self.share, QoS::AtLeastOnce, rule)
                .await?;
            self.is = true;
            self.shared.state.lock().more = true;
        }
        let ask = {
            let mut state = self.shared.state.lock();
            let (now, ask) = (Instant::now(), state.to_ask(Instant::now()));
            if ask > 0 {
                (state.asked, state.asked_at) = (state.asked + ask, now);
                // Whatever arrives from here on tells anew.
                state.more = false;
            }
            ask
        };
        if ask > 0 && self.is {
            let room = Bytes::from(format!("{ask} {}", self.inbox));
            let published = self
                .session
                .publish(&self.wanted, room, false, None)
                .await?;
            let heard = self.session.answer(published).await?;
            let mut state = self.shared.state.lock();
            match heard {
                true => state.more = true,
                // Nobody has any; whoever will have some finds a member here.
                false => state.asked = 0,
            }
        }
        Ok(())
    }
}

impl Subscription for MqttSubscription {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        async move {
            loop {
                {
                    let mut state = self.shared.state.lock();
                    if let Some(why) = &state.over {
                        return Err(away(why.clone()));
                    }
                    let count = state.room().min(max).min(state.ready.len());
                    let mut taken = Vec::with_capacity(count);
                    for _ in 0..count {
                        let Some(item) = state.ready.pop_front() else {
                            break;
                        };
                        self.next_tag += 1;
                        let tag = Tag(self.next_tag);
                        taken.push(Delivery {
                            tag,
                            body: item.body.clone(),
                            redelivered: item.again,
                        });
                        state.out.insert(tag, item);
                    }
                    if !taken.is_empty() {
                        return Ok(taken);
                    }
                }
                self.shared.arrived.notified().await;
            }
        }
        .boxed()
    }

    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        let mut state = self.shared.state.lock();
        if let Some(why) = &state.over {
            return Err(away(why.clone()));
        }
        let known = tags.iter().map(|tag| match state.out.remove(tag) {
            Some(_) => Ok(()),
            None => Err(BrokerError::UnknownTag(*tag)),
        });
        let known = known.collect();
        drop(state);
        self.shared.changed.notify_one();
        known
    }

    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError> {
        let mut state = self.shared.state.lock();
        if let Some(why) = &state.over {
            return Err(away(why.clone()));
        }
        let mut items = Vec::with_capacity(tags.len());
        let mut known = Ok(());
        for tag in tags {
            match state.out.remove(tag) {
                Some(item) => items.push(Item {
                    again: true,
                    ..item
                }),
                None => known = Err(BrokerError::UnknownTag(*tag)),
            }
        }
        drop(state);
        self.shared.core.hold(&self.shared.queue, items, true);
        self.shared.changed.notify_one();
        known
    }

    fn set_credit(&mut self, credit: u32) {
        self.shared.state.lock().credit = credit as usize;
        self.shared.arrived.notify_one();
        self.shared.changed.notify_one();
    }
}

impl Drop for MqttSubscription {
    fn drop(&mut self) {
        self.shared.state.lock().over = Some(Arc::new(MqttError::Closing));
        self.shared.changed.notify_one();
    }
}
