//! `sengu explain`: fields of a kind, actions of a worker kind, parameters of one action.

use super::describe::Page;
use super::{Context, views};
use crate::client::encode;
use crate::exit::Exit;
use crate::output::{self, FormatArg, Paint, Table, span};
use serde_json::Value;
use std::fmt::Write as _;
use views::text;

/// Fields of a kind, actions of a worker kind
///
/// sengu explain, sengu explain Target, sengu explain redfish, sengu explain redfish.power.set
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A kind, a worker kind, or <worker kind>.<action>; nothing lists the kinds
    #[arg(value_name = "KIND|WORKER|WORKER.ACTION")]
    what: Option<String>,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let Some(what) = &args.what else {
        let kinds: Value = client.get("/v1/kinds", &[]).await?;
        if !args.output.format.for_people() {
            output::print_value(args.output.format, &kinds)?;
            return Ok(Exit::Ok);
        }
        let mut table = Table::new(&["KIND", "DESCRIPTION"]);
        let items = kinds.get("items").and_then(Value::as_array);
        for kind in items.into_iter().flatten() {
            table.row(vec![
                text(kind, "/kind").into(),
                text(kind, "/description").into(),
            ]);
        }
        output::print(&table.take(Paint::stdout()));
        return Ok(Exit::Ok);
    };
    // `targets` and `target` mean the kind; worker kinds are lower case and win if there is one of that name.
    let name = match super::nouns::Noun::parse(what) {
        Ok(noun) if noun != super::nouns::Noun::Task => noun.kind().to_owned(),
        _ => what.clone(),
    };
    let kind: Value = client
        .get(&format!("/v1/kinds/{}", encode(&name)), &[])
        .await?;
    if !args.output.format.for_people() {
        output::print_value(args.output.format, &kind)?;
        return Ok(Exit::Ok);
    }
    let mut page = Page {
        out: String::new(),
        paint: Paint::stdout(),
    };
    page.line("Kind", text(&kind, "/kind"));
    page.line("Description", text(&kind, "/description"));
    fields(&mut page, "Fields", kind.get("fields"));
    let actions = kind.get("actions").and_then(Value::as_array);
    if let Some(actions) = actions.filter(|a| !a.is_empty()) {
        page.heading("Actions");
        let mut table =
            Table::new(&["ACTION", "EFFECT", "TIMEOUT", "PARAMETERS", "DESCRIPTION"]).indent(2);
        for a in actions {
            let timeout = a
                .get("timeout_ms")
                .or_else(|| a.get("timeoutMs"))
                .and_then(Value::as_u64);
            table.row(vec![
                text(a, "/name").into(),
                text(a, "/effect").into(),
                timeout.map(span).unwrap_or_default().into(),
                super::params::summary(a.get("params")).into(),
                text(a, "/description").into(),
            ]);
        }
        page.table(table);
    }
    let example = text(&kind, "/example");
    if !example.is_empty() {
        page.heading("Example");
        for line in example.lines() {
            let _ = writeln!(page.out, "  {}", output::safe(line));
        }
    }
    output::print(&page.out);
    Ok(Exit::Ok)
}

fn fields(page: &mut Page, title: &str, fields: Option<&Value>) {
    let fields = fields.and_then(Value::as_array);
    let Some(fields) = fields.filter(|f| !f.is_empty()) else {
        return;
    };
    page.heading(title);
    let mut table = Table::new(&["FIELD", "TYPE", "REQUIRED", "DESCRIPTION"]).indent(2);
    for f in fields {
        let required = if f.get("required") == Some(&Value::Bool(true)) {
            "yes"
        } else {
            ""
        };
        table.row(vec![
            text(f, "/path").into(),
            text(f, "/type").into(),
            required.into(),
            text(f, "/description").into(),
        ]);
    }
    page.table(table);
}
