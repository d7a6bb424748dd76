//! From a delivery to a worker: it is admitted, handed to an instance and acked, or waits for one, or ends here.

use crate::choose::{Seat, choose};
use crate::frames;
use crate::hand::{Collected, InHand};
use crate::intake::slot;
use crate::lease::{Admission, Fence, Lease};
use crate::pool::Phase;
use crate::pools::{PoolKey, Stage};
use crate::redact::Redactor;
use crate::report::report;
use crate::shell::Shell;
use bytes::Bytes;
use sengu_interconnect::{Delivery, Queue, Tag};
use sengu_model::wire::envelope::{Event as What, SealedSecret, TaskEnvelope, VERSION, Way};
use sengu_model::{Class, FailureCode, Outcome, TaskId, seal};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A task that was received and has no slot after this long is given back to logic.
const WAIT_MAX_MS: u64 = 15_000;

/// A task received, and not in the hands of an instance yet.
pub struct Waiting {
    pub task: TaskId,
    pub fence: Fence,
    pub body: Bytes,
    /// None when the connection that it came by is gone.
    pub tag: Option<Tag>,
    since_ms: u64,
    pub leave: Leave,
    /// Somebody else may have begun it, or even ended it.
    redelivered: bool,
}

/// Whether logic has said that a task that may not be repeated may be begun here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    NotAsked,
    Given,
    /// It was given and could not be used: logic may have begun a new life since, so it is asked again. Nobody else has
    /// got leave meanwhile.
    GivenBefore,
}

impl Waiting {
    pub fn has_waited_long(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) >= WAIT_MAX_MS
    }
}

/// Where a newer attempt waits, by the pool and class that it came by.
pub type HeldBack = (PoolKey, Class, Waiting);

/// Why a task could not be handed over now.
enum NotHanded {
    /// Every slot is taken.
    NoSeat,
    /// It never will be, and why.
    Impossible(String),
}

impl Shell {
    pub fn on_delivery(&mut self, at: PoolKey, class: Class, delivery: Delivery) {
        let Delivery {
            tag,
            body,
            redelivered,
        } = delivery;
        let envelope = match serde_json::from_slice::<TaskEnvelope>(&body) {
            Ok(envelope) if envelope.v == VERSION => envelope,
            Ok(envelope) => {
                let why = format!("envelope version {} is not known here", envelope.v);
                let fence = fence_of(&envelope);
                self.reject(envelope.task, fence, &why);
                self.put_aside(&self.tasks_of(at, class), &why, &body);
                self.ack(at, class, Some(tag));
                return;
            }
            Err(e) => {
                self.put_aside(&self.tasks_of(at, class), &e.to_string(), &body);
                if let Ok(head) = serde_json::from_slice::<Head>(&body) {
                    let why = format!("the envelope is not understood: {e}");
                    self.reject(head.task, head.fence(), &why);
                }
                self.ack(at, class, Some(tag));
                return;
            }
        };
        let (task, fence) = (envelope.task, fence_of(&envelope));
        let pool = &self.pools[at];
        if (&*envelope.kind, &*envelope.version) != (&*pool.kind, &*pool.version) {
            let (kind, version) = (&envelope.kind, &envelope.version);
            let why = format!(
                "it is for {kind}@{version}, but came in the queue of {}@{}",
                pool.kind, pool.version
            );
            self.reject(task, fence, &why);
            self.ack(at, class, Some(tag));
            return;
        }
        if self.logic.is_over(fence.epoch) {
            tracing::debug!(%task, %fence, "of a life of logic that is over");
            self.ack(at, class, Some(tag));
            return;
        }
        if self.fences.admit(task, fence) != Admission::Fresh {
            tracing::debug!(%task, %fence, "seen before");
            self.ack(at, class, Some(tag));
            return;
        }
        let waiting = Waiting {
            task,
            fence,
            body: body.clone(),
            tag: Some(tag),
            since_ms: self.now_ms,
            leave: Leave::NotAsked,
            redelivered,
        };
        if let Some(older) = self.hand.get(&task) {
            let instance = older.instance;
            self.send_cancel(instance, task);
            self.hold_back(at, class, waiting);
            return;
        }
        if !self.claims.is_empty() {
            self.drop_older_claim(task);
        }
        if !self.pools[at].waiting[slot(class)].is_empty() || self.pools[at].room(class) == 0 {
            self.pools[at].waiting[slot(class)].push_back(waiting);
            return;
        }
        if let Some(waiting) = self.bring_on(at, class, &envelope, waiting) {
            self.pools[at].free = self.pools[at].free.saturating_sub(1);
            self.pools[at].waiting[slot(class)].push_back(waiting);
        }
    }

