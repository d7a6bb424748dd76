//! The versions of workers that are known: those that came with sengu and those that were pushed into it while it runs.

use crate::audit::Act;
use crate::catalog::{Catalog, Kind, clip};
use crate::core::{Logic, Shared};
use crate::records::{not_found, store_problem};
use crate::releases;
use crate::rollout::choose::Routes;
use bytes::Bytes;
use sengu_model::image;
use sengu_model::manifest::Manifest;
use sengu_model::problem::{Code, Problem};
use sengu_model::release::{ReleaseSpec, ReleaseStatus};
use sengu_model::wire::envelope::WorkerOffer;
use sengu_model::{limits, selector::compare_versions};
use sengu_store::blobs::{BlobError, BlobWriter};
use sengu_store::{Expect, Op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Packs images that came with sengu and are no blobs yet.
pub trait Bundles: Send + Sync + 'static {
    /// Writes the canonical tar of the image with that digest. May take a while.
    fn pack(&self, digest: &str, to: &mut dyn io::Write) -> io::Result<()>;
}

/// Where an image is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// In a folder that came with sengu.
    Bundled,
    /// In the store of blobs.
    Pushed,
}

/// `status` of a Worker record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    pub digest: String,
    pub bytes: u64,
    pub origin: Origin,
}

/// What a push did.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// `kind@version`.
    pub name: String,
    pub kind: String,
    pub version: String,
    pub digest: String,
    pub bytes: u64,
    /// False when it was there already.
    pub created: bool,
    /// The kind was not known before, and its Release names this version now.
    pub first: bool,
}

type Versions = BTreeMap<String, Arc<Kind>>;

fn offer(manifest: Manifest, digest: String, bytes: u64) -> WorkerOffer {
    WorkerOffer {
        v: sengu_model::wire::envelope::VERSION,
        pool: manifest.pool,
        manifest,
        digest,
        bytes,
        active: false,
    }
}

/// Reads what is known at the start: pushed versions from their records, the others as they came.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn load(shared: &Arc<Shared>) -> Result<(), crate::StartError> {
    let mut all: BTreeMap<String, Versions> = BTreeMap::new();
    let records: Vec<_> = {
        let inventory = shared.inventory.read();
        let workers = inventory.others_of("Worker");
        workers
            .map(|(name, other)| (name.to_owned(), other.clone()))
            .collect()
    };
    for (name, other) in records {
        let spec = serde_json::from_value::<Manifest>(other.record.spec.clone());
        let status = serde_json::from_value::<WorkerStatus>(other.record.status.clone());
        let (Ok(manifest), Ok(status)) = (spec, status) else {
            tracing::error!(worker = name, "record not understood");
            continue;
        };
        let bundled = shared
            .config
            .bundled
            .iter()
            .any(|b| b.digest == status.digest);
        let kept = shared.blobs().size(&status.digest).await;
        let kept = kept.is_ok_and(|size| size == Some(status.bytes));
        if !bundled && !kept {
            tracing::warn!(
                worker = name,
                "its image is gone: nobody can run this version"
            );
            forget(shared, &name).await?;
            continue;
        }
        match Kind::new(offer(manifest, status.digest, status.bytes)) {
            Ok(kind) => {
                let versions = all.entry(kind.name().to_owned()).or_default();
                versions.insert(kind.version().to_owned(), Arc::new(kind));
            }
            Err(error) => tracing::error!(worker = name, %error, "left out"),
        }
    }
    for bundle in &shared.config.bundled {
        let kind = Kind::new(bundle.clone())?;
        let versions = all.entry(kind.name().to_owned()).or_default();
        if let Some(known) = versions.get(kind.version())
            && known.offer.digest != kind.offer.digest
        {
            tracing::error!(
                worker = &*kind.full_name,
                "the one that came with sengu has other bytes than the one that was pushed, and is left out"
            );
            continue;
        }
        versions.insert(kind.version().to_owned(), Arc::new(kind));
    }
    for (name, versions) in all {
        for kind in versions.values() {
            remember(shared, kind).await?;
        }
        releases::adopt(shared, &name, &versions).await?;
        set(shared, &name, versions).await;
    }
    Ok(())
}

