//! Tasks through shared subscriptions, as far as MQTT carries them.
//!
//! A broker takes a message for a queue also when nobody is subscribed to it, and drops it; it says so in its answer
//! (reason 0x10). And it deals messages out in turn, whether or not a subscriber has room. So whoever cannot get rid of a
//! message keeps it here, in order and within limits, until a subscriber says on the queue's own topic that it has room
//! for so many. The same place takes what a subscriber got beyond its credit, gives back, or leaves behind.

use crate::broker::Core;
use crate::error::MqttError;
use crate::names::Names;
use crate::session::{Published, Session};
use bytes::Bytes;
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties, RetainForwardRule};
use sengu_interconnect::{BrokerError, Message, Queue};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Messages of one queue that one process keeps. Logic keeps its windows far below; a writer that does not is told.
pub const HELD_MAX: usize = 65_536;
/// Sent to subscribers at once, in messages: the credit that one subscriber asks for is seldom more.
const BURST_MAX: usize = 256;

/// Askers remembered for one queue; one that is not asks again.
const ASKS_MAX: usize = 1_024;

/// Properties of a message of a queue: it may have been delivered before; its sender has more.
const AGAIN: &str = "again";
const MORE: &str = "more";

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub body: Bytes,
    pub again: bool,
}

#[derive(Default)]
pub(crate) struct Queues {
    /// Queues with something held, and who feeds them.
    held: Mutex<HashMap<Queue, Arc<Held>>>,
    /// The same by the topic on which room is announced.
    wanted: Mutex<HashMap<String, Arc<Held>>>,
}

#[derive(Default)]
struct Held {
    state: Mutex<HeldState>,
    changed: Notify,
}

#[derive(Default)]
struct HeldState {
    items: VecDeque<Item>,
    /// Taken from `items` and not answered yet.
    on_their_way: usize,
    /// What subscribers have asked for.
    wanted: VecDeque<Wanted>,
}

/// Somebody has room for so many.
struct Wanted {
    count: usize,
    /// Its own topic; None: any of those who share the queue.
    inbox: Option<String>,
}

const ONE_TO_ANY: Wanted = Wanted {
    count: 1,
    inbox: None,
};

pub(crate) fn properties(again: bool, more: bool) -> Option<PublishProperties> {
    let marks = [(again, AGAIN), (more, MORE)];
    let marks: Vec<(String, String)> = marks
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, mark)| ((*mark).to_owned(), "1".to_owned()))
        .collect();
    (!marks.is_empty()).then(|| PublishProperties {
        user_properties: marks,
        ..PublishProperties::default()
    })
}

/// The item of a message that arrived, and whether its sender has more.
pub(crate) fn item(publish: Publish) -> (Item, bool) {
    let marks = publish.properties.map(|p| p.user_properties);
    let marks = marks.unwrap_or_default();
    let has = |mark| marks.iter().any(|(key, _)| key == mark);
    // A copy: the message is part of what was read at once, which would stay in memory with it.
    let body = Bytes::copy_from_slice(&publish.payload);
    let again = publish.dup || has(AGAIN);
    (Item { body, again }, has(MORE))
}

impl Queues {
    /// Somebody has room; called for every message that the main connection gets.
    pub fn on_publish(&self, names: &Names, publish: &Publish) {
        let Ok(topic) = std::str::from_utf8(&publish.topic) else {
            return;
        };
        let asked = std::str::from_utf8(&publish.payload).ok();
        let Some((count, inbox)) = asked.and_then(|text| text.split_once(' ')) else {
            return;
        };
        let held = self.wanted.lock().get(topic).cloned();
        let (Some(held), Ok(count), true) = (held, count.parse(), names.is_inbox(inbox)) else {
            return;
        };
        let inbox = Some(inbox.to_owned());
        let mut state = held.state.lock();
        if state.wanted.len() < ASKS_MAX {
            state.wanted.push_back(Wanted { count, inbox });
        }
        drop(state);
        held.changed.notify_one();
    }

    pub fn depth(&self, queue: &Queue) -> usize {
        let held = self.held.lock().get(queue).cloned();
        held.map_or(0, |held| {
            let state = held.state.lock();
            state.items.len() + state.on_their_way
        })
    }
}

impl Core {
    /// Keeps these until somebody takes them: behind what is kept already, or before it.
    pub fn hold(self: &Arc<Self>, queue: &Queue, items: Vec<Item>, before: bool) {
        if items.is_empty() {
            return;
        }
        let mut all = self.queues.held.lock();
        let (held, fresh) = match all.get(queue) {
            Some(held) => (held.clone(), false),
            None => (Arc::default(), true),
        };
        let mut state = held.state.lock();
        match before {
            true => items
                .into_iter()
                .rev()
                .for_each(|item| state.items.push_front(item)),
            false => state.items.extend(items),
        }
        drop(state);
        if fresh {
            all.insert(queue.clone(), held.clone());
            tokio::spawn(feed(self.clone(), queue.clone(), held));
        }
    }

