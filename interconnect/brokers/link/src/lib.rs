//! The embedded interconnect, reached by other processes over TCP, TLS or a Unix socket. A crate of its own since it
//! needs sockets and TLS, and the port must not.
//!
//! One end serves a broker (`serve`), others join it (`LinkBroker`) when they prove that they know the join token. It
//! never says the token itself, never keeps more than its limits allow for one connection, and never lets a slow or
//! silent one hold up another. What was delivered over a connection that is gone is delivered again.

mod client;
mod conn;
mod directory;
mod error;
mod frame;
mod hello;
mod inbound;
mod keepers;
pub mod limits;
mod outbound;
mod pump;
mod server;
mod session;
mod stream;
mod subscription;
mod token;
mod url;

pub use client::LinkBroker;
pub use error::LinkError;
pub use limits::Pace;
pub use server::{serve, serve_at};
pub use stream::Listener;
pub use token::{JoinToken, TokenError};
pub use url::{LinkUrl, UrlError};
