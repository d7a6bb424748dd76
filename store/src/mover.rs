//! Moves everything from the store in use into another one while work goes on, and puts that one to use.
//!
//! How: copy all rows; copy again what was touched meanwhile, until that is little; compare both stores row by row, but
//! for what is touched at the time; then close the gate of commits for a moment, copy and compare the rest, mark the
//! source as moved, and open the gate on the target. Whatever fails before that mark leaves the source in use, with
//! nothing lost. It must never hold commits longer than the plan says, nor switch to rows that were not compared.

mod change_over;
mod copy;
mod images;
mod verify;

use crate::blobs::{BlobError, Blobs};
use crate::mark::{LEADER, MOVE, Mark, State};
use crate::moving::{Digest, Move, Part, Row};
use crate::switch::{Switch, SwitchBlobs, Watch};
use crate::{Op, Position, Revision, Store, StoreError};
use bytes::Bytes;
use parking_lot::Mutex;
use sengu_model::Time;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Commits may be held this long at most, with room to spare before a lost seat would show.
pub const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often the change-over is tried.
pub const PAUSES_MAX: u32 = 5;
/// Rounds before the gate is closed, whatever is left: a store that is always behind never gets less.
const ROUNDS_MAX: u32 = 30;
/// A round this short, or of this few rows, leaves little for the pause.
const ROUND_SHORT: Duration = Duration::from_millis(100);
const ROWS_FEW: u64 = 500;
/// Keys that may wait to be copied again: bounds memory, about 100 bytes each.
const TOUCHED_MAX: usize = 10_000_000;

/// Where to.
pub struct Target {
    pub store: Arc<dyn Move>,
    /// None: images stay where they are.
    pub blobs: Option<Arc<dyn Blobs>>,
    /// For people; never a secret.
    pub place: String,
}

/// What the user of the store does at the change-over.
pub trait Takeover: Send + Sync {
    /// Meta of the place, not of what is kept: put into the target in the place of whatever the source has.
    fn metas(&self) -> Vec<(String, Bytes)>;
    /// What must hold in the source when it is marked as moved.
    fn fence(&self) -> Vec<Op>;
    /// The target as commits and reads are to use it.
    fn wrap(&self, target: Arc<dyn Move>) -> Arc<dyn Store>;
    /// The source is marked and commits are held: what is in memory follows. Must not wait.
    fn changed_over(&self);
}

