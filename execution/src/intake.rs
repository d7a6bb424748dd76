//! From the broker to the worker: deliveries are admitted, handed to an instance and acked, or wait for one, or end here.

use crate::choose::{Seat, choose};
use crate::frames;
use crate::hand::{Collected, InHand};
use crate::lease::{Admission, Fence, Lease};
use crate::offer::BROKER_RETRY;
use crate::pool::Phase;
use crate::redact::Redactor;
use crate::report::report;
use crate::shell::{Event, Received, Shell};
use bytes::Bytes;
use futures::FutureExt;
use sengu_interconnect::{BrokerError, Delivery, Queue, Subscription, Tag};
use sengu_model::wire::envelope::{Event as What, SealedSecret, TaskEnvelope, VERSION, WeeCommand};
use sengu_model::{Class, FailureCode, Outcome, TaskId, seal};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Tasks taken from the broker at once.
const RECEIVE_MAX: usize = 512;
/// A task that was received and has no slot after this long is given back to logic.
const WAIT_MAX_MS: u64 = 15_000;
/// Tasks that a broken pool takes and rejects per tick: few, so that a whole WEE beside it gets the others.
const REJECTIONS_PER_TICK: u32 = 16;
/// Cancels remembered for tasks that are not here (yet).
const CANCELLED_MAX: usize = 1_024;
/// Unacked commands.
const COMMANDS_CREDIT: u32 = 256;

/// A task received, and not in the hands of an instance yet.
pub struct Waiting {
    pub task: TaskId,
    pub fence: Fence,
    body: Bytes,
    tag: Tag,
    since_ms: u64,
}

/// One subscription for tasks.
#[derive(Default)]
pub struct Intake {
    subscription: Option<Box<dyn Subscription>>,
    /// The wait for deliveries is under way, for at most this many.
    armed: Option<u32>,
    subscribing: bool,
    poke: Arc<Notify>,
    acks: Vec<Tag>,
    credit: u32,
    closed: bool,
}

impl Intake {
    /// Closed, and nothing of it is left.
    pub fn is_settled(&self) -> bool {
        self.subscription.is_none() && self.armed.is_none() && !self.subscribing
    }
}

/// Why a task could not be handed over now.
enum NotHanded {
    /// Every slot is taken.
    NoSeat,
    /// It never will be, and why.
    Impossible(String),
}

fn slot(class: Class) -> usize {
    match class {
        Class::Control => 0,
        Class::Observe => 1,
    }
}

impl Shell {
    pub fn subscribe(&mut self, at: usize, class: Class) {
        let pool = &mut self.pools[at];
        let queue = Queue::tasks(&self.config.zone, &pool.kind, class);
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
        at: usize,
        class: Class,
        result: Result<Box<dyn Subscription>, BrokerError>,
    ) {
        let pool = &mut self.pools[at];
        let intake = &mut pool.intakes[slot(class)];
        intake.subscribing = false;
        if intake.closed {
            return;
        }
        match result {
            Ok(subscription) => {
                intake.subscription = Some(subscription);
                pool.dirty = true;
            }
            Err(e) => {
                tracing::warn!(kind = %pool.kind, error = %e, "subscribe to tasks");
                self.subscribe(at, class);
            }
        }
    }

    /// Waits for as many tasks as there is room for, in the background.
    pub fn arm(&mut self, at: usize, class: Class) {
        let choked = self.is_choked();
        let pool = &mut self.pools[at];
        let mut room = pool.room(class).min(RECEIVE_MAX as u32);
        if !pool.waiting[slot(class)].is_empty() || choked {
            room = 0;
        }
        if pool.broken.is_some() && !choked {
            room = pool.rejections_left;
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
        let credit = room.saturating_add(waiting);
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

    pub fn close_intake(&mut self, at: usize, class: Class) {
        let intake = &mut self.pools[at].intakes[slot(class)];
        intake.closed = true;
        intake.poke.notify_one();
        self.pools[at].dirty = true;
    }

    pub fn on_received(
        &mut self,
        at: usize,
        class: Class,
        subscription: Box<dyn Subscription>,
        received: Received,
    ) {
        let pool = &mut self.pools[at];
        pool.dirty = true;
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
                for waiting in pool.waiting[slot(class)].drain(..) {
                    self.fences.forget(waiting.task, waiting.fence);
                }
                self.subscribe(at, class);
            }
        }
    }

