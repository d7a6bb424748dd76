//! Simple Observe: schedules that observe selectors again and again.
//!
//! Each target's turn within `every` is fixed by its uid, so a fleet is observed evenly and not in waves. What does not
//! answer is asked less and less often, without slowing the others. These tasks are volatile: no row, no flush.

use crate::clock;
use crate::core::Shared;
use crate::dispatch::{Handle, Input};
use crate::tasks::{Plan, sweep};
use sengu_model::kinds::ScheduleSpec;
use sengu_model::quantity::Share;
use sengu_model::{Selector, TaskId, Time, Uid, limits};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Turns are looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// Selectors are looked at again when facts moved, at most this often.
const FACTS_EVERY_MS: u64 = 10_000;
/// Targets handed to dispatch in one tick and schedule: the rest comes in the next ticks.
const PER_TICK_MAX: usize = 2_000;

/// What a schedule needs between two ticks.
struct Plans {
    /// What this was made from, and when.
    declared: u64,
    revision: u64,
    at: Time,
    schedules: Vec<Prepared>,
}

struct Prepared {
    name: Arc<str>,
    every_ms: u64,
    jitter_ms: u64,
    /// Targets with the time of their next turn, soonest first.
    turns: std::collections::BinaryHeap<Reverse<(Time, Uid)>>,
    plans: HashMap<Arc<str>, Plan>,
}

pub async fn run(shared: Arc<Shared>, dispatch: Handle) {
    let mut plans = Plans {
        declared: 0,
        revision: 0,
        at: Time(0),
        schedules: Vec::new(),
    };
    let mut revisions = shared.revision.subscribe();
    // What earlier lives left counts as new.
    revisions.mark_changed();
    let mut steps = clock::Steps::new();
    loop {
        if plans.schedules.is_empty() {
            // Nothing to do until a record changes.
            if revisions.changed().await.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(TICK).await;
        }
        let revision = *revisions.borrow_and_update();
        let declared = shared.declared.load(std::sync::atomic::Ordering::Acquire);
        let (now, step) = steps.now();
        if step != 0 {
            plans.clock_was_set(step);
        }
        // Facts move all the time and selectors may name them; what people declare counts at once.
        let moved = revision != plans.revision && now.ms_since(plans.at) >= FACTS_EVERY_MS;
        if declared != plans.declared || moved {
            plans.declared = declared;
            plans.revision = revision;
            plans.at = now;
            plans.prepare(&shared);
        }
        for schedule in &mut plans.schedules {
            let due = schedule.due(&shared, now);
            if !due.is_empty() {
                dispatch.send(Input::Sweep(due)).await;
            }
        }
    }
}

impl Plans {
    /// Turns were reckoned by the old clock.
    fn clock_was_set(&mut self, ms: i64) {
        self.at = Time(self.at.0.saturating_add(ms));
        for schedule in &mut self.schedules {
            let turns = std::mem::take(&mut schedule.turns).into_iter();
            schedule.turns = turns
                .map(|Reverse((at, uid))| Reverse((Time(at.0.saturating_add(ms)), uid)))
                .collect();
        }
    }

    fn prepare(&mut self, shared: &Shared) {
        let now = clock::now();
        let inventory = shared.inventory.read();
        let catalog = shared.catalog.read().clone();
        let mut old: HashMap<Arc<str>, Prepared> = self
            .schedules
            .drain(..)
            .map(|s| (s.name.clone(), s))
            .collect();
        for (name, other) in inventory.others_of("Schedule") {
            let Ok(spec) = serde_json::from_value::<ScheduleSpec>(other.record.spec.clone()) else {
                continue;
            };
            let Ok(selector) = spec.selector.parse::<Selector>() else {
                continue;
            };
            if spec.paused {
                continue;
            }
            let jitter = match spec.jitter {
                Some(Share::Percent(p)) => p / 100.0,
                Some(Share::Count(_)) => 0.0,
                None => 0.1,
            };
            let mut turns: HashMap<Uid, Time> = HashMap::new();
            if let Some(old) = old.remove(name)
                && old.every_ms == spec.every.ms
            {
                turns.extend(old.turns.iter().map(|t| (t.0.1, t.0.0)));
            }
            let mut plans = HashMap::new();
            let mut heap = std::collections::BinaryHeap::new();
            for target in inventory.select(&selector) {
                if !plans.contains_key(&target.kind) {
                    let Some(plan) = plan(&catalog, &target.kind, &spec) else {
                        continue;
                    };
                    plans.insert(target.kind.clone(), plan);
                }
                // A new target has its first turn within one period, spread by its uid.
                let first = || now.plus_ms(spread(target.uid) % spec.every.ms.max(1));
                let at = turns.get(&target.uid).copied().unwrap_or_else(first);
                heap.push(Reverse((at, target.uid)));
            }
            self.schedules.push(Prepared {
                name: name.into(),
                every_ms: spec.every.ms,
                jitter_ms: (spec.every.ms as f64 * jitter) as u64,
                turns: heap,
                plans,
            });
        }
    }
}

fn plan(catalog: &crate::catalog::Catalog, kind: &str, spec: &ScheduleSpec) -> Option<Plan> {
    let kind = catalog.kinds.get(kind)?.clone();
    let action = kind.actions.get(&spec.action)?.clone();
    let empty = serde_json::json!({});
    let params = if spec.params.is_null() {
        &empty
    } else {
        &spec.params
    };
    let read = action.decl.effect == sengu_model::Effect::Read;
    if !read || !action.param_faults(params).is_empty() {
        return None; // the kind cannot be observed this way; others of the selector can
    }
    Some(Plan {
        effect: action.decl.effect,
        timeout_ms: action.decl.timeout_ms,
        params: sengu_model::task::RawBody::of(params),
        pinned: None,
        frames: false,
        kind,
        action,
    })
}

/// Mixes a uid so that neighbours do not have neighbouring turns.
fn spread(uid: Uid) -> u64 {
    uid.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

impl Prepared {
    fn due(&mut self, shared: &Shared, now: Time) -> Vec<crate::dispatch::Ready> {
        let mut due = Vec::new();
        let inventory = shared.inventory.read();
        while due.len() < PER_TICK_MAX {
            match self.turns.peek() {
                Some(Reverse((at, _))) if *at <= now => {}
                _ => break,
            }
            let Some(Reverse((at, uid))) = self.turns.pop() else {
                break;
            };
            let Some(target) = inventory.by_uid.get(&uid) else {
                continue;
            };
            let jitter = if self.jitter_ms == 0 {
                0
            } else {
                spread(Uid(uid.0 ^ at.0 as u64)) % self.jitter_ms
            };
            let base = if now.ms_since(at) > self.every_ms {
                now
            } else {
                at
            };
            let mut next =
                base.plus_ms((self.every_ms - self.jitter_ms / 2).saturating_add(jitter));
            let (rest_until, left_alone) = {
                let live = target.live.lock();
                (
                    live.next_observe,
                    live.quarantine.is_some() || target.maintenance.is_some(),
                )
            };
            if rest_until > now {
                // No rest is longer than this, whatever the clock said when it began.
                let longest = now.plus_ms(limits::SWEEP_BACKOFF_MAX_MS);
                next = next.max(rest_until.min(longest));
            } else if !left_alone && let Some(plan) = self.plans.get(&target.kind) {
                due.push(sweep(plan, target.clone(), TaskId(shared.next_id())));
            }
            self.turns.push(Reverse((next, uid)));
        }
        due
    }
}
