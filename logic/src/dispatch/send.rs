//! From the lanes to the broker: who may go goes, in one batch; what may not be repeated is marked first.

use super::report::Counting;
use super::{Dispatch, Payload, Stage, envelope};
use crate::glance::run_board;
use crate::planted;
use sengu_interconnect::{BrokerError, Message};
use sengu_model::wire::envelope::SealedSecret;
use sengu_model::wire::worker::ProbeFrame;
use sengu_model::{Class, Effect, FailureCode, Outcome, TaskId, Time, limits};
use sengu_store::Op;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// Why a task ends whose target is gone.
pub(super) const DELETED: &str = "the target was deleted";
/// What may still begin must have been heard of before its lease ends: this long before.
const START_MARGIN_MS: u64 = 2_000;
/// Messages published as one batch.
const PUBLISH_MAX: usize = 1_024;

/// A batch that the broker did not say it took.
#[derive(Default)]
pub(super) struct Unsent {
    /// With the bytes of each one's body.
    tasks: Vec<(TaskId, usize)>,
    /// What the broker carries at most, when that was the reason.
    bytes_max: Option<usize>,
}

impl Dispatch {
    /// Sends all that may go now.
    pub(super) fn pump(&mut self, now: Time) {
        let seated = self.shared.seat.holds();
        if self.stopping.is_some() || self.away_since.is_some() || !seated {
            return;
        }
        let mut free = Vec::new();
        while free.len() < PUBLISH_MAX {
            let Some(id) = self.lanes.next(now) else {
                break;
            };
            let Some(task) = self.lanes.get_mut(id) else {
                continue;
            };
            let payload = &mut task.payload;
            if payload.cancelled && payload.probing.is_none() {
                let outcome = Outcome::Cancelled {
                    why: "cancelled before it was sent".to_owned(),
                };
                self.end(id, outcome, None, now);
                continue;
            }
            if payload.start_by.is_some_and(|by| by < now) && payload.probing.is_none() {
                self.too_late(id, now);
                continue;
            }
            if let Some(outcome) = self.refused(id) {
                self.end(id, outcome, None, now);
                continue;
            }
            let moves = self.lanes.get(id).is_some_and(|task| self.may_move(task));
            if moves && !self.reroute(id, now) {
                continue;
            }
            self.count_out(id);
            let Some(task) = self.lanes.get_mut(id) else {
                continue;
            };
            let unrepeatable = !task.payload.effect.repeatable() && task.payload.probing.is_none();
            if unrepeatable {
                // Durable before it is sent: after a crash nobody could tell otherwise.
                self.pending.ops.push(Op::MarkSent {
                    task: id,
                    priority: task.priority,
                    fence: super::adopt::fence(self.shared.epoch, task.attempt),
                    attempt: task.payload.tries,
                    at: now,
                });
                if planted::is(planted::Bug::SentBeforeMarked) {
                    free.push(id);
                } else {
                    self.pending.marked.push(id);
                }
            } else {
                free.push(id);
            }
        }
        let more = free.len() == PUBLISH_MAX;
        self.publish(&free, now);
        if more {
            self.pump(now);
        }
    }

    /// Its deadline has passed and it was not begun; a probe has none, since what it asks about was begun.
    pub(super) fn too_late(&mut self, id: TaskId, now: Time) {
        let probing = |task: &super::Task| task.payload.probing.is_some();
        if !self.lanes.get(id).is_none_or(probing) {
            let why = "its deadline passed before it could be sent".to_owned();
            self.end(id, Outcome::Expired { why }, None, now);
        }
    }

    /// Why this target must not be touched at all, if so.
    fn refused(&self, id: TaskId) -> Option<Outcome> {
        let task = self.lanes.get(id)?;
        let (target, kind) = (task.target, task.payload.kind.name());
        let inventory = self.shared.inventory.read();
        let Some(target) = inventory.by_uid.get(&target) else {
            let why = DELETED.to_owned();
            return Some(Outcome::Cancelled { why });
        };
        if let Some(outcome) = super::alter::of_another_kind(kind, &target.kind) {
            return Some(outcome);
        }
        if let Some(reason) = &target.maintenance {
            let why = format!("the target is in maintenance: {reason}");
            return Some(Outcome::failed(FailureCode::Refused, why));
        }
        let live = target.live.lock();
        live.quarantine.as_ref().map(|q| {
            let why = format!(
                "the target is quarantined since {} ({}: {}); mend it, then: sengu uncordon target/{}",
                q.since, q.reason, q.message, target.name
            );
            Outcome::failed(FailureCode::Refused, why)
        })
    }

