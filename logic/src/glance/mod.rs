//! The whole fleet at a glance: what a person who looks is shown, made so that looking costs next to nothing.
//!
//! Whatever is shown here is computed once for all who look and only while somebody does, or follows from what changed
//! alone. It decides nothing, and must never hold up dispatch or walk all targets under one lock.

pub mod grid;
pub mod overview;
pub mod racks;
pub mod readings;
pub mod tiles;
