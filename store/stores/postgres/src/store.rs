//! The port, spoken by the writer's queue and the connections that read.

use crate::blobs::PostgresBlobs;
use crate::error::{Trouble, broken, unavailable};
use crate::head::{self, Head};
use crate::numbers::unsigned;
use crate::pool::{AWAY_MAX, Pool};
use crate::session::Place;
use crate::settings::{CONNECTIONS_MIN, Settings};
use crate::writer::{self, BATCHES_WAITING_MAX, Message, Waiting, Work, Writer};
use crate::{moving, read, replication, schema};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use sengu_model::task::Priority;
use sengu_model::{RunId, TaskId, Uid};
use sengu_store::moving::{Key, Move, Part, Row};
use sengu_store::{
    Batch, Changes, Committed, Entry, Line, OpenTask, Position, Retention, Revision, RunTask,
    Store, StoreError, StoreStatus, StoredRecord, StoredTask, TaskQuery,
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Writers that have said nothing for this long have no commit whose outcome could be asked for.
const WRITERS_KEPT: &str = "1 day";

const BYTES: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'";

/// A schema of a database, open. Other processes may have it open too.
pub struct PostgresStore {
    pool: Arc<Pool>,
    engine: String,
    lacks: Vec<String>,
    /// None once closed.
    queue: Mutex<Option<mpsc::Sender<Message>>>,
}

impl PostgresStore {
    /// Opens the store, and makes its tables or brings them forward.
    ///
    /// # Errors
    /// `Unavailable` when the database is not reached or does not let us in, `Broken` when the settings cannot be used
    /// or the tables are newer than this program.
    pub async fn open(settings: Settings) -> Result<PostgresStore, StoreError> {
        let opened = async {
            let place = Arc::new(Place::new(&settings)?);
            // The writer's statements need the tables, so those come first.
            let prepared = prepare(&place).await?;
            let session = writer::connect(&place).await?;
            Ok::<_, Trouble>((place, prepared, session))
        };
        let opened = opened.await.map_err(|e| e.for_caller("open the store"));
        let (place, (engine, lacks), session) = opened?;
        let readers = settings.connections_max.max(CONNECTIONS_MIN) - 1;
        let (queue, waiting) = mpsc::channel(BATCHES_WAITING_MAX);
        tokio::spawn(Writer::new(place.clone(), session, waiting).run());
        Ok(PostgresStore {
            pool: Arc::new(Pool::new(place, readers as usize)),
            engine,
            lacks,
            queue: Mutex::new(Some(queue)),
        })
    }

    /// Blobs in the same schema, read and written with the store's own connections.
    pub fn blobs(&self) -> PostgresBlobs {
        PostgresBlobs::over(self.pool.clone())
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(writer::Reply<T>) -> Message,
    ) -> Result<T, StoreError> {
        let queue = self.queue.lock().clone().ok_or(StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let message = message(reply);
        match tokio::time::timeout(AWAY_MAX, queue.send(message)).await {
            Ok(sent) => sent.map_err(|_| self.gone())?,
            Err(_) => {
                return Err(unavailable(
                    "too many wait for the database; nothing was applied",
                ));
            }
        }
        drop(queue);
        answer.await.map_err(|_| self.gone())?
    }

    /// Why the writer does not answer.
    fn gone(&self) -> StoreError {
        if self.queue.lock().is_none() {
            StoreError::Closed
        } else {
            broken("the writer stopped")
        }
    }
}

/// Makes the tables ready. Gives the engine's name and what it lacks.
async fn prepare(place: &Place) -> Result<(String, Vec<String>), Trouble> {
    let session = place.connect(crate::session::Role::Plain).await?;
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
         current_setting('fsync'), current_setting('synchronous_commit'), \
         current_setting('synchronous_standby_names')";
    let rows = session.client.query(sql, &[]).await?;
    let Some(row) = rows.first() else {
        return Err(Trouble::Odd("the server does not say its version".into()));
    };
    let number: i32 = row.try_get(0)?;
    let version: String = row.try_get(1)?;
    if u32::try_from(number).unwrap_or(0) < schema::SERVER_MIN {
        return Err(Trouble::Odd(format!(
            "the server is PostgreSQL {version}; 13 or later is needed"
        )));
    }
    schema::prepare(place, &session).await?;
    let old = format!("DELETE FROM writer WHERE at < now() - interval '{WRITERS_KEPT}'");
    session.batch(&old).await?;
    let (fsync, synchronous): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    let mut lacks = Vec::new();
    if fsync == "off" {
        lacks.push("what was committed after a power cut: fsync is off".to_owned());
    }
    if synchronous == "off" {
        lacks.push("the last commits after a crash: synchronous_commit is off".to_owned());
    }
    let waits = replication::waits(&synchronous, row.try_get(4)?);
    if place.servers.len() > 1
        && let Err(why) = waits
    {
        lacks.push(format!("the last commits before a failover: {why}"));
    }
    let short = version.split(' ').next().unwrap_or_default();
    Ok((format!("PostgreSQL {short}"), lacks))
}

impl Store for PostgresStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.ask(|reply| Message::Commit(Waiting::new(batch, reply)))
            .boxed()
    }

    fn record<'a>(
        &'a self,
        kind: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>, StoreError>> {
        read::records::record(&self.pool, kind, name).boxed()
    }

    fn records<'a>(
        &'a self,
        kind: &'a str,
        after: Option<(&'a str, &'a str)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>, StoreError>> {
        read::records::records(&self.pool, kind, after, limit).boxed()
    }

    fn changes(&self, from: Revision, limit: usize) -> BoxFuture<'_, Result<Changes, StoreError>> {
        read::records::changes(&self.pool, from, limit).boxed()
    }

    fn open_tasks(
        &self,
        priority: Priority,
        line: Line,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        read::tasks::open_tasks(&self.pool, priority, line, after, limit).boxed()
    }

    fn lines(&self) -> BoxFuture<'_, Result<Vec<(Priority, Line)>, StoreError>> {
        read::tasks::lines(&self.pool).boxed()
    }

    fn lane_tasks(
        &self,
        target: Uid,
        after: TaskId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OpenTask>, StoreError>> {
        read::tasks::lane_tasks(&self.pool, target, after, limit).boxed()
    }

    fn task(&self, id: TaskId) -> BoxFuture<'_, Result<Option<StoredTask>, StoreError>> {
        read::tasks::task(&self.pool, id).boxed()
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'_, Result<Vec<StoredTask>, StoreError>> {
        async move { read::tasks::tasks(&self.pool, &query).await }.boxed()
    }

    fn run_tasks(&self, run: RunId) -> BoxFuture<'_, Result<Vec<RunTask>, StoreError>> {
        read::tasks::run_tasks(&self.pool, run).boxed()
    }

    fn entries<'a>(
        &'a self,
        stream: &'a str,
        key: u64,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        read::streams::entries(&self.pool, stream, key, after, limit).boxed()
    }

    fn entries_back<'a>(
        &'a self,
        stream: &'a str,
        before: Position,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        read::streams::entries_back(&self.pool, stream, before, limit).boxed()
    }

    fn results(
        &self,
        after: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Position, StoredTask)>, StoreError>> {
        read::tasks::results(&self.pool, after, limit).boxed()
    }

    fn meta<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        read::records::meta(&self.pool, key).boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<StoreStatus, StoreError>> {
        async move {
            const WHAT: &str = "read the counters";
            let rows = self.pool.rows(WHAT, head::SELECT, &[]).await?;
            let head = read::each(WHAT, &rows, Head::of)?.pop();
            let head = head.ok_or_else(|| broken("the row of counters is gone"))?;
            let schema = &self.pool.place.schema_plain;
            let rows = self.pool.rows(WHAT, BYTES, &[schema]).await?;
            let bytes = read::each(WHAT, &rows, |row| Ok(row.try_get::<_, i64>(0)?))?;
            Ok(StoreStatus {
                engine: self.engine.clone(),
                revision: unsigned(head.revision),
                records: unsigned(head.records),
                tasks_open: unsigned(head.tasks_open),
                tasks_ended: unsigned(head.tasks_ended),
                bytes: unsigned(bytes.first().copied().unwrap_or(0)),
                last_id: unsigned(head.last_id),
                lacks: self.lacks.clone(),
            })
        }
        .boxed()
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let mut rows = 0;
            loop {
                let until = Instant::now() + AWAY_MAX;
                let step = self.ask(|reply| Message::Work(Work::Retain(retention), reply, until));
                match step.await? {
                    0 => return Ok(rows),
                    step => rows += step,
                }
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let queue = self.queue.lock().take().ok_or(StoreError::Closed)?;
            self.pool.close();
            let (reply, answer) = oneshot::channel();
            let told = queue.send(Message::Close(reply)).await;
            drop(queue);
            if told.is_ok() {
                // The writer may have ended by itself.
                let _ = answer.await;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Move for PostgresStore {
    fn export(
        &self,
        part: Part,
        after: Option<Row>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        async move { moving::export(&self.pool, part, after.as_ref(), limit).await }.boxed()
    }

    fn import(&self, rows: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let until = Instant::now() + AWAY_MAX;
            self.ask(|reply| Message::Work(Work::Import(rows), reply, until))
                .await
                .map(drop)
        }
        .boxed()
    }

    fn rows(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        async move { moving::rows(&self.pool, &keys).await }.boxed()
    }

    fn held(&self, run: RunId, batch: u32) -> BoxFuture<'_, Result<Vec<TaskId>, StoreError>> {
        moving::held(&self.pool, run, batch).boxed()
    }

    fn clear(&self, metas: Vec<Row>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let until = Instant::now() + AWAY_MAX;
            self.ask(|reply| Message::Work(Work::Clear(metas), reply, until))
                .await
                .map(drop)
        }
        .boxed()
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("place", &self.pool.place.label)
            .field("schema", &self.pool.place.schema_plain)
            .finish_non_exhaustive()
    }
}
