//! What a run does next. Pure: it follows from the numbers alone.

use sengu_model::kinds::RunPhase;

/// How far a run is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub batches: u32,
    /// Batches that were let go.
    pub released: u32,
    /// Tasks of those that have not ended.
    pub open: u32,
    pub held: u32,
    pub done: u32,
    pub targets: u32,
    /// Failed, unknown or expired in this round.
    pub bad: u32,
    pub budget: Option<u32>,
    pub phase: RunPhase,
    /// What had not begun was ended, in this life of logic.
    pub halted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Wait,
    Release(u32),
    /// The budget is spent.
    Stop,
    /// End what has not begun.
    Halt,
    Over(RunPhase),
}

/// What a run does next.
pub fn step(p: &Progress) -> Step {
    let over_budget = p.budget.is_some_and(|budget| p.bad > budget);
    match p.phase {
        RunPhase::Running | RunPhase::Paused if over_budget && p.open + p.held > 0 => Step::Stop,
        RunPhase::Paused if p.open + p.held > 0 => Step::Wait,
        RunPhase::Running if p.open > 0 => Step::Wait,
        RunPhase::Running if p.held > 0 && p.released < p.batches => Step::Release(p.released + 1),
        RunPhase::Running | RunPhase::Paused if p.done == p.targets => {
            Step::Over(RunPhase::Succeeded)
        }
        RunPhase::Running | RunPhase::Paused => Step::Over(RunPhase::Failed),
        RunPhase::Stopping | RunPhase::Cancelling if !p.halted => Step::Halt,
        RunPhase::Stopping | RunPhase::Cancelling if p.open > 0 => Step::Wait,
        RunPhase::Stopping => Step::Over(RunPhase::Failed),
        RunPhase::Cancelling => Step::Over(RunPhase::Cancelled),
        RunPhase::Succeeded | RunPhase::Failed | RunPhase::Cancelled => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(
        released: u32,
        open: u32,
        held: u32,
        done: u32,
        bad: u32,
        phase: RunPhase,
    ) -> Progress {
        Progress {
            batches: 3,
            released,
            open,
            held,
            done,
            targets: 30,
            bad,
            budget: Some(2),
            phase,
            halted: true,
        }
    }

    #[test]
    fn a_halt_that_a_restart_cut_short_is_done_again() {
        for phase in [RunPhase::Stopping, RunPhase::Cancelling] {
            let cut_short = Progress {
                halted: false,
                ..progress(1, 2, 20, 4, 3, phase)
            };
            assert_eq!(step(&cut_short), Step::Halt);
        }
    }

    #[test]
    fn batches_follow_each_other_while_the_budget_holds() {
        use RunPhase::{Cancelled, Cancelling, Failed, Paused, Running, Stopping, Succeeded};
        let table = [
            (progress(1, 10, 20, 0, 0, Running), Step::Wait),
            (progress(1, 1, 20, 7, 2, Running), Step::Wait),
            (progress(1, 0, 20, 8, 2, Running), Step::Release(2)),
            (progress(1, 3, 20, 4, 3, Running), Step::Stop),
            (progress(3, 1, 0, 26, 3, Running), Step::Stop),
            (progress(3, 0, 0, 27, 3, Running), Step::Over(Failed)),
            (progress(3, 0, 0, 30, 0, Running), Step::Over(Succeeded)),
            (progress(3, 0, 0, 28, 2, Running), Step::Over(Failed)),
            (progress(1, 0, 20, 8, 2, Paused), Step::Wait),
            (progress(1, 4, 0, 8, 2, Paused), Step::Wait),
            (progress(1, 3, 20, 4, 3, Paused), Step::Stop),
            (progress(3, 0, 0, 30, 0, Paused), Step::Over(Succeeded)),
            (progress(3, 0, 0, 28, 2, Paused), Step::Over(Failed)),
            (progress(1, 2, 0, 4, 3, Stopping), Step::Wait),
            (progress(1, 0, 0, 4, 3, Stopping), Step::Over(Failed)),
            (progress(1, 0, 0, 4, 0, Cancelling), Step::Over(Cancelled)),
            (progress(3, 0, 0, 30, 0, Succeeded), Step::Wait),
        ];
        for (progress, expected) in table {
            assert_eq!(step(&progress), expected, "{progress:?}");
        }
    }
}
