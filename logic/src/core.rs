//! The logic role as one value: what is shared, how it starts and how it ends.

use crate::catalog::{Catalog, CatalogError};
use crate::dispatch::{self, Dispatch};
use crate::guarded::Guarded;
use crate::inventory::{Inventory, KeptStatus, Other, Target};
use crate::leader::Seat;
use crate::metrics::Metrics;
use crate::rollout::shadow::Shadows;
use crate::rollout::watch::Rollouts;
use crate::workers::Bundles;
use crate::{clock, service};
use parking_lot::{Mutex, RwLock};
use sengu_interconnect::{Broker, BrokerError};
use sengu_model::id::IdSource;
use sengu_model::kinds::TargetSpec;
use sengu_model::seal::SealKey;
use sengu_model::wire::envelope::{WeeAnnouncement, WorkerOffer};
use sengu_model::{Metadata, Record, TaskId, Time, Uid};
use sengu_store::blobs::Blobs;
use sengu_store::switch::{Current, Switch, SwitchBlobs};
use sengu_store::{Expect, Op, Store, StoreError, StoredRecord};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

const START_PAGE: usize = 2_000;

/// Who knows one of these may use the API.
pub struct Tokens {
    /// May do everything.
    pub operator: String,
    /// May look.
    pub viewer: String,
}

