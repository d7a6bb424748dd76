//! The process runtime: a worker is a child process in its own process group.
