//! The whole fleet at a glance: what a person who looks is shown, made so that looking costs next to nothing.
//!
//! Whatever is shown here is computed once for all who look and only while somebody does, or follows from what changed
//! alone. It decides nothing, and must never hold up dispatch or walk all targets under one lock.

use crate::clock;
use crate::core::Shared;
use std::sync::Arc;

pub mod board;
pub mod counts;
pub mod grid;
pub mod history;
pub mod marks;
pub mod overview;
pub mod racks;
pub mod readings;
pub mod run_board;
mod shot;
pub mod slow;
pub mod tiles;
mod walk;

/// What is kept for those who look.
#[derive(Default)]
pub struct Glance {
    pub history: history::History,
    pub readings: readings::Kept,
    pub overview: shot::Overviews,
    pub boards: board::Boards,
    pub runs: run_board::RunBoards,
}

/// Before anything can end: what is counted later is counted from here.
pub fn begin(shared: &Shared) {
    let history = &shared.glance.history;
    history.step(shared.metrics.totals(), clock::now());
}

/// Keeps what has to be kept whether anybody looks or not: how many tasks ended in each half minute.
pub async fn run(shared: Arc<Shared>) {
    let begin = tokio::time::Instant::now() + history::STEP;
    let mut step = tokio::time::interval_at(begin, history::STEP);
    step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        step.tick().await;
        let history = &shared.glance.history;
        history.step(shared.metrics.totals(), clock::now());
        let readings = &shared.glance.readings;
        let inventory = shared.inventory.read();
        readings.keep_only(|uid| inventory.by_uid.contains_key(&uid));
    }
}
