//! Which readings a follower's broker keeps of which target, so that they can be taken away again when the target or the
//! sensor is gone, in whatever life of sengu that is.
//!
//! It is written down before a reading is told and rubbed out after the taking away was told: whatever happens between,
//! nothing that is kept is forgotten. In memory is only a number per target: 100,000 targets are 5 MB.

use super::body;
use sengu_interconnect::events::Told;
use sengu_model::Uid;
use sengu_store::{Op, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is kept of one target, by the value of meta `events/<follower>/readings/<target>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kept {
    pub uid: Uid,
    pub kind: String,
    pub zone: String,
    /// Readings with their labels, as levels of topics.
    pub levels: BTreeSet<String>,
}

/// What must be written before and after telling, and what is told to take away what is gone.
#[derive(Default)]
pub struct Steps {
    pub before: Option<Op>,
    pub gone: Vec<Told>,
    pub after: Option<Op>,
    /// What is there now is told only in a later turn.
    pub again: bool,
}

pub struct Retained {
    follower: String,
    /// Digest of what is written down for a target.
    written: HashMap<Arc<str>, u64>,
}

impl Retained {
    pub fn new(follower: &str) -> Retained {
        Retained {
            follower: follower.to_owned(),
            written: HashMap::new(),
        }
    }

    fn key(&self, target: &str) -> String {
        format!("events/{}/readings/{target}", self.follower)
    }

    async fn read(&self, store: &dyn Store, target: &str) -> Result<Option<Kept>, StoreError> {
        let value = store.meta(&self.key(target)).await?;
        Ok(value.and_then(|v| serde_json::from_slice(&v).ok()))
    }

    fn put(&self, target: &str, kept: Option<&Kept>) -> Op {
        let value = kept.map(|kept| serde_json::to_vec(kept).unwrap_or_default());
        Op::PutMeta {
            key: self.key(target),
            value: value.unwrap_or_default().into(),
        }
    }

    /// Before the readings of a target are told.
    ///
    /// # Errors
    /// The store's.
    pub async fn tell(
        &self,
        store: &dyn Store,
        target: &str,
        now: &Kept,
    ) -> Result<Steps, StoreError> {
        if self.written.get(target) == Some(&digest(now)) {
            return Ok(Steps::default());
        }
        let old = self.read(store, target).await?.unwrap_or_default();
        if old == *now {
            return Ok(Steps::default());
        }
        if !old.levels.is_empty() && (&old.kind, &old.zone) != (&now.kind, &now.zone) {
            // It was moved: the old topics first, and only then others are written in their place.
            let mut steps = self.all_gone(target, &old);
            steps.again = true;
            return Ok(steps);
        }
        let gone: Vec<&String> = old.levels.difference(&now.levels).collect();
        let both = Kept {
            levels: old.levels.union(&now.levels).cloned().collect(),
            ..now.clone()
        };
        Ok(Steps {
            before: (both != old).then(|| self.put(target, Some(&both))),
            after: (!gone.is_empty()).then(|| self.put(target, Some(now))),
            gone: gone
                .into_iter()
                .map(|level| body::no_reading(&old.kind, &old.zone, target, level))
                .collect(),
            again: false,
        })
    }

    fn all_gone(&self, target: &str, old: &Kept) -> Steps {
        let take = |level: &String| body::no_reading(&old.kind, &old.zone, target, level);
        Steps {
            before: None,
            gone: old.levels.iter().map(take).collect(),
            after: Some(self.put(target, None)),
            again: false,
        }
    }

    /// When a target is gone, or there is another of its name.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_away(
        &self,
        store: &dyn Store,
        target: &str,
        unless: impl FnOnce(&Kept) -> bool,
    ) -> Result<Steps, StoreError> {
        let Some(old) = self.read(store, target).await? else {
            return Ok(Steps::default());
        };
        if unless(&old) {
            return Ok(Steps::default());
        }
        Ok(self.all_gone(target, &old))
    }

    /// The broker has taken it over and it is written down.
    pub fn is(&mut self, target: &Arc<str>, kept: Option<&Kept>) {
        match kept {
            Some(kept) => self.written.insert(target.clone(), digest(kept)),
            None => self.written.remove(target),
        };
    }
}

fn digest(kept: &Kept) -> u64 {
    let mut hasher = DefaultHasher::new();
    kept.hash(&mut hasher);
    hasher.finish()
}
