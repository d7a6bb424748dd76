//! Pools follow the directory of offers: a kind may appear, change or vanish while its instances work.

use crate::complaints::Complaints;
use crate::intake::{Intake, Waiting};
use crate::pool::{self, InstanceView, Move, PoolView};
use crate::runtime::{Image, Runtime, RuntimeError};
use crate::shell::{Entries, Event, Shell};
use sengu_interconnect::Directory;
use sengu_model::manifest::Manifest;
use sengu_model::wire::envelope::{VERSION, WorkerOffer};
use sengu_model::{Class, limits};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Where logic says what may be run.
const OFFERS: &str = "worker/";
/// Wait before the directory or a queue is asked for again after the broker was away.
pub const BROKER_RETRY: Duration = Duration::from_secs(1);

/// All instances of one worker kind, of the version offered now and of versions that are leaving.
pub struct Pool {
    pub kind: Arc<str>,
    pub manifest: Manifest,
    pub image: Arc<Image>,
    /// None when no runtime takes images of this form.
    pub runtime: Option<Arc<dyn Runtime>>,
    pub prepared: bool,
    /// Not offered any more, or the WEE drains: why.
    pub closed: Option<String>,
    pub instances: Vec<u64>,
    /// By class.
    pub intakes: [Intake; 2],
    /// Received and without a slot, by class.
    pub waiting: [VecDeque<Waiting>; 2],
    /// Free slots as of the last settling, kept up by what was begun and ended since.
    pub free: u32,
    pub dirty: bool,
    pub crashes: u32,
    pub start_after_ms: u64,
    pub broken: Option<String>,
    /// Tasks still taken in this tick to be rejected, while broken.
    pub rejections_left: u32,
    pub restarts: u64,
    pub ended: u64,
    pub failed: u64,
    pub complaints: Complaints,
}

impl Pool {
    pub fn view(&self, now_ms: u64) -> PoolView {
        let waiting = self.waiting.iter().map(VecDeque::len).sum::<usize>();
        PoolView {
            decl: self.manifest.pool,
            slots: self.manifest.slots,
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            now_ms,
            start_after_ms: if self.prepared {
                self.start_after_ms
            } else {
                u64::MAX
            },
            crashes: self.crashes,
            broken: self.broken.is_some(),
            closing: self.closed.is_some(),
        }
    }

    pub fn slots_max(&self) -> u32 {
        self.manifest.slots.saturating_mul(self.manifest.pool.max)
    }

    /// Slots that a task of this class may still take.
    pub fn room(&self, class: Class) -> u32 {
        match class {
            Class::Control => self.free,
            Class::Observe => {
                let reserve = pool::reserve(&self.manifest.pool, self.manifest.slots);
                self.free.saturating_sub(reserve)
            }
        }
    }
}

impl Shell {
    pub fn follow_directory(&mut self, directory: Option<Box<dyn Directory>>) {
        let broker = self.broker.clone();
        // At the start there is no reason to wait.
        let mut first = self.pools.is_empty();
        self.source(async move {
            let mut directory = match directory {
                Some(directory) => directory,
                None => loop {
                    if !std::mem::take(&mut first) {
                        tokio::time::sleep(BROKER_RETRY).await;
                    }
                    match broker.directory(OFFERS.to_owned()).await {
                        Ok(directory) => break directory,
                        Err(e) => tracing::warn!(error = %e, "follow the directory of offers"),
                    }
                },
            };
            let entries = directory.next().await;
            Event::Directory(directory, entries)
        });
    }

    pub fn on_directory(&mut self, directory: Box<dyn Directory>, entries: Entries) {
        match entries {
            Ok(entries) => {
                for (key, value) in entries {
                    let kind = key.strip_prefix(OFFERS).unwrap_or(&key).to_owned();
                    match value {
                        Some(body) => self.on_offer(&kind, &body),
                        None => self.on_offer_gone(&kind),
                    }
                }
                self.follow_directory(Some(directory));
            }
            Err(e) => {
                // Pools go on with the offers they have; all offers come again with the first answer.
                tracing::warn!(error = %e, "the directory of offers is away");
                self.follow_directory(None);
            }
        }
    }

