//! Targets that people change or delete while tasks wait for them.

use super::send::DELETED;
use super::{Dispatch, Stage};
use sengu_model::{FailureCode, Outcome, TaskId, Time, Uid};
use std::sync::Arc;

impl Dispatch {
    /// These were changed or deleted: what waits for them follows, or ends.
    pub(super) fn altered(&mut self, targets: &[Uid], now: Time) {
        for uid in targets {
            for id in self.lanes.waiting_of(*uid) {
                self.follow_target(id, now);
            }
            let target = self.shared.inventory.read().by_uid.get(uid).cloned();
            let catalog = self.shared.catalog.read().clone();
            if let Some(target) = target
                && let Some(kind) = catalog.kinds.get(&*target.kind)
            {
                self.lanes.set_limits(*uid, &target.lane_limits(kind), now);
            }
        }
    }

    /// Takes a waiting task to where its target is now.
    pub(super) fn follow_target(&mut self, id: TaskId, now: Time) {
        let waits = |t: &&mut super::Task| t.stage == Stage::Waiting;
        let Some(task) = self.lanes.get_mut(id).filter(waits) else {
            return;
        };
        let target = self
            .shared
            .inventory
            .read()
            .by_uid
            .get(&task.target)
            .cloned();
        let Some(target) = target else {
            let why = DELETED.to_owned();
            self.end(id, Outcome::Cancelled { why }, None, now);
            return;
        };
        let was = std::mem::replace(&mut task.payload.target, target.clone());
        if Arc::ptr_eq(&was, &target) {
            return;
        }
        if let Some(outcome) = of_another_kind(task.payload.kind.name(), &target.kind) {
            self.end(id, outcome, None, now);
        } else if was.zone != target.zone {
            self.reroute(id, now);
        }
    }
}

/// A task is made for one kind of worker: its action and parameters mean nothing to another.
pub(super) fn of_another_kind(task: &str, target: &str) -> Option<Outcome> {
    (task != target).then(|| {
        let why = format!("the task is for kind {task}, and the target is of kind {target} now");
        Outcome::failed(FailureCode::Refused, why)
    })
}
