//! The rest of a long lane, which stays in the store and is read while there is room.

use super::Lanes;
use sengu_model::{TaskId, Uid};

impl<P> Lanes<P> {
    /// Lanes whose rest in the store should be read now; each is given once until `refilled`.
    pub fn take_refills(&mut self) -> Vec<(Uid, TaskId)> {
        let mut out = Vec::new();
        for uid in std::mem::take(&mut self.refills) {
            if let Some(lane) = self.lanes.get_mut(&uid)
                && let Some(after) = lane.more_after
                && !lane.refilling
            {
                lane.refilling = true;
                lane.again = false;
                out.push((uid, after));
            }
        }
        out
    }

    /// The rest of a lane was read, up to its end or not. What is left is read again when there is room.
    pub fn refilled(&mut self, target: Uid, reached_end: bool) {
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.refilling = false;
            if reached_end && !lane.again {
                lane.more_after = None;
            }
            if lane.wants_more() {
                self.refills.push(target);
            }
        }
        self.drop_if_idle(target);
    }

    /// A task of the rest of its lane was looked at and needs no reading again.
    pub fn looked_at(&mut self, target: Uid, id: TaskId) {
        if let Some(lane) = self.lanes.get_mut(&target)
            && !lane.again
        {
            lane.more_after = lane.more_after.map(|after| after.max(id));
        }
    }
}
