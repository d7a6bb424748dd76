//! Looking at every target without holding anybody up: a few at a time, and others go in between.

use crate::core::Shared;
use crate::inventory::{Live, Target};
use sengu_model::{Selector, limits};
use std::ops::Bound;
use std::sync::Arc;

impl Shared {
    /// Shows each target that the selector matches, in order of names. What is added or deleted meanwhile may be missed.
    pub async fn walk(
        &self,
        selector: &Selector,
        mut show: impl FnMut(&Arc<Target>, &Live) + Send,
    ) {
        let mut after: Option<Arc<str>> = None;
        loop {
            let last = {
                let inventory = self.inventory.read();
                let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let some = inventory.targets.range::<str, _>((from, Bound::Unbounded));
                let (mut count, mut last) = (0, None);
                for (name, target) in some.take(limits::WALK_STEP) {
                    (count, last) = (count + 1, Some(name.clone()));
                    let live = target.live.lock();
                    if selector.is_empty() || selector.matches(|key| target.value(&live, key)) {
                        show(target, &live);
                    }
                }
                last.filter(|_| count == limits::WALK_STEP)
            };
            match last {
                Some(last) => after = Some(last),
                None => return,
            }
            tokio::task::yield_now().await;
        }
    }
}
