//! Which tasks take longer than expected. Pure: time is passed in.

use sengu_model::task::Priority;
use sengu_model::{Time, limits};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a task in hand may take: three times what 90 of 100 took of its queue. Before anything ended there, its timeout.
pub fn expected_in_hand_ms(p90_ms: Option<u64>, timeout_ms: u64) -> u64 {
    let expected = p90_ms.map_or(timeout_ms, |p90| p90.saturating_mul(limits::SLOW_TIMES));
    expected.max(limits::SLOW_MIN_MS)
}

/// How long a task may wait that could go. None: as long as it likes.
pub fn expected_waiting_ms(priority: Priority) -> Option<u64> {
    match priority {
        Priority::People => Some(limits::SLOW_WAIT_PEOPLE_MS),
        Priority::Batch => Some(limits::SLOW_WAIT_BATCH_MS),
        // Waits for its batch on purpose; a sweep that does not come to its turn is left out.
        Priority::Held | Priority::Sweep => None,
    }
}

/// The worst so far, and how many there are.
pub struct Worst<T> {
    /// By how much they are over, least on top.
    heap: BinaryHeap<Reverse<(u64, T)>>,
    pub total: u64,
}

impl<T: Ord> Default for Worst<T> {
    fn default() -> Self {
        Worst {
            heap: BinaryHeap::new(),
            total: 0,
        }
    }
}

impl<T: Ord> Worst<T> {
    pub fn look(&mut self, since: Time, expected_ms: u64, now: Time, what: T) {
        let over = now.ms_since(since).saturating_sub(expected_ms);
        if over == 0 || since >= now {
            return;
        }
        self.total += 1;
        self.heap.push(Reverse((over, what)));
        if self.heap.len() > limits::SLOW_NAMED_MAX {
            self.heap.pop();
        }
    }

    /// The worst first.
    pub fn named(self) -> Vec<T> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse((_, what))| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected() {
        let table = [
            (Some(10), 30_000, 5_000),
            (Some(4_000), 30_000, 12_000),
            (None, 30_000, 30_000),
            (None, 1_000, 5_000),
        ];
        for (p90, timeout, expected) in table {
            assert_eq!(expected_in_hand_ms(p90, timeout), expected);
        }
        assert!(expected_waiting_ms(Priority::People) < expected_waiting_ms(Priority::Batch));
        assert_eq!(expected_waiting_ms(Priority::Held), None);
    }

    #[test]
    fn the_worst_are_named_first_and_all_are_counted() {
        let mut worst = Worst::default();
        let now = Time(1_000_000);
        for n in 0..100_u64 {
            worst.look(Time(now.0 - n as i64 * 100), 1_000, now, n);
        }
        worst.look(Time(now.0 + 5_000), 1_000, now, 1_000); // a clock that is wrong
        assert_eq!(worst.total, 89);
        let named = worst.named();
        assert_eq!(named.len(), limits::SLOW_NAMED_MAX);
        assert_eq!(named[..3], [99, 98, 97]);
    }
}
