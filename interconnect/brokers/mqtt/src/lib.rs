//! MQTT 5: any broker as retained directory, followers and task queues; and a
//! listener of sengu's own for followers where there is no broker. A crate of its own since it carries a client of
//! one protocol.
//!
//! It never waits for a broker without a limit, never says a password, and never tells that something is kept which the
//! broker has not acknowledged. What MQTT cannot do is declared, not papered over.

mod broker;
mod check;
mod directory;
mod error;
mod keeper;
pub mod limits;
mod listener;
mod names;
mod queues;
mod retained;
mod session;
mod subscription;
mod wire;

pub use broker::MqttBroker;
pub use check::check;
pub use error::MqttError;
pub use limits::Pace;
pub use listener::{FOLLOWERS_MAX, MqttListener};
