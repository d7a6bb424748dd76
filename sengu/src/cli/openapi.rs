//! `sengu openapi`: the OpenAPI 3.1 document of the API of this version, made from the code. Needs no server.

use crate::exit::Exit;
use crate::output;

/// The OpenAPI document of the API
///
/// Of this program's version; a server serves its own at /v1/openapi.json.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Exit {
    // As it is in the repository, byte for byte: a check compares the two.
    output::print(&sengu_logic::api::document());
    Exit::Ok
}