    fn tasks_of(&self, at: PoolKey, class: Class) -> Queue {
        let pool = &self.pools[at];
        Queue::tasks(&self.config.zone, &pool.kind, &pool.version, class)
    }

    /// Takes a task as far as it can go now: to a worker, to a claim, or to its end here. Gives it back when there is no
    /// slot for it.
    pub fn bring_on(
        &mut self,
        at: PoolKey,
        class: Class,
        envelope: &TaskEnvelope,
        waiting: Waiting,
    ) -> Option<Waiting> {
        let (task, fence, tag) = (waiting.task, waiting.fence, waiting.tag);
        if let Some(outcome) = self.ends_unbegun(envelope) {
            self.end_unbegun(task, fence, &outcome);
            self.ack(at, class, tag);
            return None;
        }
        let repeatable = match waiting.redelivered {
            // An older value must not be written over what came after it.
            true => !envelope.effect.changes(),
            false => envelope.effect.repeatable(),
        };
        if !repeatable && waiting.leave != Leave::Given {
            return self.claim(at, class, envelope, waiting);
        }
        // A slot was kept for what is granted; others leave those alone.
        let kept = match waiting.leave {
            Leave::Given => 0,
            _ => self.pools[at].claimed(),
        };
        match self.hand_over(at, envelope, kept) {
            Ok(()) => self.ack(at, class, tag),
            Err(NotHanded::NoSeat) => return Some(waiting),
            Err(NotHanded::Impossible(why)) => {
                self.reject(task, fence, &why);
                self.ack(at, class, tag);
            }
        }
        None
    }

    fn hold_back(&mut self, at: PoolKey, class: Class, waiting: Waiting) {
        let task = waiting.task;
        if let Some((at, class, older)) = self.held_back.insert(task, (at, class, waiting)) {
            self.ack(at, class, older.tag);
        }
    }

    /// The older attempt is out of hand: the newer one may begin.
    pub fn release(&mut self, task: TaskId) {
        if let Some((at, class, waiting)) = self.held_back.remove(&task) {
            self.pools[at].waiting[slot(class)].push_front(waiting);
            self.pools.touch(at);
        }
    }

    /// Those that came by a connection that is gone will be delivered again.
    pub fn forget_held_back(&mut self, at: PoolKey, class: Class) {
        self.held_back.retain(|task, (pool, of, waiting)| {
            let gone = *pool == at && *of == class;
            if gone {
                self.fences.forget(*task, waiting.fence);
            }
            !gone
        });
    }

    /// Newer attempts that wait for the end of an older one are not begun here.
    pub fn reject_held_back(&mut self, at: PoolKey, why: &str) {
        let here = |(task, (pool, _, _)): (&TaskId, &HeldBack)| (*pool == at).then_some(*task);
        let tasks: Vec<TaskId> = self.held_back.iter().filter_map(here).collect();
        for task in tasks {
            if let Some((at, class, waiting)) = self.held_back.remove(&task) {
                self.reject(waiting.task, waiting.fence, why);
                self.ack(at, class, waiting.tag);
            }
        }
    }

    pub fn ack(&mut self, at: PoolKey, class: Class, tag: Option<Tag>) {
        let pool = &mut self.pools[at];
        pool.intakes[slot(class)].acks.extend(tag);
        self.pools.touch(at);
    }

    /// How a task ends that is not begun any more, if so.
    fn ends_unbegun(&mut self, envelope: &TaskEnvelope) -> Option<Outcome> {
        if let Some(start_by) = envelope.start_by
            && self.now > start_by
        {
            let why = "it was not started in time".to_owned();
            return Some(Outcome::Expired { why });
        }
        if self.cancelled.is_empty() {
            return None;
        }
        let asked = (envelope.task, fence_of(envelope));
        let n = self.cancelled.iter().position(|c| *c == asked)?;
        self.cancelled.remove(n);
        let why = "asked to before it was started".to_owned();
        Some(Outcome::Cancelled { why })
    }

    /// Gives the task to an instance, or ends it here where that is all there is to do. `kept` free slots are for others.
    fn hand_over(
        &mut self,
        at: PoolKey,
        envelope: &TaskEnvelope,
        kept: u32,
    ) -> Result<(), NotHanded> {
        let (task, fence) = (envelope.task, fence_of(envelope));
        if kept > 0 && self.seats_free(at) <= kept {
            return Err(NotHanded::NoSeat);
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
        let shown = envelope
            .frames
            .then(|| frames::task_without_secrets(envelope, secrets.as_ref()));
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
            frames: envelope.frames,
            redactor,
            readings: Collected::default(),
            facts: Collected::default(),
            reading_bytes: 0,
            logs: None,
            progress: None,
        };
        self.hand.insert(task, in_hand);
        if let Some(frame) = shown {
            self.keep_frame(task, Way::ToWorker, &frame);
        }
        Ok(())
    }

