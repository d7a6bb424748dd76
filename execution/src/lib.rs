//! The Worker Execution Environment: takes tasks, picks a worker, has it run, publishes the result.