/// Keeps the Worker record of a version.
async fn remember(shared: &Arc<Shared>, kind: &Kind) -> Result<(), sengu_store::StoreError> {
    let offer = &kind.offer;
    let bundled = shared
        .config
        .bundled
        .iter()
        .any(|b| b.digest == offer.digest);
    let status = WorkerStatus {
        digest: offer.digest.clone(),
        bytes: offer.bytes,
        origin: if bundled {
            Origin::Bundled
        } else {
            Origin::Pushed
        },
    };
    let spec = serde_json::to_value(&offer.manifest).unwrap_or_default();
    let status = serde_json::to_value(status).unwrap_or_default();
    let same =
        |o: &Arc<crate::inventory::Other>| o.record.spec == spec && o.record.status == status;
    if shared
        .inventory
        .read()
        .other("Worker", &kind.full_name)
        .is_some_and(same)
    {
        return Ok(());
    }
    shared
        .put_own("Worker", &kind.full_name, spec, status)
        .await?;
    Ok(())
}

async fn forget(shared: &Arc<Shared>, name: &str) -> Result<(), sengu_store::StoreError> {
    let op = Op::DeleteRecord {
        kind: "Worker".to_owned(),
        name: name.to_owned(),
        expect: Expect::Anything,
    };
    let act = Act::new("deleted", "Worker", name).op();
    let committed = shared.store.commit(vec![op, act].into()).await?;
    let key = ("Worker".into(), name.into());
    shared.inventory.write().others.remove(&key);
    shared.wrote(&committed.revisions);
    Ok(())
}

/// Makes these the versions of a kind, and chooses among them by its Release from now on.
pub async fn set(shared: &Arc<Shared>, kind: &str, versions: Versions) {
    let release = releases::of(shared, kind);
    if let Some((spec, status)) = &release {
        publish(shared, kind, spec, &versions).await;
        switch(shared, kind, spec, status, versions);
    }
}

/// The Release moved: chooses by it from now on.
pub async fn follow_release(shared: &Arc<Shared>, kind: &str) {
    let versions = {
        let catalog = shared.catalog.read();
        catalog
            .routes
            .get(kind)
            .map(|routes| routes.versions.clone())
    };
    if let Some(versions) = versions {
        set(shared, kind, versions).await;
    }
}

fn switch(
    shared: &Arc<Shared>,
    kind: &str,
    spec: &ReleaseSpec,
    status: &ReleaseStatus,
    versions: Versions,
) {
    let held: Vec<_> = status
        .held
        .iter()
        .map(|held| (held.version.clone(), held.cell.clone()))
        .collect();
    let phase = |rule: &str| {
        status
            .rules
            .iter()
            .find(|r| r.name == rule)
            .map(|r| r.phase)
    };
    let routes = Routes::new(kind, spec, &held, phase, &versions);
    {
        let mut catalog = shared.catalog.write();
        let mut next = Catalog::clone(&catalog);
        // The version that most targets meet says what a kind can do; with none known, the newest does.
        let newest = versions
            .values()
            .max_by(|a, b| compare_versions(a.version(), b.version()));
        match routes.base.clone().or_else(|| newest.cloned()) {
            Some(base) => next.kinds.insert(kind.to_owned(), base),
            None => next.kinds.remove(kind),
        };
        if versions.is_empty() {
            next.routes.remove(kind);
        } else {
            next.routes.insert(kind.to_owned(), Arc::new(routes));
        }
        *catalog = Arc::new(next);
    }
    shared.declared();
    shared.moved.notify_one();
    shared.rollouts.alarm.notify_one();
}

/// Tells the execution environments what may be run of a kind.
async fn publish(shared: &Arc<Shared>, kind: &str, spec: &ReleaseSpec, versions: &Versions) {
    let active = |version: &str| {
        spec.version == version || spec.rules.iter().any(|rule| rule.version == version)
    };
    let mut wanted: BTreeMap<String, Option<Bytes>> = versions
        .iter()
        .map(|(version, kind)| {
            let offer = WorkerOffer {
                active: active(version),
                pool: spec.pool.over(kind.offer.manifest.pool),
                ..kind.offer.clone()
            };
            let body = serde_json::to_vec(&offer).unwrap_or_default();
            (
                format!("worker/{}/{version}", kind.name()),
                Some(body.into()),
            )
        })
        .collect();
    let prefix = format!("worker/{kind}/");
    let changed: Vec<(String, Option<Bytes>)> = {
        let mut offered = shared.offered.lock();
        let gone = offered.keys().filter(|key| key.starts_with(&prefix));
        for key in gone {
            wanted.entry(key.clone()).or_insert(None);
        }
        let differs = |(key, body): &(String, Option<Bytes>)| offered.get(key) != body.as_ref();
        let changed: Vec<_> = wanted.into_iter().filter(differs).collect();
        for (key, body) in &changed {
            match body {
                Some(body) => offered.insert(key.clone(), body.clone()),
                None => offered.remove(key),
            };
        }
        changed
    };
    for (key, body) in changed {
        if let Err(error) = shared.broker.retain(key.clone(), body).await {
            // Until then nobody runs what is not offered.
            tracing::warn!(%error, key, "offer not published; it is said again when the interconnect is back");
            shared.unsaid.notify_one();
        }
    }
}

