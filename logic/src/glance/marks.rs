//! Which targets have changed since somebody last looked. Costs one load of a number while nobody does.

use parking_lot::Mutex;
use sengu_model::Uid;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// All who look.
#[derive(Default)]
pub struct Marks {
    looking: AtomicUsize,
    all: Mutex<Vec<Weak<Changed>>>,
}

/// What has changed for one who looks; at most one entry per target.
pub struct Changed {
    targets: Mutex<HashSet<Uid>>,
    /// Counts how often the first one was marked.
    first: watch::Sender<u64>,
}

impl Marks {
    pub fn look(&self) -> Arc<Changed> {
        let changed = Arc::new(Changed {
            targets: Mutex::default(),
            first: watch::Sender::new(0),
        });
        let mut all = self.all.lock();
        all.retain(|c| c.strong_count() > 0);
        all.push(Arc::downgrade(&changed));
        self.looking.store(all.len(), Ordering::Release);
        changed
    }

    pub fn mark(&self, target: Uid) {
        if self.looking.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut all = self.all.lock();
        let mut gone = false;
        for changed in all.iter() {
            match changed.upgrade() {
                Some(changed) => changed.mark(target),
                None => gone = true,
            }
        }
        if gone {
            all.retain(|c| c.strong_count() > 0);
            self.looking.store(all.len(), Ordering::Release);
        }
    }
}

impl Changed {
    fn mark(&self, target: Uid) {
        let mut targets = self.targets.lock();
        let first = targets.is_empty();
        if targets.insert(target) && first {
            self.first.send_modify(|n| *n += 1);
        }
    }

    pub fn take(&self) -> HashSet<Uid> {
        std::mem::take(&mut self.targets.lock())
    }

    /// Wakes when something was marked that nobody has taken.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.first.subscribe()
    }
}
