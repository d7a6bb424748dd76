//! What crosses a process border. Every format has a version; readers accept N and N-1.

pub mod envelope;
pub mod worker;
