//! The compiler as a program of its own, for tests and measurements; sengu carries the same.

fn main() -> std::process::ExitCode {
    sengu_runtime_wasm::compile_main(std::env::args_os().skip(1))
}
