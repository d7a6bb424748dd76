//! Runs of the built program from outside. One program, because linking many would take longer than running them.
#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests

mod bad_input;
mod cli;
mod console;
mod disk_full;
mod failover;
mod faults;
mod flips;
mod grown;
mod images;
mod instance;
mod kills;
mod kinds;
mod migrate;
mod release;
mod routes;
mod runtimes;
mod secrets;
mod soak;
mod watch;
mod wees;
mod wires;
mod workers;
