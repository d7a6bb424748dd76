//! One target's lane: what waits, what is in hand, and how much the target bears.

use super::{QueueIndex, Task};
use sengu_model::manifest::LaneLimits;
use sengu_model::task::Priority;
use sengu_model::{Class, TaskId, Time, limits};
use std::collections::{HashMap, VecDeque};

/// Longest time between two starts on one target.
const INTERVAL_MAX_MS: u64 = 86_400_000;

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) changes: VecDeque<TaskId>,
    pub(super) reads: VecDeque<TaskId>,
    pub(super) changing: Option<TaskId>,
    pub(super) in_hand: u16,
    pub(super) sweep: bool,
    pub(super) sessions: u16,
    pub(super) interval_ms: u64,
    pub(super) next_start: Time,
    pub(super) cool_until: Time,
    /// More tasks of this lane are in the store, above this id.
    pub(super) more_after: Option<TaskId>,
    /// The store is being asked for more.
    pub(super) refilling: bool,
    /// In which ready list of which queue the lane stands, by class.
    pub(super) listed: [Option<(QueueIndex, Priority)>; 2],
    /// Something was left in the store while the rest was on its way.
    pub(super) again: bool,
}

impl Lane {
    pub(super) fn bear(&mut self, limits: &LaneLimits) {
        self.sessions = limits.sessions.max(1);
        self.interval_ms = if limits.rate_per_s > 0.0 {
            // Slower than one a day is a slip of the pen, and would look like a lane that hangs.
            ((1000.0 / limits.rate_per_s).ceil() as u64).min(INTERVAL_MAX_MS)
        } else {
            0
        };
    }

    /// Whether the rest should be read from the store now.
    pub(super) fn wants_more(&self) -> bool {
        self.more_after.is_some()
            && !self.refilling
            && self.changes.len() + self.reads.len() <= limits::LANE_WINDOW_MAX / 4
    }

    /// A read that waits for its retry must not hold up the others: those that may go stand before it.
    pub(super) fn pass_waiting_reads<P>(
        &mut self,
        class: Class,
        tasks: &HashMap<TaskId, Task<P>>,
        now: Time,
    ) {
        let not_before = |id: &TaskId| tasks.get(id).map_or(Time(0), |t| t.not_before);
        if class == Class::Control || self.reads.front().is_none_or(|id| not_before(id) <= now) {
            return;
        }
        let first = self.reads.iter().position(|id| not_before(id) <= now);
        let first = first.or_else(|| {
            let soonest = self.reads.iter().enumerate();
            soonest
                .min_by_key(|(_, id)| not_before(id))
                .map(|(at, _)| at)
        });
        if let Some(id) = first.and_then(|at| self.reads.remove(at)) {
            self.reads.push_front(id);
        }
    }
}