pub struct LogicConfig {
    pub seal_key: SealKey,
    /// Bearer tokens of the API.
    pub tokens: Tokens,
    /// Workers that came with the program.
    pub bundled: Vec<WorkerOffer>,
    /// Packs those when they are to be kept, or are wanted elsewhere.
    pub bundles: Arc<dyn Bundles>,
    /// Where images are kept.
    pub blobs: Arc<dyn Blobs>,
    pub sengu_version: String,
    /// What carries the tasks, in words: `embedded`, or the kinds of the brokers.
    pub interconnect: String,
    pub roles: Vec<String>,
    /// Ended tasks and streams are kept this long, in milliseconds.
    pub retention_ms: u64,
    /// Who did what is kept this long, in milliseconds.
    pub audit_retention_ms: u64,
    /// Those who are told what happens; nothing of it runs when there are none.
    pub followers: Vec<crate::Follower>,
    /// How the store can be moved into another one; None: it cannot.
    pub moving: Option<crate::Movable>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("read the store")]
    Store(#[from] StoreError),
    #[error("reach the interconnect")]
    Broker(#[from] BrokerError),
    #[error("load workers")]
    Catalog(#[from] CatalogError),
}

/// What all parts of logic share.
pub struct Shared {
    pub store: Arc<dyn Store>,
    /// The same, to be replaced when the store moves; and where images are kept.
    pub switch: Arc<Switch>,
    pub images: Arc<SwitchBlobs>,
    pub moves: service::moving::Moves,
    pub broker: Arc<dyn Broker>,
    pub config: LogicConfig,
    /// Number of this life; first half of every fence.
    pub epoch: u64,
    /// The right to be the active one.
    pub seat: Arc<Seat>,
    pub started_at: Time,
    pub inventory: RwLock<Inventory>,
    pub catalog: RwLock<Arc<Catalog>>,
    /// The catalog was replaced.
    pub moved: tokio::sync::Notify,
    /// What the execution environments are to find in the retained directory, by key.
    pub offered: Mutex<BTreeMap<String, bytes::Bytes>>,
    /// Some of it could not be said.
    pub unsaid: tokio::sync::Notify,
    /// One image at a time is packed.
    pub importing: tokio::sync::Mutex<()>,
    /// What is counted of versions on their way, and found by shadows.
    pub rollouts: Rollouts,
    pub shadows: Shadows,
    pub ids: Mutex<IdSource>,
    /// The last id that was given before this life began.
    pub last_id_before: u64,
    /// One writer of declared records at a time: expectations are checked against the inventory.
    pub writes: tokio::sync::Mutex<()>,
    /// Newest revision that is in the inventory.
    pub revision: watch::Sender<u64>,
    /// Counts changes of what people declared.
    pub declared: AtomicU64,
    /// Newest position of the stream of results.
    pub position: watch::Sender<u64>,
    pub wees: RwLock<BTreeMap<String, WeeAnnouncement>>,
    pub waiters: Waiters,
    pub metrics: Metrics,
    /// How far those who follow are.
    pub events: service::events::Events,
    /// How much may still be put aside.
    pub parked: service::parked::Rate,
    pub idempotency: crate::api::idempotency::Remembered,
    pub sessions: crate::session::Sessions,
    /// What those who look are shown.
    pub glance: crate::glance::Glance,
    pub watches: tokio::sync::Semaphore,
}

/// Those who wait for the end of a task.
#[derive(Default)]
pub struct Waiters(Mutex<HashMap<TaskId, Vec<oneshot::Sender<()>>>>);

impl Waiters {
    pub fn wait(&self, task: TaskId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.0.lock();
        let list = waiters.entry(task).or_default();
        list.retain(|w| !w.is_closed());
        list.push(sender);
        receiver
    }

    pub fn wake(&self, task: TaskId) {
        let mut waiters = self.0.lock();
        if waiters.is_empty() {
            return;
        }
        for waiter in waiters.remove(&task).into_iter().flatten() {
            let _ = waiter.send(());
        }
    }

    /// Drops those who went away.
    pub fn tidy(&self) {
        self.0.lock().retain(|_, list| {
            list.retain(|w| !w.is_closed());
            !list.is_empty()
        });
    }
}

impl Shared {
    pub fn blobs(&self) -> &dyn Blobs {
        &*self.images
    }

    pub fn next_id(&self) -> u64 {
        self.ids.lock().next(clock::now())
    }

    /// Something that people declare has changed.
    pub fn declared(&self) {
        self.declared.fetch_add(1, Ordering::Release);
    }

    /// Tells watchers that records up to the last of these are in the inventory.
    pub fn wrote(&self, revisions: &[u64]) {
        if let Some(last) = revisions.iter().max() {
            self.revision.send_modify(|r| *r = (*r).max(*last));
        }
    }

    /// Writes a record that sengu itself owns (Run, Worker, Wee); the last writer wins.
    pub async fn put_own(
        &self,
        kind: &str,
        name: &str,
        spec: serde_json::Value,
        status: serde_json::Value,
    ) -> Result<Arc<Other>, StoreError> {
        let (known, created_at) = {
            let inventory = self.inventory.read();
            let known = inventory.other(kind, name);
            let created = known.and_then(|k| k.record.metadata.created_at);
            (known.map(|k| k.uid), created.unwrap_or_else(clock::now))
        };
        let uid = known.unwrap_or_else(|| Uid(self.next_id()));
        let mut record = Record {
            api_version: sengu_model::record::API_VERSION.to_owned(),
            kind: kind.to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                created_at: Some(created_at),
                ..Metadata::default()
            },
            spec,
            status,
        };
        let body = serde_json::to_vec(&record).unwrap_or_default();
        let op = Op::PutRecord {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid,
            expect: Expect::Anything,
            body: body.into(),
        };
        let committed = self.store.commit(vec![op].into()).await?;
        let revision = committed.revisions.first().copied().unwrap_or_default();
        record.metadata.uid = Some(uid);
        record.metadata.revision = Some(revision);
        let other = Arc::new(Other {
            uid,
            revision,
            record,
        });
        {
            let mut inventory = self.inventory.write();
            let key = (kind.into(), name.into());
            // Two writers of one record may come here in the other order.
            if inventory
                .others
                .get(&key)
                .is_none_or(|o| o.revision < revision)
            {
                inventory.others.insert(key, other.clone());
            }
        }
        self.wrote(&committed.revisions);
        Ok(other)
    }
}

/// The running logic role.
pub struct Logic {
    pub shared: Arc<Shared>,
    pub dispatch: dispatch::Handle,
    pub control: service::control::Handle,
    services: Vec<tokio::task::AbortHandle>,
}

impl Logic {
    /// `start_in` on a store that no other process can open.
    ///
    /// # Errors
    /// As `start_in`.
    pub async fn start(
        config: LogicConfig,
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
    ) -> Result<Arc<Logic>, StartError> {
        let seat = Seat::alone(store.as_ref()).await?;
        Logic::start_in(seat, config, store, broker).await
    }

    /// Loads the store and starts dispatch and the services of a new epoch on the current tokio runtime.
    ///
    /// # Errors
    /// When the store cannot be read or a worker's manifest cannot be used.
    pub async fn start_in(
        seat: Arc<Seat>,
        mut config: LogicConfig,
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
    ) -> Result<Arc<Logic>, StartError> {
        let epoch = seat.epoch;
        seat.begin_keeping(store.clone());
        let store = Arc::new(Guarded::new(store, seat.clone(), seat.is_shared()));
        let switch = Switch::new(Current {
            store,
            rows: config.moving.as_mut().and_then(|moving| moving.rows.take()),
        });
        let store: Arc<dyn Store> = switch.clone();
        let last_id = store.status().await?.last_id;
        let (inventory, newest) = load(store.as_ref()).await?;
        let newest_result = service::events::newest_result(store.as_ref()).await?;
        let shared = Arc::new(Shared {
            store,
            switch,
            images: SwitchBlobs::new(config.blobs.clone()),
            moves: service::moving::Moves::default(),
            broker,
            events: service::events::Events::new(&config.followers, newest_result, newest),
            parked: service::parked::Rate::default(),
            config,
            epoch,
            seat,
            started_at: clock::now(),
            inventory: RwLock::new(inventory),
            catalog: RwLock::new(Arc::new(Catalog::default())),
            moved: tokio::sync::Notify::new(),
            offered: Mutex::new(BTreeMap::new()),
            unsaid: tokio::sync::Notify::new(),
            importing: tokio::sync::Mutex::new(()),
            rollouts: Rollouts::default(),
            shadows: Shadows::default(),
            ids: Mutex::new(IdSource::after(last_id)),
            last_id_before: last_id,
            writes: tokio::sync::Mutex::new(()),
            revision: watch::Sender::new(newest),
            declared: AtomicU64::new(1),
            position: watch::Sender::new(newest_result),
            wees: RwLock::new(BTreeMap::new()),
            waiters: Waiters::default(),
            metrics: Metrics::default(),
            idempotency: crate::api::idempotency::Remembered::default(),
            sessions: crate::session::Sessions::default(),
            glance: crate::glance::Glance::default(),
            watches: tokio::sync::Semaphore::new(sengu_model::limits::WATCHES_MAX),
        });
        crate::workers::load(&shared).await?;
        crate::glance::begin(&shared);

        let (dispatch, inputs) = dispatch::Handle::channel();
        let (control, control_inputs) = service::control::Handle::channel();
        let actor = Dispatch::new(shared.clone(), inputs, control.sender());
        clock::spawn(actor.run());
        let control_loop = service::control::run(shared.clone(), dispatch.clone(), control_inputs);
        let services = [
            clock::spawn(control_loop),
            clock::spawn(service::observe::run(shared.clone(), dispatch.clone())),
            clock::spawn(service::wees::run(shared.clone(), dispatch.clone())),
            clock::spawn(service::retention::run(shared.clone())),
            clock::spawn(service::rollout::run(shared.clone())),
            clock::spawn(service::blobs::run(shared.clone())),
            clock::spawn(service::parked::run(shared.clone())),
            clock::spawn(service::directory::run(shared.clone())),
            clock::spawn(crate::glance::run(shared.clone())),
        ];
        let followers = service::events::start(&shared);
        Ok(Arc::new(Logic {
            shared,
            dispatch,
            control,
            services: services
                .iter()
                .chain(&followers)
                .map(|s| s.abort_handle())
                .collect(),
        }))
    }

    /// Begins to move the store into another one; `shared.moves` says how far that is.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub async fn move_store(&self, to: crate::MoveTo) -> Result<(), sengu_model::Problem> {
        service::moving::begin(&self.shared, to).await
    }

    /// Stops dispatch after what is pending is durable, then closes the store.
    pub async fn stop(&self) {
        let limit = Duration::from_millis(sengu_model::limits::DRAIN_MAX_MS);
        let stopped = self.dispatch.ask(dispatch::Input::Stop);
        if tokio::time::timeout(limit, stopped).await.is_err() {
            tracing::warn!("dispatch did not stop in time; the next start settles what is open");
        }
        self.shared.moves.cancel();
        // What they would still write has nowhere to go; the next start takes it up from the tasks.
        for service in &self.services {
            service.abort();
        }
        if let Err(error) = self.shared.events.keep(&*self.shared.store).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "followers are told some events again");
        }
        self.shared.seat.release(self.shared.store.as_ref()).await;
        if let Err(error) = self.shared.store.close().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "store not closed");
        }
    }
}

