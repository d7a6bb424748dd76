//! Which of several logic roles on one store is the active one.
//!
//! The seat is two values in the store: who holds it (with a beat that moves), and the epoch. It is taken and kept by
//! compare-and-set alone. Nobody's wall clock is read: a standby takes the seat when the beat has not moved for
//! `LEADER_SILENCE_MS` by its own clock that is never set. From then on every commit of the former holder is refused,
//! since each names the epoch (`guarded`), and every envelope of it, since the execution environments know the new one.
//! It must never let two lives believe at once that they hold the seat: the holder stops believing before a standby may
//! take it.

use bytes::Bytes;
use parking_lot::Mutex;
use sengu_model::limits::{LEADER_BEAT_MS, LEADER_LOOK_MS, LEADER_SILENCE_MS};
use sengu_store::{Op, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Counts lives of logic: first half of every fence.
pub const EPOCH: &str = "epoch";
const LEADER: &str = "leader";
/// The holder stops believing this long before a standby may take its seat, for what is under way between a look at the
/// seat and its effect.
const MARGIN_MS: u64 = 500;

/// Who holds the seat, as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    pub name: String,
    /// Where its API is.
    #[serde(default)]
    pub url: String,
    pub epoch: u64,
    pub beat: u64,
    /// It has ended in order: nobody needs to wait.
    #[serde(default)]
    pub released: bool,
}

/// The right to be the active one.
pub struct Seat {
    pub epoch: u64,
    /// None: nobody else can have the store, so there is nothing to keep.
    kept: Option<Mutex<Kept>>,
    lost: watch::Sender<bool>,
}

struct Kept {
    /// As written last.
    leader: Leader,
    until: Instant,
}

impl Seat {
    /// The seat on a store that no other process can open.
    ///
    /// # Errors
    /// The store's.
    pub async fn alone(store: &dyn Store) -> Result<Arc<Seat>, StoreError> {
        let epoch = next_epoch(store).await?.0;
        let op = Op::PutMeta {
            key: EPOCH.to_owned(),
            value: epoch.to_string().into(),
        };
        store.commit(vec![op].into()).await?;
        Ok(Arc::new(Seat {
            epoch,
            kept: None,
            lost: watch::Sender::new(false),
        }))
    }

    /// Whether nobody else can be the active one now.
    pub fn holds(&self) -> bool {
        !*self.lost.borrow()
            && (self.kept.as_ref()).is_none_or(|kept| Instant::now() < kept.lock().until)
    }

    /// Turns true when another life has taken the seat.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    pub fn lose(&self) {
        if !self.lost.send_replace(true) {
            tracing::error!(epoch = self.epoch, "another sengu has taken over");
        }
    }

    /// Whether its commits have to name the epoch.
    pub(crate) fn is_shared(&self) -> bool {
        self.kept.is_some()
    }

    /// Moves the beat until the seat is lost.
    pub(crate) async fn keep(self: Arc<Self>, store: Arc<dyn Store>) {
        let Some(kept) = &self.kept else {
            return;
        };
        let mut beat = tokio::time::interval(Duration::from_millis(LEADER_BEAT_MS));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let before = kept.lock().leader.clone();
            let next = Leader {
                beat: before.beat + 1,
                ..before.clone()
            };
            let begun = Instant::now();
            match write(store.as_ref(), Some(&before), &next, &[]).await {
                Ok(()) => {
                    *kept.lock() = Kept {
                        leader: next,
                        until: holds_until(begun),
                    };
                }
                Err(StoreError::Fenced { .. }) => match seen(store.as_ref()).await {
                    // Its own beat was written though the answer was lost.
                    Ok((_, Some(leader))) if leader.epoch == self.epoch => {
                        kept.lock().leader = leader;
                        beat.reset_immediately();
                    }
                    Ok(_) => return self.lose(),
                    Err(error) => tracing::warn!(%error, "the seat cannot be read"),
                },
                Err(StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, "the seat cannot be kept"),
            }
        }
    }

    /// Ends in order, so that a standby need not wait.
    pub(crate) async fn release(&self, store: &dyn Store) {
        let Some(kept) = &self.kept else {
            return;
        };
        let before = kept.lock().leader.clone();
        let next = Leader {
            beat: before.beat + 1,
            released: true,
            ..before.clone()
        };
        if let Err(error) = write(store, Some(&before), &next, &[]).await {
            tracing::warn!(%error, "the seat was not released; a standby waits a little");
        }
    }
}

