//! One turn of a follower: what is told next, from the store and the inventory.

use super::retained::{Kept, Retained, Steps};
use super::{Standing, body};
use crate::changes::shown;
use crate::core::Shared;
use crate::tasks::view;
use sengu_interconnect::events::Told;
use sengu_model::wire::worker::Reading;
use sengu_model::{Time, Uid, limits};
use sengu_store::{Change, Op, StoreError};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Results, changes and readings told in one turn, each: one read, and a batch that brokers take in a few milliseconds.
pub const RESULTS_MAX: usize = 500;
pub const CHANGES_MAX: usize = 256;
/// Readings of a target are told together, so there may be those of one target more.
const READINGS_MAX: usize = 500;

/// What is told, and what follows once the broker has taken it over.
#[derive(Default)]
pub struct Turn {
    pub told: Vec<Told>,
    pub results: u64,
    pub changes: u64,
    /// There may be more at once.
    pub full: bool,
    pub dropped: u64,
    /// Targets whose readings are in it.
    pub targets: Vec<Uid>,
    /// Readings of these are told in a later turn.
    pub again: Vec<Uid>,
    pub after: Vec<Op>,
    pub kept: Vec<(Arc<str>, Option<Kept>)>,
}

/// A target's readings as they were when it was its turn.
struct Observed {
    name: Arc<str>,
    at: Time,
    kept: Kept,
    readings: BTreeMap<String, Reading>,
}

impl Standing {
    /// Reads what is next. What must be written before it is told is written.
    pub(super) async fn turn(
        &self,
        shared: &Shared,
        retained: &Retained,
        bytes_max: usize,
    ) -> Result<Turn, StoreError> {
        let mut turn = Turn {
            results: self.results.load(Ordering::Acquire),
            changes: self.changes.load(Ordering::Acquire),
            ..Turn::default()
        };
        // Before the changes: a reading must not be told after the end of its target.
        self.readings(shared, retained, bytes_max, &mut turn)
            .await?;
        self.results(shared, bytes_max, &mut turn).await?;
        if *shared.revision.borrow() > turn.changes {
            self.changes(shared, retained, bytes_max, &mut turn).await?;
        }
        Ok(turn)
    }

    async fn results(
        &self,
        shared: &Shared,
        bytes_max: usize,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let results = shared.store.results(turn.results, RESULTS_MAX).await?;
        turn.full |= results.len() == RESULTS_MAX;
        for (position, stored) in results {
            turn.results = position;
            let zone = {
                let inventory = shared.inventory.read();
                let target = inventory.by_uid.get(&stored.target);
                target.map(|t| t.zone.clone()).unwrap_or_default()
            };
            let told = body::result(position, view(&stored, None), &zone, bytes_max);
            turn.add(told);
        }
        Ok(())
    }

