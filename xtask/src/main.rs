//! What a developer runs: demo, test, dist, bench, sync, tidy.
fn main() {}
