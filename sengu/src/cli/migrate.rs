//! `sengu migrate`: moves the store of a running sengu into another one, and shows how far that is.

use super::Context;
use super::views::{number, text};
use crate::client::Client;
use crate::exit::Exit;
use crate::output::{self, Cell, Format, FormatArg, Paint, Table, Tone, say};
use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATH: &str = "/v1/store/move";
/// How often the server is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A line of progress at most this often.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// Move the store into PostgreSQL, or back, while work goes on
///
/// Everything is copied and compared row by row; tasks go on meanwhile. At the end commits are held for a moment, at most
/// two seconds. Whatever fails before that leaves the store in use as it is. Files are named as on the server's machine.
///
/// Example: sengu migrate --to postgres://sengu@db.example.net/sengu --password-file /etc/sengu/db.password
#[derive(Debug, clap::Args)]
pub struct Args {
    /// postgres://user@host:5432/database, or `sqlite` for a file of the data directory
    #[arg(long, value_name = "STORE", required_unless_present_any = ["status", "cancel"])]
    to: Option<String>,
    /// File with nothing but the password
    #[arg(long, value_name = "FILE", requires = "to")]
    password_file: Option<PathBuf>,
    /// PEM file of the authority that signed the database's certificate; default: those of the system
    #[arg(long, value_name = "FILE", requires = "to")]
    ca: Option<PathBuf>,
    /// Schema for sengu's tables, which must be empty; default: sengu
    #[arg(long, value_name = "NAME", requires = "to")]
    schema: Option<String>,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    /// Show the move that is on, or the last one
    #[arg(long, conflicts_with_all = ["to", "cancel"])]
    status: bool,
    /// End the move that is on; the store in use stays
    #[arg(long, conflicts_with = "to")]
    cancel: bool,
    #[command(flatten)]
    output: FormatArg,
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    if args.cancel {
        client.delete(PATH).await?;
        return end(&follow(&client).await?, args);
    }
    let Some(to) = &args.to else {
        return end(&client.get::<Value>(PATH, &[]).await?, args);
    };
    let begun: Value = client
        .post(PATH, &[], &json!({"to": target(to, args)?}))
        .await?;
    if args.no_wait {
        return end(&begun, args);
    }
    say(&format!(
        "moving from {} to {}; ctrl-c ends only this view",
        output::safe(&text(&begun, "/from")),
        output::safe(&text(&begun, "/to"))
    ));
    end(&follow(&client).await?, args)
}

fn target(to: &str, args: &Args) -> anyhow::Result<Value> {
    if to == "sqlite" {
        if args.password_file.is_some() || args.ca.is_some() || args.schema.is_some() {
            bail!("--password-file, --ca and --schema go with a database");
        }
        return Ok(json!({"engine": "sqlite"}));
    }
    if !to.starts_with("postgres://") && !to.starts_with("postgresql://") {
        bail!("--to: postgres://user@host:5432/database or sqlite");
    }
    let mut target = Map::new();
    target.insert("engine".to_owned(), json!("postgres"));
    target.insert("url".to_owned(), json!(to));
    for (key, file) in [("passwordFile", &args.password_file), ("ca", &args.ca)] {
        if let Some(file) = file {
            target.insert(key.to_owned(), json!(absolute(file)?));
        }
    }
    if let Some(schema) = &args.schema {
        target.insert("schema".to_owned(), json!(schema));
    }
    Ok(Value::Object(target))
}

/// The server stands in another folder.
fn absolute(file: &Path) -> anyhow::Result<String> {
    let file = std::path::absolute(file).with_context(|| format!("find {}", file.display()))?;
    Ok(file.display().to_string())
}

async fn follow(client: &Client) -> anyhow::Result<Value> {
    let (mut shown, mut last) = (Instant::now(), String::new());
    loop {
        let status: Value = client.get(PATH, &[]).await?;
        if text(&status, "/state") != "running" {
            return Ok(status);
        }
        let line = progress(&status);
        if line != last && shown.elapsed() >= LINE_EVERY {
            say(&line);
            (shown, last) = (Instant::now(), line);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn parts(status: &Value) -> impl Iterator<Item = &Value> {
    status
        .pointer("/parts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// `copying: records 12,000/1,000,000, tasks 0/900,000`.
fn progress(status: &Value) -> String {
    let words: Vec<String> = parts(status)
        .filter(|part| number(part, "/total") > 1)
        .map(|part| {
            format!(
                "{} {}/{}",
                output::safe(&text(part, "/part")),
                output::thousands(number(part, "/copied")),
                output::thousands(number(part, "/total"))
            )
        })
        .collect();
    format!(
        "{}: {}",
        output::safe(&text(status, "/phase")),
        words.join(", ")
    )
}

fn end(status: &Value, args: &Args) -> anyhow::Result<Exit> {
    let state = text(status, "/state");
    match args.output.format {
        Format::Json | Format::Yaml => output::print_value(args.output.format, status)?,
        Format::Name if state == "none" => {}
        Format::Name => output::print_line(&output::safe(&text(status, "/id"))),
        Format::Table | Format::Wide => print(status, &state),
    }
    Ok(match state.as_str() {
        "failed" | "cancelled" => Exit::NotAsWanted,
        // Started again meanwhile: whoever waited for an end has not seen one.
        "none" if !args.status => Exit::NotAsWanted,
        _ => Exit::Ok,
    })
}

fn print(status: &Value, state: &str) {
    if state == "none" {
        return say("no move was begun since sengu started");
    }
    let mut table = Table::new(&["PART", "COPIED", "SAME IN BOTH", "SHA-256 OF BOTH"]);
    for part in parts(status) {
        let digest = text(part, "/sha256");
        table.row(vec![
            Cell::new(text(part, "/part")),
            Cell::new(output::thousands(number(part, "/copied"))),
            Cell::new(output::thousands(number(part, "/rows"))),
            Cell::new(digest.chars().take(16).collect::<String>()),
        ]);
    }
    output::print(&table.take(Paint::stdout()));
    let again = output::thousands(number(status, "/caughtUp"));
    say(&format!(
        "{again} rows were touched meanwhile, and copied and compared again"
    ));
    let place = output::safe(&text(status, "/to"));
    let paint = Paint::stderr();
    match state {
        "moved" => {
            say(&format!(
                "{} the store is in {place} now; commits were held for {} ms",
                paint.text(Tone::Good, "moved:"),
                number(status, "/pauseMs")
            ));
            say("before the next start, sengu.toml must say:");
            output::print_line(
                &text(status, "/config")
                    .lines()
                    .map(output::safe)
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        }
        "failed" | "cancelled" => say(&format!(
            "{} {}; the store in use stays, nothing is lost",
            paint.text(Tone::Bad, &format!("{state}:")),
            output::safe(&text(status, "/error"))
        )),
        _ => say(&progress(status)),
    }
}
