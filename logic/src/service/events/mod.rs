//! Tells what happens to those who follow with standard clients of a broker: results of tasks, changes of records, and
//! the latest readings of targets.
//!
//! Each follower has its own cursor and loop, so a slow one holds up no other. It must never hold up a task: what is to
//! be told is read from the store, and the cursor moves only after the broker has taken it over. So all is told at
//! least once, over restarts and while the broker is away; ids make what was told twice recognisable.

pub mod body;
mod changed;
mod follow;
mod retained;
mod turn;

use crate::core::Shared;
use changed::Changed;
use sengu_interconnect::events::Followers;
use sengu_model::Uid;
use sengu_store::{Op, Store, StoreError};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One way by which others follow.
#[derive(Clone)]
pub struct Follower {
    /// Names its cursor in the store: the same over restarts, for as long as it is the same broker.
    pub name: String,
    pub to: Arc<dyn Followers>,
}

/// What all parts of logic see of those who follow.
#[derive(Default)]
pub struct Events {
    followers: Vec<Arc<Standing>>,
}

type Counter = fn(&Standing) -> &AtomicU64;

/// How far one follower is.
pub struct Standing {
    name: String,
    to: Arc<dyn Followers>,
    /// Where it goes on has been read from the store.
    begun: AtomicBool,
    /// Position of the last result told.
    results: AtomicU64,
    /// Revision of the last change told.
    changes: AtomicU64,
    readings: Changed,
    told: AtomicU64,
    /// Too large for the broker even without its large parts.
    dropped: AtomicU64,
    failures: AtomicU64,
}

impl Events {
    /// Where a follower begins that was never told anything is fixed here, before anything can end or change: were it
    /// read when its loop first runs, what happened until then would never be told.
    pub fn new(followers: &[Follower], newest_result: u64, newest_change: u64) -> Events {
        let standing = |follower: &Follower| {
            Arc::new(Standing {
                name: follower.name.clone(),
                to: follower.to.clone(),
                begun: AtomicBool::new(false),
                results: AtomicU64::new(newest_result),
                changes: AtomicU64::new(newest_change),
                readings: Changed::default(),
                told: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            })
        };
        Events {
            followers: followers.iter().map(standing).collect(),
        }
    }

    /// The readings of a target are new. Costs nothing when nobody follows, and never waits.
    pub fn observed(&self, target: Uid) {
        for follower in &self.followers {
            follower.readings.mark(target);
        }
    }

    /// Who follows.
    pub fn names(&self) -> Vec<String> {
        self.followers.iter().map(|f| f.name.clone()).collect()
    }

    /// What followers do not get, in words for people.
    pub fn lacks(&self) -> Vec<String> {
        self.followers.iter().flat_map(|f| f.to.lacks()).collect()
    }

    /// Writes down how far each is: at the end of sengu, so that the next start repeats nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, store: &dyn Store) -> Result<(), StoreError> {
        let ops: Vec<Op> = self.followers.iter().flat_map(|f| f.cursor()).collect();
        if !ops.is_empty() {
            store.commit(ops.into()).await?;
        }
        Ok(())
    }

    /// Metrics in Prometheus' text form.
    pub fn render(&self, shared: &Shared, out: &mut String) {
        if self.followers.is_empty() {
            return;
        }
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let counters: [(&str, &str, Counter); 3] = [
            (
                "sengu_events_told_total",
                "Events that the broker took over.",
                |f| &f.told,
            ),
            (
                "sengu_events_dropped_total",
                "Events too large for the broker.",
                |f| &f.dropped,
            ),
            (
                "sengu_events_failures_total",
                "Times that the broker took nothing.",
                |f| &f.failures,
            ),
        ];
        for (name, help, counter) in counters {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for follower in &self.followers {
                let value = load(counter(follower));
                let _ = writeln!(out, "{name}{{follower=\"{}\"}} {value}", follower.name);
            }
        }
        let name = "sengu_events_behind";
        let _ = writeln!(
            out,
            "# HELP {name} Positions between the newest and what was told.\n# TYPE {name} gauge"
        );
        for follower in &self.followers {
            let behind = [
                ("result", *shared.position.borrow(), load(&follower.results)),
                ("record", *shared.revision.borrow(), load(&follower.changes)),
            ];
            for (of, newest, at) in behind {
                let value = newest.saturating_sub(at);
                let follower = &follower.name;
                let _ = writeln!(out, "{name}{{follower=\"{follower}\",of=\"{of}\"}} {value}");
            }
        }
    }
}

impl Standing {
    fn key(&self, of: &str) -> String {
        format!("events/{}/{of}", self.name)
    }

    /// How far it is, to be written down; nothing before that is known.
    fn cursor(&self) -> Vec<Op> {
        if !self.begun.load(Ordering::Acquire) {
            return Vec::new();
        }
        let put = |of: &str, at: &AtomicU64| Op::PutMeta {
            key: self.key(of),
            value: at.load(Ordering::Acquire).to_string().into(),
        };
        vec![put("results", &self.results), put("changes", &self.changes)]
    }
}

/// Begins to tell all followers; nothing runs when there are none.
pub fn start(shared: &Arc<Shared>) -> Vec<tokio::task::JoinHandle<()>> {
    let begin = |follower: &Arc<Standing>| {
        crate::clock::spawn(follow::run(shared.clone(), follower.clone()))
    };
    shared.events.followers.iter().map(begin).collect()
}

/// Position of the newest result.
///
/// # Errors
/// The store's.
pub async fn newest_result(store: &dyn Store) -> Result<u64, StoreError> {
    // The first result after a place is told at once, so the end is found in a few dozen reads, however many there are.
    let after = async |at: u64| {
        let page = store.results(at, 1).await?;
        Ok::<_, StoreError>(page.first().map(|(position, _)| *position))
    };
    let (mut last, mut step) = (0_u64, 1_u64);
    while step > 0 {
        match after(last.saturating_add(step - 1)).await? {
            Some(position) => {
                last = position;
                step = step.saturating_mul(2);
            }
            None => step /= 2,
        }
    }
    Ok(last)
}
