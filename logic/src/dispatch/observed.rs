//! What tasks saw of their targets, on its way into the targets' status and into the store.

use super::Dispatch;
use crate::inventory::{Quarantine, Reachable, reason_word};
use sengu_model::task::Priority;
use sengu_model::wire::envelope::Report;
use sengu_model::{Effect, FailureCode, Outcome, TaskId, Time, Uid, limits};
use sengu_store::{Expect, Op};
use serde_json::Value;

/// Observations of one unreachable target are spaced out from this.
const SWEEP_BACKOFF_FIRST_MS: u64 = 5_000;

impl Dispatch {
    /// Takes what the task saw of its target into the target's status.
    pub(super) fn observed(&mut self, id: TaskId, outcome: &Outcome, report: &Report, now: Time) {
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        let uid = task.target;
        let volatile = task.priority == Priority::Sweep;
        if volatile {
            self.shared.metrics.observed();
        }
        let inventory = self.shared.inventory.read();
        let Some(target) = inventory.by_uid.get(&uid) else {
            return;
        };
        let mut live = target.live.lock();
        let mut keep = false;
        if let Some(facts) = report.facts
            && let Ok(Value::Object(mut facts)) = serde_json::from_str(facts.get())
        {
            facts.retain(|k, _| k.len() <= limits::NAME_BYTES_MAX);
            keep |= live.set_facts(&facts, &inventory.texts);
        }
        if let Some(readings) = report.readings {
            live.readings = Some(readings.to_owned());
            self.shared.events.observed(uid);
        }
        let read = task.payload.effect == Effect::Read;
        match outcome {
            Outcome::Failed(f) => {
                let silent = matches!(f.code, FailureCode::Unreachable)
                    || (f.code == FailureCode::Timeout && read)
                    || f.code.quarantines();
                if silent {
                    let (reason, message) = (reason_word(f.code.as_str()), f.message.as_str());
                    let since = match &live.reachable {
                        Reachable::No {
                            since, reason: old, ..
                        } if *old == reason => *since,
                        _ => {
                            keep = true;
                            now
                        }
                    };
                    live.reachable = Reachable::No {
                        since,
                        reason,
                        message: message.into(),
                    };
                }
                if f.code.quarantines() && live.quarantine.is_none() {
                    keep = true;
                    tracing::warn!(target = %target.name, code = %f.code, "target quarantined");
                    live.quarantine = Some(Box::new(Quarantine {
                        reason: reason_word(f.code.as_str()).to_owned(),
                        message: f.message.clone(),
                        since: now,
                    }));
                }
                if volatile {
                    live.failures = live.failures.saturating_add(1);
                    let wait = SWEEP_BACKOFF_FIRST_MS << (live.failures - 1).min(10);
                    let wait = wait.max(f.retry_after_ms.unwrap_or(0));
                    live.next_observe = now.plus_ms(wait.min(limits::SWEEP_BACKOFF_MAX_MS));
                }
            }
            Outcome::Done(_) => {
                if !matches!(live.reachable, Reachable::Yes(_)) {
                    live.reachable = Reachable::Yes(now);
                    keep = true;
                }
                if read {
                    live.observed_at = Some(now);
                    live.failures = 0;
                    live.next_observe = Time(0);
                }
            }
            Outcome::Unknown { .. } | Outcome::Cancelled { .. } | Outcome::Expired { .. } => {}
        }
        match outcome {
            Outcome::Done(_) => live.failing = false,
            Outcome::Failed(_) | Outcome::Unknown { .. } => live.failing = true,
            Outcome::Cancelled { .. } | Outcome::Expired { .. } => {}
        }
        inventory.changed(target, &mut live);
        drop(live);
        let fleet = inventory.targets.len();
        drop(inventory);
        if let Some(readings) = report.readings {
            let history = &self.shared.glance.readings;
            history.observed(uid, readings, fleet, now);
        }
        if keep {
            self.dirty(uid, now);
        }
    }

    /// A change of its target is over.
    pub(super) fn at_rest(&self, task: &super::Task) {
        let inventory = self.shared.inventory.read();
        if let Some(target) = inventory.by_uid.get(&task.target) {
            let mut live = target.live.lock();
            live.busy = false;
            inventory.changed(target, &mut live);
        }
    }

    pub(super) fn dirty(&mut self, target: Uid, now: Time) {
        self.dirty.insert(target);
        self.dirty_since.get_or_insert(now);
    }

    /// Writes what changed of targets' facts and conditions, all at once and not too often.
    pub(super) fn keep_status(&mut self, now: Time) {
        let due = self.dirty_at().is_some_and(|at| at <= now) || self.stopping.is_some();
        // While the store refuses, what is to be written must not pile up.
        if !due || self.dirty.is_empty() || self.store_rest_until > Time(0) {
            return;
        }
        self.dirty_since = None;
        let inventory = self.shared.inventory.read();
        for uid in self.dirty.drain() {
            let Some(target) = inventory.by_uid.get(&uid) else {
                continue;
            };
            self.pending.ops.push(Op::PutRecord {
                kind: "TargetStatus".to_owned(),
                name: target.name.to_string(),
                uid,
                expect: Expect::Anything,
                body: serde_json::to_vec(&target.kept())
                    .unwrap_or_default()
                    .into(),
            });
        }
    }
}