    fn on_delivery(&mut self, at: usize, class: Class, delivery: Delivery) {
        let Delivery { tag, body, .. } = delivery;
        let envelope = match serde_json::from_slice::<TaskEnvelope>(&body) {
            Ok(envelope) if envelope.v == VERSION => envelope,
            Ok(envelope) => {
                let why = format!("envelope version {} is not known here", envelope.v);
                let fence = fence_of(&envelope);
                self.reject(envelope.task, fence, &why);
                self.ack(at, class, tag);
                return;
            }
            Err(e) => {
                tracing::error!(error = %e, "task envelope not understood");
                if let Ok(head) = serde_json::from_slice::<Head>(&body) {
                    let why = format!("the envelope is not understood: {e}");
                    self.reject(head.task, head.fence(), &why);
                }
                self.ack(at, class, tag);
                return;
            }
        };
        let (task, fence) = (envelope.task, fence_of(&envelope));
        if self.fences.admit(task, fence) != Admission::Fresh {
            tracing::debug!(%task, %fence, "seen before");
            self.ack(at, class, tag);
            return;
        }
        let since_ms = self.now_ms;
        let waiting = |body| Waiting {
            task,
            fence,
            body,
            tag,
            since_ms,
        };
        if let Some(older) = self.hand.get(&task) {
            let instance = older.instance;
            let waiting = waiting(body.clone());
            self.send_cancel(instance, task);
            self.hold_back(at, class, waiting);
            return;
        }
        if !self.pools[at].waiting[slot(class)].is_empty() || self.pools[at].room(class) == 0 {
            let waiting = waiting(body.clone());
            self.pools[at].waiting[slot(class)].push_back(waiting);
            return;
        }
        match self.hand_over(at, &envelope) {
            Ok(()) => self.ack(at, class, tag),
            Err(NotHanded::NoSeat) => {
                let waiting = waiting(body.clone());
                self.pools[at].free = self.pools[at].free.saturating_sub(1);
                self.pools[at].waiting[slot(class)].push_back(waiting);
            }
            Err(NotHanded::Impossible(why)) => {
                self.reject(task, fence, &why);
                self.ack(at, class, tag);
            }
        }
    }

    fn hold_back(&mut self, at: usize, class: Class, waiting: Waiting) {
        let task = waiting.task;
        if let Some((at, class, older)) = self.held_back.insert(task, (at, class, waiting)) {
            self.ack(at, class, older.tag);
        }
    }

    /// The older attempt is out of hand: the newer one may begin.
    pub fn release(&mut self, task: TaskId) {
        if let Some((at, class, waiting)) = self.held_back.remove(&task) {
            self.pools[at].waiting[slot(class)].push_front(waiting);
            self.pools[at].dirty = true;
        }
    }

    fn ack(&mut self, at: usize, class: Class, tag: Tag) {
        let pool = &mut self.pools[at];
        pool.intakes[slot(class)].acks.push(tag);
        pool.dirty = true;
    }

    /// Gives the task to an instance, or ends it here where that is all there is to do.
    fn hand_over(&mut self, at: usize, envelope: &TaskEnvelope) -> Result<(), NotHanded> {
        let (task, fence) = (envelope.task, fence_of(envelope));
        if let Some(start_by) = envelope.start_by
            && self.now > start_by
        {
            let why = "it was not started in time".to_owned();
            self.end_unbegun(task, fence, &Outcome::Expired { why });
            return Ok(());
        }
        if !self.cancelled.is_empty()
            && let Some(n) = self.cancelled.iter().position(|c| *c == (task, fence))
        {
            self.cancelled.remove(n);
            let why = "asked to before it was started".to_owned();
            self.end_unbegun(task, fence, &Outcome::Cancelled { why });
            return Ok(());
        }
        let key = self.seat(at, envelope.sticky).ok_or(NotHanded::NoSeat)?;
        let secrets = self.open_secrets(envelope).map_err(NotHanded::Impossible)?;
        let Some(instance) = self.instances.get_mut(&key) else {
            return Err(NotHanded::NoSeat);
        };
        let was_empty = instance.out.is_empty();
        if let Err(e) = frames::write_task(&mut instance.out, envelope, secrets.as_ref()) {
            // No other WEE could do it either.
            let refused = Outcome::failed(FailureCode::Refused, e.to_string());
            self.end_unbegun(task, fence, &refused);
            return Ok(());
        }
        if was_empty {
            self.unwritten.push(key);
        }
        instance.busy += 1;
        instance.tasks += 1;
        let redactor = secrets.map(|secrets| {
            instance.saw_secrets(secrets.values().map(String::as_str));
            Box::new(Redactor::new(secrets.values().map(String::as_str)))
        });
        self.pools[at].free = self.pools[at].free.saturating_sub(1);
        let in_hand = InHand {
            instance: key,
            fence,
            lease: Lease {
                handed_ms: self.now_ms,
                timeout_ms: envelope.timeout_ms,
                started: false,
                overdue: false,
            },
            handed_at: self.now,
            effect: envelope.effect,
            volatile: envelope.volatile,
            redactor,
            readings: Collected::default(),
            facts: Collected::default(),
            reading_bytes: 0,
            logs: None,
            progress: None,
        };
        self.hand.insert(task, in_hand);
        Ok(())
    }

