//! Which version of its kind a waiting task goes to, and what is counted of it while that version is being proven.

use super::{Dispatch, Payload, Stage, Task};
use crate::catalog::{Catalog, Kind};
use crate::inventory::Target;
use crate::rollout::choose::{Asked, Choice, Route, Routes, cell};
use crate::rollout::watch::{Ended, Key};
use sengu_model::release::Cell;
use sengu_model::{FailureCode, Outcome, TaskId, Time, Uid};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Tasks of a version on trial that may be out before the first has ended well. Each one that does lets one more out,
/// so a bad version meets this many targets and a good one doubles its share with each round.
pub const TRIAL_FIRST: u64 = 8;
/// And of each cell: a version that is good for most devices is still new to these.
const CELL_FIRST: u64 = 4;
/// Cells counted apart; those beyond share the whole version's allowance.
const CELLS_MAX: usize = 4_096;
/// Targets remembered of one version on trial; of those beyond, first tasks are timed like all others.
const MET_MAX: usize = 200_000;

/// How a version does that is being proven.
#[derive(Default)]
pub(super) struct Trial {
    out: u64,
    good: u64,
    bad: u64,
}

impl Trial {
    fn is_full(&self, first: u64) -> bool {
        self.out + self.bad >= first + self.good
    }

    fn back(&mut self, good: Option<bool>) {
        self.out = self.out.saturating_sub(1);
        match good {
            Some(true) => self.good += 1,
            Some(false) => self.bad += 1,
            None => {}
        }
    }
}

/// One version on trial.
#[derive(Default)]
pub(super) struct OnTrial {
    all: Trial,
    cells: HashMap<Cell, Trial>,
    /// Targets that it has met.
    met: HashSet<Uid>,
}

/// By kind and version.
pub(super) type Trials = HashMap<(Arc<str>, Arc<str>), OnTrial>;
/// What a task that is out by a version on trial remembers of it.
pub struct OutBy {
    kind: Arc<str>,
    version: Arc<str>,
    cell: Cell,
    /// The version has not met this target before: it logs in, which the version in use has done long ago.
    pub first: bool,
}

impl Dispatch {
    /// Takes the new catalog: what waits goes where it belongs now.
    pub(super) fn take_catalog(&mut self, catalog: Arc<Catalog>, now: Time) {
        let old = std::mem::replace(&mut self.catalog, catalog);
        let moved = |kind: &str| match (old.routes.get(kind), self.catalog.routes.get(kind)) {
            (Some(a), Some(b)) => !Arc::ptr_eq(a, b),
            (None, None) => false,
            _ => true,
        };
        let on_trial = |kind: &str, version: &str| {
            let routes = self.catalog.routes.get(kind);
            routes.is_some_and(|r| r.rules.iter().any(|r| r.trial && *r.version == *version))
        };
        self.trials
            .retain(|(kind, version), _| on_trial(kind, version));
        let waiting: Vec<TaskId> = self
            .lanes
            .iter()
            .filter(|task| task.stage == Stage::Waiting && moved(task.payload.kind.name()))
            .map(|task| task.id)
            .collect();
        for id in waiting {
            self.reroute(id, now);
        }
    }

    /// The version for a task as things are now.
    pub(super) fn route(&self, payload: &Payload, target: &Target) -> Result<Choice, String> {
        if let Some(shadow) = &payload.shadow {
            // It runs nothing but what is compared, by the version that is compared.
            let asked = asked(payload, target, Some(shadow.version()));
            let routes = self.routes(payload)?;
            return routes.choose(&asked, |_| None, |_| true);
        }
        let routes = self.routes(payload)?;
        let asked = asked(payload, target, payload.pinned.as_deref());
        if routes.rules.is_empty() {
            return routes.choose(&asked, |_| None, |_| true);
        }
        let live = target.live.lock();
        let closed = |route: &Route| {
            // Nobody there has it ready yet.
            let zone: &str = &target.zone;
            let window = self.window(zone, routes.kind.as_ref(), &route.version);
            let full = || {
                let cell = cell(asked.action, &|key: &str| target.value(&live, key));
                self.is_full(&routes.kind, &route.version, &cell)
            };
            window == 0 || (route.trial && full()) || !takes(payload, &route.kind)
        };
        routes.choose(&asked, |key| target.value(&live, key), closed)
    }

