//! RabbitMQ as interconnect. A crate of its own since its client is heavy, and only those who run RabbitMQ need it.
//!
//! Each queue is a quorum queue: on disk, and on several servers where there are several. It never changes a queue that
//! it finds, never waits for confirms one by one, and never says a password. The retained directory is not kept here.
//!
//! RabbitMQ before 4.0 writes down that there is a new quorum queue only after 0.5 to 1 s. Killed before that, it comes
//! back with the queue empty and without a leader, whatever was confirmed in it, and neither a new connection nor another
//! restart mends that. So neither is a publish to a queue that this end has just made acknowledged, nor a subscription to
//! it open, before `limits::KEPT_AFTER`: nothing accepted is lost. A queue without a leader is told as `Unconfirmed` or
//! `Refused` with its name. It is never deleted from here, where it cannot be told from one of a cluster that has lost its
//! majority; `rabbitmqctl delete_queue` mends it, and it is made again when it is needed.

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

pub use broker::{AmqpBroker, Timing};
pub use check::check;
pub use error::AmqpError;
