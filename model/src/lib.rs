//! The nouns of sengu as pure data and pure functions.
//!
//! This crate exists because every other part must agree on these types while seeing nothing of each other.
//! It must never do IO, read a clock, draw random numbers or await: whatever depends on the world is passed in.

pub mod effect;
pub mod id;
#[cfg(feature = "image")]
pub mod image;
pub mod kinds;
pub mod limits;
pub mod manifest;
#[cfg(feature = "openapi")]
mod openapi;
pub mod outcome;
pub mod problem;
pub mod quantity;
pub mod record;
pub mod release;
pub mod seal;
pub mod selector;
pub mod task;
pub mod time;
pub mod wire;

pub use effect::{Class, Effect};
pub use id::{RunId, TaskId, Uid};
pub use outcome::{Done, Failure, FailureCode, Outcome};
pub use problem::Problem;
pub use record::{Metadata, Record};
pub use selector::Selector;
pub use time::Time;