/// Makes sure that an image is a blob, so that it outlives the program that it came with.
///
/// # Errors
/// When there is no such image, or it cannot be kept.
pub async fn import(shared: &Arc<Shared>, digest: &str) -> Result<u64, BlobError> {
    if let Some(bytes) = shared.blobs().size(digest).await? {
        return Ok(bytes);
    }
    let bundled = shared.config.bundled.iter().any(|b| b.digest == digest);
    if !bundled {
        return Err(BlobError::NotFound(digest.to_owned()));
    }
    let _one_at_a_time = shared.importing.lock().await;
    if let Some(bytes) = shared.blobs().size(digest).await? {
        return Ok(bytes);
    }
    let writer = shared.blobs().create().await?;
    let (shared, wanted) = (shared.clone(), digest.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let packed = tokio::task::spawn_blocking(move || {
        let mut parts = Parts {
            writer,
            runtime: runtime.clone(),
            buffer: Vec::with_capacity(PART_BYTES),
        };
        let io = |source| BlobError::Io {
            what: "pack an image".to_owned(),
            source,
        };
        shared
            .config
            .bundles
            .pack(&wanted, &mut parts)
            .map_err(io)?;
        io::Write::flush(&mut parts).map_err(io)?;
        runtime.block_on(parts.writer.finish(wanted))
    });
    packed.await.unwrap_or_else(|e| {
        Err(BlobError::Io {
            what: "pack an image".to_owned(),
            source: io::Error::other(e),
        })
    })
}

const PART_BYTES: usize = 1 << 20;

/// Gives what is written to a blob, a part at a time.
struct Parts {
    writer: Box<dyn BlobWriter>,
    runtime: tokio::runtime::Handle,
    buffer: Vec<u8>,
}

impl io::Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.buffer, Vec::with_capacity(PART_BYTES));
        let written = self.runtime.block_on(self.writer.write(part.into()));
        written.map_err(io::Error::other)
    }
}

/// Reads a blob as one stream of bytes.
struct Reader {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    digest: String,
    offset: u64,
    part: Bytes,
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() {
            let blobs = self.shared.blobs();
            let part = self
                .runtime
                .block_on(blobs.read(&self.digest, self.offset, PART_BYTES));
            self.part = part.map_err(io::Error::other)?;
            self.offset += self.part.len() as u64;
        }
        let count = self.part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}

pub fn blob_problem(error: BlobError) -> Problem {
    match &error {
        BlobError::NotFound(_) => Problem::new(Code::NotFound, error.to_string()),
        BlobError::Name(_) => Problem::new(Code::InvalidField, error.to_string()),
        BlobError::Mismatch { .. } => Problem::new(Code::DigestMismatch, error.to_string())
            .hint("it was damaged on its way: push it again"),
        BlobError::Io { source, .. } => {
            tracing::error!(error = &error as &dyn std::error::Error, "blobs");
            let what = format!("the image could not be kept: {source}; nothing was changed");
            Problem::new(Code::StoreUnavailable, what).hint("is the disk full?")
        }
    }
}