    fn routes(&self, payload: &Payload) -> Result<&Arc<Routes>, String> {
        let kind = payload.kind.name();
        let routes = self.catalog.routes.get(kind);
        routes.ok_or_else(|| format!("no worker of kind {kind} is known any more"))
    }

    fn window(&self, zone: &str, kind: &str, version: &str) -> u32 {
        let sizes = self.windows.get(kind);
        let size = sizes.and_then(|s| s.get(&(zone.to_owned(), version.to_owned())));
        size.copied().unwrap_or(0)
    }

    fn is_full(&self, kind: &Arc<str>, version: &Arc<str>, cell: &Cell) -> bool {
        let Some(trial) = self.trials.get(&(kind.clone(), version.clone())) else {
            return false;
        };
        let of_cell = trial.cells.get(cell);
        trial.all.is_full(TRIAL_FIRST) || of_cell.is_some_and(|cell| cell.is_full(CELL_FIRST))
    }

    /// Chooses again for a task that waits. False when it went to another queue, or ended.
    pub(super) fn reroute(&mut self, id: TaskId, now: Time) -> bool {
        let Some(task) = self.lanes.get(id) else {
            return false;
        };
        let choice = match self.route(&task.payload, &task.payload.target) {
            Ok(choice) => choice,
            Err(why) if task.stage == Stage::Waiting && task.payload.pinned.is_none() => {
                // A version or an action may come back; whoever asks is told why it waits.
                tracing::debug!(task = %id, why, "no version for it");
                return false;
            }
            Err(why) => {
                self.end(id, Outcome::failed(FailureCode::Refused, why), None, now);
                return false;
            }
        };
        let probing = task.payload.probing.is_some();
        let same = Arc::ptr_eq(&choice.kind, &task.payload.kind);
        let (zone, kind, class) = (
            task.payload.target.zone.clone(),
            task.payload.target.kind.clone(),
            task.class,
        );
        if !same && probing && probe_of(&choice.kind, &task.payload).is_none() {
            // What was begun is asked about by the version that knows how.
            return true;
        }
        let version: Arc<str> = choice.kind.version().into();
        let queue = self.queue(&zone, &kind, &version, class);
        let Some(task) = self.lanes.get_mut(id) else {
            return false;
        };
        task.payload.follow(&choice);
        if task.queue == queue {
            return true;
        }
        if task.stage == Stage::Sending {
            // It was picked from the queue of another version: back, and to its own.
            let attempt = task.attempt;
            self.lanes.again(id, attempt, Time(0), now);
        }
        self.lanes.set_queue(id, queue, now);
        false
    }

    /// Whether a task that was picked must be looked at again before it goes.
    pub(super) fn may_move(&self, task: &Task) -> bool {
        let payload = &task.payload;
        payload.pinned.is_some()
            || payload.shadow.is_some()
            || self
                .routes(payload)
                .is_ok_and(|routes| !routes.rules.is_empty())
            || self
                .routes(payload)
                .is_ok_and(|routes| routes.base.is_none())
    }

