//! What is on its way into the lanes, and what ended meanwhile.
//!
//! A task is read from the store (or committed) in one place and taken into its lane in another. Between the two it may
//! have ended; taken in then, it would be done a second time. So whoever carries tasks holds an `Arrival` from before he
//! reads or commits them, and an ended task is remembered for as long as somebody might still bring it.

use parking_lot::Mutex;
use sengu_model::TaskId;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

#[derive(Clone, Default)]
pub struct Arrivals(Arc<Mutex<Numbers>>);

#[derive(Default)]
struct Numbers {
    next: u64,
    under_way: BTreeSet<u64>,
}

/// Tasks under way; over when it is dropped.
pub struct Arrival {
    arrivals: Arrivals,
    number: u64,
}

impl Arrivals {
    pub fn begin(&self) -> Arrival {
        let mut numbers = self.0.lock();
        let number = numbers.next;
        numbers.next += 1;
        numbers.under_way.insert(number);
        Arrival {
            arrivals: self.clone(),
            number,
        }
    }

    /// The oldest that is under way, and the number of the next to come. They are the same when none is.
    fn bounds(&self) -> (u64, u64) {
        let numbers = self.0.lock();
        let oldest = numbers.under_way.first().copied();
        (oldest.unwrap_or(numbers.next), numbers.next)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.0.lock().under_way.remove(&self.number);
    }
}

/// Tasks that ended while somebody might still bring them.
#[derive(Default)]
pub struct Gone {
    ids: HashSet<TaskId>,
    order: VecDeque<(u64, TaskId)>,
}

impl Gone {
    /// These have ended, durably.
    pub fn ended(&mut self, tasks: impl Iterator<Item = TaskId>, arrivals: &Arrivals) {
        let (oldest, next) = arrivals.bounds();
        if oldest < next {
            for task in tasks {
                if self.ids.insert(task) {
                    self.order.push_back((next, task));
                }
            }
        }
        while let Some((until, task)) = self.order.front()
            && *until <= oldest
        {
            self.ids.remove(task);
            self.order.pop_front();
        }
    }

    pub fn contains(&self, task: TaskId) -> bool {
        !self.ids.is_empty() && self.ids.contains(&task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_remembered_while_an_older_arrival_is_under_way() {
        let (arrivals, mut gone) = (Arrivals::default(), Gone::default());
        let page = arrivals.begin();
        gone.ended([TaskId(1)].into_iter(), &arrivals);
        let later = arrivals.begin();
        assert!(gone.contains(TaskId(1)));
        drop(page);
        gone.ended([TaskId(2)].into_iter(), &arrivals);
        assert!(!gone.contains(TaskId(1)), "nobody can bring it any more");
        assert!(gone.contains(TaskId(2)));
        drop(later);
        gone.ended([TaskId(3)].into_iter(), &arrivals);
        assert!(gone.ids.is_empty() && gone.order.is_empty());
    }
}
