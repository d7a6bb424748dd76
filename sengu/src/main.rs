//! The one binary: command line, roles, configuration, drivers.
//!
//! The command line speaks to the server through the REST API alone, also when both run on one machine.

mod cli;
mod client;
mod config;
mod drivers;
mod exit;
mod images;
mod output;
mod up;

// glibc's allocator keeps freed memory per thread; 100,000 targets applied at once would stay resident.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