pub struct Plan {
    pub switch: Arc<Switch>,
    pub blobs: Option<Arc<SwitchBlobs>>,
    /// The place in use, for people.
    pub from: String,
    pub target: Target,
    pub takeover: Arc<dyn Takeover>,
    /// Names the move in both stores.
    pub id: String,
    pub now: fn() -> Time,
    pub pause_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Preparing,
    Copying,
    CatchingUp,
    Images,
    Verifying,
    ChangingOver,
    Moved,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Preparing => "preparing",
            Phase::Copying => "copying",
            Phase::CatchingUp => "catchingUp",
            Phase::Images => "images",
            Phase::Verifying => "verifying",
            Phase::ChangingOver => "changingOver",
            Phase::Moved => "moved",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartProgress {
    pub copied: u64,
    /// None where it cannot be known.
    pub total: Option<u64>,
    /// Rows found equal in both, and their digest: the same of both.
    pub compared: Option<Digest>,
    /// Rows that were touched while they were compared: copied and compared again later.
    pub again: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub phase: Phase,
    pub parts: HashMap<Part, PartProgress>,
    pub images: u64,
    /// Rows copied again because they were touched.
    pub caught_up: u64,
    /// Change-overs that were tried.
    pub pauses: u32,
    /// How long commits were held last.
    pub pause: Option<Duration>,
    /// Why the last change-over was undone.
    pub undone: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("use the store that is left")]
    Source(#[source] StoreError),
    #[error("use {place}")]
    Target {
        place: String,
        #[source]
        source: StoreError,
    },
    #[error("copy image {digest}")]
    Image {
        digest: String,
        #[source]
        source: BlobError,
    },
    #[error("{place} is not empty")]
    NotEmpty { place: String },
    #[error("{row} of {part} is not the same in both stores")]
    Differs { part: &'static str, row: String },
    #[error("what is in memory for the copy does not suffice: {0} rows were touched")]
    TooMuch(usize),
    #[error("commits would have been held longer than {} ms, {times} times", limit.as_millis())]
    TooSlow { limit: Duration, times: u32 },
    #[error("images were pushed all the time")]
    ImagesPushed,
    #[error("this store cannot be moved")]
    CannotMove,
    #[error("another move is on")]
    Busy,
    #[error("cancelled")]
    Cancelled,
}

/// How far what only grows has been copied.
#[derive(Default, Clone)]
struct Ends {
    revision: Revision,
    positions: HashMap<String, Position>,
}

struct Mover<'p> {
    plan: &'p Plan,
    source: Arc<dyn Move>,
    watch: Watch,
    progress: &'p watch::Sender<Progress>,
    cancelled: &'p AtomicBool,
    /// Keys of meta that belong to the place.
    apart: HashSet<String>,
    ends: Mutex<Ends>,
}

/// Moves. When this gives an error, the source is in use as before.
///
/// # Errors
/// What has kept it from moving.
pub async fn run(
    plan: &Plan,
    progress: &watch::Sender<Progress>,
    cancelled: &AtomicBool,
) -> Result<(), MoveError> {
    let source = plan.switch.current().rows.ok_or(MoveError::CannotMove)?;
    prepare(plan).await?;
    let watch = plan.switch.watch().await.map_err(MoveError::Source)?;
    let mover = Mover {
        plan,
        source,
        watch: watch.ok_or(MoveError::Busy)?,
        progress,
        cancelled,
        apart: apart(plan),
        ends: Mutex::default(),
    };
    mover.go().await
}

fn apart(plan: &Plan) -> HashSet<String> {
    let own = [MOVE.to_owned(), LEADER.to_owned()];
    let metas = plan.takeover.metas().into_iter().map(|(key, _)| key);
    own.into_iter().chain(metas).collect()
}

/// Takes the target for this move: it is empty, or holds what a move from here has left.
async fn prepare(plan: &Plan) -> Result<(), MoveError> {
    let target = &plan.target;
    let failed = |source| MoveError::Target {
        place: target.place.clone(),
        source,
    };
    let not_empty = || MoveError::NotEmpty {
        place: target.place.clone(),
    };
    let store: &dyn Move = &*target.store;
    let (raw, found) = crate::mark::read(store).await.map_err(failed)?;
    let left = found.is_some_and(|mark| match mark.state {
        State::Copying => true,
        State::Copied => mark.place == plan.from,
        State::Here | State::Gone => false,
    });
    if raw.is_some() && !left {
        return Err(not_empty());
    }
    if !left {
        let status = store.status().await.map_err(failed)?;
        let metas = store.export(Part::Meta, None, 16).await.map_err(failed)?;
        let apart = apart(plan);
        let used = metas
            .iter()
            .any(|row| matches!(row, Row::Meta { key, .. } if !apart.contains(key)));
        if used || status.revision > 0 || status.last_id > 0 {
            return Err(not_empty());
        }
    }
    let mark = plan.mark(State::Copying, &plan.from);
    let expect = |key: &str, value| Op::ExpectMeta {
        key: key.to_owned(),
        value,
    };
    let mut take = vec![expect(MOVE, raw)];
    if !left {
        // Whoever takes the seat there at this moment is the first, or the move is.
        take.push(expect(LEADER, None));
    }
    take.push(mark.put());
    match store.commit(take.into()).await {
        Ok(_) => {}
        Err(StoreError::Fenced { .. }) => return Err(not_empty()),
        Err(error) => return Err(failed(error)),
    }
    let row = Row::Meta {
        key: MOVE.to_owned(),
        value: mark.bytes(),
    };
    store.clear(vec![row]).await.map_err(failed)
}

impl Plan {
    fn mark(&self, state: State, place: &str) -> Mark {
        Mark {
            state,
            id: self.id.clone(),
            place: place.to_owned(),
            at: (self.now)(),
        }
    }
}

impl Mover<'_> {
    async fn go(&self) -> Result<(), MoveError> {
        self.count().await?;
        self.phase(Phase::Copying);
        for part in [
            Part::Meta,
            Part::Records,
            Part::Changes,
            Part::Tasks,
            Part::Entries,
        ] {
            self.copy(part).await?;
        }
        self.phase(Phase::CatchingUp);
        self.catch_up(false).await?;
        self.phase(Phase::Images);
        self.copy_images().await?;
        self.phase(Phase::Verifying);
        self.verify().await?;
        for times in 1..=PAUSES_MAX {
            self.phase(Phase::CatchingUp);
            self.catch_up(true).await?;
            self.phase(Phase::ChangingOver);
            self.progress.send_modify(|p| p.pauses = times);
            match self.change_over().await? {
                None => {
                    self.phase(Phase::Moved);
                    return Ok(());
                }
                Some(why) => {
                    tracing::warn!(why, times, "change-over undone; the store in use stays");
                    self.progress.send_modify(|p| p.undone = Some(why));
                }
            }
        }
        Err(MoveError::TooSlow {
            limit: self.plan.pause_max,
            times: PAUSES_MAX,
        })
    }

