//! One connection of the joining end, as long as it lasts. When it dies, everything that hangs on it is told once.

use crate::directory::DirectorySlot;
use crate::error::{LinkError, away};
use crate::frame::{self, Answer, Part, Say};
use crate::inbound::Inbound;
use crate::limits::{ANSWER_MAX, FRAME_BYTES_MAX, Pace, REQUESTS_MAX};
use crate::outbound::Outbound;
use crate::subscription::SubscriptionSlot;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sengu_interconnect::{BrokerError, Message, Queue};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// The request whose answer nobody waits for.
const NOBODY: u64 = 0;

pub struct Conn {
    pub out: Outbound,
    why_dead: OnceLock<Arc<LinkError>>,
    /// Numbers requests, subscriptions and directories.
    last: AtomicU64,
    answers: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// Bounds `answers`.
    requests: Semaphore,
    /// One batch at a time comes in parts.
    parts: tokio::sync::Mutex<()>,
    pub subscriptions: Mutex<HashMap<u64, Arc<SubscriptionSlot>>>,
    pub directories: Mutex<HashMap<u64, Arc<DirectorySlot>>>,
    control: Mutex<Control>,
}

/// What is said without waiting for room: it is bounded by what is subscribed and what is out.
#[derive(Default)]
struct Control {
    settled: Vec<Arc<SubscriptionSlot>>,
    unsubscribed: Vec<u64>,
    closed: Vec<u64>,
}

impl Conn {
    pub fn new() -> Conn {
        Conn {
            out: Outbound::new(),
            why_dead: OnceLock::new(),
            last: AtomicU64::new(NOBODY),
            answers: Mutex::default(),
            requests: Semaphore::new(REQUESTS_MAX),
            parts: tokio::sync::Mutex::default(),
            subscriptions: Mutex::default(),
            directories: Mutex::default(),
            control: Mutex::default(),
        }
    }

    pub fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn why_dead(&self) -> Option<&Arc<LinkError>> {
        self.why_dead.get()
    }

    /// # Errors
    /// `Away` when it is dead.
    pub fn check(&self) -> Result<(), BrokerError> {
        match self.why_dead() {
            Some(why) => Err(away(why.clone())),
            None => Ok(()),
        }
    }

    /// Tells all that wait for something of this connection. Who comes later asks `why_dead`.
    pub fn die(&self, why: Arc<LinkError>) {
        if self.why_dead.set(why).is_err() {
            return;
        }
        self.out.end();
        self.answers.lock().clear();
        self.requests.close();
        for slot in std::mem::take(&mut *self.subscriptions.lock()).values() {
            slot.wake();
        }
        for slot in std::mem::take(&mut *self.directories.lock()).values() {
            slot.wake();
        }
        *self.control.lock() = Control::default();
    }

    /// Has the writer say what the slot has to say. Each slot is in the list once.
    pub fn settle(&self, slot: Arc<SubscriptionSlot>) {
        self.control.lock().settled.push(slot);
        self.out.poke();
    }

    pub fn unsubscribe(&self, id: u64) {
        if self.subscriptions.lock().remove(&id).is_some() {
            self.control.lock().unsubscribed.push(id);
            self.out.poke();
        }
    }

    pub fn close_directory(&self, id: u64) {
        if self.directories.lock().remove(&id).is_some() {
            self.control.lock().closed.push(id);
            self.out.poke();
        }
    }

    pub fn write_control(&self, out: &mut BytesMut) {
        let control = std::mem::take(&mut *self.control.lock());
        for slot in control.settled {
            slot.write_settled(out);
        }
        for id in control.unsubscribed {
            frame::unsubscribe(out, id);
        }
        for id in control.closed {
            frame::close_directory(out, id);
        }
    }

    pub async fn read<R: AsyncRead + Unpin>(
        &self,
        mut inbound: Inbound<R>,
        pace: Pace,
    ) -> LinkError {
        loop {
            let frame = inbound.frame(FRAME_BYTES_MAX, pace.silence_max).await;
            let done = match frame.and_then(Say::read) {
                Ok(say) => self.hear(say),
                Err(e) => Err(e),
            };
            if let Err(e) = done {
                return e;
            }
        }
    }

