//! The store that the configuration names: a file of the data directory, or PostgreSQL, which several logic roles share.

use crate::config::StoreConfig;
use crate::drivers::stores::{directory, postgres, sqlite};
use anyhow::{Context as _, Result, bail};
use sengu_model::seal::SealKey;
use sengu_store::blobs::Blobs;
use sengu_store::mark::{self, State};
use sengu_store::moving::Move;
use sengu_store::{Op, Store, StoreError};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where the store says by which key its Secrets are sealed.
pub(super) const SEAL_KEY: &str = "seal-key";
/// Between two attempts to reach a database that is not there.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

pub struct Opened {
    pub store: Arc<dyn Store>,
    /// The same, to be moved.
    pub rows: Arc<dyn Move>,
    /// Where it is, for people.
    pub place: String,
    pub blobs: Arc<dyn Blobs>,
    /// Other processes may have it open too.
    pub shared: bool,
}

/// Opens it. A database that cannot be reached is waited for.
///
/// # Errors
/// What waiting does not mend.
pub async fn open(config: Option<&StoreConfig>, data: &Path) -> Result<Opened> {
    match config {
        None => {
            let opened = embedded(data)?;
            match mark::usable(opened.store.as_ref(), false).await {
                Err(error @ StoreError::Moved { .. }) => Err(error).context(
                    "name that database in [store] of sengu.toml: `sengu migrate` has printed the lines",
                ),
                Err(error @ StoreError::Unfinished { .. }) => Err(error).with_context(|| {
                    let place = data.join("store");
                    format!("go on with [store] in sengu.toml as before, and move {} away", place.display())
                }),
                other => other.context("read the store").map(|()| opened),
            }
        }
        Some(config) => {
            let opened = database(config).await?;
            match mark::usable(opened.store.as_ref(), true).await {
                Err(error @ StoreError::Moved { .. }) => Err(error).context(
                    "write into sengu.toml what `sengu migrate` has printed: no [store] means the data directory",
                ),
                // Whoever moves into it may be at it. If it has ended between its last two steps, the store here says so.
                Err(StoreError::Unfinished { .. }) => {
                    confirm(opened.store.as_ref(), data).await?;
                    Ok(opened)
                }
                other => other.context("read the store").map(|()| opened),
            }
        }
    }
}

/// Puts a copy to use that the store of the data directory has moved into.
async fn confirm(store: &dyn Store, data: &Path) -> Result<()> {
    let place = data.join("store");
    if !place.exists() {
        return Ok(());
    }
    // In use: the sengu that moves it is alive, and finishes by itself.
    let Ok(old) = sqlite::SqliteStore::open(&place) else {
        return Ok(());
    };
    let mark = mark::read(&old).await.context("read the old store")?.1;
    old.close().await.context("close the old store")?;
    if let Some(gone) = mark.filter(|mark| mark.state == State::Gone) {
        mark::confirm(store, &gone).await.context("use the store")?;
    }
    Ok(())
}

pub(super) fn embedded(data: &Path) -> Result<Opened> {
    let place = data.join("store");
    let store = match sqlite::SqliteStore::open(&place) {
        Ok(store) => Arc::new(store),
        Err(StoreError::InUse { .. }) => bail!(
            "another sengu runs on {}: end it, or give this one its own directory with --data",
            data.display()
        ),
        Err(e) => return Err(e).context("open the store"),
    };
    let blobs =
        directory::DirectoryBlobs::open(&data.join("blobs")).context("open the store of images")?;
    Ok(Opened {
        rows: store.clone(),
        store,
        place: format!("SQLite in {}", place.display()),
        blobs: Arc::new(blobs),
        shared: false,
    })
}

async fn database(config: &StoreConfig) -> Result<Opened> {
    let settings = settings(config)?;
    let mut told = false;
    loop {
        match postgres::PostgresStore::open(settings.clone()).await {
            Ok(store) => {
                return Ok(of_database(store, &settings));
            }
            Err(error @ StoreError::Unavailable(_)) => {
                if !told {
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(store = settings.place(), error, "not there yet; trying on");
                }
                told = true;
                tokio::time::sleep(OPEN_AGAIN).await;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("open the store {}", settings.place()));
            }
        }
    }
}

pub(super) fn of_database(store: postgres::PostgresStore, settings: &postgres::Settings) -> Opened {
    let blobs = Arc::new(store.blobs());
    let store = Arc::new(store);
    Opened {
        rows: store.clone(),
        store,
        place: format!(
            "PostgreSQL {}, schema {}",
            settings.place(),
            settings.schema
        ),
        blobs,
        shared: true,
    }
}

/// What the driver is told.
///
/// # Errors
/// When a file that is named cannot be used.
pub fn settings(config: &StoreConfig) -> Result<postgres::Settings> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
    };
    let password = match &config.password_file {
        Some(path) => {
            super::files::check_private(path)?;
            Some(read(path)?.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => None,
    };
    let ca_pem = config.ca.as_deref().map(read).transpose()?;
    Ok(postgres::Settings {
        url: config.url.clone(),
        password,
        ca_pem: ca_pem.map(String::into_bytes),
        schema: config.schema.clone(),
        connections_max: config.connections,
    })
}

/// Two roles that share a store must seal by one key: what one sealed, the other must open.
///
/// # Errors
/// When the key here is another one.
pub async fn check_seal_key(store: &dyn Store, key: &SealKey, data: &Path) -> Result<()> {
    let mine = fingerprint(key);
    let found = store.meta(SEAL_KEY).await.context("read the store")?;
    match found {
        Some(theirs) if theirs != mine.as_bytes() => bail!(
            "{} is not the key that the Secrets of this store are sealed with: copy the file `seal.key` (and `token`) from the data directory of the sengu that made the store",
            data.join("seal.key").display()
        ),
        Some(_) => Ok(()),
        None => {
            let write = vec![
                Op::ExpectMeta {
                    key: SEAL_KEY.to_owned(),
                    value: None,
                },
                Op::PutMeta {
                    key: SEAL_KEY.to_owned(),
                    value: mine.into(),
                },
            ];
            match store.commit(write.into()).await {
                // Another one was quicker: look again.
                Err(StoreError::Fenced { .. }) => Box::pin(check_seal_key(store, key, data)).await,
                Err(e) => Err(e).context("write the store"),
                Ok(_) => Ok(()),
            }
        }
    }
}

pub(super) fn fingerprint(key: &SealKey) -> String {
    let mut hash = Sha256::new();
    hash.update(b"sengu seal key fingerprint 1\0");
    hash.update(key.0);
    super::files::hex(&hash.finalize())
}
