//! `sengu openapi`: the OpenAPI 3.1 document of the API, as the server serves it. Needs no server.

use crate::exit::Exit;
use crate::output;

/// The OpenAPI document of the API
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> anyhow::Result<Exit> {
    output::print(&sengu_logic::api::document());
    Ok(Exit::Ok)
}
