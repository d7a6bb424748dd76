//! From an offer to instances that take tasks: the runtime is chosen, the image fetched and made ready, and the moves
//! that the pool's plan asks for are made.

use crate::choose;
use crate::images::Found;
use crate::intake::REJECTIONS_PER_TICK;
use crate::pool::{self, InstanceView, Move};
use crate::pools::{PoolKey, Stage};
use crate::runtime::{Image, RuntimeError};
use crate::shell::{Event, Shell};
use sengu_model::{Class, limits};
use std::sync::Arc;
use std::time::Duration;

/// An engine that is away is asked for again after this long, in milliseconds; asking costs next to nothing.
const ENGINE_RETRY_MS: u64 = limits::BEAT_MS;

/// For a runtime to make an image ready: a large one is loaded into its engine, or compiled.
const PREPARE_MAX: Duration = Duration::from_secs(300);

impl Shell {
    /// Sees to it that the pool's instances can be started.
    fn prepare(&mut self, key: PoolKey) {
        let pool = &mut self.pools[key];
        let here: Vec<(&str, bool)> = self
            .runtimes
            .iter()
            .map(|r| (r.name(), r.fits(&pool.image)))
            .collect();
        let declared = pool.image.runtimes.iter().map(|r| r.name.as_str());
        match choose::runtime(declared, &here) {
            Ok(at) => pool.runtime = Some(self.runtimes[at].clone()),
            Err(why) => {
                pool.runtime = None;
                self.not_ready(key, &why, ENGINE_RETRY_MS);
                return;
            }
        }
        let image = pool.image.clone();
        if self.config.bundled.contains_key(&image.digest) {
            self.prepare_here(key);
            return;
        }
        let bytes = pool.bytes;
        match self.want_image(&image.digest, bytes) {
            Found::Here(folder) => {
                let pool = &mut self.pools[key];
                if pool.image.folder != folder {
                    let image = Image {
                        folder,
                        ..(*image).clone()
                    };
                    pool.image = Arc::new(image);
                }
                self.prepare_here(key);
            }
            Found::Coming => self.pools[key].stage = Stage::Fetching,
            Found::Not { why, wait_ms } => self.not_ready(key, &why, wait_ms),
        }
    }

    /// The files are here: the runtime does its part.
    fn prepare_here(&mut self, key: PoolKey) {
        let pool = &mut self.pools[key];
        let Some(runtime) = pool.runtime.clone() else {
            return;
        };
        pool.stage = Stage::Preparing;
        let image = pool.image.clone();
        self.source(async move {
            let prepared = runtime.prepare((*image).clone());
            let result = tokio::time::timeout(PREPARE_MAX, prepared).await;
            let late = || format!("not done within {} s", PREPARE_MAX.as_secs());
            let result = result.unwrap_or_else(|_| Err(RuntimeError::Engine(late())));
            Event::Prepared(key, image, result)
        });
    }

    pub fn on_prepared(
        &mut self,
        key: PoolKey,
        image: &Arc<Image>,
        result: Result<(), RuntimeError>,
    ) {
        let Some(pool) = self.pools.get_mut(key) else {
            return;
        };
        if pool.stage != Stage::Preparing || !Arc::ptr_eq(&pool.image, image) {
            return;
        }
        match result {
            Ok(()) => {
                pool.stage = Stage::Prepared;
                // After crashes only an instance that comes up shows that it is mended.
                if pool.crashes == 0 {
                    pool.broken = None;
                }
                self.pools.touch(key);
            }
            Err(e) => {
                let wait_ms = match &e {
                    RuntimeError::Image { .. } => limits::RETRY_MAX_MS,
                    _ => ENGINE_RETRY_MS,
                };
                let why = format!("prepare the image: {}", e.text());
                self.not_ready(key, &why, wait_ms);
            }
        }
    }

    /// An image that pools wait for has come, or has not.
    pub fn on_image_settled(&mut self, digest: &str) {
        let waits = |pool: &crate::pools::Pool| {
            pool.stage == Stage::Fetching && pool.image.digest == digest
        };
        let keys: Vec<PoolKey> = self
            .pools
            .iter()
            .filter(|(_, pool)| waits(pool))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.pools[key].stage = Stage::Dormant;
            if self.pools[key].closed.is_none() {
                self.prepare(key);
            }
            self.pools.touch(key);
        }
    }

    /// No instance can be had for now; asked for again after `wait_ms`.
    fn not_ready(&mut self, key: PoolKey, why: &str, wait_ms: u64) {
        let pool = &mut self.pools[key];
        pool.stage = Stage::Dormant;
        pool.start_after_ms = self.now_ms + wait_ms;
        self.break_pool(key, why);
    }

    pub fn break_pool(&mut self, key: PoolKey, why: &str) {
        let pool = &mut self.pools[key];
        if pool.broken.as_deref() != Some(why) {
            tracing::error!(kind = %pool.kind, version = %pool.version, why, "pool broken");
            pool.broken = Some(why.to_owned());
        }
        self.pools.touch(key);
    }

    /// Makes the moves that are due, hands over what waits, and takes in what there is room for.
    pub fn settle_pool(&mut self, key: PoolKey) {
        let now_ms = self.now_ms;
        let Some(pool) = self.pools.get_mut(key) else {
            return;
        };
        if pool.wants_its_image(now_ms) {
            self.prepare(key);
        }
        if let Some(why) = self.pools[key].refuses(now_ms).map(str::to_owned) {
            self.reject_waiting(key, &why);
        }
        self.hand_over_waiting(key);
        for step in pool::plan(&self.pool_view(key), &self.views(key)) {
            match step {
                Move::Start => self.start_instance(key),
                Move::Retire(instance) => self.retire(instance),
                Move::Drain(instance) => self.drain_instance(instance),
                Move::Kill(instance) => self.kill(instance, "no longer needed"),
            }
        }
        let view = self.pool_view(key);
        let free = pool::free_slots(&view, &self.views(key));
        self.pools[key].free = free.saturating_sub(view.waiting);
        for class in Class::ALL {
            self.arm(key, class);
        }
        let next_tick_ms = self.next_tick_ms;
        self.pools.set_due(key, next_tick_ms, REJECTIONS_PER_TICK);
        if self.pools.reap(key) {
            self.clean_soon();
        }
    }

    pub fn pool_view(&self, key: PoolKey) -> pool::PoolView {
        self.pools[key].view(self.now_ms, self.lets_instances_go())
    }

    pub fn views(&self, key: PoolKey) -> Vec<InstanceView> {
        let pool = &self.pools[key];
        let view = |key: &u64| {
            let instance = self.instances.get(key)?;
            Some(instance.view(Arc::ptr_eq(&instance.image, &pool.image)))
        };
        pool.instances.iter().filter_map(view).collect()
    }

    pub fn complain(&mut self, key: PoolKey, instance: &str, what: &'static str, detail: &str) {
        let Some(pool) = self.pools.get_mut(key) else {
            return;
        };
        let count = pool.complaints.add(instance, what, detail);
        // A flood of misdeeds is not to become one of warnings.
        if count.is_power_of_two() {
            tracing::warn!(instance, detail, count, "{what}");
        }
        self.announce.stale = true;
    }
}
