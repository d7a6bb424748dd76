//! The suite that every store must pass. A driver's test opens an empty store and calls `run`.