    fn seat(&self, at: usize, sticky: u64) -> Option<u64> {
        let pool = &self.pools[at];
        let seats = pool.instances.iter().filter_map(|key| {
            let instance = self.instances.get(key)?;
            (instance.phase == Phase::Ready && Arc::ptr_eq(&instance.image, &pool.image)).then(
                || Seat {
                    instance: *key,
                    free: instance.free(),
                },
            )
        });
        choose(sticky, seats)
    }

    fn open_secrets(
        &self,
        envelope: &TaskEnvelope,
    ) -> Result<Option<BTreeMap<String, String>>, String> {
        let Some(sealed) = envelope.secrets else {
            return Ok(None);
        };
        let sealed: SealedSecret = serde_json::from_str(sealed.get())
            .map_err(|_| "the sealed secret is not understood".to_owned())?;
        let key = self.config.seal_key.as_ref();
        let key = key.ok_or_else(|| "this WEE has no key to open secrets with".to_owned())?;
        let mut open = BTreeMap::new();
        for (name, value) in sealed.data {
            let place = format!("{}/{name}", sealed.name);
            let value =
                seal::open(key, &place, &value).map_err(|e| format!("open secret {place}: {e}"))?;
            open.insert(name, value);
        }
        Ok(Some(open))
    }

    pub fn hand_over_waiting(&mut self, at: usize) {
        for class in Class::ALL {
            self.pools[at].free = self.free_now(at);
            while let Some(waiting) = self.pools[at].waiting[slot(class)].pop_front() {
                let result = match serde_json::from_slice::<TaskEnvelope>(&waiting.body) {
                    _ if self.pools[at].room(class) == 0 => Err(NotHanded::NoSeat),
                    Ok(envelope) => self.hand_over(at, &envelope),
                    Err(e) => Err(NotHanded::Impossible(e.to_string())),
                };
                match result {
                    Ok(()) => self.ack(at, class, waiting.tag),
                    Err(NotHanded::NoSeat) => {
                        self.pools[at].waiting[slot(class)].push_front(waiting);
                        break;
                    }
                    Err(NotHanded::Impossible(why)) => {
                        self.reject(waiting.task, waiting.fence, &why);
                        self.ack(at, class, waiting.tag);
                    }
                }
            }
        }
    }

    /// Free slots, not counting those that waiting tasks will take.
    fn free_now(&self, at: usize) -> u32 {
        let pool = &self.pools[at];
        crate::pool::free_slots(&pool.view(self.now_ms), &self.views(at))
    }

    pub fn reject_waiting(&mut self, at: usize, why: &str) {
        for class in Class::ALL {
            for waiting in std::mem::take(&mut self.pools[at].waiting[slot(class)]) {
                self.reject(waiting.task, waiting.fence, why);
                self.ack(at, class, waiting.tag);
            }
        }
    }

    /// Tasks that have waited too long go back; broken pools may reject some more.
    pub fn look_after_waiting(&mut self) {
        for at in 0..self.pools.len() {
            self.pools[at].rejections_left = REJECTIONS_PER_TICK;
            for class in Class::ALL {
                loop {
                    let pool = &mut self.pools[at];
                    let waiting = &mut pool.waiting[slot(class)];
                    let due = waiting.front().is_some_and(|first| {
                        self.now_ms.saturating_sub(first.since_ms) >= WAIT_MAX_MS
                    });
                    let Some(first) = due.then(|| waiting.pop_front()).flatten() else {
                        break;
                    };
                    let why = if pool.crashes > 0 {
                        format!("no instance came up; {}", pool.complaints.newest())
                    } else {
                        "no slot became free".to_owned()
                    };
                    self.reject(first.task, first.fence, &why);
                    self.ack(at, class, first.tag);
                }
            }
        }
    }

