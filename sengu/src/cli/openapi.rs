//! `sengu openapi`: the OpenAPI 3.1 document of the API, as the server serves it.

use super::Context;
use crate::exit::Exit;
use crate::output::{self, Format};
use serde_json::Value;

/// The OpenAPI document of the API
#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: &Args, context: &Context) -> anyhow::Result<Exit> {
    let document: Value = context.client()?.get("/v1/openapi.json", &[]).await?;
    output::print_value(Format::Json, &document)?;
    Ok(Exit::Ok)
}
