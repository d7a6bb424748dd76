//! A deterministic simulator: the real logic and the real execution shell run on one thread from a seed, with a simulated
//! broker, store, runtime, clock and site, and with faults.
//!
//! It exists to find what tests do not: what goes wrong only in one order of events among thousands. It must never draw
//! a number that does not come from the seed, and never look below the ports of what it simulates.

pub mod broker;
pub mod check;
pub mod entropy;
pub mod life;
pub mod plan;
pub mod random;
pub mod run;
pub mod shrink;
pub mod site;
pub mod store;
pub mod target;
pub mod trap;
pub mod worker;
pub mod world;
