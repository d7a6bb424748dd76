//! What shadows have found so far, by kind and rule. Written by dispatch, read by the rollout service.

use super::compare::Different;
use parking_lot::Mutex;
use sengu_model::release::{Cell, Difference, RuleStatus, ShadowStatus};
use std::collections::HashMap;

/// Differences kept apart per rule; what is beyond is counted with none of them.
const KEPT_MAX: usize = 2_000;
const SHOWN_MAX: usize = 100;

#[derive(Default)]
pub struct Shadows(Mutex<HashMap<(String, String), Found>>);

#[derive(Default)]
struct Found {
    compared: u64,
    same: u64,
    skipped: u64,
    differences: HashMap<(String, Cell), Difference>,
}

impl Shadows {
    pub fn add(&self, kind: &str, rule: &str, cell: &Cell, target: &str, found: Vec<Different>) {
        let mut all = self.0.lock();
        let mine = all.entry((kind.to_owned(), rule.to_owned())).or_default();
        mine.compared += 1;
        mine.same += u64::from(found.is_empty());
        for different in found {
            let key = (different.field.clone(), cell.clone());
            if mine.differences.len() >= KEPT_MAX && !mine.differences.contains_key(&key) {
                continue;
            }
            let kept = mine.differences.entry(key).or_insert_with(|| Difference {
                field: different.field,
                cell: cell.clone(),
                count: 0,
                stable: different.stable,
                candidate: different.candidate,
                target: target.to_owned(),
            });
            kept.count += 1;
        }
    }

    pub fn skipped(&self, kind: &str, rule: &str) {
        let mut all = self.0.lock();
        all.entry((kind.to_owned(), rule.to_owned()))
            .or_default()
            .skipped += 1;
    }

    pub fn tell(&self, kind: &str, status: &mut RuleStatus) {
        let all = self.0.lock();
        let Some(mine) = all.get(&(kind.to_owned(), status.name.clone())) else {
            status.shadow = Some(ShadowStatus::default());
            return;
        };
        let mut differences: Vec<Difference> = mine.differences.values().cloned().collect();
        differences.sort_by(|a, b| {
            let by_name = || (&a.field, &a.cell).cmp(&(&b.field, &b.cell));
            b.count.cmp(&a.count).then_with(by_name)
        });
        differences.truncate(SHOWN_MAX);
        status.shadow = Some(ShadowStatus {
            compared: mine.compared,
            same: mine.same,
            skipped: mine.skipped,
            differences,
        });
    }

    /// Forgets what was found by rules that are no more.
    pub fn keep(&self, kind: &str, rules: &[&str]) {
        self.0
            .lock()
            .retain(|(k, rule), _| k != kind || rules.contains(&rule.as_str()));
    }
}
