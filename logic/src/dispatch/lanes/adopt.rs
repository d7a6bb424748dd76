//! A task that an earlier life of logic sent and that may still be in somebody's hands.

use super::{Lanes, Stage, Task, Timer};
use sengu_model::{Class, TaskId, Time};
use std::cmp::Reverse;

impl<P> Lanes<P> {
    /// Takes a waiting change for sent, as it was when logic ended: it holds its lane and its place in the window until
    /// its word comes or the lease ends. False when the lane has another change in hand, which cannot be of this life.
    pub fn adopt(&mut self, id: TaskId, attempt: u32, at: Time, lease_end: Time) -> bool {
        let waits = |t: &Task<P>| t.stage == Stage::Waiting && t.class == Class::Control;
        let Some(task) = self.tasks.get_mut(&id).filter(|t| waits(t)) else {
            return false;
        };
        let Some(lane) = self.lanes.get_mut(&task.target) else {
            return false;
        };
        if lane.changing.is_some() {
            return false;
        }
        lane.changes.retain(|t| *t != id);
        lane.changing = Some(id);
        lane.in_hand += 1;
        task.stage = Stage::Sent { at };
        task.attempt = attempt;
        let (queue, priority, line) = (task.queue.0 as usize, task.priority, task.line);
        self.counted_out(queue);
        self.waits_no_more(priority, line);
        self.timers.push(Reverse((lease_end, Timer::Lease(id))));
        true
    }
}