    fn hear(&self, say: Say) -> Result<(), LinkError> {
        match say {
            Say::Alive => {}
            Say::Answer { request, answer } => {
                // Whoever asked may not wait any more.
                if let Some(waiting) = self.answers.lock().remove(&request) {
                    let _ = waiting.send(answer);
                }
            }
            // A subscription or directory that was dropped here is not known there yet.
            Say::Deliver {
                subscription,
                deliveries,
            } => {
                let slot = self.subscriptions.lock().get(&subscription).cloned();
                if let Some(slot) = slot {
                    slot.deliver(self, deliveries)?;
                }
            }
            Say::SubscriptionGone { subscription } => {
                let slot = self.subscriptions.lock().get(&subscription).cloned();
                if let Some(slot) = slot {
                    slot.gone();
                }
            }
            Say::Entries {
                directory,
                more,
                entries,
            } => {
                let slot = self.directories.lock().get(&directory).cloned();
                if let Some(slot) = slot {
                    slot.add(entries, more)?;
                }
            }
            Say::DirectoryGone { directory } => {
                let slot = self.directories.lock().get(&directory).cloned();
                if let Some(slot) = slot {
                    slot.gone();
                }
            }
        }
        Ok(())
    }

    /// Says it when there is room, with the number of a request, and waits for the answer.
    async fn ask(&self, write: impl FnOnce(&mut BytesMut, u64)) -> Result<Answer, BrokerError> {
        let asked = self.begin().await?;
        self.out
            .say_with_room(|out| write(out, asked.request))
            .await;
        asked.answer().await
    }

    async fn begin(&self) -> Result<Asked<'_>, BrokerError> {
        let permit = self.requests.acquire().await;
        let request = self.number();
        let (sender, receiver) = oneshot::channel();
        self.answers.lock().insert(request, sender);
        let asked = Asked {
            conn: self,
            request,
            receiver: Some(receiver),
            _permit: permit.ok(),
        };
        self.check()?;
        Ok(asked)
    }

    /// A batch of at most `BATCH_BYTES_MAX`, of bodies that fit into a frame.
    pub async fn publish(&self, batch: &[Message]) -> Result<(), BrokerError> {
        if frame::publish_count(batch) >= batch.len() {
            let whole = Part {
                first: true,
                last: true,
            };
            let answer = self
                .ask(|out, request| frame::publish(out, request, whole, batch))
                .await?;
            return done(answer);
        }
        let asked = self.begin().await?;
        let parts = self.parts.lock().await;
        let mut rest = batch;
        let mut first = true;
        while !rest.is_empty() {
            let (these, others) = rest.split_at(frame::publish_count(rest));
            let part = Part {
                first: std::mem::take(&mut first),
                last: others.is_empty(),
            };
            self.out
                .say_with_room(|out| frame::publish(out, asked.request, part, these))
                .await;
            rest = others;
        }
        drop(parts);
        done(asked.answer().await?)
    }

    pub async fn subscribe(&self, id: u64, credit: u32, queue: &Queue) -> Result<(), BrokerError> {
        let answer = self
            .ask(|out, request| frame::subscribe(out, request, id, credit, queue))
            .await?;
        done(answer)
    }

    pub async fn depth(&self, queue: &Queue) -> Result<u64, BrokerError> {
        let answer = self
            .ask(|out, request| frame::depth(out, request, queue))
            .await?;
        match answer {
            Answer::Count(count) => Ok(count),
            other => Err(done(other).err().unwrap_or_else(strange)),
        }
    }

    pub async fn retain(&self, key: &str, value: Option<&Bytes>) -> Result<(), BrokerError> {
        let answer = self
            .ask(|out, request| frame::retain(out, request, key, value))
            .await?;
        done(answer)
    }

    /// As `retain`, for nobody who waits for the answer.
    pub async fn retain_again(&self, key: &str, value: &Bytes) {
        self.out
            .say_with_room(|out| frame::retain(out, NOBODY, key, Some(value)))
            .await;
    }
}

fn strange() -> BrokerError {
    away(Arc::new(LinkError::Protocol("an answer to something else")))
}

fn done(answer: Answer) -> Result<(), BrokerError> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Full { queue, depth_max } => Err(BrokerError::Full {
            queue,
            depth_max: usize::try_from(depth_max).unwrap_or(usize::MAX),
        }),
        Answer::Away(why) => Err(away(Arc::new(LinkError::Behind(why)))),
        Answer::Count(_) => Err(strange()),
    }
}

/// A request under way. Dropped, nobody waits for its answer.
struct Asked<'a> {
    conn: &'a Conn,
    request: u64,
    receiver: Option<oneshot::Receiver<Answer>>,
    _permit: Option<tokio::sync::SemaphorePermit<'a>>,
}

impl Asked<'_> {
    async fn answer(mut self) -> Result<Answer, BrokerError> {
        let receiver = self.receiver.take().ok_or_else(strange)?;
        match timeout(ANSWER_MAX, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                self.conn.check()?;
                Err(strange())
            }
            Err(_) => Err(away(Arc::new(LinkError::NoAnswer))),
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.conn.answers.lock().remove(&self.request);
    }
}
