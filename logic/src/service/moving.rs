//! Moves the store into another one while tasks go on: what logic adds to the mover is the seat, and who may ask.
//!
//! It must never see a driver or a secret: whoever opens the target is given names of files.

use crate::audit::Act;
use crate::clock;
use crate::core::Shared;
use crate::guarded::Guarded;
use crate::leader::{EPOCH, Leader, Seat, bytes_of};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use sengu_model::Time;
use sengu_model::problem::{Code, Problem};
use sengu_store::blobs::Blobs;
use sengu_store::mark::LEADER;
use sengu_store::mover::{self, MoveError, PAUSE_MAX, Plan, Progress, Takeover, Target};
use sengu_store::moving::Move;
use sengu_store::{Op, Store};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// How a store can be moved.
pub struct Movable {
    /// The store in use; taken when logic starts, so that it ends when it is no longer used.
    pub rows: Option<Arc<dyn Move>>,
    /// Where that is, for people.
    pub place: String,
    /// By which others that share a store know this sengu, and where its API is.
    pub name: String,
    pub url: String,
    pub opener: Arc<dyn OpenStore>,
}

/// Where a store is to be moved to. Secrets are in files on this sengu's machine, never in here.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveTo {
    /// `postgres`, or `sqlite`: a file of the data directory.
    pub engine: String,
    /// `postgres://user@host:port/database`, without a password.
    #[serde(default)]
    pub url: Option<String>,
    /// A file on the server's machine that holds nothing but the password.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password_file: Option<PathBuf>,
    /// A PEM file on the server's machine; default: the system's authorities.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub ca: Option<PathBuf>,
    /// Default: `sengu`.
    #[serde(default)]
    pub schema: Option<String>,
}

/// A store that was opened to be moved into.
pub struct Opened {
    pub rows: Arc<dyn Move>,
    pub blobs: Arc<dyn Blobs>,
    /// Other processes may have it open too.
    pub shared: bool,
    pub place: String,
    /// Meta of the place, to be written with the copy.
    pub metas: Vec<(String, Bytes)>,
    /// What the next start must find in the configuration file.
    pub config: String,
}

/// Opens stores for moves: the program does, since logic sees no driver.
pub trait OpenStore: Send + Sync {
    /// Gives a problem in words for people, without secrets.
    fn open(&self, to: MoveTo) -> BoxFuture<'_, Result<Opened, Problem>>;
}

/// The move that is on, or the last one of this life.
#[derive(Default)]
pub struct Moves(Mutex<Option<Last>>);

#[derive(Clone)]
pub struct Last {
    pub id: String,
    pub from: String,
    pub to: String,
    pub shared: bool,
    pub config: String,
    pub began_at: Time,
    pub progress: watch::Receiver<Progress>,
    cancelled: Arc<AtomicBool>,
    pub end: Option<End>,
}

#[derive(Clone)]
pub struct End {
    pub at: Time,
    /// None: it has moved.
    pub error: Option<String>,
    pub cancelled: bool,
}

impl Moves {
    pub fn last(&self) -> Option<Last> {
        self.0.lock().clone()
    }

    /// Asks the move that is on to end; gives whether there is one.
    pub fn cancel(&self) -> bool {
        match self.0.lock().as_ref().filter(|last| last.end.is_none()) {
            Some(last) => {
                last.cancelled.store(true, Ordering::Release);
                true
            }
            None => false,
        }
    }

    fn ended(&self, outcome: Result<(), MoveError>) {
        let mut last = self.0.lock();
        if let Some(last) = last.as_mut() {
            last.end = Some(End {
                at: clock::now(),
                cancelled: matches!(outcome, Err(MoveError::Cancelled)),
                error: outcome.err().map(|error| chain(&error)),
            });
        }
    }
}

