//! The http worker: drives anything with an HTTP API.
//!
//! What it decides is in the library beside it; `native` sends and receives, `twin` plays targets.

use sengu_worker_http::{native, twin};
use std::process::ExitCode;

fn main() -> ExitCode {
    sengu_sdk::run::<_, twin::HttpTwin>(include_str!("../worker.toml"), native::make)
}
