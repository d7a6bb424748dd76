//! The Store port: records, tasks, streams, one cursor; and the suite that every store must pass.
