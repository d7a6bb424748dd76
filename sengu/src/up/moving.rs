//! Opens the store that the one in use is to be moved into.

use super::store::{self, Opened as Store, SEAL_KEY};
use crate::config::StoreConfig;
use crate::drivers::stores::postgres;
use futures::future::{BoxFuture, FutureExt as _};
use sengu_logic::{MoveTo, OpenStore, Opened};
use sengu_model::problem::{Code, Problem};
use sengu_model::seal::SealKey;
use sengu_store::mark::{self, State};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Opener {
    pub data: PathBuf,
    pub seal_key: SealKey,
}

impl OpenStore for Opener {
    fn open(&self, to: MoveTo) -> BoxFuture<'_, Result<Opened, Problem>> {
        async move {
            let (opened, config) = match to.engine.as_str() {
                "sqlite" => (self.file().await?, without_store()),
                "postgres" => database(to).await?,
                other => {
                    let what = format!("to.engine: {other:?} is no store");
                    return Err(Problem::new(Code::InvalidField, what).hint("postgres or sqlite"));
                }
            };
            let metas = match opened.shared {
                true => vec![(
                    SEAL_KEY.to_owned(),
                    store::fingerprint(&self.seal_key).into(),
                )],
                false => Vec::new(),
            };
            Ok(Opened {
                rows: opened.rows,
                blobs: opened.blobs,
                shared: opened.shared,
                place: opened.place,
                metas,
                config,
            })
        }
        .boxed()
    }
}

impl Opener {
    /// A fresh file. One that was moved from is put aside, never deleted.
    async fn file(&self) -> Result<Store, Problem> {
        let opened = store::embedded(&self.data).map_err(refused)?;
        let mark = mark::read(opened.store.as_ref()).await;
        let mark = mark.map_err(|e| refused(e.into()))?.1;
        if mark.is_none_or(|mark| mark.state != State::Gone) {
            return Ok(opened);
        }
        let closed = opened.store.close().await;
        closed.map_err(|e| refused(e.into()))?;
        drop(opened);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = seconds.unwrap_or_default().as_secs();
        let (from, to) = (
            self.data.join("store"),
            self.data.join(format!("store-moved-{seconds}")),
        );
        let renamed = std::fs::rename(&from, &to);
        renamed.map_err(|e| refused(anyhow::Error::new(e).context("put the old store aside")))?;
        tracing::info!(old = %to.display(), "the store that was moved before is put aside");
        store::embedded(&self.data).map_err(refused)
    }
}

async fn database(to: MoveTo) -> Result<(Store, String), Problem> {
    let Some(url) = to.url else {
        return Err(Problem::new(Code::InvalidField, "to.url is missing")
            .hint("postgres://user@host:5432/database"));
    };
    if postgres::holds_password(&url) {
        return Err(Problem::new(Code::InvalidField, "to.url holds a password")
            .hint("put it into a file of the server's machine and name that: --password-file"));
    }
    let default: StoreConfig = toml::from_str("url = \"\"").map_err(|e| refused(e.into()))?;
    let config = StoreConfig {
        url,
        password_file: to.password_file,
        ca: to.ca,
        schema: to.schema.unwrap_or(default.schema),
        connections: default.connections,
    };
    let settings = store::settings(&config).map_err(refused)?;
    let opened = postgres::PostgresStore::open(settings.clone()).await;
    let opened = opened.map_err(|e| refused(anyhow::Error::new(e)))?;
    Ok((store::of_database(opened, &settings), lines(&config)))
}

/// What the configuration file must say.
fn lines(config: &StoreConfig) -> String {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let path = |path: &Path| text(&path.display().to_string());
    let mut lines = vec!["[store]".to_owned(), format!("url = {}", text(&config.url))];
    if let Some(file) = &config.password_file {
        lines.push(format!("password_file = {}", path(file)));
    }
    if let Some(file) = &config.ca {
        lines.push(format!("ca = {}", path(file)));
    }
    lines.push(format!("schema = {}", text(&config.schema)));
    lines.join("\n")
}

fn without_store() -> String {
    "# no [store]: it is in the data directory".to_owned()
}

fn refused(error: anyhow::Error) -> Problem {
    Problem::new(Code::WrongState, format!("{error:#}"))
        .hint("`sengu config check` looks at each step to a database that is named in sengu.toml")
}
