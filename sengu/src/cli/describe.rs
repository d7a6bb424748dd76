//! `sengu describe`: all about one object, for a person.

use super::nouns::{Noun, object};
use super::{Context, releases, views, wees, workers};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, Cell, Paint, Table, Tone, safe, span};
use serde_json::Value;
use std::fmt::Write as _;
use views::{number, pairs, scalar, text};

/// All about one object
///
/// Example: sengu describe worker/redfish@1.5.0
#[derive(Debug, clap::Args)]
pub struct Args {
    /// KIND/NAME, KIND NAME, or the id of a task or run
    #[arg(required = true, num_args = 1..=2, value_name = "KIND/NAME")]
    what: Vec<String>,
}

/// Rows of lists inside a description.
const ROWS_MAX: usize = 20;
/// Readings shown of one target.
const READINGS_MAX: usize = 200;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (noun, name) = object(&args.what)?;
    let client = context.client()?;
    let name = match noun {
        Noun::Worker => workers::resolve(&client, &name).await?,
        _ => name,
    };
    let mut item: Value = client.get(&noun.path(&name), &[]).await?;
    super::live::refresh(&client, noun, std::slice::from_mut(&mut item)).await?;
    let mut page = Page {
        out: String::new(),
        paint: Paint::stdout(),
    };
    match noun {
        Noun::Target => target(&mut page, &client, &item).await?,
        Noun::Run => run_(&mut page, &client, &item).await?,
        Noun::Worker => workers::describe(&mut page, &item, &workers::list(&client).await?),
        Noun::Wee => wees::describe(&mut page, &item),
        Noun::Release => releases::describe(&mut page, &item),
        Noun::Task => task(&mut page, &client, &item).await?,
        Noun::Schedule | Noun::Secret => other(&mut page, &item)?,
    }
    output::print(&page.out);
    Ok(Exit::Ok)
}

/// A description being written.
pub struct Page {
    pub out: String,
    pub paint: Paint,
}

impl Page {
    pub fn line(&mut self, name: &str, value: impl AsRef<str>) {
        self.toned(name, value, Tone::Plain);
    }

    pub fn toned(&mut self, name: &str, value: impl AsRef<str>, tone: Tone) {
        let value = value.as_ref();
        if !value.is_empty() {
            let value = self.paint.text(tone, &safe(value));
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("{name}:")
            };
            let _ = writeln!(self.out, "{name:<14}{value}");
        }
    }

    pub fn heading(&mut self, name: &str) {
        let name = self.paint.text(Tone::Strong, &format!("{name}:"));
        let _ = writeln!(self.out, "{name}");
    }

    pub fn table(&mut self, mut table: Table) {
        let paint = self.paint;
        self.out.push_str(&table.take(paint));
    }

    pub fn pairs(&mut self, name: &str, map: Option<&Value>) {
        let Some(Value::Object(map)) = map.filter(|m| m.as_object().is_some_and(|m| !m.is_empty()))
        else {
            return;
        };
        self.heading(name);
        let width = map.keys().map(|k| k.chars().count()).max().unwrap_or(0) + 2;
        for (key, value) in map {
            let key = format!("{}:", safe(key));
            let _ = writeln!(self.out, "  {key:<width$} {}", safe(&scalar(value)));
        }
    }
}

pub fn head(page: &mut Page, item: &Value) {
    page.line("Name", text(item, "/metadata/name"));
    page.line("Kind", text(item, "/kind"));
    page.line("Labels", pairs(item.pointer("/metadata/labels")));
    if item.pointer("/metadata/annotations").is_some() {
        page.line("Annotations", pairs(item.pointer("/metadata/annotations")));
    }
    page.line("Created", stamp(item, "/metadata/createdAt"));
    page.line("Revision", text(item, "/metadata/revision"));
}

/// `2026-11-20T13:42:48.000Z (3m ago)`.
pub fn stamp(item: &Value, pointer: &str) -> String {
    match views::time(item, pointer) {
        Some(at) => format!("{at} ({} ago)", output::age(output::now().ms_since(at))),
        None => String::new(),
    }
}

