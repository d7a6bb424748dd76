//! The loop of one follower: a turn is read, told, and only then counted as told.

use super::Standing;
use super::retained::Retained;
use super::turn::Turn;
use crate::core::Shared;
use sengu_interconnect::BrokerError;
use sengu_model::limits;
use sengu_store::{Op, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How far a follower is, is written down at most this often: what was told since is told again after a crash.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Longest wait between tries while the broker is away. It is asked for nothing else meanwhile.
const RETRY_MAX_MS: u64 = 5_000;
/// A broker that says nothing for this long has not taken it.
const TELL_MAX: Duration = Duration::from_secs(30);
/// A broker that takes less than this is of no use; what is larger is dropped and counted.
const BODY_BYTES_MIN: usize = 1 << 10;

pub async fn run(shared: Arc<Shared>, follower: Arc<Standing>) {
    let store = shared.store.clone();
    let mut wait_ms = limits::RETRY_FIRST_MS;
    while let Err(error) = follower.begin(&*store).await {
        if matches!(error, StoreError::Closed) {
            return;
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            follower = follower.name,
            "where to go on is not known"
        );
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        wait_ms = (wait_ms * 2).min(RETRY_MAX_MS);
    }
    let mut following = Following {
        retained: Retained::new(&follower.name),
        body_bytes_max: limits::REQUEST_BYTES_MAX,
        wait_ms: 0,
        unkept_since: None,
        shared,
        follower,
    };
    following.run().await;
}

struct Following {
    shared: Arc<Shared>,
    follower: Arc<Standing>,
    retained: Retained,
    /// What the broker takes, as far as it has said.
    body_bytes_max: usize,
    /// 0 while all goes well.
    wait_ms: u64,
    /// Told and not yet written down.
    unkept_since: Option<Instant>,
}

enum Failed {
    Store(StoreError),
    Broker(BrokerError),
    /// It is made shorter and goes at once.
    Shorter,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}

impl Following {
    async fn run(&mut self) {
        let shared = self.shared.clone();
        let follower = self.follower.clone();
        let mut positions = shared.position.subscribe();
        let mut revisions = shared.revision.subscribe();
        loop {
            // Before looking, so that what comes meanwhile ends the wait below.
            positions.mark_unchanged();
            revisions.mark_unchanged();
            match self.turn().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(Failed::Shorter) => continue,
                Err(Failed::Store(StoreError::Closed)) => return,
                Err(Failed::Store(error)) => {
                    self.rest("what to tell cannot be read or written down", &error)
                        .await;
                    continue;
                }
                Err(Failed::Broker(error)) => {
                    follower.failures.fetch_add(1, Ordering::Relaxed);
                    self.rest("events were not taken", &error).await;
                    continue;
                }
            }
            let keep = self.unkept_since.map(|since| since + KEEP_EVERY);
            tokio::select! {
                changed = positions.changed() => if changed.is_err() { return },
                changed = revisions.changed() => if changed.is_err() { return },
                () = follower.readings.marked() => {}
                () = async { tokio::time::sleep_until(keep.unwrap_or_else(Instant::now)).await }, if keep.is_some() => {}
            }
        }
    }

    /// True when there is more.
    async fn turn(&mut self) -> Result<bool, Failed> {
        let follower = self.follower.clone();
        let turn = follower
            .turn(&self.shared, &self.retained, self.body_bytes_max)
            .await?;
        let Turn { told, .. } = &turn;
        let count = told.len() as u64;
        if count > 0
            && let Err(error) = self.tell(turn.told.clone()).await
        {
            follower.give_back(&turn);
            return Err(error);
        }
        let advanced = count > 0 || self.advanced(&turn);
        if self.wait_ms > 0 {
            tracing::info!(follower = follower.name, "events go out again");
            self.wait_ms = 0;
        }
        follower.told.fetch_add(count, Ordering::Relaxed);
        if turn.dropped > 0 {
            tracing::warn!(
                follower = follower.name,
                events = turn.dropped,
                "too large for the broker"
            );
            follower.dropped.fetch_add(turn.dropped, Ordering::Relaxed);
        }
        follower.results.store(turn.results, Ordering::Release);
        follower.changes.store(turn.changes, Ordering::Release);
        if !turn.after.is_empty() {
            self.shared.store.commit(turn.after.into()).await?;
        }
        for (target, kept) in &turn.kept {
            self.retained.is(target, kept.as_ref());
        }
        for target in &turn.again {
            follower.readings.mark(*target);
        }
        if advanced {
            self.unkept_since.get_or_insert_with(Instant::now);
        }
        self.keep().await?;
        Ok(turn.full || !turn.again.is_empty())
    }

    fn advanced(&self, turn: &Turn) -> bool {
        let results = self.follower.results.load(Ordering::Acquire);
        let changes = self.follower.changes.load(Ordering::Acquire);
        (results, changes) != (turn.results, turn.changes)
    }

    async fn tell(&mut self, told: Vec<sengu_interconnect::events::Told>) -> Result<(), Failed> {
        let largest = told.iter().map(|t| t.body.len()).max().unwrap_or(0);
        let telling = self.follower.to.tell(told);
        match tokio::time::timeout(TELL_MAX, telling).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(BrokerError::TooLarge { bytes_max, .. })) if largest > BODY_BYTES_MIN => {
                // It counts what is around the body too, perhaps: then a little less will do.
                let less = bytes_max.min(largest - largest / 8);
                self.body_bytes_max = less.max(BODY_BYTES_MIN);
                let (follower, bytes_max) = (&self.follower.name, self.body_bytes_max);
                tracing::warn!(
                    follower,
                    bytes_max,
                    "larger events are told without their large parts"
                );
                Err(Failed::Shorter)
            }
            Ok(Err(error)) => Err(Failed::Broker(error)),
            Err(_) => Err(Failed::Broker(BrokerError::Away(None))),
        }
    }

    /// Writes down how far it is, when that is due.
    async fn keep(&mut self) -> Result<(), StoreError> {
        let due = |since: Instant| since.elapsed() >= KEEP_EVERY;
        if self.unkept_since.is_some_and(due) {
            let ops: Vec<Op> = self.follower.cursor();
            self.shared.store.commit(ops.into()).await?;
            self.unkept_since = None;
        }
        Ok(())
    }

    async fn rest(&mut self, what: &str, error: &(dyn std::error::Error + Send + Sync + 'static)) {
        {
            let follower = &self.follower.name;
            let error = error as &(dyn std::error::Error + 'static);
            match self.wait_ms {
                0 => tracing::warn!(error, follower, "{what}"),
                _ => tracing::debug!(error, follower, "{what}"),
            }
        }
        self.wait_ms = (self.wait_ms * 2).clamp(limits::RETRY_FIRST_MS, RETRY_MAX_MS);
        tokio::time::sleep(Duration::from_millis(self.wait_ms)).await;
    }
}

impl Standing {
    /// Where it goes on; at the very first, what happened before this start is not told.
    async fn begin(&self, store: &dyn Store) -> Result<(), StoreError> {
        let read = async |of: &str| {
            let value = store.meta(&self.key(of)).await?;
            let number = |v: bytes::Bytes| std::str::from_utf8(&v).ok()?.parse::<u64>().ok();
            Ok::<_, StoreError>(value.and_then(number))
        };
        if let Some(results) = read("results").await? {
            self.results.store(results, Ordering::Release);
        }
        if let Some(changes) = read("changes").await? {
            self.changes.store(changes, Ordering::Release);
        }
        self.begun.store(true, Ordering::Release);
        store.commit(self.cursor().into()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Events, Follower};
    use super::*;
    use futures::future::BoxFuture;
    use sengu_interconnect::events::{Followers, Told};
    use sengu_store_sqlite::SqliteStore;

    struct Nobody;

    impl Followers for Nobody {
        fn tell(&self, _: Vec<Told>) -> BoxFuture<'_, Result<(), BrokerError>> {
            Box::pin(async { Ok(()) })
        }
        fn lacks(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn events(newest_result: u64, newest_change: u64) -> Events {
        let follower = Follower {
            name: "broker".to_owned(),
            to: Arc::new(Nobody),
        };
        Events::new(&[follower], newest_result, newest_change)
    }

    fn place(events: &Events) -> (u64, u64) {
        let standing = &events.followers[0];
        let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Acquire);
        (load(&standing.results), load(&standing.changes))
    }

    /// The loop may first run long after the start, and results end meanwhile.
    #[tokio::test]
    async fn the_first_life_begins_where_it_started_however_late_its_loop_runs_and_a_later_one_goes_on()
     {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let first = events(7, 9);
        first.followers[0].begin(&store).await.unwrap();
        assert_eq!(place(&first), (7, 9));
        let second = events(70, 90);
        second.followers[0].begin(&store).await.unwrap();
        assert_eq!(place(&second), (7, 9));
    }
}
