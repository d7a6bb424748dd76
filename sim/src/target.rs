//! The fake targets: what really happened. They count every session, overlap and effect, and know nothing of sengu.

use crate::life::elapsed_ms;
use sengu_model::{Effect, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// One device.
#[derive(Debug, Default)]
pub struct Target {
    pub limit: u32,
    /// What is open now, by number.
    open: BTreeMap<u64, Session>,
    /// Effects by task, with the attempt that had it.
    pub effects: BTreeMap<TaskId, Vec<Happened>>,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub task: TaskId,
    pub changes: bool,
    pub wee: String,
    /// Its WEE was cut off, held or killed while it was open: nobody could have known of it any more.
    pub orphan: bool,
    since_ms: u64,
}

#[derive(Debug, Clone)]
pub struct Happened {
    pub fence: String,
    pub at_ms: u64,
    pub effect: Effect,
    pub orphan: bool,
}

/// All of them, and what was found wrong.
#[derive(Debug, Default)]
pub struct Targets {
    pub all: BTreeMap<String, Target>,
    sessions: u64,
    /// Attempts that a worker was given.
    begun: BTreeSet<(TaskId, String)>,
    pub wrong: Vec<String>,
    pub effects: u64,
    pub overlaps_excused: u64,
}

impl Targets {
    pub fn open(&mut self, name: &str, fence: &str, mut session: Session, effect: Effect) -> u64 {
        self.sessions += 1;
        let target = self.all.entry(name.to_owned()).or_default();
        if !self.begun.insert((session.task, fence.to_owned())) {
            // A message that comes twice may be done twice where that does no harm: whichever ends first counts, and of
            // the other one nobody knows.
            if !effect.repeatable() {
                self.wrong.push(format!(
                    "{} {fence} ({effect:?}) was handed to workers twice",
                    session.task
                ));
            }
            session.orphan = true;
            let same = target.open.values_mut().filter(|s| s.task == session.task);
            same.for_each(|s| s.orphan = true);
        }
        let excused = target.open.values().any(|s| s.orphan) || session.orphan;
        let sessions = target.open.len() as u32 + 1;
        if sessions > target.limit {
            let what = format!(
                "{name} has {sessions} sessions and bears {}: {}",
                target.limit, session.task
            );
            report(&mut self.wrong, &mut self.overlaps_excused, excused, what);
        }
        if session.changes
            && let Some(other) = target.open.values().find(|s| s.changes)
        {
            let what = format!(
                "two changes at once on {name}: {} (since {} ms, {}) and {} ({})",
                other.task, other.since_ms, other.wee, session.task, session.wee
            );
            report(&mut self.wrong, &mut self.overlaps_excused, excused, what);
        }
        let session = Session {
            since_ms: elapsed_ms(),
            ..session
        };
        target.open.insert(self.sessions, session);
        self.sessions
    }

    pub fn close(&mut self, name: &str, session: u64) {
        if let Some(target) = self.all.get_mut(name) {
            target.open.remove(&session);
        }
    }

    /// The effect takes place.
    pub fn happens(&mut self, name: &str, session: u64, fence: &str, effect: Effect) {
        self.effects += 1;
        let Some(target) = self.all.get_mut(name) else {
            return;
        };
        let Some(session) = target.open.get(&session).cloned() else {
            return;
        };
        let happened = Happened {
            fence: fence.to_owned(),
            at_ms: elapsed_ms(),
            effect,
            orphan: session.orphan,
        };
        let all = target.effects.entry(session.task).or_default();
        all.push(happened);
        if all.len() > 1 && matches!(effect, Effect::Once | Effect::Probe) {
            let times: Vec<String> = all
                .iter()
                .map(|h| format!("{} at {} ms (orphan {})", h.fence, h.at_ms, h.orphan))
                .collect();
            self.wrong.push(format!(
                "{} ({effect:?}) happened {} times on {name}: {}",
                session.task,
                all.len(),
                times.join(", ")
            ));
        }
    }

    /// Whoever works for this WEE is out of touch from now on.
    pub fn orphan(&mut self, wee: &str) {
        for target in self.all.values_mut() {
            for session in target.open.values_mut().filter(|s| s.wee == wee) {
                session.orphan = true;
            }
        }
    }

    /// Whether the session is of somebody who is in touch.
    pub fn is_known(&self, name: &str, session: u64) -> bool {
        let target = self.all.get(name);
        let session = target.and_then(|t| t.open.get(&session));
        session.is_some_and(|s| !s.orphan)
    }

    pub fn happened(&self, name: &str, task: TaskId) -> usize {
        let target = self.all.get(name);
        let all = target.and_then(|t| t.effects.get(&task));
        all.map_or(0, Vec::len)
    }
}

impl Target {
    pub fn has_open_changes(&self) -> bool {
        self.open.values().any(|session| session.changes)
    }
}

impl Session {
    pub fn of(task: TaskId, changes: bool, wee: &str, orphan: bool) -> Session {
        Session {
            task,
            changes,
            wee: wee.to_owned(),
            orphan,
            since_ms: 0,
        }
    }
}

fn report(wrong: &mut Vec<String>, excused_count: &mut u64, excused: bool, what: String) {
    if excused {
        *excused_count += 1;
    } else {
        wrong.push(what);
    }
}