async fn load(store: &dyn Store) -> Result<(Inventory, u64), StoreError> {
    let mut inventory = Inventory::default();
    let mut after: Option<(String, String)> = None;
    let mut newest = 0;
    let mut kept = Vec::new();
    loop {
        let from = after.as_ref().map(|(k, n)| (k.as_str(), n.as_str()));
        let page = store.records("", from, START_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.kind.clone(), last.name.clone()));
        for stored in page {
            newest = newest.max(stored.revision);
            if stored.kind == "TargetStatus" {
                kept.push(stored);
            } else if let Err(error) = take(&mut inventory, &stored) {
                // One record from a later version must not keep the fleet from being driven.
                tracing::error!(kind = stored.kind, name = stored.name, %error, "record not understood");
            }
        }
    }
    for stored in kept {
        let texts = inventory.texts.clone();
        let target = inventory
            .target(&stored.name)
            .filter(|t| t.uid == stored.uid);
        if let Some(target) = target
            && let Ok(status) = serde_json::from_slice::<KeptStatus>(&stored.body)
        {
            target.restore(&status, &texts);
            inventory.changed(target, &mut target.live.lock());
        }
    }
    Ok((inventory, newest.max(store.status().await?.revision)))
}

fn take(inventory: &mut Inventory, stored: &StoredRecord) -> Result<(), serde_json::Error> {
    let mut record: Record = serde_json::from_slice(&stored.body)?;
    record.metadata.uid = Some(stored.uid);
    record.metadata.revision = Some(stored.revision);
    if stored.kind == "Target" {
        let spec: TargetSpec = serde_json::from_value(record.spec.clone())?;
        let target = Target::new(&record, &spec, &inventory.texts);
        inventory.put_target(target);
    } else {
        let key = (stored.kind.as_str().into(), stored.name.as_str().into());
        let other = Other {
            uid: stored.uid,
            revision: stored.revision,
            record,
        };
        inventory.others.insert(key, Arc::new(other));
    }
    Ok(())
}
