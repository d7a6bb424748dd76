//! Claims: what may not be repeated is handed to a worker only once logic has said that this WEE may.
//!
//! The broker delivers at least once, and what another WEE was given is not known here. Of all that hold the same attempt
//! logic lets one begin it. It must never hand over what was not granted, never hold a slot for longer than the task may
//! wait to be started, and never keep what it was refused.

use crate::hand_over::{Leave, Waiting};
use crate::intake::slot;
use crate::lease::Fence;
use crate::pools::PoolKey;
use crate::report::report;
use crate::shell::Shell;
use sengu_model::wire::envelope::{Event as What, Grant, TaskEnvelope};
use sengu_model::{Class, Outcome, TaskId, Time, limits};

/// A task whose claim is out. A free slot is kept for it.
pub struct Claimed {
    at: PoolKey,
    class: Class,
    pub waiting: Waiting,
    start_by: Option<Time>,
    /// When the claim was said last.
    said_ms: u64,
}

impl Shell {
    /// Asks whether the task may be begun, if there is a slot for it; gives it back otherwise.
    pub fn claim(
        &mut self,
        at: PoolKey,
        class: Class,
        envelope: &TaskEnvelope,
        waiting: Waiting,
    ) -> Option<Waiting> {
        if self.seats_free(at) <= self.pools[at].claimed() {
            return Some(waiting);
        }
        let pool = &mut self.pools[at];
        pool.free = pool.free.saturating_sub(1);
        pool.claimed[slot(class)] += 1;
        self.say_claim(waiting.task, waiting.fence);
        let claimed = Claimed {
            at,
            class,
            waiting,
            start_by: envelope.start_by,
            said_ms: self.now_ms,
        };
        self.claims.insert(envelope.task, claimed);
        None
    }

    fn say_claim(&mut self, task: TaskId, fence: Fence) {
        let claim = report(task, fence, self.now, What::Claim);
        self.outbox.push(&claim, &[]);
    }

    /// The claim is over, one way or another: its slot is kept no longer.
    fn take_claim(&mut self, task: TaskId) -> Option<Claimed> {
        let claimed = self.claims.remove(&task)?;
        let pool = &mut self.pools[claimed.at];
        let count = &mut pool.claimed[slot(claimed.class)];
        *count = count.saturating_sub(1);
        pool.free = pool.free.saturating_add(1);
        self.pools.touch(claimed.at);
        Some(claimed)
    }

    /// Logic has answered.
    pub fn on_begin(&mut self, life: u64, items: &[Grant]) {
        if life != self.config.life {
            tracing::debug!(life, "grants for another life are passed over");
            return;
        }
        for item in items {
            let fence = Fence {
                epoch: item.epoch,
                attempt: item.attempt,
            };
            self.on_grant(item.task, fence, item.may);
        }
    }

    fn on_grant(&mut self, task: TaskId, fence: Fence, may: bool) {
        let asked = |claimed: &Claimed| claimed.waiting.fence == fence;
        if !self.claims.get(&task).is_some_and(asked) {
            tracing::debug!(%task, %fence, may, "an answer that nobody waits for");
            return;
        }
        // Its life may have been ended by another one before it said so.
        let may = may && !self.logic.is_over(fence.epoch);
        let Some(Claimed {
            at,
            class,
            mut waiting,
            ..
        }) = self.take_claim(task)
        else {
            return;
        };
        if !may {
            tracing::debug!(%task, %fence, "not to be begun here");
            self.ack(at, class, waiting.tag);
            return;
        }
        waiting.leave = Leave::Given;
        let body = waiting.body.clone();
        let waiting = match serde_json::from_slice::<TaskEnvelope>(&body) {
            Ok(envelope) => self.bring_on(at, class, &envelope, waiting),
            Err(e) => {
                self.reject(task, fence, &e.to_string());
                self.ack(at, class, waiting.tag);
                None
            }
        };
        if let Some(mut waiting) = waiting {
            waiting.leave = Leave::GivenBefore;
            // Its slot is gone with an instance: it is the next to get one.
            self.pools[at].waiting[slot(class)].push_front(waiting);
        }
    }

    /// Whether a task with that fence waited for its answer; then it has ended.
    pub fn cancel_claimed(&mut self, task: TaskId, fence: Fence) -> bool {
        let asked = |claimed: &Claimed| claimed.waiting.fence == fence;
        if !self.claims.get(&task).is_some_and(asked) {
            return false;
        }
        if let Some(claimed) = self.take_claim(task) {
            let why = "asked to before it was started".to_owned();
            self.end_unbegun(task, fence, &Outcome::Cancelled { why });
            self.ack(claimed.at, claimed.class, claimed.waiting.tag);
        }
        true
    }

    /// A newer attempt has come: whatever is said of the older one, it is not begun.
    pub fn drop_older_claim(&mut self, task: TaskId) {
        if let Some(older) = self.take_claim(task) {
            tracing::debug!(%task, fence = %older.waiting.fence, "a newer attempt has come");
            self.ack(older.at, older.class, older.waiting.tag);
        }
    }

    /// Claims of the pool are not waited for any longer.
    pub fn reject_claimed(&mut self, at: PoolKey, why: &str) {
        let here = self.claims.iter().filter(|(_, claimed)| claimed.at == at);
        let tasks: Vec<TaskId> = here.map(|(task, _)| *task).collect();
        for task in tasks {
            self.reject_claim(task, why);
        }
    }

    fn reject_claim(&mut self, task: TaskId, why: &str) {
        if let Some(claimed) = self.take_claim(task) {
            self.reject(task, claimed.waiting.fence, why);
            self.ack(claimed.at, claimed.class, claimed.waiting.tag);
        }
    }

    /// The connection that they came by is gone. Their claims may be granted to this WEE, so they stay; what is
    /// delivered again is refused wherever it goes.
    pub fn keep_claims_of(&mut self, at: PoolKey, class: Class) {
        for claimed in self.claims.values_mut() {
            if claimed.at == at && claimed.class == class {
                claimed.waiting.tag = None;
            }
        }
    }

    /// Claims without an answer are said again, and given up when the task must not be started any more.
    pub fn look_after_claims(&mut self) {
        let (now, now_ms) = (self.now, self.now_ms);
        let over = |claimed: &Claimed| match claimed.start_by {
            Some(start_by) => now > start_by,
            None => claimed.waiting.has_waited_long(now_ms),
        };
        let due = |claimed: &Claimed| {
            over(claimed) || now_ms.saturating_sub(claimed.said_ms) >= limits::CLAIM_WAIT_MS
        };
        let tasks: Vec<TaskId> = self
            .claims
            .iter()
            .filter(|(_, claimed)| due(claimed))
            .map(|(task, _)| *task)
            .collect();
        for task in tasks {
            let Some(claimed) = self.claims.get_mut(&task) else {
                continue;
            };
            if over(claimed) {
                self.reject_claim(task, "its claim was not answered in time");
                continue;
            }
            claimed.said_ms = now_ms;
            let fence = claimed.waiting.fence;
            tracing::debug!(%task, %fence, "claimed again");
            self.say_claim(task, fence);
        }
    }
}
