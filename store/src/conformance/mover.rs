//! The suite of a move while work goes on. A driver's test calls `run` with a store to move from and one to move to.

mod frail;
mod load;

pub use frail::Frail;

use super::LIMIT;
use crate::mark::{self, Mark, State};
use crate::mover::{self, MoveError, Phase, Plan, Progress, Takeover, Target};
use crate::moving::{Move, Part, digest};
use crate::switch::{Current, Switch};
use crate::{Op, Store, StoreError};
use bytes::Bytes;
use load::Load;
use sengu_model::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The time in tests: nothing depends on it.
fn now() -> Time {
    Time(7)
}

/// Counts its change-overs.
#[derive(Default)]
pub struct Plain {
    pub changes: AtomicU32,
}

impl Takeover for Plain {
    fn metas(&self) -> Vec<(String, Bytes)> {
        vec![("seal-key".to_owned(), Bytes::from_static(b"k"))]
    }
    fn fence(&self) -> Vec<Op> {
        Vec::new()
    }
    fn wrap(&self, target: Arc<dyn Move>) -> Arc<dyn Store> {
        target
    }
    fn changed_over(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A switch in front of a store.
pub fn switch(store: &Arc<dyn Move>) -> Arc<Switch> {
    Switch::new(Current {
        store: store.clone(),
        rows: Some(store.clone()),
    })
}

/// A plan without images.
pub fn plan(switch: &Arc<Switch>, to: &Arc<dyn Move>, id: &str) -> (Plan, Arc<Plain>) {
    let takeover = Arc::new(Plain::default());
    let plan = Plan {
        switch: switch.clone(),
        blobs: None,
        from: "the old place".to_owned(),
        target: Target {
            store: to.clone(),
            blobs: None,
            place: "the new place".to_owned(),
        },
        takeover: takeover.clone(),
        id: id.to_owned(),
        now,
        pause_max: LIMIT,
    };
    (plan, takeover)
}

/// Moves; gives what was told about it.
///
/// # Errors
/// The mover's.
///
/// # Panics
/// When it does not end.
pub async fn run_plan(plan: &Plan) -> Result<Progress, MoveError> {
    run_plan_within(plan, 2 * LIMIT).await
}

/// The same with a limit of its own.
///
/// # Errors
/// The mover's.
///
/// # Panics
/// When it does not end.
pub async fn run_plan_within(plan: &Plan, limit: Duration) -> Result<Progress, MoveError> {
    let told = watch::Sender::new(Progress::default());
    let cancelled = AtomicBool::new(false);
    let moved = mover::run(plan, &told, &cancelled);
    let moved = tokio::time::timeout(limit, moved);
    let Ok(moved) = moved.await else {
        panic!("the move ends in time: {:?}", told.borrow());
    };
    moved?;
    let progress = told.borrow().clone();
    Ok(progress)
}

/// Both empty. Afterwards `to` is in use and `from` is marked as moved.
///
/// # Panics
/// When the contract is broken; the message says which part.
pub async fn run(from: Arc<dyn Move>, to: Arc<dyn Move>) {
    let switch = switch(&from);
    load::fill(&*switch).await;
    let load = Load::start(switch.clone());
    load.has_done(60).await;

    // A target that goes away in the middle.
    let frail = Arc::new(Frail::new(to.clone()));
    frail.imports_left(5);
    let (broken, none) = plan(&switch, &(frail.clone() as Arc<dyn Move>), "m1");
    let error = run_plan(&broken).await.expect_err("the target is away");
    assert!(matches!(error, MoveError::Target { .. }), "{error:?}");
    stays(&load, &from, &to, &none).await;

    // Commits would be held too long: each import takes longer than the pause.
    let slow = Arc::new(Frail::new(to.clone()));
    slow.every_import_takes(Duration::from_millis(20));
    let (mut late, none) = plan(&switch, &(slow as Arc<dyn Move>), "m2");
    late.pause_max = Duration::from_millis(315);
    match run_plan(&late).await {
        Err(MoveError::TooSlow { times, .. }) => assert_eq!(times, mover::PAUSES_MAX),
        other => panic!("it takes too long: {other:?}"),
    }
    stays(&load, &from, &to, &none).await;

    // A cancelled one.
    let (cancelled, none) = plan(&switch, &to, "m3");
    let told = watch::Sender::new(Progress::default());
    let error = mover::run(&cancelled, &told, &AtomicBool::new(true)).await;
    assert!(matches!(error, Err(MoveError::Cancelled)), "{error:?}");
    stays(&load, &from, &to, &none).await;

    let (good, takeover) = plan(&switch, &to, "m4");
    let progress = run_plan(&good).await.expect("moved");
    assert_eq!(progress.phase, Phase::Moved);
    assert_eq!(takeover.changes.load(Ordering::Relaxed), 1);
    assert!(progress.caught_up > 0, "work went on meanwhile");
    for part in [Part::Records, Part::Changes, Part::Tasks, Part::Entries] {
        let compared = progress.parts[&part].compared.as_ref();
        assert!(compared.is_some_and(|d| d.rows > 0), "{part:?} is compared");
    }
    let before = digest(&*from, Part::Tasks).await.expect("digest");
    load.has_done(load.done() + 40).await;
    let after = digest(&*from, Part::Tasks).await.expect("digest");
    assert_eq!(before, after, "nothing more is written to the old store");
    load.stop().await.holds(&*to).await;

    let error = mark::usable(&*from, false).await;
    assert!(matches!(error, Err(StoreError::Moved { .. })), "{error:?}");
    mark::usable(&*to, true).await.expect("in use");
    let (again, _) = plan(&switch, &from, "m5");
    let error = run_plan(&again).await;
    assert!(
        matches!(error, Err(MoveError::NotEmpty { .. })),
        "{error:?}"
    );
}

/// The move was undone: work goes on in `from`, and `to` is refused.
async fn stays(load: &Load, from: &Arc<dyn Move>, to: &Arc<dyn Move>, takeover: &Plain) {
    assert_eq!(takeover.changes.load(Ordering::Relaxed), 0);
    let before = from.status().await.expect("status").position_like();
    load.has_done(load.done() + 20).await;
    let after = from.status().await.expect("status").position_like();
    assert!(after > before, "work goes on in the old store");
    mark::usable(&**from, true).await.expect("in use");
    let error = mark::usable(&**to, true).await;
    assert!(
        matches!(error, Err(StoreError::Unfinished { .. })),
        "{error:?}"
    );
}

impl crate::StoreStatus {
    /// Grows with work.
    fn position_like(&self) -> u64 {
        self.revision + self.tasks_ended
    }
}

/// A whole copy is put to use by whoever knows that its source is marked as moved, and by nobody else.
///
/// # Panics
/// When the contract is broken.
pub async fn confirms(store: &dyn Store) {
    let mark = |state, id: &str| Mark {
        state,
        id: id.to_owned(),
        place: "elsewhere".to_owned(),
        at: now(),
    };
    let put = mark(State::Copied, "a").put();
    store.commit(vec![put].into()).await.expect("commit");
    assert!(mark::usable(store, true).await.is_err());
    let other = mark::confirm(store, &mark(State::Gone, "b")).await;
    assert!(!other.expect("confirm"), "another move");
    let undecided = mark::confirm(store, &mark(State::Here, "a")).await;
    assert!(!undecided.expect("confirm"), "the source has not moved");
    let gone = mark::confirm(store, &mark(State::Gone, "a")).await;
    assert!(gone.expect("confirm"));
    mark::usable(store, true).await.expect("in use");
}