fn holds_until(begun: Instant) -> Instant {
    begun + Duration::from_millis(LEADER_SILENCE_MS - MARGIN_MS)
}

/// Waits until the seat is free, and takes it. Whoever holds it meanwhile is told to `holder`.
///
/// # Errors
/// `Closed`. A store that is away is waited for.
pub async fn stand_by(
    store: &dyn Store,
    name: &str,
    url: &str,
    holder: &watch::Sender<Option<Leader>>,
) -> Result<Arc<Seat>, StoreError> {
    let mut watched: Option<(Option<Bytes>, Instant)> = None;
    let mut told = false;
    loop {
        match try_take(store, name, url, holder, &mut watched).await {
            Ok(Some(seat)) => return Ok(seat),
            Ok(None) => {}
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(error) => {
                if !told {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the seat cannot be looked at; trying on");
                }
                told = true;
                // Nobody could move the beat while the store was away.
                watched = None;
            }
        }
        tokio::time::sleep(Duration::from_millis(LEADER_LOOK_MS)).await;
    }
}

async fn try_take(
    store: &dyn Store,
    name: &str,
    url: &str,
    holder: &watch::Sender<Option<Leader>>,
    watched: &mut Option<(Option<Bytes>, Instant)>,
) -> Result<Option<Arc<Seat>>, StoreError> {
    let (raw, leader) = seen(store).await?;
    let now = Instant::now();
    let since = match watched {
        Some((before, since)) if *before == raw => *since,
        _ => now,
    };
    *watched = Some((raw.clone(), since));
    let silent = now.duration_since(since) >= Duration::from_millis(LEADER_SILENCE_MS);
    let free = leader.as_ref().is_none_or(|leader| leader.released);
    if holder.borrow().as_ref().map(|l| l.epoch) != leader.as_ref().map(|l| l.epoch) {
        if let Some(leader) = leader.as_ref().filter(|l| !l.released) {
            tracing::info!(active = leader.name, url = leader.url, "stands by");
        }
        holder.send_replace(leader.clone());
    }
    if !free && !silent {
        return Ok(None);
    }
    let (epoch, before) = next_epoch(store).await?;
    let leader = Leader {
        name: name.to_owned(),
        url: url.to_owned(),
        epoch,
        beat: 0,
        released: false,
    };
    let ops = [
        Op::ExpectMeta {
            key: EPOCH.to_owned(),
            value: before,
        },
        Op::ExpectMeta {
            key: LEADER.to_owned(),
            value: raw,
        },
        Op::PutMeta {
            key: EPOCH.to_owned(),
            value: epoch.to_string().into(),
        },
    ];
    match write(store, None, &leader, &ops).await {
        Ok(()) => {
            tracing::info!(epoch, name, "active");
            Ok(Some(Arc::new(Seat {
                epoch,
                kept: Some(Mutex::new(Kept {
                    leader,
                    until: holds_until(now),
                })),
                lost: watch::Sender::new(false),
            })))
        }
        Err(StoreError::Fenced { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn write(
    store: &dyn Store,
    before: Option<&Leader>,
    next: &Leader,
    first: &[Op],
) -> Result<(), StoreError> {
    let mut ops = first.to_vec();
    if let Some(before) = before {
        ops.push(Op::ExpectMeta {
            key: LEADER.to_owned(),
            value: Some(bytes_of(before)),
        });
    }
    ops.push(Op::PutMeta {
        key: LEADER.to_owned(),
        value: bytes_of(next),
    });
    store.commit(ops.into()).await.map(|_| ())
}

fn bytes_of(leader: &Leader) -> Bytes {
    // Text and numbers always serialise.
    serde_json::to_vec(leader).unwrap_or_default().into()
}

async fn seen(store: &dyn Store) -> Result<(Option<Bytes>, Option<Leader>), StoreError> {
    let raw = store.meta(LEADER).await?;
    let leader = raw.as_ref().and_then(|b| serde_json::from_slice(b).ok());
    Ok((raw, leader))
}

/// The epoch after the last one, and the last one as it stands. Never below the seconds since 1970, so that a store
/// that was put back from a backup does not repeat fences that execution environments have seen.
async fn next_epoch(store: &dyn Store) -> Result<(u64, Option<Bytes>), StoreError> {
    let last = store.meta(EPOCH).await?;
    let number = last
        .as_ref()
        .and_then(|b| std::str::from_utf8(b).ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    let floor = u64::try_from(crate::clock::now().0 / 1_000).unwrap_or(0);
    Ok(((number + 1).max(floor), last))
}
