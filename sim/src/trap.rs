//! Traps: a life ends at a boundary of its own work. The next one that comes to the boundary falls in.

use crate::life::Life;
use crate::world::note;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A commit is on its way for at most this long before its life ends.
const DURING_MS_MAX: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    BeforeCommit,
    /// The mark of a task that is to be sent was on its way for a while, and never became durable.
    DuringMark,
    /// It is durable, and nobody was told.
    AfterCommit,
    BeforePublish,
    /// The broker has it, and nobody was told.
    AfterPublish,
}

impl Boundary {
    pub const ALL: [Boundary; 5] = [
        Boundary::BeforeCommit,
        Boundary::DuringMark,
        Boundary::AfterCommit,
        Boundary::BeforePublish,
        Boundary::AfterPublish,
    ];
}

#[derive(Debug, Default)]
pub struct Traps {
    set: Mutex<Option<Boundary>>,
    cut_from_store: AtomicBool,
}

impl Traps {
    pub fn set(&self, boundary: Option<Boundary>) {
        *self.set.lock() = boundary;
    }

    /// This life alone does not reach the store.
    pub fn cut_from_store(&self, cut: bool) {
        self.cut_from_store.store(cut, Ordering::Relaxed);
    }

    pub fn is_cut_from_store(&self) -> bool {
        self.cut_from_store.load(Ordering::Relaxed)
    }

    async fn spring(&self, at: Boundary, life: &Life) {
        let sprung = {
            let mut trap = self.set.lock();
            let sprung = *trap == Some(at);
            if sprung {
                *trap = None;
            }
            sprung
        };
        if sprung {
            note!("{} ends: {at:?}", life.name);
            life.kill();
            std::future::pending::<()>().await;
        }
    }

    pub async fn before_commit(&self, life: &Life, marks: bool) {
        if marks && *self.set.lock() == Some(Boundary::DuringMark) {
            // The life goes on meanwhile, and so do all that hear from it.
            let ms = crate::world::between(10, DURING_MS_MAX);
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            self.spring(Boundary::DuringMark, life).await;
        }
        self.spring(Boundary::BeforeCommit, life).await;
    }

    pub async fn after_commit(&self, life: &Life) {
        self.spring(Boundary::AfterCommit, life).await;
    }

    pub async fn before_publish(&self, life: &Life) {
        self.spring(Boundary::BeforePublish, life).await;
    }

    pub async fn after_publish(&self, life: &Life) {
        self.spring(Boundary::AfterPublish, life).await;
    }
}
