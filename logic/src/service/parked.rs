//! Keeps what nobody could make sense of, with the reason, so that a person can see what came and from where.
//!
//! It must never hold up work: what comes beyond a rate is counted and dropped.

use crate::clock;
use crate::core::Shared;
use sengu_interconnect::parked::{Parked, VERSION, parked_body};
use sengu_interconnect::{BrokerError, Delivery, Queue, Subscription, Tag};
use sengu_model::{Time, limits};
use sengu_store::{Op, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The stream that they are in.
pub const STREAM: &str = "parked";
/// Taken at once; each is 90 KB at most.
const CREDIT: u32 = 64;
/// Kept per minute: a sender gone wild would fill the disk, and a person looks at the first few.
const PER_MINUTE_MAX: u64 = 600;
const MINUTE_MS: i64 = 60_000;

/// How many were kept in this minute.
#[derive(Default)]
pub struct Rate {
    minute: AtomicU64,
    kept: AtomicU64,
}

impl Rate {
    /// Whether one more may be kept.
    fn admits(&self, now: Time) -> bool {
        let minute = (now.0 / MINUTE_MS).unsigned_abs();
        if self.minute.swap(minute, Ordering::Relaxed) != minute {
            self.kept.store(0, Ordering::Relaxed);
        }
        let kept = self.kept.fetch_add(1, Ordering::Relaxed);
        if kept == PER_MINUTE_MAX {
            tracing::error!("more than can be kept is not understood; the rest is dropped");
        }
        kept < PER_MINUTE_MAX
    }
}

/// Puts aside what logic itself could not make sense of: to be committed with what acks it.
pub fn aside(shared: &Shared, queue: &Queue, reason: &str, body: &[u8]) -> Option<Op> {
    let now = clock::now();
    let append = || append(now, parked_body(queue.as_str(), reason, now.0, body));
    shared.parked.admits(now).then(append)
}

fn append(at: Time, body: bytes::Bytes) -> Op {
    Op::Append {
        stream: STREAM.to_owned(),
        key: 0,
        at,
        body,
    }
}

pub async fn run(shared: Arc<Shared>) {
    loop {
        if let Err(error) = keep(&shared).await {
            tracing::warn!(%error, "what was put aside cannot be received");
        }
        tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
    }
}

async fn keep(shared: &Arc<Shared>) -> Result<(), BrokerError> {
    let mut parked = shared.broker.subscribe(Queue::parked(), CREDIT).await?;
    loop {
        let deliveries = parked.receive(CREDIT as usize).await?;
        let ops: Vec<Op> = deliveries
            .iter()
            .filter_map(|delivery| taken(shared, delivery))
            .collect();
        if !ops.is_empty() && !commit(shared, &ops).await {
            return Ok(());
        }
        let tags: Vec<Tag> = deliveries.iter().map(|d| d.tag).collect();
        Subscription::ack(&mut *parked, &tags)?;
    }
}

fn taken(shared: &Shared, delivery: &Delivery) -> Option<Op> {
    match serde_json::from_slice::<Parked>(&delivery.body) {
        Ok(parked) if parked.v == VERSION => {
            let (queue, reason) = (&*parked.queue, &*parked.reason);
            tracing::warn!(queue, reason, "a message was put aside");
            let now = clock::now();
            let append = || append(now, delivery.body.clone());
            shared.parked.admits(now).then(append)
        }
        Ok(parked) => {
            let why = format!("version {} of what is put aside is not known", parked.v);
            aside(shared, &Queue::parked(), &why, &delivery.body)
        }
        Err(error) => aside(shared, &Queue::parked(), &error.to_string(), &delivery.body),
    }
}

/// Tries until it is durable; false when the store is closed.
async fn commit(shared: &Shared, ops: &[Op]) -> bool {
    loop {
        match shared.store.commit(ops.to_vec().into()).await {
            Ok(_) => return true,
            Err(StoreError::Closed) => return false,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "what was put aside cannot be kept");
            }
        }
        tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_until_the_next_minute() {
        let rate = Rate::default();
        let admitted = |at: i64| (0..2_000).filter(|_| rate.admits(Time(at))).count() as u64;
        assert_eq!(admitted(600_000), PER_MINUTE_MAX);
        assert_eq!(admitted(659_999), 0);
        assert_eq!(admitted(660_000), PER_MINUTE_MAX);
    }
}
