//! The Logic Environment: turns requests, schedules and drift into tasks and keeps their truth.