    /// A task goes out by a version on trial.
    pub(super) fn count_out(&mut self, id: TaskId) {
        let Some(task) = self.lanes.get_mut(id) else {
            return;
        };
        let payload = &mut task.payload;
        let kind = payload.kind.name();
        let Some(routes) = self.catalog.routes.get(kind).filter(|r| r.watched()) else {
            return;
        };
        let version = payload.kind.version();
        let route = routes
            .rules
            .iter()
            .find(|r| *r.version == *version && r.trial);
        if let Some(route) = route {
            let (kind, version) = (routes.kind.clone(), route.version.clone());
            let cell = cell_of(payload);
            let of_version = (kind.clone(), version.clone());
            let trial = self.trials.entry(of_version).or_default();
            trial.all.out += 1;
            if trial.cells.len() < CELLS_MAX || trial.cells.contains_key(&cell) {
                trial.cells.entry(cell.clone()).or_default().out += 1;
            }
            let first = trial.met.len() < MET_MAX && trial.met.insert(task.target);
            payload.trial = Some(Box::new(OutBy {
                kind,
                version,
                cell,
                first,
            }));
        }
    }

    /// What went out by a version on trial came back, well or badly, or nobody can say (None).
    pub(super) fn count_in(&mut self, id: TaskId, good: Option<bool>) {
        let Some(task) = self.lanes.get_mut(id) else {
            return;
        };
        if let Some(out) = task.payload.trial.take() {
            let OutBy {
                kind,
                version,
                cell,
                ..
            } = *out;
            if let Some(trial) = self.trials.get_mut(&(kind, version)) {
                trial.all.back(good);
                if let Some(cell) = trial.cells.get_mut(&cell) {
                    cell.back(good);
                }
            }
        }
    }

    /// Counts an attempt for the guards of its kind's Release.
    pub(super) fn tally(&mut self, id: TaskId, ended: Ended) {
        let Some(task) = self.lanes.get(id) else {
            return;
        };
        let payload = &task.payload;
        if payload.shadow.is_some() {
            return;
        }
        if let Ended::Good(ms) | Ended::Bad(ms) = ended {
            let tally = &mut self.tallies[task.queue.0 as usize];
            tally.add(matches!(ended, Ended::Bad(_)), ms);
        }
        let kind = payload.kind.name();
        if !self.catalog.routes.get(kind).is_some_and(|r| r.watched()) {
            return;
        }
        let key = Key {
            kind,
            version: payload.kind.version(),
            cell: &cell_of(payload),
        };
        self.shared.rollouts.count(&key, ended);
    }
}

pub(super) fn cell_of(payload: &Payload) -> Cell {
    let live = payload.target.live.lock();
    cell(&payload.action.decl.name, &|key: &str| {
        payload.target.value(&live, key)
    })
}

fn asked<'a>(payload: &'a Payload, target: &Target, pinned: Option<&'a str>) -> Asked<'a> {
    Asked {
        target: target.uid,
        action: &payload.action.decl.name,
        effect: payload.effect,
        pinned,
    }
}

/// Whether another version takes the parameters as they are; only looked at where it declares them otherwise.
fn takes(payload: &Payload, kind: &Arc<Kind>) -> bool {
    if Arc::ptr_eq(kind, &payload.kind) {
        return true;
    }
    let Some(action) = kind.actions.get(&payload.action.decl.name) else {
        return false;
    };
    action.decl.params == payload.action.decl.params
        || serde_json::from_str(payload.params.0.get())
            .is_ok_and(|params| action.param_faults(&params).is_empty())
}

/// The probe of a task's action in that version.
fn probe_of<'a>(kind: &'a Kind, payload: &Payload) -> Option<&'a str> {
    let action = kind.actions.get(&payload.action.decl.name)?;
    action.decl.probe.as_deref()
}

impl Payload {
    /// It goes by this version now.
    pub(super) fn follow(&mut self, choice: &Choice) {
        self.chosen = Some(choice.why.clone());
        if !Arc::ptr_eq(&self.kind, &choice.kind)
            && let Some(action) = choice.kind.actions.get(&self.action.decl.name)
        {
            self.action = action.clone();
            self.kind = choice.kind.clone();
        }
    }
}

/// Windows of all versions: by kind, then by (zone, version).
pub type Windows = HashMap<String, HashMap<(String, String), u32>>;