    /// Nothing happened: logic may give it to another WEE.
    fn reject(&mut self, task: TaskId, fence: Fence, why: &str) {
        tracing::debug!(%task, why, "rejected");
        self.fences.forget(task, fence);
        let mut rejected = report(task, fence, self.now, What::Rejected);
        rejected.why = Some(why.into());
        self.outbox.push(&rejected, &[]);
    }

    /// The task ends here, without a worker.
    fn end_unbegun(&mut self, task: TaskId, fence: Fence, outcome: &Outcome) {
        let ended = report(task, fence, self.now, What::Ended);
        if let Ok(outcome) = serde_json::to_vec(outcome) {
            self.outbox.push(&ended, &[("outcome", &outcome)]);
        }
    }

    pub fn follow_commands(&mut self, subscription: Option<Box<dyn Subscription>>) {
        let (broker, queue) = (self.broker.clone(), Queue::wee(&self.config.name));
        self.source(async move {
            let subscription = match subscription {
                Some(subscription) => Ok(subscription),
                None => broker.subscribe(queue, COMMANDS_CREDIT).await,
            };
            let result = match subscription {
                Ok(mut subscription) => match subscription.receive(RECEIVE_MAX).await {
                    Ok(deliveries) => Ok((subscription, deliveries)),
                    Err(e) => Err(e),
                },
                Err(e) => Err(e),
            };
            match result {
                Ok((subscription, deliveries)) => Event::Commands(Some(subscription), deliveries),
                Err(e) => {
                    tracing::warn!(error = %e, "follow commands");
                    tokio::time::sleep(BROKER_RETRY).await;
                    Event::Commands(None, Vec::new())
                }
            }
        });
    }

    pub fn on_commands(
        &mut self,
        subscription: Option<Box<dyn Subscription>>,
        deliveries: &[Delivery],
    ) {
        for delivery in deliveries {
            match serde_json::from_slice::<WeeCommand>(&delivery.body) {
                Ok(WeeCommand::Cancel {
                    task,
                    epoch,
                    attempt,
                }) => self.on_cancel(task, Fence { epoch, attempt }),
                Err(e) => tracing::error!(error = %e, "command not understood"),
            }
        }
        let mut subscription = subscription;
        if let Some(open) = &mut subscription {
            let tags: Vec<Tag> = deliveries.iter().map(|d| d.tag).collect();
            if let Err(e) = open.ack(&tags) {
                tracing::warn!(error = %e, "ack commands");
            }
        }
        self.follow_commands(subscription);
    }

    fn on_cancel(&mut self, task: TaskId, fence: Fence) {
        if let Some(in_hand) = self.hand.get(&task) {
            if in_hand.fence == fence {
                let instance = in_hand.instance;
                self.send_cancel(instance, task);
                return;
            }
        } else if self.fences.seen(task) == Some(fence) && !self.is_waiting(task) {
            return; // it ended a moment ago
        }
        if self.cancelled.len() == CANCELLED_MAX {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back((task, fence));
    }

    fn is_waiting(&self, task: TaskId) -> bool {
        let waiting = |pool: &crate::offer::Pool| {
            pool.waiting
                .iter()
                .flatten()
                .any(|waiting| waiting.task == task)
        };
        self.held_back.contains_key(&task) || self.pools.iter().any(waiting)
    }

    pub fn send_cancel(&mut self, instance: u64, task: TaskId) {
        if let Some(instance) = self.instances.get_mut(&instance) {
            if instance.out.is_empty() {
                self.unwritten.push(instance.key);
            }
            frames::write_cancel(&mut instance.out, task);
        }
    }
}

/// The least that must be understood of an envelope to say that the rest was not.
#[derive(Deserialize)]
struct Head {
    task: TaskId,
    epoch: u64,
    attempt: u32,
}

impl Head {
    fn fence(&self) -> Fence {
        Fence {
            epoch: self.epoch,
            attempt: self.attempt,
        }
    }
}

fn fence_of(envelope: &TaskEnvelope) -> Fence {
    Fence {
        epoch: envelope.epoch,
        attempt: envelope.attempt,
    }
}