    async fn changes(
        &self,
        shared: &Shared,
        retained: &Retained,
        bytes_max: usize,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let read = match shared.store.changes(turn.changes, CHANGES_MAX).await {
            Ok(read) => read,
            Err(StoreError::Compacted { oldest }) => {
                turn.told.push(body::gap(turn.changes, oldest));
                turn.changes = oldest.saturating_sub(1).max(turn.changes);
                turn.full = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let whole = read.changes.len() < CHANGES_MAX;
        turn.full |= !whole;
        for change in read.changes {
            if change.kind == "Target" {
                let known = shared
                    .inventory
                    .read()
                    .target(&change.name)
                    .map(|t| t.revision);
                if is_behind(known, change.revision) {
                    // It is told once it is so for all; that moves the revision, or says again what it is.
                    return Ok(());
                }
                self.readings_of_gone(shared, retained, &change, turn)
                    .await?;
            }
            turn.changes = change.revision;
            if let Some(shown) = shown(shared, &change) {
                turn.add(body::record(shown, bytes_max));
            }
        }
        if whole {
            turn.changes = turn.changes.max(read.newest);
        }
        Ok(())
    }

    /// Takes away what is kept of a target that is gone, or of one that had its name.
    async fn readings_of_gone(
        &self,
        shared: &Shared,
        retained: &Retained,
        change: &Change,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let now = change.record.as_ref().map(|stored| {
            let inventory = shared.inventory.read();
            let target = inventory.by_uid.get(&stored.uid);
            target.map(|t| (t.uid, t.kind.clone(), t.zone.clone()))
        });
        let same = |kept: &Kept| match &now {
            None => false,
            Some(None) => true, // its own change says more
            Some(Some((uid, kind, zone))) => {
                (kept.uid, &*kept.kind, &*kept.zone) == (*uid, &**kind, &**zone)
            }
        };
        let steps = retained
            .take_away(&*shared.store, &change.name, same)
            .await?;
        if steps.after.is_some() {
            turn.kept.push((change.name.as_str().into(), None));
        }
        turn.step(steps);
        Ok(())
    }

    async fn readings(
        &self,
        shared: &Shared,
        retained: &Retained,
        bytes_max: usize,
        turn: &mut Turn,
    ) -> Result<(), StoreError> {
        let mut before = Vec::new();
        while turn.told.len() < READINGS_MAX {
            let Some(uid) = self.readings.take() else {
                break;
            };
            turn.targets.push(uid);
            let Some(observed) = observed(shared, uid) else {
                continue;
            };
            let Observed {
                name,
                at,
                kept,
                readings,
            } = observed;
            let mut steps = match retained.tell(&*shared.store, &name, &kept).await {
                Ok(steps) => steps,
                Err(error) => {
                    self.give_back(turn);
                    return Err(error);
                }
            };
            before.extend(steps.before.take());
            let again = steps.again;
            turn.step(steps);
            if again {
                turn.kept.push((name, None));
                turn.again.push(uid);
                continue;
            }
            let of = body::Of {
                uid,
                target: &name,
                kind: &kept.kind,
                zone: &kept.zone,
                at,
            };
            for reading in readings.values() {
                let told = body::reading(of, reading);
                turn.add(Some(told).filter(|told| told.body.len() <= bytes_max));
            }
            turn.kept.push((name, Some(kept)));
        }
        turn.full |= !self.readings.is_empty();
        if !before.is_empty()
            && let Err(error) = shared.store.commit(before.into()).await
        {
            self.give_back(turn);
            return Err(error);
        }
        Ok(())
    }

    /// It was not told: the readings are told with those of a later turn.
    pub(super) fn give_back(&self, turn: &Turn) {
        for target in &turn.targets {
            self.readings.mark(*target);
        }
    }
}

impl Turn {
    fn add(&mut self, told: Option<Told>) {
        match told {
            Some(told) => self.told.push(told),
            None => self.dropped += 1,
        }
    }

    fn step(&mut self, steps: Steps) {
        self.told.extend(steps.gone);
        self.after.extend(steps.after);
    }
}

/// A change of a target is in the store, and not yet in the inventory: it could still be observed as it was, and what is
/// kept of it could not be told from what is still right. `known` is the revision in the inventory.
fn is_behind(known: Option<u64>, revision: u64) -> bool {
    known.is_some_and(|known| known < revision)
}

fn observed(shared: &Shared, uid: Uid) -> Option<Observed> {
    let (target, raw, at) = {
        let target = shared.inventory.read().by_uid.get(&uid)?.clone();
        let live = target.live.lock();
        let raw = live.readings.clone();
        let at = live.observed_at.unwrap_or_default();
        drop(live);
        (target, raw, at)
    };
    let raw: Vec<&RawValue> = match &raw {
        Some(raw) => serde_json::from_str(raw.get()).unwrap_or_default(),
        None => Vec::new(),
    };
    // One that is none keeps no others from being told.
    let readings = raw
        .into_iter()
        .filter_map(|r| serde_json::from_str::<Reading>(r.get()).ok())
        .take(limits::READINGS_PER_TARGET_MAX);
    let readings: BTreeMap<String, Reading> =
        readings.map(|r| (body::reading_level(&r), r)).collect();
    Some(Observed {
        name: target.name.clone(),
        at,
        kept: Kept {
            uid,
            kind: target.kind.to_string(),
            zone: target.zone.to_string(),
            levels: readings.keys().cloned().collect(),
        },
        readings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_the_inventory_and_for_nothing_else() {
        // None: it is new, or gone since.
        let cases = [
            (Some(4), true),
            (Some(5), false),
            (Some(6), false),
            (None, false),
        ];
        for (known, behind) in cases {
            assert_eq!(is_behind(known, 5), behind, "{known:?}");
        }
    }
}