    /// # Errors
    /// When the broker is away, or a queue would hold too much.
    pub async fn publish(self: &Arc<Self>, batch: Vec<Message>) -> Result<(), BrokerError> {
        let session = self.session().map_err(crate::error::away)?;
        let mut lines: Vec<(Queue, Vec<Bytes>)> = Vec::new();
        for message in batch {
            let fits = session.fits(&self.names.queue(&message.queue), &message.body);
            fits.map_err(|why| crate::error::away(Arc::new(why)))?;
            match lines.iter_mut().find(|(queue, _)| *queue == message.queue) {
                Some((_, bodies)) => bodies.push(message.body),
                None => lines.push((message.queue, vec![message.body])),
            }
        }
        let depth_max = HELD_MAX;
        for (queue, bodies) in &lines {
            if self.queues.depth(queue) + bodies.len() > depth_max {
                let queue = queue.clone();
                return Err(BrokerError::Full { queue, depth_max });
            }
        }
        self.in_time(async {
            for (queue, bodies) in lines {
                self.publish_to(&session, queue, bodies).await?;
            }
            Ok(())
        })
        .await
    }

    async fn publish_to(
        self: &Arc<Self>,
        session: &Session,
        queue: Queue,
        bodies: Vec<Bytes>,
    ) -> Result<(), Arc<MqttError>> {
        let fresh = |body| Item { body, again: false };
        if self.queues.depth(&queue) > 0 {
            // Others wait already: it is their turn first.
            self.hold(&queue, bodies.into_iter().map(fresh).collect(), false);
            return Ok(());
        }
        let topic = self.names.queue(&queue);
        let mut sent = Vec::with_capacity(bodies.len());
        for body in bodies {
            let published = session.publish(&topic, body.clone(), false, None).await?;
            sent.push((published, body));
        }
        let mut left = Vec::new();
        for (published, body) in sent {
            if !session.answer(published).await? {
                left.push(fresh(body));
            }
        }
        self.hold(&queue, left, false);
        Ok(())
    }
}

/// Sends what is held of one queue to whoever has room, until nothing is held any more.
async fn feed(core: Arc<Core>, queue: Queue, held: Arc<Held>) {
    let topic = core.names.wanted(&queue);
    core.queues
        .wanted
        .lock()
        .insert(topic.clone(), held.clone());
    while let Some(session) = core.next_session().await {
        if feed_over(&core, &session, &queue, &held, &topic).await {
            return;
        }
        // The connection is gone: its keeper needs a moment to say so.
        let _why = session.died().await;
    }
}

/// True when nothing is held any more.
async fn feed_over(
    core: &Core,
    session: &Session,
    queue: &Queue,
    held: &Held,
    topic: &str,
) -> bool {
    let rule = RetainForwardRule::Never;
    if session
        .subscribe(topic, QoS::AtMostOnce, rule)
        .await
        .is_err()
    {
        tokio::time::sleep(core.pace.retry_every).await;
        return false;
    }
    // Somebody may have come before this was subscribed to: one is tried, and whoever gets it asks for more.
    held.state.lock().wanted.push_front(ONE_TO_ANY);
    loop {
        if !burst(core, session, queue, held).await {
            return false;
        }
        {
            let mut all = core.queues.held.lock();
            let state = held.state.lock();
            if state.items.is_empty() && state.on_their_way == 0 {
                all.remove(queue);
                core.queues.wanted.lock().remove(topic);
                // Nobody waits for the answer: the next who subscribes does so after this.
                drop(session.unsubscribe(topic));
                return true;
            }
        }
        let asked = async {
            while held.state.lock().wanted.is_empty() {
                held.changed.notified().await;
            }
        };
        tokio::select! {
            asked = timeout(core.pace.retry_every, asked) => if asked.is_err() {
                held.state.lock().wanted.push_back(ONE_TO_ANY);
            },
            _ = session.died() => return false,
        }
    }
}

/// Sends as many as were asked for; false when the connection is gone.
async fn burst(core: &Core, session: &Session, queue: &Queue, held: &Held) -> bool {
    let (items, more, topic) = {
        let mut state = held.state.lock();
        let Some(mut wanted) = state.wanted.pop_front() else {
            return true;
        };
        let count = wanted.count.min(state.items.len()).min(BURST_MAX);
        wanted.count -= count;
        let items: Vec<Item> = state.items.drain(..count).collect();
        state.on_their_way = items.len();
        let topic = wanted
            .inbox
            .clone()
            .unwrap_or_else(|| core.names.queue(queue));
        let more = !state.items.is_empty();
        if more && wanted.count > 0 {
            state.wanted.push_front(wanted);
        }
        (items, more, topic)
    };
    let mut sent: Vec<(Item, Result<Published, Arc<MqttError>>)> = Vec::with_capacity(items.len());
    for item in items {
        let properties = properties(item.again, more);
        let published = session
            .publish(&topic, item.body.clone(), false, properties)
            .await;
        sent.push((item, published));
    }
    let (mut left, mut well) = (Vec::new(), true);
    for (item, published) in sent {
        let taken = match published {
            Ok(published) => session.answer(published).await,
            Err(why) => Err(why),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => left.push(item),
            Err(why) if session.why_dead().is_some() => {
                tracing::debug!(
                    error = why.text(),
                    "messages are kept for the next connection"
                );
                (well, _) = (false, left.push(item));
            }
            // It is refused for good, as too large for a broker that was set up anew.
            Err(why) => tracing::warn!(%queue, error = why.text(), "a message is lost"),
        }
    }
    let mut state = held.state.lock();
    state.on_their_way = 0;
    left.into_iter()
        .rev()
        .for_each(|item| state.items.push_front(item));
    well
}
