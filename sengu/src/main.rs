//! The one binary: command line, roles, configuration, drivers.
//!
//! The command line speaks to the server through the REST API alone, also when both run on one machine.

mod cli;
mod client;
mod config;
mod drivers;
mod exit;
mod images;
mod memory;
mod output;
mod up;

fn main() -> std::process::ExitCode {
    cli::main()
}
