//! NATS JetStream as interconnect. A crate of its own since its client is heavy, and only those who run NATS need it.
//!
//! All queues of an installation lie in one work-queue stream, each as one subject with one durable pull consumer; the
//! directory is a key-value bucket; events are plain messages. It never changes a stream that it finds, never polls for
//! messages, and never waits for confirms one by one. Which names it uses is told in `names.rs`, which limits in
//! `limits.rs`.

mod broker;
mod check;
mod conn;
mod connect;
mod delivery;
mod directory;
mod error;
mod followers;
pub mod limits;
mod names;
mod park;
mod publish;
mod pull;
mod pump;
mod subscription;
mod topology;

pub use broker::NatsBroker;
pub use check::check;
pub use error::NatsError;
