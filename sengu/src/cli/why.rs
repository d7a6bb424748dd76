//! `sengu why`: the unmet condition of whatever does not progress.

use super::Context;
use super::nouns::{Noun, object_or_target};
use super::views::{self, text};
use crate::client::encode;
use crate::exit::Exit;
use crate::output::{self, FormatArg};
use anyhow::bail;
use serde_json::Value;

/// Why an object stands where it stands
#[derive(Debug, clap::Args)]
pub struct Args {
    /// task/t-..., run/r-..., target/NAME, a bare id, or the name of a target
    what: String,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (noun, name) = object_or_target(&args.what)?;
    if !matches!(noun, Noun::Task | Noun::Run | Noun::Target) {
        bail!("why is asked of tasks, runs and targets");
    }
    let path = format!("/v1/why/{}/{}", noun.lower(), encode(&name));
    let why: Value = context.client()?.get(&path, &[]).await?;
    if !args.output.format.for_people() {
        output::print_value(args.output.format, &why)?;
        return Ok(Exit::Ok);
    }
    output::print_line(&output::safe(&text(&why, "/sentence")));
    let details = why.get("details").and_then(Value::as_array);
    for detail in details.into_iter().flatten() {
        output::print_line(&format!("  {}", output::safe(&views::scalar(detail))));
    }
    let holder = text(&why, "/holder");
    if !holder.is_empty() {
        output::print_line(&format!("  held by {}", output::safe(&holder)));
    }
    if views::time(&why, "/since").is_some() {
        output::print_line(&format!("  for {}", views::age_at(&why, "/since")));
    }
    Ok(Exit::Ok)
}
