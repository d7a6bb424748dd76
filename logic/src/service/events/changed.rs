//! Targets whose readings have changed since a follower was last told: each once, however often it was observed. So a
//! slow broker holds up nobody and costs a few bytes per target, and only the latest values go out.

use parking_lot::Mutex;
use sengu_model::Uid;
use std::collections::{HashSet, VecDeque};
use tokio::sync::Notify;

/// At most one entry per target.
#[derive(Default)]
pub struct Changed {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    known: HashSet<Uid>,
    order: VecDeque<Uid>,
}

impl Changed {
    pub fn mark(&self, target: Uid) {
        let mut waiting = self.waiting.lock();
        if waiting.known.insert(target) {
            waiting.order.push_back(target);
            self.wake.notify_one();
        }
    }

    /// The one that has waited longest.
    pub fn take(&self) -> Option<Uid> {
        let mut waiting = self.waiting.lock();
        let target = waiting.order.pop_front()?;
        waiting.known.remove(&target);
        Some(target)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.lock().order.is_empty()
    }

    /// Resolves when something was marked since the last time.
    pub async fn marked(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_waits_once_and_in_its_turn() {
        let changed = Changed::default();
        for n in [3, 1, 3, 2, 1] {
            changed.mark(Uid(n));
        }
        assert_eq!(changed.take(), Some(Uid(3)));
        changed.mark(Uid(3));
        let rest: Vec<Uid> = std::iter::from_fn(|| changed.take()).collect();
        assert_eq!(rest, [Uid(1), Uid(2), Uid(3)]);
        assert!(changed.is_empty());
    }
}
