//! The connections that read. A read is one statement, so it sees one moment, and it may be asked again when its
//! connection broke. It begins after every commit that was acknowledged before it.

use crate::error::{Sort, Trouble, unavailable};
use crate::numbers::jittered;
use crate::session::{Params, Place, Role, Session};
use parking_lot::Mutex;
use sengu_store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_postgres::Row;

/// How long a call waits for the database to come back, or for a connection that is free.
pub const AWAY_MAX: Duration = Duration::from_secs(5);
/// First and longest pause between two attempts to connect.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(50);
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The server ends a statement before this; longer means that it is not there.
const ANSWER_MAX: Duration = Duration::from_secs(35);

pub struct Pool {
    pub place: Arc<Place>,
    idle: Mutex<Vec<Session>>,
    slots: Semaphore,
    closed: AtomicBool,
}

impl Pool {
    pub fn new(place: Arc<Place>, connections: usize) -> Pool {
        Pool {
            place,
            idle: Mutex::default(),
            slots: Semaphore::new(connections.max(1)),
            closed: AtomicBool::new(false),
        }
    }

    /// A connection that was made already.
    pub fn give(&self, session: Session) {
        if !session.is_closed() && !self.closed.load(Ordering::Acquire) {
            self.idle.lock().push(session);
        }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.slots.close();
        self.idle.lock().clear();
    }

    async fn slot(&self, until: Instant) -> Result<SemaphorePermit<'_>, StoreError> {
        let wait = tokio::time::timeout_at(until, self.slots.acquire()).await;
        let Ok(slot) = wait else {
            return Err(unavailable("every connection to the database is in use"));
        };
        slot.map_err(|_| StoreError::Closed)
    }

    async fn session(&self) -> Result<Session, Trouble> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(session) if session.is_closed() || !self.place.is_current(&session) => {}
                Some(session) => return Ok(session),
                None => return self.place.connect(Role::Store).await,
            }
        }
    }

    /// Asks one question. `what` names it when it fails.
    pub async fn rows(
        &self,
        what: &str,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let until = Instant::now() + AWAY_MAX;
        let _slot = self.slot(until).await?;
        let mut backoff = BACKOFF_FIRST;
        loop {
            let trouble = match self.attempt(sql, params, until).await {
                Ok(rows) => return Ok(rows),
                Err(trouble) => trouble,
            };
            if self.closed.load(Ordering::Acquire) {
                return Err(StoreError::Closed);
            }
            let rest = jittered(backoff);
            if trouble.sort() != Sort::Passing || Instant::now() + rest >= until {
                return Err(trouble.for_caller(what));
            }
            tokio::time::sleep(rest).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn attempt(
        &self,
        sql: &str,
        params: Params<'_>,
        until: Instant,
    ) -> Result<Vec<Row>, Trouble> {
        let session = tokio::time::timeout_at(until, self.session()).await;
        let session = session.unwrap_or(Err(Trouble::Silent { limit: AWAY_MAX }))?;
        let answer = tokio::time::timeout(ANSWER_MAX, session.rows(sql, params)).await;
        let answer = answer.unwrap_or(Err(Trouble::Silent { limit: ANSWER_MAX }));
        if answer.as_ref().err().is_none_or(Trouble::leaves_connection) {
            self.give(session);
        }
        answer
    }
}
