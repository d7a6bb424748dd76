//! The Broker port: how envelopes travel between logic and execution. Asynchronous only.
//!
//! This crate exists so that neither side sees the other nor any broker. **The delivery contract**: a message that
//! `publish` accepted is delivered at least once to one subscriber of its queue, in order as long as nothing is
//! redelivered; it is delivered again when its subscriber goes away without an ack. A WEE acks a task when it hands it
//! to a worker: from then on the task's lease, not the broker, watches over it. Bodies are never looked into.

pub mod address;
pub mod conformance;
pub mod contact;
pub mod events;
pub mod memory;
pub mod pair;
pub mod parked;

pub use memory::MemoryBroker;
pub use pair::PairBroker;

use bytes::Bytes;
use contact::Contact;
use futures::future::BoxFuture;
use sengu_model::Class;
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// A queue by name. Made only by the functions here, so that both sides spell it alike.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue(Arc<str>);

impl Queue {
    /// Tasks of one version of a worker kind and one class for the WEEs of a zone.
    pub fn tasks(zone: &str, kind: &str, version: &str, class: Class) -> Queue {
        Queue(format!("task.{zone}.{kind}.{version}.{}", class.as_str()).into())
    }

    /// Requests of WEEs for parts of images.
    pub fn blobs() -> Queue {
        Queue("blob".into())
    }

    /// Reports of all WEEs to logic.
    pub fn reports() -> Queue {
        Queue("report".into())
    }

    /// What nobody could make sense of, with the reason; logic keeps it for people to look at.
    pub fn parked() -> Queue {
        Queue("parked".into())
    }

    /// Commands to one WEE.
    pub fn wee(name: &str) -> Queue {
        Queue(format!("wee.{name}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone)]
pub struct Message {
    pub queue: Queue,
    pub body: Bytes,
}

/// Names one delivery within its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

#[derive(Debug, Clone)]
pub struct Delivery {
    pub tag: Tag,
    pub body: Bytes,
    /// It may have been delivered before.
    pub redelivered: bool,
}

pub trait Broker: Send + Sync + 'static {
    /// Resolves when the broker has taken all of them over.
    fn publish(&self, batch: Vec<Message>) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// At most `credit` deliveries are out without an ack.
    fn subscribe(
        &self,
        queue: Queue,
        credit: u32,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, BrokerError>>;

    /// Messages waiting in the queue, not counting those delivered.
    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>>;

    /// Keeps `value` under `key` for all, now and later; None takes it away.
    fn retain(&self, key: String, value: Option<Bytes>) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Follows the retained directory below `prefix`: first all that is there, then every change.
    fn directory(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Directory>, BrokerError>>;

    /// What this broker cannot do, in words for people.
    fn lacks(&self) -> Vec<String>;

    /// Whether it can be reached now. While it cannot, `publish` and `subscribe` give `Away` at once, and subscriptions
    /// that it had are over: they give `Away` and are to be made again. The driver tries on by itself, for ever.
    fn contact(&self) -> watch::Receiver<Contact> {
        watch::Sender::new(Contact::There).subscribe()
    }
}

pub trait Subscription: Send {
    /// Waits for at least one delivery and gives at most `max`. Dropping the future loses nothing.
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>>;

    /// Done with these: never deliver them again.
    fn ack(&mut self, tags: &[Tag]) -> Result<(), BrokerError>;

    /// Give these to somebody else, soon.
    fn redeliver(&mut self, tags: &[Tag]) -> Result<(), BrokerError>;

    fn set_credit(&mut self, credit: u32);
}

/// Keys of the retained directory with their values; None where there no longer is one.
pub type Entries = Vec<(String, Option<Bytes>)>;

pub trait Directory: Send {
    /// Entries changed since the last call (all of them on the first), newest state of each. Waits for at least one,
    /// except that the first call returns at once. Dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Entries, BrokerError>>;
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The queue holds as much as it may. Nothing of the batch was taken.
    #[error("queue {queue} is full at {depth_max} messages")]
    Full { queue: Queue, depth_max: usize },
    #[error("the broker is away")]
    Away(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    #[error("delivery {0:?} is not out")]
    UnknownTag(Tag),
    /// A body is longer than the broker takes. Others of its batch may have been taken.
    #[error("a body of {bytes} bytes is more than the broker takes, {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
}