    fn seat(&self, at: PoolKey, sticky: u64) -> Option<u64> {
        choose(sticky, self.seats(at))
    }

    /// Free slots of instances that are ready.
    pub fn seats_free(&self, at: PoolKey) -> u32 {
        self.seats(at).map(|seat| seat.free).sum()
    }

    fn seats(&self, at: PoolKey) -> impl Iterator<Item = Seat> {
        let pool = &self.pools[at];
        pool.instances.iter().filter_map(|key| {
            let instance = self.instances.get(key)?;
            (instance.phase == Phase::Ready && Arc::ptr_eq(&instance.image, &pool.image)).then(
                || Seat {
                    instance: *key,
                    free: instance.free(),
                },
            )
        })
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

    pub fn hand_over_waiting(&mut self, at: PoolKey) {
        for class in Class::ALL {
            self.pools[at].free = self.free_now(at);
            while let Some(waiting) = self.pools[at].waiting[slot(class)].pop_front() {
                if self.is_older(&waiting) {
                    self.ack(at, class, waiting.tag);
                    continue;
                }
                let body = waiting.body.clone();
                let left = match serde_json::from_slice::<TaskEnvelope>(&body) {
                    _ if self.pools[at].room(class) == 0 => Some(waiting),
                    Ok(envelope) => self.bring_on(at, class, &envelope, waiting),
                    Err(e) => {
                        self.reject(waiting.task, waiting.fence, &e.to_string());
                        self.ack(at, class, waiting.tag);
                        None
                    }
                };
                if let Some(waiting) = left {
                    self.pools[at].waiting[slot(class)].push_front(waiting);
                    break;
                }
            }
        }
    }

    /// A newer attempt has come since.
    fn is_older(&self, waiting: &Waiting) -> bool {
        let newest = self.fences.seen(waiting.task);
        newest.is_some_and(|newest| newest > waiting.fence)
    }

    /// Free slots, not counting those that waiting tasks will take.
    fn free_now(&self, at: PoolKey) -> u32 {
        let free = crate::pool::free_slots(&self.pool_view(at), &self.views(at));
        free.saturating_sub(self.pools[at].claimed())
    }

    pub fn reject_waiting(&mut self, at: PoolKey, why: &str) {
        for class in Class::ALL {
            for waiting in std::mem::take(&mut self.pools[at].waiting[slot(class)]) {
                self.reject(waiting.task, waiting.fence, why);
                self.ack(at, class, waiting.tag);
            }
        }
    }

    /// Tasks that have waited too long go back; broken pools may reject some more.
    pub fn look_after_pools(&mut self) {
        for at in self.pools.take_due(self.now_ms) {
            self.pools.touch(at);
            self.pools[at].rejections_left = crate::intake::REJECTIONS_PER_TICK;
            for class in Class::ALL {
                loop {
                    let pool = &mut self.pools[at];
                    let waiting = &mut pool.waiting[slot(class)];
                    let long = |first: &Waiting| first.has_waited_long(self.now_ms);
                    let due = waiting.front().is_some_and(long);
                    let Some(first) = due.then(|| waiting.pop_front()).flatten() else {
                        break;
                    };
                    let why = if pool.stage != Stage::Prepared {
                        "its image is not here yet".to_owned()
                    } else if pool.crashes > 0 {
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
    pub fn reject(&mut self, task: TaskId, fence: Fence, why: &str) {
        tracing::debug!(%task, why, "rejected");
        self.fences.forget(task, fence);
        let mut rejected = report(task, fence, self.now, What::Rejected);
        rejected.why = Some(why.into());
        self.outbox.push(&rejected, &[]);
    }

    /// The task ends here, without a worker.
    pub fn end_unbegun(&mut self, task: TaskId, fence: Fence, outcome: &Outcome) {
        let ended = report(task, fence, self.now, What::Ended);
        if let Ok(outcome) = serde_json::to_vec(outcome) {
            self.outbox.push(&ended, &[("outcome", &outcome)]);
        }
    }

    pub fn send_cancel(&mut self, instance: u64, task: TaskId) {
        let Some(instance) = self.instances.get_mut(&instance) else {
            return;
        };
        if instance.out.is_empty() {
            self.unwritten.push(instance.key);
        }
        let mut frame = Vec::new();
        frames::write_cancel(&mut frame, task);
        instance.out.extend_from_slice(&frame);
        self.keep_frame(task, Way::ToWorker, frame.trim_ascii_end());
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
