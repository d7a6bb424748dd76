//! Runs that are paused: their tasks that have not begun stay in the store, so that they stand before nobody.

use super::lanes::Stage;
use super::{Dispatch, Payload, Task};
use sengu_model::kinds::{RunPhase, RunStatus};
use sengu_model::{RunId, TaskId, Time};

impl Dispatch {
    /// Runs that an earlier life left paused.
    pub(super) fn take_paused(&mut self) {
        let inventory = self.shared.inventory.read();
        let paused = inventory.others_of("Run").filter(|(_, run)| {
            let status = serde_json::from_value::<RunStatus>(run.record.status.clone());
            status.is_ok_and(|status| status.phase == RunPhase::Paused)
        });
        self.paused = paused.filter_map(|(name, _)| name.parse().ok()).collect();
    }

    pub(super) fn pause(&mut self, run: RunId, held: bool, from: TaskId, now: Time) {
        if !held {
            if self.paused.remove(&run) {
                self.ask_for_lines(from);
            }
            return;
        }
        self.paused.insert(run);
        let waits = |task: &&Task| {
            task.payload.run == Some(run)
                && task.stage == Stage::Waiting
                && not_begun(&task.payload)
        };
        let waiting: Vec<TaskId> = self.lanes.iter().filter(waits).map(|t| t.id).collect();
        for id in waiting {
            self.lanes.leave(id, now);
        }
    }

    /// Whether the task is to stay in the store, since its run is paused.
    pub(super) fn is_paused(&self, payload: &Payload) -> bool {
        let run = payload.run.as_ref();
        run.is_some_and(|run| self.paused.contains(run)) && not_begun(payload)
    }
}

/// No attempt of it was made: what was begun goes on to its end.
fn not_begun(payload: &Payload) -> bool {
    payload.tries <= 1
        && payload.sent_at.is_none()
        && payload.history.is_empty()
        && payload.probing.is_none()
}
