//! What moves under waiting tasks: the clock is set, a target's limits or its zone are changed.

use super::{Lanes, QueueIndex, Stage, Timer};
use sengu_model::manifest::LaneLimits;
use sengu_model::{Class, TaskId, Time, Uid};
use std::cmp::Reverse;

impl<P> Lanes<P> {
    /// The clock was set by `ms`: everything that was reckoned by the old one moves with it. Deadlines that people gave
    /// stay where they are.
    pub fn clock_was_set(&mut self, ms: i64) {
        let moved = |at: Time| match at {
            Time(0) => at,
            at => Time(at.0.saturating_add(ms)),
        };
        for task in self.tasks.values_mut() {
            task.not_before = moved(task.not_before);
        }
        for lane in self.lanes.values_mut() {
            lane.next_start = moved(lane.next_start);
            lane.cool_until = moved(lane.cool_until);
        }
        let timers = std::mem::take(&mut self.timers).into_iter();
        self.timers = timers
            .map(|Reverse((at, timer))| match timer {
                Timer::Deadline(_) => Reverse((at, timer)),
                Timer::Lane(_) | Timer::Lease(_) => Reverse((moved(at), timer)),
            })
            .collect();
    }

    /// What a target bears was changed while tasks wait for it.
    pub fn set_limits(&mut self, target: Uid, limits: &LaneLimits, now: Time) {
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.bear(limits);
        }
        self.offer(target, Class::Control, now);
        self.offer(target, Class::Observe, now);
    }

    /// A task that waits goes to another queue.
    pub fn set_queue(&mut self, id: TaskId, queue: QueueIndex, now: Time) {
        if let Some(task) = self.tasks.get_mut(&id)
            && task.stage == Stage::Waiting
        {
            task.queue = queue;
            let (target, class) = (task.target, task.class);
            self.offer(target, class, now);
        }
    }
}
