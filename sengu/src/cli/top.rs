//! `sengu top`: what goes on now, at one glance.

use super::nouns::Noun;
use super::{Context, screen, views, wees};
use crate::exit::Exit;
use crate::output::{self, Cell, FormatArg, Paint, Table, Tone};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use views::{number, text};

/// What goes on now
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on and refresh every second
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: FormatArg,
}

const REFRESH: Duration = Duration::from_secs(1);
const RUNS_SHOWN_MAX: usize = 10;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut client = context.client()?;
    let mut last = None;
    loop {
        let page = match client.get::<Value>("/v1/top", &[]).await {
            Ok(top) if !args.output.format.for_people() => {
                output::print_value(args.output.format, &top)?;
                String::new()
            }
            Ok(top) => {
                let since = last
                    .as_ref()
                    .map(|(at, top): &(Instant, Value)| (at.elapsed(), top));
                let page = page(&top, since, Paint::stdout());
                last = Some((Instant::now(), top));
                page
            }
            Err(e) if args.watch && e.passing() => {
                client.refresh();
                format!("{e}\n")
            }
            Err(e) => return Err(e.into()),
        };
        if args.watch {
            screen::draw(&page);
        } else {
            output::print(&page);
        }
        if !args.watch {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        }
    }
}

/// The fleet, the work, and where it queues.
fn page(top: &Value, before: Option<(Duration, &Value)>, paint: Paint) -> String {
    let mut out = String::new();
    let n = |pointer: &str| output::thousands(number(top, pointer));
    let bad = |pointer: &str, word: &str| {
        let tone = if number(top, pointer) > 0 {
            Tone::Bad
        } else {
            Tone::Plain
        };
        paint.text(tone, &format!("{} {word}", n(pointer)))
    };
    let _ = writeln!(
        out,
        "Targets   {} total, {} reachable, {}, {}",
        n("/targets/total"),
        n("/targets/reachable"),
        bad("/targets/unreachable", "unreachable"),
        bad("/targets/quarantined", "quarantined"),
    );
    let _ = writeln!(
        out,
        "Tasks     {} waiting, {} sent, {} started; since start {} ended, {} of them not done{}",
        n("/tasks/waiting"),
        n("/tasks/sent"),
        n("/tasks/started"),
        n("/tasks/ended"),
        n("/tasks/notDone"),
        before.map_or_else(String::new, |(time, before)| rate(top, before, time)),
    );
    let list = |key: &str| {
        top.get(key)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let runs = list("runs");
    if !runs.is_empty() {
        let _ = writeln!(out, "\n{}", paint.text(Tone::Strong, "Runs"));
        let mut table = views::table(Noun::Run, false).indent(2);
        runs.iter()
            .take(RUNS_SHOWN_MAX)
            .for_each(|r| table.row(views::row(Noun::Run, false, r)));
        out.push_str(&table.take(paint));
    }
    let queues = list("queues");
    if !queues.is_empty() {
        let _ = writeln!(out, "\n{}", paint.text(Tone::Strong, "Queues"));
        let heads = [
            "ZONE",
            "WORKER",
            "CLASS",
            "IN-FLIGHT",
            "WINDOW",
            "DEPTH",
            "FAILED",
            "P50",
            "P90",
        ];
        let mut table = Table::new(&heads).indent(2);
        for q in queues {
            table.row(vec![
                text(q, "/zone").into(),
                format!("{}@{}", text(q, "/kind"), text(q, "/version")).into(),
                text(q, "/class").into(),
                Cell::new(output::thousands(number(q, "/inFlight"))),
                Cell::new(output::thousands(number(q, "/window"))),
                Cell::new(output::thousands(number(q, "/depth"))),
                views::failed(number(q, "/failed"), number(q, "/tasks")),
                views::latency(q, "/p50Ms"),
                views::latency(q, "/p90Ms"),
            ]);
        }
        out.push_str(&table.take(paint));
    }
    for wee in list("wees") {
        let title = format!(
            "Workers of {} (zone {})",
            text(wee, "/name"),
            text(wee, "/zone")
        );
        let _ = writeln!(out, "\n{}", paint.text(Tone::Strong, &output::safe(&title)));
        out.push_str(&wees::pools_table(wees::pools(wee)).indent(2).take(paint));
    }
    out
}

/// `; 1,234/s`: tasks ended between two looks.
fn rate(top: &Value, before: &Value, time: Duration) -> String {
    let ended = number(top, "/tasks/ended").saturating_sub(number(before, "/tasks/ended"));
    let seconds = time.as_secs_f64().max(0.001);
    format!(
        "; {}/s",
        output::thousands((ended as f64 / seconds).round() as u64)
    )
}
