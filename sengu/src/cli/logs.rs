//! `sengu logs`: what workers and targets said during a task, or during all tasks of a run.

use super::nouns::{Noun, object};
use super::{Context, views};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, Paint, Tone, say};
use anyhow::bail;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;
use views::{number, text};

/// Logs of a task or of a run's tasks
#[derive(Debug, clap::Args)]
pub struct Args {
    /// t-..., r-..., task/t-... or run/r-...
    what: String,
    /// Go on until it has ended
    #[arg(short, long)]
    follow: bool,
    /// With time and level
    #[arg(long)]
    timestamps: bool,
}

/// Tasks of a run whose logs are read; of a larger run, say which task.
const TASKS_MAX: usize = 500;
const ROUND: Duration = Duration::from_secs(1);

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (noun, name) = object(std::slice::from_ref(&args.what))?;
    let client = context.client()?;
    match noun {
        Noun::Task if args.follow => follow(args, &client, &name).await,
        Noun::Task => {
            let logs: Value = client.get(&log_path(&name), &[]).await?;
            let lines = logs.get("items").and_then(Value::as_array);
            let lines = lines.map(Vec::as_slice).unwrap_or_default();
            lines.iter().for_each(|line| print_line(args, "", line));
            if lines.is_empty() {
                say("no log lines");
            } else if logs.get("ended") == Some(&Value::Bool(false)) {
                say("the task has not ended: -f follows it");
            }
            Ok(Exit::Ok)
        }
        Noun::Run => run_logs(args, &client, &name).await,
        _ => bail!("only tasks and runs have logs; `sengu tasks --target NAME` lists a target's"),
    }
}

fn log_path(task: &str) -> String {
    format!("/v1/tasks/{}/logs", encode(task))
}

async fn follow(args: &Args, client: &Client, task: &str) -> anyhow::Result<Exit> {
    let mut events = client
        .events(&log_path(task), &[("follow", "true")])
        .await?;
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        match event {
            Some(event) if event.name == "end" => return Ok(Exit::Ok),
            Some(event) => {
                if let Ok(line) = serde_json::from_str::<Value>(&event.data) {
                    print_line(args, "", &line);
                }
            }
            None => bail!("the stream of {task} broke off before its end"),
        }
    }
}

/// Lines of every task of a run, each with its target's name, round by round.
async fn run_logs(args: &Args, client: &Client, run: &str) -> anyhow::Result<Exit> {
    let mut printed = BTreeMap::<String, (usize, bool)>::new();
    loop {
        let record: Value = client.get(&super::run::path(run), &[]).await?;
        let query = [("run", run)];
        let tasks = client.list::<Value>("/v1/tasks", &query, TASKS_MAX).await?;
        for task in tasks.items.iter().rev() {
            let id = text(task, "/id");
            let ended = text(task, "/state") == "ended";
            let begun = ended || text(task, "/state") == "started";
            let (lines, complete) = printed.get(&id).copied().unwrap_or_default();
            if complete || !begun {
                continue;
            }
            let logs: Value = client.get(&log_path(&id), &[]).await?;
            let items = logs.get("items").and_then(Value::as_array);
            let items = items.map(Vec::as_slice).unwrap_or_default();
            let prefix = format!("{} | ", text(task, "/target"));
            items
                .iter()
                .skip(lines)
                .for_each(|line| print_line(args, &prefix, line));
            printed.insert(id, (items.len(), ended));
        }
        if !args.follow || super::wait::over(&record) {
            if number(&record, "/status/targets") > TASKS_MAX as u64 {
                say(&format!(
                    "shown are the newest {TASKS_MAX} tasks; of another: sengu logs t-..."
                ));
            }
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        }
    }
}

fn print_line(args: &Args, prefix: &str, line: &Value) {
    let level = text(line, "/level");
    let message = text(line, "/message");
    // A file gets the output as the target wrote it; a terminal never does.
    let message = if std::io::stdout().is_terminal() {
        output::safe(&message)
    } else {
        message
    };
    let tone = match level.as_str() {
        "error" | "stderr" => Tone::Bad,
        "warn" => Tone::Warn,
        "debug" => Tone::Dim,
        _ => Tone::Plain,
    };
    let (level, message) = match text(line, "/frame").as_str() {
        "toWorker" => ("frame".to_owned(), format!("-> {message}")),
        "fromWorker" => ("frame".to_owned(), format!("<- {message}")),
        _ => (level, message),
    };
    let stamp = if args.timestamps {
        format!("{} {level:<6} ", text(line, "/at"))
    } else {
        String::new()
    };
    let prefix = output::safe(prefix);
    output::print_line(&format!(
        "{prefix}{stamp}{}",
        Paint::stdout().text(tone, &message)
    ));
}
