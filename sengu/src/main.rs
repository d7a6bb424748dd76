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
    // The WASM runtime compiles components in a child of its own, which is this program too.
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == "wasm-compile")
    {
        return drivers::runtimes::wasm::compile_main(arguments);
    }
    cli::main()
}