async fn target(page: &mut Page, client: &Client, item: &Value) -> anyhow::Result<()> {
    head(page, item);
    let (state, tone) = views::target_state(item);
    page.toned("Status", state, tone);
    page.line("Reason", views::target_reason(item));
    page.line("Driven by", text(item, "/spec/kind"));
    page.line("Address", text(item, "/spec/address"));
    page.line("Zone", text(item, "/spec/zone"));
    page.line("Secret", text(item, "/spec/secret"));
    page.line("Observed", stamp(item, "/status/observedAt"));
    if number(item, "/status/observe/failures") > 0 {
        let failures = output::count(number(item, "/status/observe/failures"), "failure");
        page.line(
            "Observation",
            format!(
                "{failures} in a row, next {}",
                text(item, "/status/observe/nextAt")
            ),
        );
    }
    page.pairs("Identity", item.pointer("/spec/identity"));
    page.pairs("Config", item.pointer("/spec/config"));
    page.pairs("Limits", item.pointer("/spec/limits"));
    conditions(page, item);
    page.pairs("Facts", item.pointer("/status/facts"));
    let readings = item.pointer("/status/readings").and_then(Value::as_array);
    if let Some(readings) = readings.filter(|r| !r.is_empty()) {
        page.heading("Readings");
        let shown = &readings[..readings.len().min(READINGS_MAX)];
        page.table(readings_table(shown));
        if readings.len() > READINGS_MAX {
            let _ = writeln!(page.out, "  and {} more", readings.len() - READINGS_MAX);
        }
    }
    let name = text(item, "/metadata/name");
    // The lane in words, as `why` tells it: who holds the target, what it waits for.
    let why: Result<Value, _> = client
        .get(&format!("/v1/why/target/{}", encode(&name)), &[])
        .await;
    if let Ok(why) = why {
        page.line("Lane", text(&why, "/sentence"));
        page.line("Held by", text(&why, "/holder"));
    }
    let tasks = client
        .list::<Value>("/v1/tasks", &[("target", &name)], ROWS_MAX / 2)
        .await?;
    task_list(page, "Recent tasks", &tasks.items);
    Ok(())
}

pub fn readings_table(readings: &[Value]) -> Table {
    let mut table = Table::new(&["READING", "VALUE", "UNIT", "LABELS"]).indent(2);
    for reading in readings {
        table.row(vec![
            text(reading, "/name").into(),
            text(reading, "/value").into(),
            text(reading, "/unit").into(),
            pairs(reading.get("labels")).into(),
        ]);
    }
    table
}

fn conditions(page: &mut Page, item: &Value) {
    let conditions = item.pointer("/status/conditions").and_then(Value::as_array);
    let Some(conditions) = conditions.filter(|c| !c.is_empty()) else {
        return;
    };
    page.heading("Conditions");
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]).indent(2);
    for c in conditions {
        table.row(vec![
            text(c, "/type").into(),
            text(c, "/status").into(),
            text(c, "/reason").into(),
            views::age_at(c, "/lastTransitionTime").into(),
            text(c, "/message").into(),
        ]);
    }
    page.table(table);
}

fn task_list(page: &mut Page, title: &str, tasks: &[Value]) {
    if tasks.is_empty() {
        return;
    }
    page.heading(title);
    let mut table = views::table(Noun::Task, false).indent(2);
    for task in tasks {
        table.row(views::row(Noun::Task, false, task));
    }
    page.table(table);
}

async fn run_(page: &mut Page, client: &Client, item: &Value) -> anyhow::Result<()> {
    head(page, item);
    let phase = text(item, "/status/phase");
    page.toned("Phase", &phase, views::phase_tone(&phase));
    page.line("Message", text(item, "/status/message"));
    page.line("Action", text(item, "/spec/action"));
    page.line(
        "Parameters",
        pairs(item.pointer("/spec/params").filter(|p| !p.is_null())),
    );
    page.line("Selector", text(item, "/spec/selector"));
    page.line("Excluded", text(item, "/spec/exclude"));
    page.line("Effect", text(item, "/spec/effect"));
    page.line("Timeout", text(item, "/spec/timeout"));
    let batch = text(item, "/spec/batch");
    let at = format!(
        "{} of {}",
        number(item, "/status/batch"),
        number(item, "/status/batches")
    );
    let each = if batch.is_empty() {
        String::new()
    } else {
        format!(", {batch} each")
    };
    page.line("Batch", format!("{at}{each}"));
    let budget = match item.pointer("/status/maxFail").and_then(Value::as_u64) {
        Some(max) => {
            let spent = number(item, "/status/counts/failed")
                + number(item, "/status/counts/unknown")
                + number(item, "/status/counts/expired");
            format!("{spent} of {max} spent")
        }
        None => "no limit".to_owned(),
    };
    page.line("Budget", budget);
    page.line("Started", stamp(item, "/status/startedAt"));
    page.line("Ended", stamp(item, "/status/endedAt"));
    page.line("Took", views::took(item));
    page.line(
        "Targets",
        output::thousands(number(item, "/status/targets")),
    );
    page.pairs("Counts", item.pointer("/status/counts"));
    let name = text(item, "/metadata/name");
    let failures = failures(client, &name, ROWS_MAX).await?;
    if !failures.is_empty() {
        page.heading("Not done");
        page.table(failures_table(&failures).indent(2));
        let all = ["failed", "unknown", "cancelled", "expired"]
            .iter()
            .map(|k| number(item, &format!("/status/counts/{k}")))
            .sum::<u64>();
        if all > failures.len() as u64 {
            let _ = writeln!(page.out, "  and {} more", all - failures.len() as u64);
        }
    }
    Ok(())
}

