//! Claims: which WEE may begin an attempt that must not be done twice.
//!
//! Brokers deliver at least once, so two WEEs may hold the same attempt, and neither can know. Each asks before it hands
//! such a task to a worker; the first that asks may, and nobody else ever does under the same fence. A grant is no more
//! than memory: a task that may not be repeated was durably marked as sent before it went out, so what a new life of
//! logic finds marked counts as begun. It must never grant a fence twice, and never answer one claim by one message.

use super::settle::Attempt;
use super::{Dispatch, Stage};
use sengu_interconnect::{Message, Queue};
use sengu_model::wire::envelope::{Event, Grant, Report, WeeCommand};
use sengu_model::{Outcome, TaskId, Time, limits};
use std::sync::Arc;

/// Answers in one command.
const GRANTS_PER_COMMAND_MAX: usize = 512;

/// A WEE that claimed an attempt: nobody else may begin it, or say what became of it.
pub struct Claim {
    wee: Arc<str>,
    life: u64,
    attempt: u32,
}

/// Who reports.
#[derive(Clone, Copy)]
pub(super) struct Reporter<'a> {
    pub wee: &'a str,
    pub life: u64,
}

impl Claim {
    pub(super) fn is_of(&self, from: Reporter) -> bool {
        self.life == from.life && *self.wee == *from.wee
    }
}

/// Answers to one WEE that gather until the end of a turn.
pub(super) struct Grants {
    wee: Arc<str>,
    life: u64,
    items: Vec<Grant>,
}

impl Dispatch {
    /// A WEE asks whether it may begin; it is told at the end of this turn.
    pub(super) fn claimed(&mut self, from: Reporter, report: &Report, now: Time) {
        let id = report.task;
        let at = self.grants_to(from);
        let may = self.may_begin(id, from, report, at, now);
        self.grants[at].items.push(Grant {
            task: id,
            epoch: report.epoch,
            attempt: report.attempt,
            may,
        });
    }

    fn may_begin(
        &mut self,
        id: TaskId,
        from: Reporter,
        report: &Report,
        at: usize,
        now: Time,
    ) -> bool {
        let in_force = report.epoch == self.shared.epoch;
        let out = |task: &&mut super::Task| {
            task.attempt == report.attempt
                && matches!(task.stage, Stage::Sent { .. } | Stage::Started { .. })
        };
        let Some(task) = self.lanes.get_mut(id).filter(out).filter(|_| in_force) else {
            tracing::debug!(task = %id, wee = from.wee, "a claim of what is over is refused");
            self.shared.metrics.stale_report();
            return false;
        };
        if let Some(claim) = task.claim() {
            // The same one asks again: the first answer did not come.
            let may = claim.is_of(from);
            if !may {
                tracing::debug!(task = %id, wee = from.wee, by = &*claim.wee, "claimed before");
                self.shared.metrics.stale_report();
            }
            return may;
        }
        let begun = matches!(task.stage, Stage::Started { .. });
        if begun && task.payload.wee.as_deref() != Some(from.wee) {
            // It was begun without a claim, since it may be repeated; what was delivered again comes too late.
            self.shared.metrics.stale_report();
            return false;
        }
        if task.payload.cancelled {
            // Nobody had leave to begin it, and now nobody will.
            let why = "cancelled before it was begun".to_owned();
            self.attempt_over(id, Attempt::Ended(Outcome::Cancelled { why }), None, now);
            return false;
        }
        let wee = self.grants[at].wee.clone();
        task.payload.lease_until = now.plus_ms(limits::LEASE_MS);
        if task.payload.wee.as_deref() != Some(from.wee) {
            task.payload.wee = Some(from.wee.into());
        }
        task.payload.claim = Some(Claim {
            wee,
            life: from.life,
            attempt: report.attempt,
        });
        true
    }

    /// Where answers to this WEE gather.
    fn grants_to(&mut self, from: Reporter) -> usize {
        let to = |grants: &Grants| grants.life == from.life && *grants.wee == *from.wee;
        self.grants.iter().position(to).unwrap_or_else(|| {
            self.grants.push(Grants {
                wee: from.wee.into(),
                life: from.life,
                items: Vec::new(),
            });
            self.grants.len() - 1
        })
    }

    /// Sends what was granted and refused in this turn.
    pub(super) fn send_grants(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        if !self.shared.seat.holds() {
            // Another life may grant them by now. Those who asked will ask again.
            self.grants.clear();
            return;
        }
        let mut messages = Vec::with_capacity(self.grants.len());
        for grants in self.grants.drain(..) {
            for items in grants.items.chunks(GRANTS_PER_COMMAND_MAX) {
                let command = WeeCommand::Begin {
                    life: grants.life,
                    items: items.to_vec(),
                };
                // Numbers and text always serialise.
                messages.push(Message {
                    queue: Queue::wee(&grants.wee),
                    body: serde_json::to_vec(&command).unwrap_or_default().into(),
                });
            }
        }
        let broker = self.shared.broker.clone();
        self.publishes.push(Box::pin(async move {
            if let Err(error) = broker.publish(messages).await {
                // Those who asked will ask again.
                tracing::warn!(%error, "claims were not answered");
            }
            super::send::Unsent::default()
        }));
    }
}

/// A delivery that was not handed to a worker says nothing of an attempt that somebody may have by another one: it was
/// said to be begun, or an earlier life of logic may have granted it.
pub(super) fn unbegun_beside_another(report: &Report, task: &super::Task) -> bool {
    let unbegun = match report.event {
        Event::Ended => report.started_at.is_none(),
        event => event == Event::Rejected,
    };
    let begun = matches!(task.stage, Stage::Started { .. }) || task.payload.adopted.is_some();
    unbegun && begun
}

impl super::Task {
    /// Who has claimed the attempt in hand.
    pub(super) fn claim(&self) -> Option<&Claim> {
        let claim = self.payload.claim.as_ref();
        claim.filter(|claim| claim.attempt == self.attempt)
    }
}
