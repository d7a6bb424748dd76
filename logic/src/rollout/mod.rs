//! Releasing a version of a worker: which tasks it gets, whether it does well, and what follows. All decisions here are
//! functions of values; `service/rollout.rs` makes the moves.

pub mod choose;
pub mod compare;
pub mod form;
pub mod guard;
pub mod shadow;
pub mod tally;
pub mod watch;
