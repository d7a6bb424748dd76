//! `sengu rollback`: ends a rollout that is on its way, or goes back to what was before the last move. At once.

use super::views::text;
use super::{Context, nouns, promote, releases};
use crate::exit::Exit;
use crate::output::{self, Format, FormatArg};
use serde_json::{Map, Value, json};

/// Go back to the version before
///
/// Ends the rollout of the kind that is on its way; if there is none, goes back to what was before the last move.
/// Tasks in hand end on the version that began them.
///
/// Example: sengu rollback redfish
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Worker kind: redfish
    #[arg(value_name = "KIND")]
    kind: String,
    /// All go to this version, whatever was on its way
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let kind = nouns::release(&args.kind)?;
    let client = context.client()?;
    let mut wanted = Map::new();
    if let Some(version) = &args.to {
        wanted.insert("version".to_owned(), json!(version));
    }
    let (_, release) = promote::move_release(&client, &kind, "rollback", wanted).await?;
    match args.output.format {
        Format::Json | Format::Yaml => output::print_value(args.output.format, &release)?,
        Format::Name => output::print_line(&format!("release/{}", output::safe(&kind))),
        Format::Table | Format::Wide => {
            let line = format!("release/{kind}: {}", words(&release));
            output::print_line(&output::safe(&line));
        }
    }
    Ok(Exit::Ok)
}

/// What the server says that it did.
fn words(release: &Value) -> String {
    match releases::list(release, "/status/history").last() {
        Some(event) => text(event, "/message"),
        None => format!("all run {}", text(release, "/spec/version")),
    }
}
