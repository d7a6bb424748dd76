//! The Logic Environment: turns requests, schedules and drift into tasks and keeps their truth.
//!
//! This crate exists so that logic can see neither a database nor a broker nor a worker: only the ports. It must never
//! talk to a device, and never report anything other than it was.

pub mod api;
mod audit;
pub mod catalog;
mod changes;
pub mod clock;
mod core;
pub mod dispatch;
pub mod documents;
mod explain;
pub mod glance;
mod guarded;
pub mod inventory;
pub mod leader;
mod metrics;
pub mod planted;
mod records;
pub mod releases;
pub mod rollout;
mod saying;
mod service;
mod session;
mod tasks;
mod why;
pub mod workers;

pub use crate::core::{Logic, LogicConfig, StartError, Tokens};
pub use crate::service::events::Follower;
pub use crate::service::moving::{Movable, MoveTo, OpenStore, Opened};
