//! Pools follow the offers: a version may appear, change its settings or vanish while its instances work.

use crate::directory::News;
use crate::pool::ROUSED_MS;
use crate::pools::{Pool, PoolKey, Stage};
use crate::runtime::Image;
use crate::shell::Shell;
use sengu_model::Class;
use sengu_model::wire::envelope::{VERSION, WorkerOffer};
use std::path::PathBuf;
use std::sync::Arc;

/// After the directory came back, offers that are not in it are taken for withdrawn only after this long, in
/// milliseconds: logic may just have been started anew, and write them one by one.
const OFFERS_GRACE_MS: u64 = 30_000;

/// What is known of the offers as a whole.
#[derive(Default)]
pub struct Offers {
    /// They were read once.
    read: bool,
    /// All of them are being read, which says nothing of when they were made.
    all: bool,
    /// By when those that are unconfirmed count as withdrawn.
    confirm_by_ms: Option<u64>,
}

impl Shell {
    pub fn on_offers(&mut self, news: News) {
        let again = news.all && std::mem::replace(&mut self.offers.read, true);
        if again {
            for pool in self.pools.values_mut() {
                pool.unconfirmed = pool.closed.is_none();
            }
            self.offers.confirm_by_ms = Some(self.now_ms + OFFERS_GRACE_MS);
        }
        self.offers.all = news.all;
        for (key, value) in news.entries {
            let name = key.strip_prefix("worker/").unwrap_or(&key);
            match value {
                Some(body) => self.on_offer(name, &body),
                None => self.on_offer_gone(name),
            }
        }
    }

    fn on_offer(&mut self, name: &str, body: &[u8]) {
        let offer = match serde_json::from_slice::<WorkerOffer>(body) {
            Ok(offer) if offer.v == VERSION => offer,
            Ok(offer) => {
                tracing::error!(name, version = offer.v, "offer of an unknown version");
                return;
            }
            Err(e) => {
                tracing::error!(name, error = %e, "offer not understood");
                return;
            }
        };
        let manifest = &offer.manifest;
        let Some((kind, version)) = name.split_once('/') else {
            tracing::error!(name, "an offer is named <kind>/<version>");
            return;
        };
        if (manifest.name.as_str(), manifest.version.as_str()) != (kind, version) {
            let (is, of) = (&manifest.name, &manifest.version);
            tracing::error!(name, "the offer is one of {is}/{of}");
            return;
        }
        if self.leaving.is_some() {
            return;
        }
        let folder = self.config.bundled.get(&offer.digest).cloned();
        let folder = folder.unwrap_or_default();
        let mut image = Image::of(manifest, offer.digest, folder);
        let key = match self.pools.find(name) {
            Some(key) => {
                if image.digest == self.pools[key].image.digest && image.folder == PathBuf::new() {
                    image.folder.clone_from(&self.pools[key].image.folder);
                }
                self.renew_pool(key, image);
                key
            }
            None => {
                tracing::info!(name, digest = image.digest, "offer");
                let replaces = self.pools.iter().any(|(_, pool)| *pool.kind == *kind);
                let mut pool = Pool::new(kind, version, Arc::new(image), 0);
                if offer.active && replaces && !self.offers.all {
                    pool.roused_until_ms = self.now_ms + ROUSED_MS;
                }
                pool.active = offer.active;
                let key = self.pools.add(name, pool);
                self.open_intakes(key);
                key
            }
        };
        let now_ms = self.now_ms;
        let pool = &mut self.pools[key];
        if offer.active && !pool.active {
            pool.roused_until_ms = now_ms + ROUSED_MS;
        }
        pool.bytes = offer.bytes;
        pool.decl = offer.pool;
        pool.active = offer.active;
        pool.unconfirmed = false;
        self.pools.touch(key);
    }

    /// The offer of a version that has a pool: perhaps other bytes, perhaps offered anew.
    fn renew_pool(&mut self, key: PoolKey, image: Image) {
        let pool = &mut self.pools[key];
        let reopened = pool.closed.take().is_some();
        let changed = *pool.image != image;
        if changed {
            tracing::info!(
                kind = %pool.kind,
                version = %pool.version,
                digest = image.digest,
                "offer of another image"
            );
            pool.image = Arc::new(image);
            pool.stage = Stage::Dormant;
            pool.came_up = false;
        }
        if changed || reopened {
            pool.crashes = 0;
            pool.start_after_ms = 0;
            pool.broken = None;
        }
        if reopened {
            tracing::info!(kind = %pool.kind, version = %pool.version, "offered again");
            // What came of a fetch or a preparation meanwhile was not taken note of.
            pool.stage = Stage::Dormant;
            self.open_intakes(key);
        }
    }

    fn open_intakes(&mut self, key: PoolKey) {
        if self.holds_back().is_none() {
            for class in Class::ALL {
                self.subscribe(key, class);
            }
        }
    }

    fn on_offer_gone(&mut self, name: &str) {
        if let Some(key) = self.pools.find(name)
            && self.pools[key].closed.is_none()
        {
            tracing::info!(name, "offer withdrawn");
            self.close_pool(key, "this version is no longer offered here");
        }
    }

    /// Lets the pool's tasks in hand end, rejects those that wait, and takes no more.
    pub fn close_pool(&mut self, key: PoolKey, why: &str) {
        let pool = &mut self.pools[key];
        pool.closed = Some(why.to_owned());
        pool.unconfirmed = false;
        self.close_intakes(key, why);
    }

    /// Takes no more tasks into the pool, and gives back those that were not begun.
    pub fn close_intakes(&mut self, key: PoolKey, why: &str) {
        self.reject_waiting(key, why);
        self.reject_held_back(key, why);
        self.reject_claimed(key, why);
        for class in Class::ALL {
            self.close_intake(key, class);
        }
        self.pools.touch(key);
    }

    /// From now on nothing new is begun.
    pub fn close_all_intakes(&mut self, why: &str) {
        for key in self.pools.keys() {
            self.close_intakes(key, why);
        }
    }

    /// Tasks are taken again.
    pub fn open_all_intakes(&mut self) {
        for key in self.pools.keys() {
            if self.pools[key].closed.is_none() {
                self.open_intakes(key);
            }
            self.pools.touch(key);
        }
    }

    pub fn withdraw_unconfirmed(&mut self) {
        if self
            .offers
            .confirm_by_ms
            .is_none_or(|by_ms| self.now_ms < by_ms)
        {
            return;
        }
        self.offers.confirm_by_ms = None;
        for key in self.pools.keys() {
            if self.pools[key].unconfirmed {
                let pool = &self.pools[key];
                tracing::info!(kind = %pool.kind, version = %pool.version, "offer is gone");
                self.close_pool(key, "this version is no longer offered here");
            }
        }
    }
}
