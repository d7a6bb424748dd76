//! What is due for a task in hand, and whether a delivery may be begun at all. Pure: time is a number passed in.

use sengu_model::{TaskId, limits};
use std::collections::{HashMap, VecDeque, hash_map::Entry};
use std::hash::{BuildHasherDefault, Hasher};

/// `epoch.attempt`: an older one is never begun and never believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    pub epoch: u64,
    pub attempt: u32,
}

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.attempt)
    }
}

impl Fence {
    /// Whether `text` is this fence as it stands in a frame, without building a string.
    pub fn is(&self, text: &str) -> bool {
        let Some((epoch, attempt)) = text.split_once('.') else {
            return false;
        };
        epoch.parse() == Ok(self.epoch) && attempt.parse() == Ok(self.attempt)
    }
}

/// `Started` is reported only for tasks still in hand after this long: most reads are over by then.
pub const STARTED_AFTER_MS: u64 = 200;

/// What is known of the time of a task in hand. Times are milliseconds of one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub handed_ms: u64,
    pub timeout_ms: u64,
    /// `Started` is out.
    pub started: bool,
    /// The cancel for being over time is out.
    pub overdue: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Report that it has started.
    Started,
    /// The worker did not keep the time itself: ask it to cancel.
    Cancel,
    /// It did not answer that either: the task is lost, and its instance is not to be trusted.
    GiveUp,
}

impl Lease {
    pub fn due(&self, now_ms: u64) -> Due {
        let in_hand_ms = now_ms.saturating_sub(self.handed_ms);
        let over_ms = in_hand_ms.saturating_sub(self.timeout_ms);
        if over_ms >= 2 * limits::TIMEOUT_GRACE_MS {
            Due::GiveUp
        } else if over_ms >= limits::TIMEOUT_GRACE_MS && !self.overdue {
            Due::Cancel
        } else if in_hand_ms >= STARTED_AFTER_MS && !self.started {
            Due::Started
        } else {
            Due::Nothing
        }
    }
}

/// Whether work must stop because its leases cannot be renewed: reports have been stuck for so long that logic
/// will take the tasks for lost soon, and give them to others.
pub fn must_stop(stuck_ms: u64) -> bool {
    stuck_ms >= limits::LEASE_MS - limits::BEAT_MS
}

/// Whether a delivery may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Fresh,
    /// The same fence was seen: the broker delivers at least once.
    Duplicate,
    /// A later fence of the task was seen.
    Older,
}

/// Remembers the last fences seen, newest of each task, at most `max` of them.
#[derive(Debug)]
pub struct Fences {
    newest: HashMap<TaskId, Fence, IdHash>,
    order: VecDeque<TaskId>,
    max: usize,
}

impl Fences {
    pub fn new(max: usize) -> Fences {
        Fences {
            newest: HashMap::default(),
            order: VecDeque::new(),
            max,
        }
    }

    pub fn admit(&mut self, task: TaskId, fence: Fence) -> Admission {
        match self.newest.entry(task) {
            Entry::Occupied(mut seen) => {
                let admission = match fence.cmp(seen.get()) {
                    std::cmp::Ordering::Less => return Admission::Older,
                    std::cmp::Ordering::Equal => return Admission::Duplicate,
                    std::cmp::Ordering::Greater => Admission::Fresh,
                };
                seen.insert(fence);
                admission
            }
            Entry::Vacant(unseen) => {
                unseen.insert(fence);
                self.order.push_back(task);
                if self.order.len() > self.max
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.newest.remove(&oldest);
                }
                Admission::Fresh
            }
        }
    }

    /// It was not begun after all, so the same fence may come again.
    pub fn forget(&mut self, task: TaskId, fence: Fence) {
        if let Some(seen) = self.newest.get_mut(&task)
            && *seen == fence
        {
            // The entry stays for its place in `order`; a fence below all others admits any.
            *seen = Fence {
                epoch: 0,
                attempt: 0,
            };
        }
    }

    pub fn seen(&self, task: TaskId) -> Option<Fence> {
        self.newest.get(&task).copied()
    }
}

/// Hashes ids that count upwards; they come from logic, not from strangers, so no keyed hash is needed.
#[derive(Default)]
pub struct IdHasher(u64);

pub type IdHash = BuildHasherDefault<IdHasher>;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ (x >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(epoch: u64, attempt: u32) -> Fence {
        Fence { epoch, attempt }
    }

    #[test]
    fn what_is_due_when() {
        let fresh = Lease {
            handed_ms: 1_000,
            timeout_ms: 10_000,
            started: false,
            overdue: false,
        };
        let started = Lease {
            started: true,
            ..fresh
        };
        let overdue = Lease {
            overdue: true,
            ..started
        };
        let table = [
            (fresh, 1_000, Due::Nothing),
            (fresh, 1_199, Due::Nothing),
            (fresh, 1_200, Due::Started),
            (started, 1_200, Due::Nothing),
            (started, 11_000, Due::Nothing),
            (started, 12_999, Due::Nothing),
            (started, 13_000, Due::Cancel),
            (overdue, 13_000, Due::Nothing),
            (overdue, 14_999, Due::Nothing),
            (overdue, 15_000, Due::GiveUp),
            (fresh, 15_000, Due::GiveUp),
            // A clock that steps back makes nothing due.
            (started, 0, Due::Nothing),
        ];
        for (lease, now_ms, due) in table {
            assert_eq!(lease.due(now_ms), due, "{lease:?} at {now_ms}");
        }
    }

    #[test]
    fn work_stops_one_beat_before_its_leases_end() {
        assert!(!must_stop(14_999));
        assert!(must_stop(15_000));
    }

    #[test]
    fn only_a_newer_fence_is_admitted() {
        let mut fences = Fences::new(10);
        let task = TaskId(7);
        let table = [
            (fence(1, 1), Admission::Fresh),
            (fence(1, 1), Admission::Duplicate),
            (fence(1, 2), Admission::Fresh),
            (fence(1, 1), Admission::Older),
            (fence(2, 1), Admission::Fresh),
            (fence(1, 9), Admission::Older),
        ];
        for (fence, admission) in table {
            assert_eq!(fences.admit(task, fence), admission, "{fence}");
        }
        fences.forget(task, fence(2, 1));
        assert_eq!(fences.admit(task, fence(2, 1)), Admission::Fresh);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut fences = Fences::new(2);
        for task in 1..=3 {
            fences.admit(TaskId(task), fence(1, 1));
        }
        assert_eq!(fences.newest.len(), 2);
        assert_eq!(fences.admit(TaskId(3), fence(1, 1)), Admission::Duplicate);
        assert_eq!(fences.admit(TaskId(1), fence(1, 1)), Admission::Fresh);
    }

    #[test]
    fn a_fence_is_compared_with_its_text() {
        assert!(fence(3, 2).is("3.2"));
        for other in ["3.1", "2.2", "3", "", "3.2.1", "x.2"] {
            assert!(!fence(3, 2).is(other), "{other}");
        }
    }
}
