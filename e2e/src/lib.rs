//! Runs of the built binary.
