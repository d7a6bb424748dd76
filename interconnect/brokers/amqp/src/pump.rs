//! What runs one subscription: takes what the server delivers, tells it acks in as few words as possible, and keeps its
//! prefetch in step with the credit (see `credit.rs`).

use crate::conn::{Conn, Standing};
use crate::credit::{self, Wish};
use crate::dead_letter;
use crate::error::{AmqpError, NOT_FOUND, of_channel, said};
use crate::limits::{CLOSE_MAX, GROW_AFTER, HOLD_MAX, REPLY_MAX, SHRINK_AFTER};
use crate::subscription::{Ready, Slot};
use futures::future::{FutureExt, try_join_all};
use futures::stream::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use sengu_interconnect::Queue;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Deliveries taken at once before the subscriber is told.
const TAKE_MAX: usize = 256;

pub struct Pump {
    conn: Arc<Conn>,
    channel: Channel,
    queue: Queue,
    name: ShortString,
    slot: Arc<Slot>,
    consumer: Option<Consumer>,
    consumers: u64,
    prefetch: usize,
    /// All that the server delivered and has heard nothing of.
    unsettled: BTreeSet<u64>,
    newest: u64,
    /// Since when the consumer does not fit the credit.
    unfit_since: Option<Instant>,
}

enum Next {
    Delivered(Option<lapin::Result<Box<Delivery>>>),
    Said,
    Due,
    Dead(AmqpError),
}

impl Pump {
    pub fn new(
        conn: Arc<Conn>,
        channel: Channel,
        queue: Queue,
        name: ShortString,
        slot: Arc<Slot>,
    ) -> Pump {
        Pump {
            conn,
            channel,
            queue,
            name,
            slot,
            consumer: None,
            consumers: 0,
            prefetch: 0,
            unsettled: BTreeSet::new(),
            newest: 0,
            unfit_since: None,
        }
    }

    /// Consumes, if there is credit.
    ///
    /// # Errors
    /// When the server does not let it.
    pub async fn begin(&mut self) -> Result<(), AmqpError> {
        self.replace().await
    }

    pub async fn run(mut self) {
        let why = match self.work().await {
            Ok(()) => {
                // Dropped: whatever is out goes back with the channel.
                let close = self.channel.close(200, ShortString::default());
                let _ = timeout(CLOSE_MAX, close).await;
                AmqpError::Closing
            }
            Err(why) => why,
        };
        if matches!(why, AmqpError::Gone(_)) {
            self.conn.forget(&self.queue).await;
        }
        let mut state = self.slot.state.lock();
        if !state.is_closing {
            tracing::debug!(queue = %self.queue, error = why.text(), "subscription over");
        }
        state.over = Some(why);
        state.ready.clear();
        drop(state);
        self.slot.arrived.notify_one();
    }

    async fn work(&mut self) -> Result<(), AmqpError> {
        let mut standing = self.conn.standing();
        loop {
            if self.slot.state.lock().is_closing {
                self.tell_all().await?;
                return Ok(());
            }
            let due = self.step().await?;
            let dead = standing.wait_for(|standing| matches!(standing, Standing::Dead(_)));
            let next = tokio::select! {
                delivered = next(&mut self.consumer) => {
                    Next::Delivered(delivered.map(|d| d.map(Box::new)))
                }
                () = self.slot.said.notified() => Next::Said,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::Due,
                dead = dead => Next::Dead(match dead.as_deref() {
                    Ok(Standing::Dead(why)) => why.clone(),
                    _ => AmqpError::Closing,
                }),
            };
            match next {
                Next::Delivered(Some(Ok(delivery))) => self.take(*delivery)?,
                Next::Delivered(Some(Err(error))) => return Err(self.of(error, "consume")),
                Next::Delivered(None) => return Err(AmqpError::Gone(self.name.to_string())),
                Next::Dead(why) => return Err(why),
                Next::Said | Next::Due => {}
            }
        }
    }

    /// Hands one delivery over, and those that are there already.
    fn take(&mut self, first: Delivery) -> Result<(), AmqpError> {
        let mut taken = vec![self.ready(first)];
        let mut ended = Ok(());
        while taken.len() < TAKE_MAX
            && let Some(consumer) = &mut self.consumer
            && let Some(more) = consumer.next().now_or_never()
        {
            match more {
                Some(Ok(delivery)) => {
                    let ready = self.ready(delivery);
                    taken.push(ready);
                }
                Some(Err(error)) => {
                    ended = Err(self.of(error, "consume"));
                    break;
                }
                None => {
                    ended = Err(AmqpError::Gone(self.name.to_string()));
                    break;
                }
            }
        }
        self.slot.state.lock().ready.extend(taken);
        self.slot.arrived.notify_one();
        ended
    }

    fn ready(&mut self, delivery: Delivery) -> Ready {
        let tag = delivery.delivery_tag;
        self.unsettled.insert(tag);
        self.newest = self.newest.max(tag);
        let is_redelivered = delivery.redelivered;
        let body = match self.queue == Queue::parked() {
            true => dead_letter::body(&self.conn.prefix, delivery),
            false => delivery.data.into(),
        };
        Ready {
            tag,
            body,
            is_redelivered,
        }
    }

