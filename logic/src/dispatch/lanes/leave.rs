//! Tasks that go back to where they came from: they wait in the store alone.

use super::{Lanes, Stage, Task};
use sengu_model::{TaskId, Time};

impl<P> Lanes<P> {
    /// Takes a waiting task out of its lane; those behind it move up.
    pub fn leave(&mut self, id: TaskId, now: Time) -> Option<Task<P>> {
        let waits = self.get(id).is_some_and(|t| t.stage == Stage::Waiting);
        // The way out is the same as for one that has ended.
        if waits { self.finish(id, now) } else { None }
    }
}