impl Logic {
    /// Begins to take in an image.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn begin_push(&self) -> Result<Box<dyn BlobWriter>, Problem> {
        self.shared.blobs().create().await.map_err(blob_problem)
    }

    /// All of the image has been written: checks it and makes it a version of its kind.
    ///
    /// # Errors
    /// `digest_mismatch`, `invalid_image`, `version_exists`, `store_unavailable`. Nothing was changed.
    pub async fn end_push(
        &self,
        writer: Box<dyn BlobWriter>,
        digest: String,
    ) -> Result<Pushed, Problem> {
        let known_before = self
            .shared
            .blobs()
            .size(&digest)
            .await
            .ok()
            .flatten()
            .is_some();
        let bytes = writer.finish(digest.clone()).await.map_err(blob_problem)?;
        let pushed = self.make_version(&digest, bytes).await;
        if pushed.is_err() && !known_before {
            let deleted = self.shared.blobs().delete(&digest).await;
            if let Err(error) = deleted {
                tracing::warn!(%error, digest, "a blob that nobody needs is left");
            }
        }
        pushed
    }

    async fn make_version(&self, digest: &str, bytes: u64) -> Result<Pushed, Problem> {
        let wrong = |what: String| {
            Problem::new(Code::InvalidImage, what)
                .hint("try `sengu worker check <folder>`; see the guide on writing a worker")
        };
        let reader = Reader {
            shared: self.shared.clone(),
            runtime: tokio::runtime::Handle::current(),
            digest: digest.to_owned(),
            offset: 0,
            part: Bytes::new(),
        };
        let text = tokio::task::spawn_blocking(move || image::manifest_text(reader));
        let text = text.await.map_err(|e| wrong(e.to_string()))?;
        let text = text.map_err(|e| wrong(e.to_string()))?;
        let manifest = Manifest::parse(&text).map_err(|e| wrong(e.to_string()))?;
        let kind = offer(manifest, digest.to_owned(), bytes);
        let kind = Arc::new(Kind::new(kind).map_err(|e| wrong(e.to_string()))?);

        let _one_writer = self.shared.writes.lock().await;
        let (name, version) = (kind.name().to_owned(), kind.version().to_owned());
        let catalog = self.shared.catalog.read().clone();
        let mut versions = match catalog.routes.get(&name) {
            Some(routes) => routes.versions.clone(),
            None => Versions::new(),
        };
        let mut pushed = Pushed {
            name: kind.full_name.to_string(),
            kind: name.clone(),
            version: version.clone(),
            digest: digest.to_owned(),
            bytes,
            created: true,
            first: versions.is_empty(),
        };
        if let Some(known) = versions.get(&version) {
            if known.offer.digest == digest {
                pushed.created = false;
                return Ok(pushed);
            }
            let what = format!(
                "{name}@{version} is known with other bytes ({})",
                known.offer.digest
            );
            return Err(Problem::new(Code::VersionExists, what)
                .hint("a version never changes: give the new one a new number in worker.toml"));
        }
        if versions.len() >= limits::VERSIONS_PER_KIND_MAX {
            let what = format!("{name} has {} versions; at most", versions.len());
            let what = format!("{what} {}", limits::VERSIONS_PER_KIND_MAX);
            return Err(Problem::new(Code::WrongState, what)
                .hint(format!("delete one first: sengu delete worker/{name}@...")));
        }
        versions.insert(version, kind.clone());
        let act = Act::new("pushed", "Worker", &kind.full_name);
        self.shared.will(act.note(digest)).await?;
        remember(&self.shared, &kind).await.map_err(store_problem)?;
        releases::adopt(&self.shared, &name, &versions)
            .await
            .map_err(store_problem)?;
        set(&self.shared, &name, versions).await;
        Ok(pushed)
    }

    /// Forgets a version. The caller holds `writes`.
    ///
    /// # Errors
    /// `not_found`, `in_use`, or the store's.
    pub(crate) async fn delete_version(&self, full_name: &str) -> Result<(), Problem> {
        let catalog = self.shared.catalog.read().clone();
        let found = full_name.split_once('@').and_then(|(kind, version)| {
            let routes = catalog.routes.get(kind)?;
            Some((
                kind,
                version,
                routes.versions.get(version)?.clone(),
                routes.clone(),
            ))
        });
        let (kind, version, found, routes) =
            found.ok_or_else(|| not_found("Worker", &clip(full_name)))?;
        let release = releases::of(&self.shared, kind);
        let used = release.is_some_and(|(spec, status)| {
            spec.version == version
                || spec.rules.iter().any(|rule| rule.version == version)
                || status.previous.is_some_and(|p| p.version == version)
        });
        if used && routes.versions.len() > 1 {
            let what = format!("Release/{kind} names {full_name}, or would go back to it");
            return Err(Problem::new(Code::InUse, what).hint("promote another version first"));
        }
        if routes.versions.len() == 1 {
            let inventory = self.shared.inventory.read();
            let target = inventory.targets.values().find(|t| *t.kind == *kind);
            if let Some(target) = target {
                let what = format!(
                    "Target/{} and perhaps others are of kind {kind}",
                    target.name
                );
                return Err(Problem::new(Code::InUse, what).hint("delete those first"));
            }
        }
        if self
            .shared
            .config
            .bundled
            .iter()
            .any(|b| b.digest == found.offer.digest)
        {
            let what = format!("{full_name} came with sengu");
            return Err(Problem::new(Code::WrongState, what)
                .hint("take its folder out of the folder of workers and start again"));
        }
        forget(&self.shared, full_name)
            .await
            .map_err(store_problem)?;
        let mut versions = routes.versions.clone();
        versions.remove(version);
        set(&self.shared, kind, versions).await;
        let used_elsewhere = catalog
            .routes
            .values()
            .flat_map(|r| r.versions.values())
            .any(|k| k.offer.digest == found.offer.digest && k.full_name != found.full_name);
        if !used_elsewhere && let Err(error) = self.shared.blobs().delete(&found.offer.digest).await
        {
            tracing::warn!(%error, "a blob that nobody needs is left");
        }
        Ok(())
    }
}
