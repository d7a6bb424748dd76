//! What commits have touched since somebody looked: pure but for a lock.

use super::Switch;
use crate::moving::{Key, Row};
use crate::{Batch, Op};
use parking_lot::Mutex;
use sengu_model::RunId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedMutexGuard;

/// What may differ between the two stores. What only grows (changes, entries) is found by how far each has come.
#[derive(Debug, Default, Clone)]
pub struct Touched {
    pub keys: HashSet<Key>,
    /// `Held` tasks of these runs up to this batch.
    pub runs: HashMap<RunId, u32>,
    pub streams: HashSet<String>,
}

impl Touched {
    fn of(batch: &Batch) -> Touched {
        let mut touched = Touched::default();
        for op in &batch.ops {
            match op {
                Op::PutRecord { kind, name, .. } | Op::DeleteRecord { kind, name, .. } => {
                    (touched.keys).insert(Key::Record(kind.clone(), name.clone()));
                }
                Op::InsertTask(task) => {
                    touched.keys.insert(Key::Task(task.id));
                }
                Op::MarkSent { task, .. }
                | Op::Checkpoint { task, .. }
                | Op::Retry { task, .. }
                | Op::End { task, .. } => {
                    touched.keys.insert(Key::Task(*task));
                }
                Op::Release { run, batch, .. } => touched.run(*run, *batch),
                Op::EndHeld { run, .. } => touched.run(*run, u32::MAX),
                Op::Append { stream, .. } => {
                    touched.streams.insert(stream.clone());
                }
                Op::PutMeta { key, .. } => {
                    touched.keys.insert(Key::Meta(key.clone()));
                }
                Op::ExpectMeta { .. } => {}
            }
        }
        touched
    }

    fn run(&mut self, run: RunId, batch: u32) {
        let until = self.runs.entry(run).or_default();
        *until = batch.max(*until);
    }

    fn add(&mut self, other: Touched) {
        self.keys.extend(other.keys);
        self.streams.extend(other.streams);
        for (run, batch) in other.runs {
            self.run(run, batch);
        }
    }

    fn covers(&self, row: &Row) -> bool {
        let by_run = match row {
            Row::Task(task) => task.run.is_some_and(|run| self.runs.contains_key(&run)),
            _ => false,
        };
        by_run || row.key().is_some_and(|key| self.keys.contains(&key))
    }
}

#[derive(Default)]
pub(super) struct Noted {
    next: u64,
    /// By commits that may not be applied yet.
    under_way: HashMap<u64, Arc<Touched>>,
    touched: Touched,
}

/// A commit under way.
pub(super) struct Note<'s> {
    noted: &'s Mutex<Noted>,
    number: u64,
}

pub(super) fn note<'s>(noted: &'s Mutex<Noted>, batch: &Batch) -> Note<'s> {
    let touched = Arc::new(Touched::of(batch));
    let mut all = noted.lock();
    all.next += 1;
    let number = all.next;
    all.under_way.insert(number, touched);
    Note { noted, number }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        let mut all = self.noted.lock();
        if let Some(touched) = all.under_way.remove(&self.number) {
            all.touched.add(Arc::unwrap_or_clone(touched));
        }
    }
}

/// A move is on for as long as this lives.
pub struct Watch {
    switch: Arc<Switch>,
    _retaining: OwnedMutexGuard<()>,
}

impl Watch {
    pub(super) fn new(switch: Arc<Switch>, retaining: OwnedMutexGuard<()>) -> Watch {
        Watch {
            switch,
            _retaining: retaining,
        }
    }

    /// All that was touched since the last time. What is dropped without `copied` is given back.
    pub fn take(&self) -> Taken<'_> {
        let touched = std::mem::take(&mut self.switch.noted.lock().touched);
        Taken {
            watch: self,
            touched,
        }
    }

    /// How many keys were touched since the last time.
    pub fn count(&self) -> usize {
        let noted = self.switch.noted.lock();
        noted.touched.keys.len() + noted.touched.runs.len()
    }

    /// Whether the row may differ since the last time, or may be about to.
    pub fn covers(&self, row: &Row) -> bool {
        let noted = self.switch.noted.lock();
        noted.touched.covers(row) || noted.under_way.values().any(|t| t.covers(row))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.switch.watching.store(false, Ordering::Release);
        *self.switch.noted.lock() = Noted::default();
    }
}

pub struct Taken<'w> {
    watch: &'w Watch,
    pub touched: Touched,
}

impl Taken<'_> {
    /// It is in the other store.
    pub fn copied(mut self) {
        self.touched = Touched::default();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        self.watch.switch.noted.lock().touched.add(touched);
    }
}
