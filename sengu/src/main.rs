//! The one binary: command line, roles, configuration, drivers.
fn main() {}
