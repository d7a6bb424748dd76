//! The embedded store: SQLite behind one writer with group commit.
//!
//! This crate exists so that one binary can keep everything durable without a database server. Its only promise is the
//! Store port; no other crate may open its files. It must never hold a reader's snapshot between two calls, nor make a
//! caller wait for a reason other than the disk.

mod apply;
mod error;
mod head;
mod lanes;
mod lock;
mod moving;
mod read;
mod readers;
mod retain;
mod schema;
mod store;
mod writer;

pub use store::SqliteStore;