    fn on_offer(&mut self, kind: &str, body: &[u8]) {
        let offer = match serde_json::from_slice::<WorkerOffer>(body) {
            Ok(offer) if offer.v == VERSION => offer,
            Ok(offer) => {
                tracing::error!(kind, version = offer.v, "offer of an unknown version");
                return;
            }
            Err(e) => {
                tracing::error!(kind, error = %e, "offer not understood");
                return;
            }
        };
        if self.draining.is_some() {
            return;
        }
        let image = Arc::new(Image {
            kind: kind.to_owned(),
            version: offer.manifest.version.clone(),
            digest: offer.digest,
            folder: offer.folder.into(),
            command: offer.manifest.command.clone(),
        });
        let runtime = self.runtimes.iter().find(|r| r.fits(&image)).cloned();
        match self.pools.iter().position(|pool| *pool.kind == *kind) {
            Some(at) => {
                let pool = &mut self.pools[at];
                let same =
                    pool.closed.is_none() && pool.image == image && pool.manifest == offer.manifest;
                if same {
                    return;
                }
                tracing::info!(
                    kind,
                    version = image.version,
                    digest = image.digest,
                    "offer changed"
                );
                // Settings of the pool alone need no new instances.
                pool.prepared = pool.prepared && pool.image == image;
                pool.manifest = offer.manifest;
                pool.image = image;
                pool.runtime = runtime;
                pool.closed = None;
                pool.crashes = 0;
                pool.start_after_ms = 0;
                pool.broken = None;
                pool.dirty = true;
                self.open_pool(at);
            }
            None => {
                tracing::info!(
                    kind,
                    version = image.version,
                    digest = image.digest,
                    "offer"
                );
                self.pools.push(Pool {
                    kind: kind.into(),
                    manifest: offer.manifest,
                    image,
                    runtime,
                    prepared: false,
                    closed: None,
                    instances: Vec::new(),
                    intakes: [Intake::default(), Intake::default()],
                    waiting: [VecDeque::new(), VecDeque::new()],
                    free: 0,
                    dirty: true,
                    crashes: 0,
                    start_after_ms: 0,
                    broken: None,
                    rejections_left: 0,
                    restarts: 0,
                    ended: 0,
                    failed: 0,
                    complaints: Complaints::default(),
                });
                self.open_pool(self.pools.len() - 1);
            }
        }
    }

    fn open_pool(&mut self, at: usize) {
        self.prepare(at);
        for class in Class::ALL {
            self.subscribe(at, class);
        }
    }

    fn on_offer_gone(&mut self, kind: &str) {
        if let Some(at) = self.pools.iter().position(|pool| *pool.kind == *kind) {
            tracing::info!(kind, "offer withdrawn");
            self.close_pool(at, "the worker kind is no longer offered here");
        }
    }

    /// Lets the pool's tasks in hand end, rejects those that wait, and takes no more.
    pub fn close_pool(&mut self, at: usize, why: &str) {
        let pool = &mut self.pools[at];
        pool.closed = Some(why.to_owned());
        pool.dirty = true;
        self.reject_waiting(at, why);
        for class in Class::ALL {
            self.close_intake(at, class);
        }
    }

    fn prepare(&mut self, at: usize) {
        let pool = &mut self.pools[at];
        if pool.prepared {
            return;
        }
        let image = pool.image.clone();
        let Some(runtime) = pool.runtime.clone() else {
            let names: Vec<&str> = self.runtimes.iter().map(|r| r.name()).collect();
            let why = format!(
                "no runtime for this image here (there are: {})",
                names.join(", ")
            );
            self.pools[at].broken = Some(why);
            return;
        };
        self.source(async move {
            let result = runtime.prepare((*image).clone()).await;
            Event::Prepared(at, image.digest.clone(), result)
        });
    }

    pub fn on_prepared(&mut self, at: usize, digest: &str, result: Result<(), RuntimeError>) {
        let pool = &mut self.pools[at];
        if pool.image.digest != digest || pool.closed.is_some() {
            return;
        }
        match result {
            Ok(()) => {
                pool.prepared = true;
                pool.broken = None;
                pool.dirty = true;
            }
            Err(e) => {
                let why = format!("prepare the image: {}", e.text());
                tracing::error!(kind = %pool.kind, error = why, "pool broken");
                pool.broken = Some(why);
                pool.start_after_ms = self.now_ms + limits::RETRY_MAX_MS;
            }
        }
    }

    /// Makes the moves that are due, hands over what waits, and takes in what there is room for.
    pub fn settle_pool(&mut self, at: usize) {
        let now_ms = self.now_ms;
        if !self.pools[at].prepared
            && self.pools[at].broken.is_some()
            && now_ms >= self.pools[at].start_after_ms
            && self.pools[at].closed.is_none()
        {
            self.pools[at].start_after_ms = now_ms + limits::RETRY_MAX_MS;
            self.prepare(at);
        }
        if self.pools[at].broken.is_some() {
            let why = self.pools[at].broken.clone().unwrap_or_default();
            self.reject_waiting(at, &why);
        }
        self.hand_over_waiting(at);
        for step in pool::plan(&self.pools[at].view(now_ms), &self.views(at)) {
            match step {
                Move::Start => self.start_instance(at),
                Move::Retire(key) => self.retire(key),
                Move::Drain(key) => self.drain_instance(key),
                Move::Kill(key) => self.kill(key, "no longer needed"),
            }
        }
        let view = self.pools[at].view(now_ms);
        let free = pool::free_slots(&view, &self.views(at));
        self.pools[at].free = free.saturating_sub(view.waiting);
        for class in Class::ALL {
            self.arm(at, class);
        }
    }

    pub fn views(&self, at: usize) -> Vec<InstanceView> {
        let pool = &self.pools[at];
        let view = |key: &u64| {
            let instance = self.instances.get(key)?;
            Some(instance.view(Arc::ptr_eq(&instance.image, &pool.image)))
        };
        pool.instances.iter().filter_map(view).collect()
    }

    pub fn complain(&mut self, at: usize, instance: &str, what: &'static str, detail: &str) {
        let count = self.pools[at].complaints.add(instance, what, detail);
        // A flood of misdeeds is not to become one of warnings.
        if count.is_power_of_two() {
            tracing::warn!(instance, detail, count, "{what}");
        }
    }
}
