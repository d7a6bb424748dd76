//! The stock services: long-lived logic that turns events into tasks.

pub mod blobs;
pub mod control;
pub mod directory;
pub mod events;
pub mod moving;
pub mod observe;
pub mod parked;
pub mod retention;
pub mod rollout;
pub mod wees;
