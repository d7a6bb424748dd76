//! Runs that people hold and let go on. What is in hand ends, retries included; nothing further begins.
//!
//! That a run is paused is durable before anything is held back, so a restart or a takeover finds it paused.

use super::{Control, Input};
use crate::core::Logic;
use crate::dispatch;
use sengu_model::kinds::RunPhase;
use sengu_model::problem::{Code, Problem};
use sengu_model::{Record, RunId, TaskId};

/// What became of a wish to pause or to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// It is so now.
    Done,
    /// It was in this phase, from which there is no way there.
    Not(Option<RunPhase>),
    /// The store does not take it.
    NotWritten,
}

impl Logic {
    /// Holds a run. Paused already is paused.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` when it is over or ending, `store_unavailable`.
    pub async fn pause_run(&self, name: &str) -> Result<Record, Problem> {
        self.turn_run(name, Input::Pause, "paused").await
    }

    /// Goes on with a run that was paused. One that runs goes on running.
    ///
    /// # Errors
    /// `not_found`, `wrong_state` when it is over or ending, `store_unavailable`.
    pub async fn resume_run(&self, name: &str) -> Result<Record, Problem> {
        self.turn_run(name, Input::Resume, "resumed").await
    }

    async fn turn_run(
        &self,
        name: &str,
        input: fn(RunId, tokio::sync::oneshot::Sender<Turned>) -> Input,
        what: &str,
    ) -> Result<Record, Problem> {
        let takes = |phase| matches!(phase, RunPhase::Running | RunPhase::Paused);
        let id = self.will_turn(name, what, takes).await?;
        let turned = self.control.ask(|reply| input(id, reply)).await;
        match turned.unwrap_or(Turned::NotWritten) {
            Turned::Done => self.run(name).await,
            Turned::Not(Some(phase)) if !phase.over() => {
                let what = format!("run {name} is ending");
                Err(Problem::new(Code::WrongState, what))
            }
            Turned::Not(_) => {
                let problem = Problem::new(Code::WrongState, format!("run {name} is over"));
                Err(problem.hint(format!("sengu retry run/{name} does what is left again")))
            }
            Turned::NotWritten => Err(Problem::new(
                Code::StoreUnavailable,
                "the store does not take it now",
            )
            .hint("try again in a moment")),
        }
    }
}

impl Control {
    pub(super) async fn pause(&mut self, id: RunId) -> Turned {
        match self.phase_of(id) {
            Some(RunPhase::Paused) => return Turned::Done,
            Some(RunPhase::Running) => {}
            other => return Turned::Not(other),
        }
        if !self
            .turn(id, RunPhase::Paused, "paused on request", RunPhase::Running)
            .await
        {
            return Turned::NotWritten;
        }
        self.hold(id, true).await;
        Turned::Done
    }

    pub(super) async fn resume(&mut self, id: RunId) -> Turned {
        match self.phase_of(id) {
            Some(RunPhase::Running) => return Turned::Done,
            Some(RunPhase::Paused) => {}
            other => return Turned::Not(other),
        }
        if !self.turn(id, RunPhase::Running, "", RunPhase::Paused).await {
            return Turned::NotWritten;
        }
        self.hold(id, false).await;
        Turned::Done
    }

    fn phase_of(&self, id: RunId) -> Option<RunPhase> {
        self.runs.get(&id).map(|live| live.status.phase)
    }

    /// True when it is durable; otherwise it is in the phase that it was in.
    async fn turn(&mut self, id: RunId, to: RunPhase, message: &str, was: RunPhase) -> bool {
        let Some(live) = self.runs.get_mut(&id) else {
            return false;
        };
        let before = std::mem::replace(&mut live.status.message, message.to_owned());
        live.status.phase = to;
        live.dirty = true;
        if self.write(id).await {
            // Where it stands now is to be looked at anew.
            if let Some(live) = self.runs.get_mut(&id) {
                live.dirty = true;
            }
            return true;
        }
        if let Some(live) = self.runs.get_mut(&id) {
            (live.status.phase, live.status.message) = (was, before);
        }
        false
    }

    /// Tells dispatch to leave what has not begun in the store, or to read it again.
    pub(super) async fn hold(&self, run: RunId, held: bool) {
        let first = self.runs.get(&run).and_then(|live| {
            let first = live.first_ids.values().min();
            first.copied()
        });
        let from = first.unwrap_or(TaskId(0));
        let input = dispatch::Input::Pause { run, held, from };
        self.dispatch.send(input).await;
    }
}
