//! What the http worker decides, apart from the program that sends and receives.
//!
//! This crate is a library and a program, so that the same decisions can run where there are no sockets: `Driver` says
//! which request to make next and takes the answer, and whoever holds it does the IO. Without the feature `native` nothing
//! here may touch a socket, a clock or a file.
//!
//! The way in: `Driver::new` takes a `Task`; `task` names the action; `observe` and `run` do it; `client` talks.

pub mod address;
pub mod auth;
pub mod client;
pub mod config;
pub mod declared;
pub mod driver;
pub mod json_source;
pub mod limits;
pub mod memory;
pub mod observe;
pub mod outcome;
pub mod params;
pub mod pointer;
pub mod prometheus;
pub mod read_back;
pub mod reply;
pub mod run;
pub mod secrets;
pub mod source;
pub mod task;
pub mod template;

#[cfg(feature = "native")]
pub mod native;
#[cfg(feature = "native")]
pub mod twin;

pub use config::Trust;
pub use driver::{Driver, End, Request, Step};
pub use memory::Memory;
pub use outcome::{Done, Failure, FailureCode, Outcome, Reading};
pub use reply::{Response, Trouble};
pub use task::{Target, Task};
