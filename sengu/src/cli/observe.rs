//! `sengu observe`: reads targets now and prints what they said.

use super::nouns::Noun;
use super::run::Choice;
use super::wait::{Follow, WaitArgs};
use super::{Context, describe, views};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, Cell, Format, FormatArg, Paint, Table, safe, say};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use views::text;

/// Read targets now
///
/// Without names and selector all targets are read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: FormatArg,
}

/// Up to this many targets are shown with all facts and readings.
const FULL_MAX: usize = 2;
/// Facts shown as columns, and more of them with `-o wide`.
const COLUMNS: usize = 4;
const COLUMNS_WIDE: usize = 10;
/// Facts that people look for first, if the targets have them.
const LIKED: &[&str] = &[
    "power_state",
    "power",
    "health",
    "vendor",
    "manufacturer",
    "model",
    "os",
    "os_name",
    "kernel",
    "firmware",
    "bmc_firmware",
    "firmware_version",
    "serial",
    "sys_name",
    "sys_descr",
    "uptime_seconds",
];

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut client = context.client()?;
    let names: Vec<String> = args
        .targets
        .iter()
        .map(|t| t.strip_prefix("target/").unwrap_or(t).to_owned())
        .collect();
    let mut choice = args.choice.clone();
    if names.is_empty() && choice.selector.is_none() {
        choice.all = true;
    }
    let mut spec = choice.spec(&names)?;
    spec.insert("action".to_owned(), json!("observe"));
    let run: Value = client.post("/v1/runs", &[], &Value::Object(spec)).await?;
    let follow = Follow {
        args: &args.wait,
        format: args.output.format,
    };
    let (exit, run) = follow.follow(&mut client, run).await?;
    let Some(run) = run else { return Ok(exit) };
    let targets = observed(&client, &run).await?;
    match args.output.format {
        Format::Json | Format::Yaml => {
            // The Run record, and beside it what was seen.
            let mut document = run;
            document["targets"] = Value::Array(targets);
            output::print_value(args.output.format, &document)?;
            return Ok(exit);
        }
        Format::Name => {}
        Format::Table | Format::Wide if targets.len() <= FULL_MAX => full(&targets),
        Format::Table => many(&targets, COLUMNS),
        Format::Wide => many(&targets, COLUMNS_WIDE),
    }
    follow.tell(&client, &run).await?;
    if targets.len() > FULL_MAX && args.output.format.for_people() {
        say("all facts and readings of one: sengu describe target/NAME");
    }
    Ok(exit)
}

/// The Target records of the run whose observation is done.
async fn observed(client: &Client, run: &Value) -> anyhow::Result<Vec<Value>> {
    let path = format!("{}/targets", super::run::path(&text(run, "/metadata/name")));
    let done = client
        .list::<Value>(&path, &[("status", "done")], usize::MAX)
        .await?;
    let names: BTreeSet<String> = done.items.iter().map(|t| text(t, "/target")).collect();
    let mut targets = Vec::new();
    if names.len() <= FULL_MAX {
        for name in names {
            targets.push(client.get(&Noun::Target.path(&name), &[]).await?);
        }
        return Ok(targets);
    }
    let selector = text(run, "/spec/selector");
    let named = run.pointer("/spec/targets").is_some();
    let query = [("selector", selector.as_str())];
    let query = if selector.is_empty() || named {
        &[][..]
    } else {
        &query[..]
    };
    let all = client
        .list::<Value>("/v1/records/Target", query, usize::MAX)
        .await?;
    targets.extend(
        all.items
            .into_iter()
            .filter(|t| names.contains(&text(t, "/metadata/name"))),
    );
    Ok(targets)
}

fn full(targets: &[Value]) {
    let mut page = describe::Page {
        out: String::new(),
        paint: Paint::stdout(),
    };
    for target in targets {
        page.line("Target", text(target, "/metadata/name"));
        page.pairs("Facts", target.pointer("/status/facts"));
        let readings = target.pointer("/status/readings").and_then(Value::as_array);
        if let Some(readings) = readings.filter(|r| !r.is_empty()) {
            page.heading("Readings");
            page.table(describe::readings_table(readings));
        }
    }
    output::print(&page.out);
}

fn many(targets: &[Value], columns: usize) {
    let columns = fact_columns(targets, columns);
    // Column heads come from facts, so they are made for this call and live as long as the process.
    let mut heads: Vec<&'static str> = vec!["TARGET", "KIND"];
    for column in &columns {
        heads.push(Box::leak(safe(&column.to_uppercase()).into_boxed_str()));
    }
    heads.push("READINGS");
    let mut table = Table::new(&heads);
    for target in targets {
        let mut row: Vec<Cell> = vec![
            text(target, "/metadata/name").into(),
            text(target, "/spec/kind").into(),
        ];
        for column in &columns {
            let value = views::fact(target, &[column]);
            row.push(if value.is_empty() {
                "-".into()
            } else {
                value.into()
            });
        }
        let readings = target.pointer("/status/readings").and_then(Value::as_array);
        row.push(readings.map_or(0, Vec::len).to_string().into());
        table.row(row);
    }
    output::print(&table.take(Paint::stdout()));
}

/// The facts worth a column: the liked ones first, then those that most targets have.
fn fact_columns(targets: &[Value], columns: usize) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for target in targets {
        let facts = target.pointer("/status/facts").and_then(Value::as_object);
        for (key, value) in facts.into_iter().flatten() {
            if !value.is_object() && !value.is_array() {
                *counts.entry(key).or_default() += 1;
            }
        }
    }
    let mut ranked: Vec<(usize, usize, &str)> = counts
        .into_iter()
        .map(|(key, n)| {
            let liked = LIKED.iter().position(|l| *l == key).unwrap_or(LIKED.len());
            (liked, targets.len() - n, key)
        })
        .collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .take(columns)
        .map(|(_, _, key)| key.to_owned())
        .collect()
}

/// Path of a target, for other verbs.
pub fn target_path(name: &str) -> String {
    format!("/v1/targets/{}", encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_facts_that_matter() {
        let with = |facts: Value| json!({"status":{"facts":facts}});
        let targets = [
            with(json!({"zz":1,"model":"X","aa":1,"nested":{"x":1}})),
            with(json!({"zz":1,"power_state":"On"})),
        ];
        assert_eq!(fact_columns(&targets, 3), ["power_state", "model", "zz"]);
    }
}
