//! The Blobs port: parts of one size, in rows. Parts belong to an upload; a blob is there when its row names the upload.
//! Every statement here may be sent twice, since the answer to the first may be lost.

use crate::error::Trouble;
use crate::numbers::{ordered, random, unsigned};
use crate::pool::Pool;
use crate::session::{Params, Place, Role};
use crate::settings::{CONNECTIONS_MIN, Settings};
use crate::{read, schema};
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt as _};
use sengu_store::StoreError;
use sengu_store::blobs::{BlobError, BlobWriter, Blobs};
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::Arc;
use tokio_postgres::Row;

/// Bytes of a part: large enough that rows cost nothing, small enough to be held by many at once.
const PART_BYTES: usize = 512 << 10;
/// An upload that nobody has added to for this long was left by a process that is gone.
const UPLOADS_KEPT: &str = "1 hour";

const BEGIN: &str =
    "INSERT INTO upload(id, touched) VALUES ($1, now()) ON CONFLICT (id) DO NOTHING";
const PART: &str = "WITH own AS (UPDATE upload SET touched = now() WHERE id = $1 RETURNING id) \
     INSERT INTO part(upload, number, body) SELECT id, $2, $3 FROM own ON CONFLICT (upload, number) DO NOTHING";
/// The upload becomes the blob, or goes when the blob is there already.
const FINISH: &str = "WITH own AS (DELETE FROM upload WHERE id = $3 RETURNING id), \
     kept AS (INSERT INTO blob(digest, bytes, upload) SELECT $1, $2, id FROM own \
        ON CONFLICT (digest) DO NOTHING RETURNING upload) \
     DELETE FROM part WHERE upload = $3 AND EXISTS (SELECT FROM own) AND NOT EXISTS (SELECT FROM kept)";
const GIVE_UP: &str = "WITH own AS (DELETE FROM upload WHERE id = $1 RETURNING id) \
     DELETE FROM part p USING own WHERE p.upload = own.id";
const SIZE: &str = "SELECT bytes FROM blob WHERE digest = $1";
const READ: &str = "SELECT substring(p.body FROM greatest($2::bigint - p.number::bigint * $6::bigint, 0)::int + 1 \
        FOR (least($3::bigint - p.number::bigint * $6::bigint, $6::bigint) \
            - greatest($2::bigint - p.number::bigint * $6::bigint, 0))::int) \
     FROM blob b LEFT JOIN part p ON p.upload = b.upload AND p.number BETWEEN $4::int AND $5::int \
     WHERE b.digest = $1 ORDER BY p.number";
const DELETE: &str = "WITH gone AS (DELETE FROM blob WHERE digest = $1 RETURNING upload) \
     DELETE FROM part p USING gone WHERE p.upload = gone.upload";
const LIST: &str = "SELECT digest FROM blob ORDER BY digest";

/// Keeps blobs in the schema of a store.
#[derive(Clone)]
pub struct PostgresBlobs {
    pool: Arc<Pool>,
}

impl PostgresBlobs {
    /// Opens the schema with connections of its own, and makes its tables or brings them forward.
    ///
    /// # Errors
    /// As `PostgresStore::open`.
    pub async fn open(settings: &Settings) -> Result<PostgresBlobs, StoreError> {
        let opened = async {
            let place = Arc::new(Place::new(settings)?);
            let session = place.connect(Role::Plain).await?;
            schema::prepare(&place, &session).await?;
            let old = format!(
                "WITH old AS (DELETE FROM upload WHERE touched < now() - interval '{UPLOADS_KEPT}' RETURNING id) \
                 DELETE FROM part p USING old WHERE p.upload = old.id"
            );
            session.batch(&old).await?;
            let connections = settings.connections_max.max(CONNECTIONS_MIN) as usize;
            Ok::<_, Trouble>(PostgresBlobs::over(Arc::new(Pool::new(place, connections))))
        };
        opened.await.map_err(|e| e.for_caller("open the blobs"))
    }

    pub(crate) fn over(pool: Arc<Pool>) -> PostgresBlobs {
        PostgresBlobs { pool }
    }
}

async fn ask(
    pool: &Pool,
    what: &str,
    sql: &str,
    params: Params<'_>,
) -> Result<Vec<Row>, BlobError> {
    let rows = pool.rows(what, sql, params).await;
    rows.map_err(|e| failed(what, e))
}

fn failed(what: &str, source: StoreError) -> BlobError {
    BlobError::Io {
        what: what.to_owned(),
        source: io::Error::other(source),
    }
}

fn given_up(what: &str) -> BlobError {
    BlobError::Io {
        what: what.to_owned(),
        source: io::Error::other("it was given up"),
    }
}

fn checked(digest: &str) -> Result<&str, BlobError> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hex.len() != 64 || !hex.bytes().all(plain) {
        return Err(BlobError::Name(digest.chars().take(80).collect()));
    }
    Ok(digest)
}

