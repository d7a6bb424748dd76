//! Looking into the lanes without moving anything: why a task does not go, and what stands in a lane.

use super::{Blocked, Lanes, Stage, share};
use sengu_model::{Class, TaskId, Time, Uid};

impl<P> Lanes<P> {
    /// The tasks of one target that wait in memory.
    pub fn waiting_of(&self, target: Uid) -> Vec<TaskId> {
        let lane = self.lanes.get(&target);
        lane.map_or_else(Vec::new, |l| {
            l.changes.iter().chain(&l.reads).copied().collect()
        })
    }

    /// Why the task does not go.
    pub fn blocked(&self, id: TaskId, now: Time) -> Blocked {
        let Some(task) = self.tasks.get(&id) else {
            return Blocked::No;
        };
        if task.stage != Stage::Waiting {
            return Blocked::No;
        }
        if let Some(lane) = self.lanes.get(&task.target) {
            let at = task.not_before.max(lane.cool_until).max(lane.next_start);
            if task.class == Class::Control {
                match (lane.changing, lane.changes.front()) {
                    (Some(holder), _) => return Blocked::Holder(holder),
                    (None, Some(first)) if *first != id => return Blocked::Behind(*first),
                    _ => {}
                }
            }
            if lane.in_hand >= lane.sessions {
                return Blocked::Sessions(lane.sessions);
            }
            if at > now {
                return Blocked::Until(at);
            }
        }
        let window = &self.windows[self.queues[task.queue.0 as usize].window];
        if window.in_flight >= share(window.size, task.priority) {
            return Blocked::Window {
                in_flight: window.in_flight,
                window: window.size,
            };
        }
        Blocked::No
    }

    /// Tasks of one target in memory: `(holder, in hand, waiting)`.
    pub fn lane(&self, target: Uid) -> (Option<TaskId>, u16, usize) {
        self.lanes.get(&target).map_or((None, 0, 0), |l| {
            (l.changing, l.in_hand, l.changes.len() + l.reads.len())
        })
    }
}
