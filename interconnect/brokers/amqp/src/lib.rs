//! RabbitMQ as interconnect. A crate of its own since its client is heavy, and only those who run RabbitMQ need it.
//!
//! Each queue is a quorum queue: on disk, and on several servers where there are several. It never changes a queue that
//! it finds, never waits for confirms one by one, and never says a password. The retained directory is not kept here.

mod broker;
mod check;
mod conn;
mod connect;
mod credit;
mod dead_letter;
mod error;
pub mod limits;
mod publish;
mod pump;
mod queue;
mod stream;
mod subscription;

pub use broker::AmqpBroker;
pub use check::check;
pub use error::AmqpError;