/// An error and what it came from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Begins a move.
///
/// # Errors
/// When it cannot be begun.
pub async fn begin(shared: &Arc<Shared>, to: MoveTo) -> Result<(), Problem> {
    let Some(movable) = &shared.config.moving else {
        let problem = Problem::new(Code::WrongState, "this store cannot be moved");
        return Err(problem);
    };
    // One at a time opens a target.
    let _turn = shared.importing.lock().await;
    let last = shared.moves.last();
    if last.as_ref().is_some_and(|last| last.end.is_none()) {
        return Err(Problem::new(Code::InUse, "a move is on")
            .hint("`sengu migrate --status` shows it, `sengu migrate --cancel` ends it"));
    }
    if to.engine == "sqlite" && !shared.seat.is_shared() {
        return Err(Problem::new(
            Code::WrongState,
            "the store is in SQLite already",
        ));
    }
    let act = Act::new("move-asked", "Store", "store").note(to.engine.as_str());
    let opened = movable.opener.open(to).await?;
    shared.will(act).await?;
    let moved = last.filter(|last| last.end.as_ref().is_some_and(|end| end.error.is_none()));
    let from = moved.map_or_else(|| movable.place.clone(), |last| last.to);
    let leader = opened.shared.then(|| Leader {
        name: movable.name.clone(),
        url: movable.url.clone(),
        epoch: shared.epoch,
        beat: 0,
        released: false,
    });
    let takeover = Over {
        seat: shared.seat.clone(),
        leader,
        metas: opened.metas,
        store: opened.rows.clone(),
    };
    let id = format!("m-{:x}", shared.next_id());
    let plan = Plan {
        switch: shared.switch.clone(),
        blobs: Some(shared.images.clone()),
        from: from.clone(),
        target: Target {
            store: opened.rows.clone(),
            blobs: Some(opened.blobs),
            place: opened.place.clone(),
        },
        takeover: Arc::new(takeover),
        id: id.clone(),
        now: clock::now,
        pause_max: PAUSE_MAX,
    };
    let told = watch::Sender::new(Progress::default());
    let cancelled = Arc::new(AtomicBool::new(false));
    *shared.moves.0.lock() = Some(Last {
        id,
        from,
        to: opened.place,
        shared: opened.shared,
        config: opened.config,
        began_at: clock::now(),
        progress: told.subscribe(),
        cancelled: cancelled.clone(),
        end: None,
    });
    let shared = shared.clone();
    clock::spawn(async move {
        let outcome = mover::run(&plan, &told, &cancelled).await;
        match &outcome {
            Ok(()) => tracing::info!(to = plan.target.place, "the store has moved"),
            Err(error) => {
                tracing::error!(
                    error = chain(error),
                    "the store has not moved; the one in use stays"
                );
                // Its lock goes with it, so that the next move can open it.
                let _ = plan.target.store.close().await;
            }
        }
        drop(plan);
        shared.moves.ended(outcome);
    });
    Ok(())
}

/// Takes the seat along.
struct Over {
    seat: Arc<Seat>,
    /// None: it needs not be kept there.
    leader: Option<Leader>,
    metas: Vec<(String, Bytes)>,
    store: Arc<dyn Move>,
}

impl Takeover for Over {
    fn metas(&self) -> Vec<(String, Bytes)> {
        let leader = self.leader.iter();
        let leader = leader.map(|leader| (LEADER.to_owned(), bytes_of(leader)));
        leader.chain(self.metas.clone()).collect()
    }

    fn fence(&self) -> Vec<Op> {
        vec![Op::ExpectMeta {
            key: EPOCH.to_owned(),
            value: Some(self.seat.epoch.to_string().into()),
        }]
    }

    fn wrap(&self, target: Arc<dyn Move>) -> Arc<dyn Store> {
        let shared = self.leader.is_some();
        Arc::new(Guarded::new(target, self.seat.clone(), shared))
    }

    fn changed_over(&self) {
        self.seat.moves(self.leader.clone(), self.store.clone());
    }
}
