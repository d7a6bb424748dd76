//! What is told, and to whom. Nobody is waited for here: an event goes into a follower's queue, or is lost to that one.

use super::codec::Filter;
use bytes::Bytes;
use parking_lot::Mutex;
use sengu_interconnect::events::{Keep, Told};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Latest values kept for those who come later: two per target of a large installation.
pub(super) const KEPT_MAX: usize = 65_536;
pub(super) const KEPT_BYTES_MAX: usize = 256 << 20;
/// What waits for one follower, in events and in bytes: some seconds of a busy installation.
pub(super) const WAITING_MAX: usize = 8_192;
pub(super) const WAITING_BYTES_MAX: usize = 16 << 20;
/// Filters of one follower, and the length of one in bytes.
pub(super) const FILTERS_MAX: usize = 64;
pub(super) const FILTER_BYTES_MAX: usize = 1_024;
/// A topic in bytes, as MQTT writes it.
const TOPIC_BYTES_MAX: usize = 65_535;

const NOT_VALID: u8 = 0x8f;
const NO_SHARING: u8 = 0x9e;
const TOO_MANY: u8 = 0x97;

pub(super) struct Event {
    pub topic: String,
    pub body: Bytes,
}

impl Event {
    fn bytes(&self) -> usize {
        self.topic.len() + self.body.len()
    }
}

pub(super) enum Out {
    Event(Arc<Event>),
    /// Values kept, for a new filter.
    Kept(Vec<Arc<Event>>),
}

/// The hub's end of a follower.
struct Follower {
    filters: Vec<String>,
    queue: mpsc::Sender<Out>,
    meter: Arc<Meter>,
}

/// Counted by both ends.
#[derive(Default)]
pub(super) struct Meter {
    pub waiting_bytes: AtomicUsize,
    pub lost: AtomicUsize,
}

pub(super) struct Hub {
    prefix: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followers: HashMap<u64, Follower>,
    next: u64,
    kept: BTreeMap<String, Arc<Event>>,
    kept_bytes: usize,
    /// More than may be kept was told, and it was said so.
    full: bool,
}

impl Follower {
    fn offer(&self, event: &Arc<Event>) {
        let bytes = event.bytes();
        let waiting = self.meter.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting == 0 || waiting + bytes <= WAITING_BYTES_MAX;
        if !fits || self.queue.try_send(Out::Event(event.clone())).is_err() {
            self.meter.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.meter.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Meter {
    pub fn taken(&self, event: &Event) {
        self.waiting_bytes
            .fetch_sub(event.bytes(), Ordering::Relaxed);
    }
}

impl State {
    fn keep(&mut self, event: &Arc<Event>) {
        let before = self.kept.remove(&event.topic);
        self.kept_bytes -= before.map_or(0, |event| event.bytes());
        if event.body.is_empty() {
            return;
        }
        let bytes = self.kept_bytes + event.bytes();
        if self.kept.len() >= KEPT_MAX || bytes > KEPT_BYTES_MAX {
            if !self.full {
                tracing::warn!(
                    KEPT_MAX,
                    KEPT_BYTES_MAX,
                    "latest values are no longer kept for MQTT"
                );
            }
            self.full = true;
            return;
        }
        self.kept_bytes = bytes;
        self.kept.insert(event.topic.clone(), event.clone());
    }
}

impl Hub {
    pub fn new(prefix: String) -> Hub {
        Hub {
            prefix,
            state: Mutex::default(),
        }
    }

    pub fn tell(&self, batch: Vec<Told>) {
        let event = |told: Told| {
            let (topic, body) = (told.topic.encoded(&self.prefix, '/'), told.body);
            (told.keep, Arc::new(Event { topic, body }))
        };
        let events: Vec<_> = batch.into_iter().map(event).collect();
        let mut state = self.state.lock();
        for (keep, event) in events {
            if event.topic.len() > TOPIC_BYTES_MAX {
                continue;
            }
            if keep == Keep::Latest {
                state.keep(&event);
            }
            for follower in state.followers.values() {
                if follower
                    .filters
                    .iter()
                    .any(|f| rumqttc::matches(&event.topic, f))
                {
                    follower.offer(&event);
                }
            }
        }
    }

    pub fn join(&self) -> (u64, mpsc::Receiver<Out>, Arc<Meter>) {
        let (queue, out) = mpsc::channel(WAITING_MAX);
        let meter = Arc::<Meter>::default();
        let follower = Follower {
            filters: Vec::new(),
            queue,
            meter: meter.clone(),
        };
        let mut state = self.state.lock();
        state.next += 1;
        let number = state.next;
        state.followers.insert(number, follower);
        (number, out, meter)
    }

    pub fn leave(&self, number: u64) {
        self.state.lock().followers.remove(&number);
    }

    /// The code for each filter; None when the follower is so slow that what is kept cannot be given to it.
    pub fn subscribe(&self, number: u64, filters: Vec<Filter>) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let State {
            followers, kept, ..
        } = &mut *state;
        let follower = followers.get_mut(&number)?;
        let mut codes = Vec::with_capacity(filters.len());
        for Filter { text, retained } in filters {
            let known = follower.filters.contains(&text);
            codes.push(match () {
                () if text.starts_with("$share/") => NO_SHARING,
                () if text.len() > FILTER_BYTES_MAX || !rumqttc::valid_filter(&text) => NOT_VALID,
                () if !known && follower.filters.len() >= FILTERS_MAX => TOO_MANY,
                () => 0,
            });
            if codes.last() != Some(&0) {
                continue;
            }
            if retained == 0 || (retained == 1 && !known) {
                let matching = kept.values().filter(|e| rumqttc::matches(&e.topic, &text));
                let matching: Vec<_> = matching.cloned().collect();
                if !matching.is_empty() {
                    follower.queue.try_send(Out::Kept(matching)).ok()?;
                }
            }
            if !known {
                follower.filters.push(text);
            }
        }
        Some(codes)
    }

    pub fn unsubscribe(&self, number: u64, filters: &[String]) -> Vec<u8> {
        const NONE: u8 = 0x11;
        let mut state = self.state.lock();
        let Some(follower) = state.followers.get_mut(&number) else {
            return vec![NONE; filters.len()];
        };
        let code = |filter: &String| match follower.filters.iter().position(|f| f == filter) {
            Some(at) => {
                follower.filters.swap_remove(at);
                0
            }
            None => NONE,
        };
        filters.iter().map(code).collect()
    }
}
