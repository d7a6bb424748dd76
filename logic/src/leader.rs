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
use sengu_store::mark::{self, MOVE, State};
use sengu_store::{Op, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Counts lives of logic: first half of every fence.
pub const EPOCH: &str = "epoch";
const LEADER: &str = mark::LEADER;
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
    kept: Mutex<Option<Kept>>,
    /// What moves the beat.
    keeper: Mutex<Option<AbortHandle>>,
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
        mark::usable(store, false).await?;
        let epoch = next_epoch(store).await?.0;
        let op = Op::PutMeta {
            key: EPOCH.to_owned(),
            value: epoch.to_string().into(),
        };
        store.commit(vec![op].into()).await?;
        Ok(Seat::of(epoch, None))
    }

    fn of(epoch: u64, kept: Option<Kept>) -> Arc<Seat> {
        Arc::new(Seat {
            epoch,
            kept: Mutex::new(kept),
            keeper: Mutex::default(),
            lost: watch::Sender::new(false),
        })
    }

    /// Whether nobody else can be the active one now.
    pub fn holds(&self) -> bool {
        !*self.lost.borrow()
            && (self.kept.lock().as_ref()).is_none_or(|kept| Instant::now() < kept.until)
    }

    /// Turns true when another life has taken the seat, or this one must not go on.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// This life is over: it sends, grants and answers nothing any more.
    pub fn lose(&self, why: &StoreError) {
        if !self.lost.send_replace(true) {
            tracing::error!(epoch = self.epoch, %why, "this life is over; the next one reads the store anew");
        }
    }

    /// Whether its commits have to name the epoch.
    pub(crate) fn is_shared(&self) -> bool {
        self.kept.lock().is_some()
    }

    /// Begins to keep it, if it has to be kept. `store` is the one that has it, without what guards it.
    pub(crate) fn begin_keeping(self: &Arc<Self>, store: Arc<dyn Store>) {
        if self.is_shared() {
            let keeper = crate::clock::spawn(self.clone().keep(store));
            let before = self.keeper.lock().replace(keeper.abort_handle());
            before.iter().for_each(AbortHandle::abort);
        }
    }

    pub(crate) fn stop_keeping(&self) {
        self.keeper
            .lock()
            .take()
            .iter()
            .for_each(AbortHandle::abort);
    }

    /// The seat is in another store from now on: kept there as `leader` that was written with it, or not to be kept.
    pub(crate) fn moves(self: &Arc<Self>, leader: Option<Leader>, store: Arc<dyn Store>) {
        self.stop_keeping();
        let until = holds_until(Instant::now());
        *self.kept.lock() = leader.map(|leader| Kept { leader, until });
        self.begin_keeping(store);
    }

    /// Moves the beat until the seat is lost.
    async fn keep(self: Arc<Self>, store: Arc<dyn Store>) {
        let mut beat = tokio::time::interval(Duration::from_millis(LEADER_BEAT_MS));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let before = self.kept.lock().as_ref().map(|kept| kept.leader.clone());
            let Some(before) = before else { return };
            let next = Leader {
                beat: before.beat + 1,
                ..before.clone()
            };
            let begun = Instant::now();
            match write(store.as_ref(), Some(&before), &next, &[]).await {
                Ok(()) => {
                    *self.kept.lock() = Some(Kept {
                        leader: next,
                        until: holds_until(begun),
                    });
                }
                Err(error @ StoreError::Fenced { .. }) => match seen(store.as_ref()).await {
                    // Its own beat was written though the answer was lost.
                    Ok((_, Some(leader))) if leader.epoch == self.epoch => {
                        if let Some(kept) = self.kept.lock().as_mut() {
                            kept.leader = leader;
                        }
                        beat.reset_immediately();
                    }
                    Ok(_) => return self.lose(&error),
                    Err(error) => tracing::warn!(%error, "the seat cannot be read"),
                },
                Err(error @ StoreError::Behind) => return self.lose(&error),
                Err(StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, "the seat cannot be kept"),
            }
        }
    }

    /// Ends in order, so that a standby need not wait.
    pub(crate) async fn release(&self, store: &dyn Store) {
        self.stop_keeping();
        let before = self.kept.lock().as_ref().map(|kept| kept.leader.clone());
        let Some(before) = before else { return };
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
/// `Closed`, or `Moved` when there is nothing to wait for. A store that is away is waited for, and so is one into which
/// another is still being moved.
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
            Err(error @ (StoreError::Closed | StoreError::Moved { .. })) => return Err(error),
            Err(error) => {
                if !told {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the seat cannot be looked at; trying on"
                    );
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
    let (raw_mark, mark) = mark::read(store).await?;
    match mark {
        Some(mark) if mark.state == State::Gone => {
            return Err(StoreError::Moved {
                to: mark.place,
                at: mark.at,
            });
        }
        // Whoever moves into it holds the seat. Its beat is watched from when the move is over.
        Some(mark) if mark.state != State::Here => {
            if watched.is_some() || holder.borrow().is_none() {
                tracing::info!(from = mark.place, "a move into this store is not over");
            }
            *watched = None;
            holder.send_replace(Some(Leader {
                name: mark.place,
                url: String::new(),
                epoch: 0,
                beat: 0,
                released: false,
            }));
            return Ok(None);
        }
        _ => {}
    }
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
        // No move into it has begun meanwhile, and none from it has ended.
        Op::ExpectMeta {
            key: MOVE.to_owned(),
            value: raw_mark,
        },
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
            let until = holds_until(now);
            Ok(Some(Seat::of(epoch, Some(Kept { leader, until }))))
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

pub(crate) fn bytes_of(leader: &Leader) -> Bytes {
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
