//! `sengu apply`: all documents or none, checked by the server.

use super::{Context, sources};
use crate::exit::Exit;
use crate::output::{self, Cell, Format, FormatArg, Paint, Table, Tone, say};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Create or change records from YAML or JSON
///
/// All documents of one call are applied together or not at all.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: sources::FilesArg,
    /// Let the server check and compare, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: FormatArg,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub results: Vec<AppliedOne>,
    #[serde(default)]
    pub revision: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedOne {
    pub kind: String,
    pub name: String,
    pub change: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// More changes than this are summed up instead of listed, unless `-o` asks for them.
const LISTED_MAX: usize = 50;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let sources = sources::read(&args.files.files)?;
    let body = json!({"sources": sources, "dryRun": args.dry_run});
    let applied: Applied = context.client()?.post("/v1/apply", &[], &body).await?;
    match args.output.format {
        Format::Json | Format::Yaml => output::print_value(args.output.format, &applied)?,
        Format::Name => {
            for one in &applied.results {
                output::print_line(&name_of(one));
            }
        }
        Format::Table if applied.results.len() > LISTED_MAX => summary(&applied, args.dry_run),
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["OBJECT", "CHANGE", "FROM"]);
            for one in &applied.results {
                let place = one.place.as_deref().unwrap_or_default();
                table.row(vec![
                    name_of(one).into(),
                    change_cell(&one.change),
                    place.into(),
                ]);
            }
            output::print(&table.take(Paint::stdout()));
            if args.dry_run {
                say("dry run: nothing was changed");
            }
        }
    }
    Ok(Exit::Ok)
}

pub fn name_of(one: &AppliedOne) -> String {
    format!("{}/{}", one.kind.to_ascii_lowercase(), one.name)
}

fn change_cell(change: &str) -> Cell {
    let tone = match change {
        "created" => Tone::Good,
        "configured" => Tone::Warn,
        _ => Tone::Dim,
    };
    Cell::new(change).tone(tone)
}

fn summary(applied: &Applied, dry_run: bool) {
    let mut counts = std::collections::BTreeMap::<(&str, &str), u64>::new();
    for one in &applied.results {
        *counts.entry((&one.kind, &one.change)).or_default() += 1;
    }
    let mut table = Table::new(&["KIND", "CHANGE", "COUNT"]);
    for ((kind, change), n) in counts {
        table.row(vec![
            kind.into(),
            change_cell(change),
            output::thousands(n).into(),
        ]);
    }
    output::print(&table.take(Paint::stdout()));
    if dry_run {
        say("dry run: nothing was changed");
    }
}
