//! `sengu tasks`: tasks by run, target, status or the labels of their targets.

use super::nouns::Noun;
use super::{Context, get, views};
use crate::client::{Client, ClientError, Pages};
use crate::exit::Exit;
use crate::output::{self, Format, FormatArg, Paint, say};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use views::text;

/// List tasks, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of targets that match
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Of this run
    #[arg(long, value_name = "r-...")]
    run: Option<String>,
    /// Of this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// done, failed, unknown, cancelled, expired
    #[arg(long, value_name = "STATUS,..")]
    status: Option<String>,
    /// Not ended yet
    #[arg(long, conflicts_with = "status")]
    open: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on and print tasks as they end
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: FormatArg,
}

/// Tasks read while looking for those of a selector.
const SCANNED_MAX: usize = 100_000;
const REOPEN: Duration = Duration::from_secs(1);

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let wide = args.output.format == Format::Wide;
    let targets = match &args.selector {
        Some(selector) => Some(names(&client, selector).await?),
        None => None,
    };
    // Opened before the list, so that no end falls between the two.
    let events = match args.watch {
        true => Some(client.events("/v1/results", &[]).await?),
        false => None,
    };
    let mut tasks = list(args, &client, targets.as_ref()).await?;
    if args.watch {
        tasks.reverse();
    }
    let mut table = views::table(Noun::Task, wide);
    match args.output.format {
        Format::Table | Format::Wide => {
            for task in &tasks {
                table.row(views::row(Noun::Task, wide, task));
            }
            if !table.is_empty() {
                output::print(&table.take(Paint::stdout()));
            } else if !args.watch {
                say("no tasks match");
            }
        }
        Format::Name => {
            for task in &tasks {
                output::print_line(&output::safe(&get::object_name(Noun::Task, task)));
            }
        }
        Format::Json | Format::Yaml if !args.watch => {
            output::print_value(args.output.format, &json!({"kind": "List", "items": tasks}))?;
        }
        Format::Json | Format::Yaml => {
            for task in &tasks {
                output::print_line(&task.to_string());
            }
        }
    }
    let Some(mut events) = events else {
        return Ok(Exit::Ok);
    };
    let mut position: Option<String> = None;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        match event {
            Ok(Some(event)) => {
                position = event.id.or(position);
                let Ok(result) = serde_json::from_str::<Value>(&event.data) else {
                    continue;
                };
                let Some(task) = result.get("data") else {
                    continue;
                };
                if !wanted(args, targets.as_ref(), task) {
                    continue;
                }
                match args.output.format {
                    Format::Table | Format::Wide => {
                        table.row(views::row(Noun::Task, wide, task));
                        output::print(&table.take(Paint::stdout()));
                    }
                    Format::Name => {
                        output::print_line(&output::safe(&get::object_name(Noun::Task, task)));
                    }
                    Format::Json | Format::Yaml => output::print_line(&task.to_string()),
                }
            }
            Ok(None) | Err(ClientError::Broken { .. }) => {
                tokio::select! {
                    () = tokio::time::sleep(REOPEN) => {}
                    _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
                }
                let query: Vec<(&str, &str)> = position
                    .as_deref()
                    .map(|p| ("from", p))
                    .into_iter()
                    .collect();
                events = client.events("/v1/results", &query).await?;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

async fn names(client: &Client, selector: &str) -> anyhow::Result<BTreeSet<String>> {
    let query = [("selector", selector)];
    let page = client
        .list::<Value>("/v1/records/Target", &query, usize::MAX)
        .await?;
    Ok(page
        .items
        .iter()
        .map(|t| text(t, "/metadata/name"))
        .collect())
}

async fn list(
    args: &Args,
    client: &Client,
    targets: Option<&BTreeSet<String>>,
) -> anyhow::Result<Vec<Value>> {
    let mut query: Vec<(&str, &str)> = Vec::new();
    let run = args
        .run
        .as_deref()
        .map(|r| r.strip_prefix("run/").unwrap_or(r));
    let target = args
        .target
        .as_deref()
        .map(|t| t.strip_prefix("target/").unwrap_or(t));
    query.extend(run.map(|r| ("run", r)));
    query.extend(target.map(|t| ("target", t)));
    query.extend(args.status.as_deref().map(|s| ("status", s)));
    if args.open {
        query.push(("state", "open"));
    }
    let scanned = if targets.is_some() {
        SCANNED_MAX
    } else {
        args.limit
    };
    let mut pages = Pages::new(client, "/v1/tasks", &query, scanned);
    let mut found = Vec::new();
    while found.len() < args.limit {
        let Some(page) = pages.next::<Value>().await? else {
            break;
        };
        let hit = |t: &Value| targets.is_none_or(|names| names.contains(&text(t, "/target")));
        found.extend(page.items.into_iter().filter(hit));
    }
    found.truncate(args.limit);
    Ok(found)
}

fn wanted(args: &Args, targets: Option<&BTreeSet<String>>, task: &Value) -> bool {
    let is = |wanted: &Option<String>, pointer: &str, prefix: &str| {
        wanted
            .as_deref()
            .is_none_or(|w| w.strip_prefix(prefix).unwrap_or(w) == text(task, pointer))
    };
    let status = views::task_state(task);
    is(&args.run, "/run", "run/")
        && is(&args.target, "/target", "target/")
        && targets.is_none_or(|names| names.contains(&text(task, "/target")))
        && args
            .status
            .as_deref()
            .is_none_or(|s| s.split(',').any(|s| s.trim() == status))
}
