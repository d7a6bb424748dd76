//! The store in PostgreSQL: several processes on one database, each with one writer with group commit.
//!
//! This crate exists so that the control plane can be run twice, one life beside the next. Its only promises are the Store
//! and Blobs ports; no other program may write its schema. Every commit locks the one row of `head`, so revisions and
//! positions become visible in the order in which they were given. It must never guess whether a commit was done, nor
//! hold that lock while it waits for anything but the database.

mod apply;
mod blobs;
mod check;
mod error;
mod head;
mod load;
mod moving;
mod numbers;
mod plan;
mod pool;
mod read;
mod replication;
mod retain;
mod schema;
mod servers;
mod session;
mod settings;
mod store;
mod tls;
mod writer;

pub use blobs::PostgresBlobs;
pub use check::check;
pub use schema::{VERSION as SCHEMA_VERSION, migrate};
pub use settings::{Settings, holds_password};
pub use store::PostgresStore;
