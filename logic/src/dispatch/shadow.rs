//! Shadows: a read that the version in use has done is done once more by the version that is being compared. It goes
//! through the target's lane like any other read, so no device sees more sessions than it bears; nobody waits for it, and
//! nothing that it says reaches the target's status.

use super::route::cell_of;
use super::{Dispatch, Payload, Ready, Task};
use crate::rollout::choose::Asked;
use crate::rollout::compare::{Seen, compare};
use sengu_model::task::Priority;
use sengu_model::wire::envelope::Report;
use sengu_model::{Effect, Outcome, TaskId, Time};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Shadows of all kinds that are out or wait: what is beyond is skipped and counted.
const OUT_MAX: usize = 64;
/// A lane with more than this waiting has better things to do.
const LANE_WAITING_MAX: usize = 4;

/// What is compared with what.
pub struct Shadow {
    rule: Arc<str>,
    version: Arc<str>,
    outcome: Outcome,
    readings: Option<Box<RawValue>>,
    facts: Option<Box<RawValue>>,
}

impl Shadow {
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Dispatch {
    /// A task has ended well: has it done once more where its Release says so.
    pub(super) fn shadow(&mut self, id: TaskId, outcome: &Outcome, report: &Report, now: Time) {
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        let payload = &task.payload;
        let usual = payload.effect == Effect::Read
            && payload.shadow.is_none()
            && payload.pinned.is_none()
            && payload.probing.is_none();
        let routes = self.catalog.routes.get(payload.kind.name());
        let Some(routes) = routes.filter(|r| usual && r.rules.iter().any(|rule| rule.shadow))
        else {
            return;
        };
        let target = payload.target.clone();
        let asked = Asked {
            target: target.uid,
            action: &payload.action.decl.name,
            effect: payload.effect,
            pinned: None,
        };
        let rule = {
            let live = target.live.lock();
            let get = |key: &str| target.value(&live, key);
            let mine = routes
                .rules
                .iter()
                .find(|r| r.shadow && routes.matches(r, &asked, &get));
            match mine {
                Some(rule) => (rule.name.clone(), rule.version.clone(), rule.kind.clone()),
                None => return,
            }
        };
        let (_, _, waiting) = self.lanes.lane(target.uid);
        let action = rule.2.actions.get(&payload.action.decl.name).cloned();
        let (Some(action), true, true) = (
            action,
            self.shadows_out < OUT_MAX,
            waiting <= LANE_WAITING_MAX,
        ) else {
            self.shared.shadows.skipped(routes.kind.as_ref(), &rule.0);
            return;
        };
        let shadow = Shadow {
            rule: rule.0.clone(),
            version: rule.1,
            outcome: outcome.clone(),
            readings: report.readings.map(ToOwned::to_owned),
            facts: report.facts.map(ToOwned::to_owned),
        };
        let kind_name = routes.kind.clone();
        let ready = Ready {
            id: TaskId(self.shared.next_id()),
            priority: Priority::Batch,
            line: task.line,
            attempt: 1,
            not_before: Time(0),
            payload: Payload {
                kind: rule.2,
                action,
                params: payload.params.clone(),
                target,
                effect: Effect::Read,
                timeout_ms: payload.timeout_ms,
                start_by: None,
                run: None,
                batch: 0,
                volatile: true,
                frames: false,
                tries: 1,
                in_vain: 0,
                perhaps: None,
                history: Vec::new(),
                checkpoint: None,
                cancelled: false,
                lease_until: Time(0),
                adopted: None,
                probing: None,
                sent_at: None,
                wee: None,
                claim: None,
                pinned: None,
                chosen: None,
                trial: None,
                shadow: Some(Box::new(shadow)),
            },
        };
        self.shadows_out += 1;
        if self.insert(ready, now, false) != super::lanes::Inserted::Queued {
            self.shadows_out -= 1;
            self.shared.shadows.skipped(kind_name.as_ref(), &rule.0);
        }
    }

    /// A shadow has ended, one way or another.
    pub(super) fn shadow_over(&mut self, task: &Task) {
        if task.payload.shadow.is_some() {
            self.shadows_out = self.shadows_out.saturating_sub(1);
        }
    }

    /// What it read is compared with what the version in use had read.
    pub(super) fn compare_shadow(&self, task: &Task, outcome: &Outcome, report: &Report) {
        let Some(shadow) = &task.payload.shadow else {
            return;
        };
        if matches!(outcome, Outcome::Cancelled { .. } | Outcome::Expired { .. }) {
            return;
        }
        let stable = Seen {
            outcome: &shadow.outcome,
            readings: shadow.readings.as_deref().map(RawValue::get),
            facts: shadow.facts.as_deref().map(RawValue::get),
        };
        let candidate = Seen {
            outcome,
            readings: report.readings.map(RawValue::get),
            facts: report.facts.map(RawValue::get),
        };
        let (kind, cell) = (task.payload.kind.name(), cell_of(&task.payload));
        let found = compare(&stable, &candidate);
        let target = &task.payload.target.name;
        self.shared
            .shadows
            .add(kind, &shadow.rule, &cell, target, found);
    }
}