impl Blobs for PostgresBlobs {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, BlobError>> {
        async move {
            let writer = Writer {
                pool: self.pool.clone(),
                upload: random(),
                parts: 0,
                rest: BytesMut::new(),
                hash: Sha256::new(),
                bytes: 0,
                open: true,
            };
            ask(&self.pool, "begin a blob", BEGIN, &[&writer.upload]).await?;
            Ok(Box::new(writer) as Box<dyn BlobWriter>)
        }
        .boxed()
    }

    fn size<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Option<u64>, BlobError>> {
        async move {
            const WHAT: &str = "look at a blob";
            let rows = ask(&self.pool, WHAT, SIZE, &[&checked(digest)?]).await?;
            let sizes = read::each(WHAT, &rows, |row| Ok(unsigned(row.try_get(0)?)));
            Ok(sizes.map_err(|e| failed(WHAT, e))?.pop())
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        digest: &'a str,
        offset: u64,
        max: usize,
    ) -> BoxFuture<'a, Result<Bytes, BlobError>> {
        async move {
            const WHAT: &str = "read a blob";
            let end = offset.saturating_add(max as u64);
            let part = |at: u64| i32::try_from(at / PART_BYTES as u64).unwrap_or(i32::MAX);
            // Nothing is asked for: an empty range of parts.
            let (first, last) = if max == 0 {
                (1, 0)
            } else {
                (part(offset), part(end - 1))
            };
            let rows = ask(
                &self.pool,
                WHAT,
                READ,
                &[
                    &checked(digest)?,
                    &ordered(offset),
                    &ordered(end),
                    &first,
                    &last,
                    &ordered(PART_BYTES as u64),
                ],
            )
            .await?;
            if rows.is_empty() {
                return Err(BlobError::NotFound(digest.to_owned()));
            }
            let mut found = BytesMut::new();
            for row in &rows {
                let piece: Option<&[u8]> = row
                    .try_get(0)
                    .map_err(|e| failed(WHAT, Trouble::from(e).for_caller(WHAT)))?;
                found.extend_from_slice(piece.unwrap_or_default());
            }
            Ok(found.freeze())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<(), BlobError>> {
        async move {
            let digest = checked(digest)?;
            ask(&self.pool, "delete a blob", DELETE, &[&digest])
                .await
                .map(drop)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BlobError>> {
        async move {
            const WHAT: &str = "list blobs";
            let rows = ask(&self.pool, WHAT, LIST, &[]).await?;
            let all = read::each(WHAT, &rows, |row| Ok(row.try_get(0)?));
            all.map_err(|e| failed(WHAT, e))
        }
        .boxed()
    }
}

struct Writer {
    pool: Arc<Pool>,
    upload: i64,
    /// Parts that are in the database.
    parts: i32,
    /// Less than a part.
    rest: BytesMut,
    hash: Sha256,
    bytes: u64,
    /// False once it has become a blob, or is gone.
    open: bool,
}

impl Writer {
    async fn send(&mut self, part: Bytes) -> Result<(), BlobError> {
        let params: Params<'_> = &[&self.upload, &self.parts, &&part[..]];
        ask(&self.pool, "write a blob", PART, params).await?;
        self.parts += 1;
        Ok(())
    }

    async fn keep(&mut self, digest: String) -> Result<u64, BlobError> {
        const WHAT: &str = "keep a blob";
        let hash = std::mem::take(&mut self.hash).finalize();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let found = format!("sha256:{hex}");
        if found != digest {
            return Err(BlobError::Mismatch {
                expected: digest,
                found,
            });
        }
        if !self.rest.is_empty() {
            let rest = self.rest.split().freeze();
            self.send(rest).await?;
        }
        let bytes = ordered(self.bytes);
        ask(&self.pool, WHAT, FINISH, &[&digest, &bytes, &self.upload]).await?;
        let there = ask(&self.pool, WHAT, SIZE, &[&digest]).await?;
        if there.is_empty() {
            return Err(given_up(WHAT));
        }
        self.open = false;
        Ok(self.bytes)
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, part: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            self.hash.update(&part);
            self.bytes += part.len() as u64;
            self.rest.extend_from_slice(&part);
            while self.rest.len() >= PART_BYTES {
                let full = self.rest.split_to(PART_BYTES).freeze();
                self.send(full).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>, digest: String) -> BoxFuture<'static, Result<u64, BlobError>> {
        async move { self.keep(digest).await }.boxed()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without a runtime, what is left here goes when the blobs are opened an hour later.
        if let (true, Ok(runtime)) = (self.open, tokio::runtime::Handle::try_current()) {
            let (pool, upload) = (self.pool.clone(), self.upload);
            runtime.spawn(async move {
                ask(&pool, "give up a blob", GIVE_UP, &[&upload])
                    .await
                    .map(drop)
            });
        }
    }
}