    pub(super) fn publish(&mut self, tasks: &[TaskId], now: Time) {
        if tasks.is_empty() {
            return;
        }
        let lease_end = now.plus_ms(limits::LEASE_MS);
        let mut messages = Vec::with_capacity(tasks.len());
        let mut ids = Vec::with_capacity(tasks.len());
        for id in tasks {
            let sending = |t: &&super::Task| t.stage == Stage::Sending;
            let Some(task) = self.lanes.get(*id).filter(sending) else {
                continue; // ended meanwhile
            };
            if task.payload.cancelled && task.payload.probing.is_none() {
                let why = "cancelled before it was sent".to_owned();
                self.end(*id, Outcome::Cancelled { why }, None, now);
                continue;
            }
            self.refresh(*id);
            let Some(body) = self.body(*id, now) else {
                continue;
            };
            let Some(task) = self.lanes.get_mut(*id) else {
                continue;
            };
            task.payload.sent_at = Some(now);
            task.payload.lease_until = lease_end;
            if task.class == Class::Control {
                let inventory = self.shared.inventory.read();
                let mut live = task.payload.target.live.lock();
                live.busy = true;
                inventory.changed(&task.payload.target, &mut live);
            }
            let grids = &self.shared.glance.runs;
            grids.task(task.payload.run, *id, run_board::ACTIVE);
            let queue = self.queue_names[task.queue.0 as usize].1.clone();
            ids.push((*id, body.len()));
            messages.push(Message {
                queue,
                body: body.into(),
            });
            self.lanes.sent(*id, now, lease_end);
        }
        self.shared.metrics.sent(messages.len() as u64);
        let broker = self.shared.broker.clone();
        self.publishes.push(Box::pin(async move {
            match broker.publish(messages).await {
                Ok(()) => Unsent::default(),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "tasks were not sent"
                    );
                    let bytes_max = match error {
                        BrokerError::TooLarge { bytes_max, .. } => Some(bytes_max),
                        _ => None,
                    };
                    Unsent {
                        tasks: ids,
                        bytes_max,
                    }
                }
            }
        }));
    }

    /// The target may have been changed since the task was made: workers get it as it is now.
    fn refresh(&mut self, id: TaskId) {
        let Some(task) = self.lanes.get_mut(id) else {
            return;
        };
        let inventory = self.shared.inventory.read();
        if let Some(target) = inventory.by_uid.get(&task.target)
            && !Arc::ptr_eq(target, &task.payload.target)
        {
            task.payload.target = target.clone();
        }
    }

    fn body(&mut self, id: TaskId, now: Time) -> Option<Vec<u8>> {
        let secret = self.lanes.get(id)?.payload.target.secret.clone();
        let secrets = secret.and_then(|name| self.sealed(&name));
        let task = self.lanes.get(id)?;
        let Payload {
            action,
            effect,
            probing,
            checkpoint,
            ..
        } = &task.payload;
        let probe = probing.as_ref().map(|p| ProbeFrame {
            since: p.since,
            checkpoint: checkpoint
                .as_ref()
                .and_then(|c| serde_json::from_str(c.get()).ok()),
        });
        let probe = probe.and_then(|p| to_raw_value(&p).ok());
        let (action, effect) = match (&probe, &action.decl.probe) {
            (Some(_), Some(probe_action)) => (probe_action.as_str(), Effect::Read),
            _ => (action.decl.name.as_str(), *effect),
        };
        let epoch = self.shared.epoch;
        // Once its lease is over, another attempt may be on its way: this one must not begin any more. A probe asks about
        // what was begun, so what a person said of beginning does not concern it.
        let lease = now.plus_ms(limits::LEASE_MS - START_MARGIN_MS);
        let asked = task.payload.start_by.filter(|_| probe.is_none());
        let start_by = asked.map_or(lease, |asked| asked.min(lease));
        let envelope = envelope(
            task,
            start_by,
            epoch,
            action,
            effect,
            secrets.as_deref(),
            probe.as_deref(),
        );
        // A struct of text and raw JSON always serialises.
        serde_json::to_vec(&envelope).ok()
    }

    /// The sealed Secret as it goes into envelopes, made once per revision.
    fn sealed(&mut self, name: &Arc<str>) -> Option<Arc<RawValue>> {
        let other = self
            .shared
            .inventory
            .read()
            .other("Secret", name)
            .cloned()?;
        if let Some((revision, raw)) = self.sealed.get(name)
            && *revision == other.revision
        {
            return Some(raw.clone());
        }
        let data = serde_json::from_value(other.record.spec.get("data")?.clone()).ok()?;
        let secret = SealedSecret {
            name: name.to_string(),
            data,
        };
        let raw: Arc<RawValue> = to_raw_value(&secret).ok()?.into();
        self.sealed
            .insert(name.clone(), (other.revision, raw.clone()));
        Some(raw)
    }

    /// Sealed forms of Secrets that are no more.
    pub(super) fn forget_old_secrets(&mut self) {
        let inventory = self.shared.inventory.read();
        self.sealed
            .retain(|name, _| inventory.other("Secret", name).is_some());
    }

    /// The broker did not say that it took them; it may have. What a worker must claim before it begins may go again at
    /// once, since only one of both will be granted. The rest would be begun beside the first: a session more than the
    /// target bears, or an old value written over a newer one. So it has until the end of its lease.
    pub(super) fn not_published(&mut self, unsent: &Unsent) {
        let now = self.now();
        for (id, bytes) in &unsent.tasks {
            // What somebody claims was taken by the interconnect after all.
            let waits =
                |t: &super::Task| matches!(t.stage, Stage::Sent { .. }) && t.claim().is_none();
            let Some(task) = self.lanes.get(*id).filter(|t| waits(t)) else {
                continue;
            };
            let claimed = !task.payload.effect.repeatable() && task.payload.probing.is_none();
            if let Some(bytes_max) = unsent.bytes_max.filter(|max| bytes > max) {
                // It would be refused each time.
                let why = format!(
                    "the task takes {bytes} bytes, and the interconnect carries {bytes_max} at most"
                );
                let outcome = Outcome::failed(FailureCode::Refused, why);
                self.end(*id, outcome, None, now);
            } else if claimed {
                let note = "the interconnect did not take it".to_owned();
                self.retry(*id, limits::RETRY_FIRST_MS, note, Counting::Nothing, now);
            }
        }
    }

    /// Marked and not sent, since sengu stops: the next start must not take them for sent.
    pub(super) fn unmark(&mut self, tasks: &[TaskId], now: Time) {
        for id in tasks {
            if self
                .lanes
                .get(*id)
                .is_some_and(|t| t.stage == Stage::Sending)
            {
                let note = "sengu was stopped before it was sent".to_owned();
                self.retry(*id, 0, note, Counting::Nothing, now);
            }
        }
    }
}