    /// Does what was said since the last time. Gives the time when there is something to do without a word.
    async fn step(&mut self) -> Result<Option<Instant>, AmqpError> {
        let now = Instant::now();
        let (acks, backs, wish) = {
            let mut state = self.slot.state.lock();
            let plan = credit::plan(state.counts(self.prefetch));
            // The oldest first: they go in one word.
            let acks: Vec<u64> = state.acks.iter().take(plan.release).copied().collect();
            for tag in &acks {
                state.acks.remove(tag);
            }
            (acks, std::mem::take(&mut state.backs), plan.wish)
        };
        self.ack(acks).await?;
        let patience = match wish {
            Wish::Fits => None,
            Wish::GrowNow => Some(Duration::ZERO),
            // What is given back must not come again to one that wants less.
            Wish::Shrink if !backs.is_empty() => Some(Duration::ZERO),
            Wish::Shrink => Some(SHRINK_AFTER),
            Wish::Grow => Some(GROW_AFTER),
            Wish::Hold => Some(HOLD_MAX),
        };
        let since = patience.map(|_| self.unfit_since.unwrap_or(now));
        self.unfit_since = since;
        let due = since
            .zip(patience)
            .map(|(since, patience)| since + patience);
        if due.is_some_and(|due| due <= now) {
            self.replace().await?;
        }
        for tag in backs {
            self.back(tag).await?;
        }
        if due.is_some_and(|due| due > now) {
            return Ok(due);
        }
        Ok(None)
    }

    /// A new consumer in the place of the present one, with the prefetch that fits now.
    async fn replace(&mut self) -> Result<(), AmqpError> {
        self.unfit_since = None;
        if let Some(mut consumer) = self.consumer.take() {
            let cancel = self
                .channel
                .basic_cancel(consumer.tag(), BasicCancelOptions::default());
            match timeout(REPLY_MAX, cancel).await {
                Ok(done) => done.map_err(|e| self.of(e, "cancel"))?,
                Err(_) => return Err(AmqpError::Late("cancel")),
            }
            // What was on its way came before the answer.
            let mut taken = Vec::new();
            while let Some(Some(more)) = consumer.next().now_or_never() {
                let delivery = more.map_err(|e| self.of(e, "consume"))?;
                taken.push(self.ready(delivery));
            }
            self.slot.state.lock().ready.extend(taken);
            self.slot.arrived.notify_one();
        }
        let (acks, surplus, prefetch) = {
            let mut state = self.slot.state.lock();
            state.old_until = self.newest;
            let surplus = state.not_acked().saturating_sub(state.credit);
            let stays = state.ready.len().saturating_sub(surplus);
            let surplus: Vec<u64> = state.ready.drain(stays..).map(|r| r.tag).collect();
            let acks: Vec<u64> = std::mem::take(&mut state.acks).into_iter().collect();
            let prefetch = credit::prefetch(state.credit, state.not_acked());
            (acks, surplus, prefetch)
        };
        self.ack(acks).await?;
        for tag in surplus {
            self.back(tag).await?;
        }
        self.prefetch = usize::from(prefetch);
        if prefetch == 0 {
            // To the server no prefetch means no bound.
            return Ok(());
        }
        self.consumers += 1;
        let tag = ShortString::try_new(self.consumers.to_string()).unwrap_or_default();
        let consume = async {
            self.channel
                .basic_qos(prefetch, BasicQosOptions { global: false })
                .await?;
            let options = BasicConsumeOptions::default();
            let (name, none) = (self.name.clone(), FieldTable::default());
            self.channel.basic_consume(name, tag, options, none).await
        };
        let consumer = match timeout(REPLY_MAX, consume).await {
            Ok(consumer) => consumer.map_err(|e| self.of(e, "consume"))?,
            Err(_) => return Err(AmqpError::Late("consume")),
        };
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Tells acks: those that are the oldest of all in one word, the others one by one but together.
    async fn ack(&mut self, tags: Vec<u64>) -> Result<(), AmqpError> {
        let mut oldest = None;
        let mut single = Vec::new();
        for tag in tags {
            if single.is_empty() && self.unsettled.first() == Some(&tag) {
                oldest = Some(tag);
            } else {
                single.push(tag);
            }
            self.unsettled.remove(&tag);
        }
        let all = oldest.map(|tag| (tag, true));
        let all = all
            .into_iter()
            .chain(single.into_iter().map(|tag| (tag, false)));
        let words =
            all.map(|(tag, multiple)| self.channel.basic_ack(tag, BasicAckOptions { multiple }));
        let told = try_join_all(words).await;
        told.map(drop).map_err(|e| self.of(e, "ack"))
    }

    async fn back(&mut self, tag: u64) -> Result<(), AmqpError> {
        self.unsettled.remove(&tag);
        let options = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        let told = self.channel.basic_nack(tag, options).await;
        told.map_err(|e| self.of(e, "give back"))
    }

    /// What was said before the subscription was dropped.
    async fn tell_all(&mut self) -> Result<(), AmqpError> {
        let (acks, backs) = {
            let mut state = self.slot.state.lock();
            let acks = std::mem::take(&mut state.acks);
            (acks, std::mem::take(&mut state.backs))
        };
        let told = async {
            self.ack(acks.into_iter().collect()).await?;
            for tag in backs {
                self.back(tag).await?;
            }
            Ok(())
        };
        match timeout(CLOSE_MAX, told).await {
            Ok(told) => told,
            Err(_) => Err(AmqpError::Late("ack")),
        }
    }

    fn of(&self, error: lapin::Error, what: &'static str) -> AmqpError {
        if let Some(why) = self.conn.why_dead() {
            return why;
        }
        match said(&error) {
            Some((NOT_FOUND, _)) => AmqpError::Gone(self.name.to_string()),
            _ => of_channel(what, error),
        }
    }
}

async fn next(consumer: &mut Option<Consumer>) -> Option<lapin::Result<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}