    /// Copies what was touched until that is little.
    async fn catch_up(&self, compare: bool) -> Result<(), MoveError> {
        let mut before = u64::MAX;
        for _ in 0..ROUNDS_MAX {
            let begun = tokio::time::Instant::now();
            let rows = self.round(compare).await?;
            // Where it no longer gets less, more rounds are of no use.
            if rows <= ROWS_FEW || begun.elapsed() < ROUND_SHORT || rows >= before {
                break;
            }
            before = rows;
        }
        Ok(())
    }

    /// How much there is, as far as that is counted.
    async fn count(&self) -> Result<(), MoveError> {
        let status = self.source.status().await.map_err(MoveError::Source)?;
        let counters = self.source.export(Part::Counters, None, 1).await;
        let counters = counters.map_err(MoveError::Source)?;
        let changes = match counters.first() {
            Some(Row::Counters(c)) => (c.revision + 1).checked_sub(c.change_oldest),
            _ => None,
        };
        self.progress.send_modify(|p| {
            for part in Part::ALL {
                let total = match part {
                    Part::Records => Some(status.records),
                    Part::Changes => changes,
                    Part::Tasks => Some(status.tasks_open + status.tasks_ended),
                    Part::Counters => Some(1),
                    Part::Meta | Part::Entries => None,
                };
                p.parts.entry(part).or_default().total = total;
            }
        });
        Ok(())
    }

    fn phase(&self, phase: Phase) {
        tracing::info!(phase = phase.as_str(), to = self.plan.target.place, "move");
        self.progress.send_modify(|p| p.phase = phase);
    }

    fn part(&self, part: Part, change: impl FnOnce(&mut PartProgress)) {
        self.progress
            .send_modify(|p| change(p.parts.entry(part).or_default()));
    }

    /// Called often.
    fn may_go_on(&self) -> Result<(), MoveError> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(MoveError::Cancelled);
        }
        match self.watch.count() {
            many if many > TOUCHED_MAX => Err(MoveError::TooMuch(many)),
            _ => Ok(()),
        }
    }

    fn target(&self) -> &dyn Move {
        &*self.plan.target.store
    }

    fn at_target(&self, source: StoreError) -> MoveError {
        MoveError::Target {
            place: self.plan.target.place.clone(),
            source,
        }
    }
}