/// Targets of a run that did not end as done.
pub async fn failures(client: &Client, run: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
    let path = format!("/v1/runs/{}/targets", encode(run));
    let query = [("status", "failed,unknown,cancelled,expired")];
    Ok(client.list::<Value>(&path, &query, limit).await?.items)
}

pub fn failures_table(items: &[Value]) -> Table {
    let mut table = Table::new(&["TARGET", "STATUS", "CODE", "ATTEMPT", "TASK", "REASON"]);
    for item in items {
        let status = text(item, "/status");
        let tone = views::status_tone(&status);
        table.row(vec![
            text(item, "/target").into(),
            Cell::new(&status).tone(tone),
            text(item, "/code").into(),
            text(item, "/attempt").into(),
            text(item, "/task").into(),
            text(item, "/message").into(),
        ]);
    }
    table
}

/// Actions as a worker declares them.
pub fn actions_table(actions: &[&Value]) -> Table {
    let mut table = Table::new(&["ACTION", "EFFECT", "TIMEOUT", "PARAMETERS", "DESCRIPTION"]);
    for action in actions {
        table.row(vec![
            text(action, "/name").into(),
            text(action, "/effect").into(),
            span(number(action, "/timeout_ms")).into(),
            super::params::summary(action.get("params")).into(),
            text(action, "/description").into(),
        ]);
    }
    table
}

async fn task(page: &mut Page, client: &Client, item: &Value) -> anyhow::Result<()> {
    let id = text(item, "/id");
    page.line("Task", &id);
    page.line(
        "Target",
        format!("{} ({})", text(item, "/target"), text(item, "/kind")),
    );
    page.line("Action", text(item, "/action"));
    page.line("Parameters", pairs(item.get("params")));
    page.line("Effect", text(item, "/effect"));
    page.line("Asked by", text(item, "/origin"));
    page.line("Run", text(item, "/run"));
    page.line("Priority", text(item, "/priority"));
    let state = views::task_state(item);
    page.toned("State", &state, views::status_tone(&state));
    page.line("Code", text(item, "/ending/outcome/code"));
    page.line("Says", views::task_message(item));
    page.line(
        "Attempt",
        number(item, "/attempt")
            .max(number(item, "/ending/attempts"))
            .to_string(),
    );
    let (worker, instance) = views::instance(item);
    if !instance.is_empty() {
        page.line("Worker", worker);
        page.line("Chosen", text(item, "/ending/chosen"));
        page.line("Image", text(item, "/ending/digest"));
        page.line("Instance", instance);
    }
    page.line("WEE", text(item, "/ending/wee"));
    life(page, item);
    for (name, pointer) in [
        ("Before", "/ending/outcome/before"),
        ("After", "/ending/outcome/after"),
        ("Result", "/ending/outcome/result"),
        ("Detail", "/ending/outcome/detail"),
    ] {
        match item.pointer(pointer) {
            Some(map @ Value::Object(_)) => page.pairs(name, Some(map)),
            Some(value) => page.line(name, scalar(value)),
            None => {}
        }
    }
    page.pairs("Facts", item.pointer("/ending/facts"));
    if let Some(readings) = item.pointer("/ending/readings").and_then(Value::as_array)
        && !readings.is_empty()
    {
        page.heading("Readings");
        page.table(readings_table(
            &readings[..readings.len().min(READINGS_MAX)],
        ));
    }
    if text(item, "/state") != "ended" {
        let why: Value = client
            .get(&format!("/v1/why/task/{}", encode(&id)), &[])
            .await?;
        page.line("Why", text(&why, "/sentence"));
    }
    Ok(())
}

/// The life of a task: each step with its time and what lies between.
fn life(page: &mut Page, item: &Value) {
    page.heading("Life");
    let mut last = None;
    for (name, pointer) in [
        ("created", "/createdAt"),
        ("not before", "/notBefore"),
        ("started", "/ending/startedAt"),
        ("ended", "/ending/endedAt"),
    ] {
        if let Some(at) = views::time(item, pointer) {
            let since = last.map_or_else(String::new, |l| format!("  +{}", span(at.ms_since(l))));
            let _ = writeln!(page.out, "  {name:<12}{at}{since}");
            last = Some(at);
        }
    }
    let history = item.pointer("/ending/history").and_then(Value::as_array);
    for (i, line) in history.into_iter().flatten().enumerate() {
        let _ = writeln!(page.out, "  attempt {:<4}{}", i + 1, safe(&scalar(line)));
    }
}

fn other(page: &mut Page, item: &Value) -> anyhow::Result<()> {
    head(page, item);
    page.pairs("Spec", item.get("spec"));
    conditions(page, item);
    page.pairs("Status", item.get("status"));
    Ok(())
}
