//! `sengu get`: lists of records and tasks, once or as they change.

use super::changes::{Change, Changes};
use super::nouns::{Noun, object};
use super::{Context, live, parked, screen, views, workers};
use crate::client::{Client, ClientError, Pages};
use crate::exit::Exit;
use crate::output::{self, Cell, Format, FormatArg, Paint, Table, Tone, say};
use anyhow::bail;
use sengu_model::Selector;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::Duration;

/// List records and tasks
///
/// Kinds: targets, runs, workers, wees, releases, schedules, secrets, tasks; case does not matter, singular or plural.
/// And parked: messages that nobody could make sense of.
/// Workers are shown by version: worker/redfish is all versions of a kind, worker/redfish@1.5.0 one.
///
/// Example: sengu get targets -l site=tyo1 -o wide
#[derive(Debug, clap::Args)]
pub struct Args {
    /// KIND, KIND/NAME or KIND NAME..
    #[arg(required = true, value_name = "KIND[/NAME]")]
    what: Vec<String>,
    /// Labels, fields and facts: site=tyo1,rack in (r1,r2),firmware<2.0,!retired,name~bmc-*
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: FormatArg,
    /// Go on and print what changes
    #[arg(short, long)]
    watch: bool,
    /// At most this many (default: all; of tasks the newest 100)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

const TASKS_DEFAULT: usize = 100;
/// What moves all the time is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let first = &args.what[0];
    if first.eq_ignore_ascii_case(parked::WORD) {
        if args.what.len() > 1 || args.selector.is_some() || args.watch {
            bail!("parked messages have no names and no labels: sengu get parked");
        }
        let limit = args.limit.unwrap_or(usize::MAX);
        return parked::list(&context.client()?, args.output.format, limit).await;
    }
    let by_object = first.contains('/') || first.starts_with("t-") || first.starts_with("r-");
    let (noun, names) = if by_object {
        let mut noun = None;
        let mut names = Vec::new();
        for word in &args.what {
            let (this, name) = object(std::slice::from_ref(word))?;
            if noun.is_some_and(|n| n != this) {
                bail!("one kind at a time");
            }
            noun = Some(this);
            names.push(name);
        }
        (noun.unwrap_or(Noun::Target), names)
    } else {
        (Noun::parse(first)?, args.what[1..].to_vec())
    };
    if noun == Noun::Task && args.watch {
        bail!("tasks are watched with `sengu tasks -w`");
    }
    let client = context.client()?;
    if noun == Noun::Worker {
        if args.selector.is_some() && !names.is_empty() {
            bail!("a name or a selector, not both");
        }
        return versions(args, &client, &names).await;
    }
    let mut printer = Printer::new(noun, args.output.format);
    let revision = if names.is_empty() {
        list(args, &client, noun, &mut printer).await?
    } else {
        if args.selector.is_some() {
            bail!("a name or a selector, not both");
        }
        let mut items = Vec::new();
        for name in &names {
            items.push(client.get(&noun.path(name), &[]).await?);
        }
        if args.output.format.for_people() {
            live::refresh(&client, noun, &mut items).await?;
        }
        items.into_iter().for_each(|item| printer.item(item));
        printer.flush()?;
        printer.last_revision
    };
    if args.watch {
        return watch(args, &client, noun, &names, revision, printer).await;
    }
    printer.end(names.len() == 1)?;
    if printer.printed == 0 && args.output.format.for_people() {
        let matching = if args.selector.is_some() {
            " match the selector"
        } else {
            " yet"
        };
        say(&format!("no {}s{matching}", noun.lower()));
    }
    Ok(Exit::Ok)
}

async fn list(
    args: &Args,
    client: &Client,
    noun: Noun,
    printer: &mut Printer,
) -> anyhow::Result<Option<u64>> {
    let path = match noun {
        Noun::Task => "/v1/tasks".to_owned(),
        noun => format!("/v1/records/{}", noun.kind()),
    };
    let mut query = Vec::new();
    if let Some(selector) = &args.selector {
        // Said here, before anything is sent, with the same words as the server.
        selector.parse::<Selector>()?;
        if noun == Noun::Task {
            bail!("tasks are selected with `sengu tasks --target, --run, --status, -l`");
        }
        query.push(("selector", selector.as_str()));
    }
    let limit = args.limit.unwrap_or(if noun == Noun::Task {
        TASKS_DEFAULT
    } else {
        usize::MAX
    });
    let mut pages = Pages::new(client, &path, &query, limit);
    let mut revision = None;
    let mut more = false;
    while let Some(page) = pages.next::<Value>().await? {
        revision = revision.or(page.revision);
        more = page.cursor.is_some();
        let mut items = page.items;
        if args.output.format.for_people() {
            live::refresh(client, noun, &mut items).await?;
        }
        for item in items {
            printer.item(item);
        }
        printer.flush()?;
    }
    if more && args.output.format.for_people() {
        say("there are more: raise --limit or narrow with -l");
    }
    Ok(revision)
}

/// Prints items page by page; JSON and YAML lists are printed whole.
struct Printer {
    noun: Noun,
    format: Format,
    table: Table,
    held: Vec<Value>,
    printed: usize,
    last_revision: Option<u64>,
}

impl Printer {
    fn new(noun: Noun, format: Format) -> Printer {
        let table = views::table(noun, format == Format::Wide);
        Printer {
            noun,
            format,
            table,
            held: Vec::new(),
            printed: 0,
            last_revision: None,
        }
    }

    fn item(&mut self, item: Value) {
        self.printed += 1;
        let revision = item.pointer("/metadata/revision").and_then(Value::as_u64);
        self.last_revision = self.last_revision.max(revision);
        match self.format {
            Format::Table | Format::Wide => {
                self.table
                    .row(views::row(self.noun, self.format == Format::Wide, &item));
            }
            Format::Name => output::print_line(&output::safe(&object_name(self.noun, &item))),
            Format::Json | Format::Yaml => self.held.push(item),
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.format.for_people() && !self.table.is_empty() {
            output::print(&self.table.take(Paint::stdout()));
        }
        Ok(())
    }

    fn end(&mut self, single: bool) -> anyhow::Result<()> {
        match self.format {
            Format::Json | Format::Yaml if single && self.held.len() == 1 => {
                output::print_value(self.format, &self.held[0])
            }
            Format::Json | Format::Yaml => {
                let items = std::mem::take(&mut self.held);
                output::print_value(self.format, &json!({"kind": "List", "items": items}))
            }
            _ => self.flush(),
        }
    }

    /// One changed item of a watch: a row, or one document.
    fn change(&mut self, item: Value, gone: bool) -> anyhow::Result<()> {
        match self.format {
            Format::Table | Format::Wide => {
                let mut row = views::row(self.noun, self.format == Format::Wide, &item);
                if gone && let Some(last) = row.last_mut() {
                    *last = Cell::new("(deleted)").tone(Tone::Warn);
                }
                self.table.row(row);
                output::print(&self.table.take(Paint::stdout()));
            }
            Format::Name => output::print_line(&output::safe(&object_name(self.noun, &item))),
            Format::Json => {
                let event = if gone { "delete" } else { "put" };
                output::print_line(&json!({"event": event, "record": item}).to_string());
            }
            Format::Yaml => {
                output::print("---\n");
                output::print_value(self.format, &item)?;
            }
        }
        Ok(())
    }
}

pub fn object_name(noun: Noun, item: &Value) -> String {
    let pointer = match noun {
        Noun::Task => "/id",
        Noun::Worker => "/name",
        _ => "/metadata/name",
    };
    format!("{}/{}", noun.lower(), views::text(item, pointer))
}

async fn watch(
    args: &Args,
    client: &Client,
    noun: Noun,
    names: &[String],
    from: Option<u64>,
    mut printer: Printer,
) -> anyhow::Result<Exit> {
    let selector: Selector = args.selector.as_deref().unwrap_or_default().parse()?;
    for item in std::mem::take(&mut printer.held) {
        printer.change(item, false)?;
    }
    let mut changes = Changes::new(client, noun.kind(), from.unwrap_or(0));
    loop {
        let change = tokio::select! {
            change = changes.next() => change?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let (item, gone) = match change {
            Change::Put(item) => (item, false),
            Change::Deleted(item) => (item, true),
        };
        let name = views::text(&item, "/metadata/name");
        let wanted = (names.is_empty() || names.contains(&name))
            && item.get("kind").and_then(Value::as_str) == Some(noun.kind())
            && selector.matches(|key| value_of(&item, key));
        if wanted {
            printer.change(item, gone)?;
        }
    }
}

/// Versions of workers: what they do moves all the time and is in no record, so a watch looks again and again.
async fn versions(args: &Args, client: &Client, names: &[String]) -> anyhow::Result<Exit> {
    let selector: Selector = args.selector.as_deref().unwrap_or_default().parse()?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let format = args.output.format;
    let read = async |client: &Client| {
        let mut found = workers::named(workers::list(client).await?, names)?;
        found.retain(|v| selector.matches(|key| workers::value_of(v, key)));
        found.truncate(limit);
        anyhow::Ok(found)
    };
    let mut client = client.clone();
    let mut before: Vec<Value> = Vec::new();
    let mut printer = Printer::new(Noun::Worker, format);
    let live = args.watch && format.for_people() && std::io::stdout().is_terminal();
    loop {
        match read(&client).await {
            Ok(found) if live => {
                let mut table = views::table(Noun::Worker, format == Format::Wide);
                let rows = found
                    .iter()
                    .map(|v| views::row(Noun::Worker, format == Format::Wide, v));
                rows.for_each(|row| table.row(row));
                let complaints = workers::complaints(&found).join("\n");
                screen::draw(&format!("{}{complaints}\n", table.take(Paint::stdout())));
            }
            Ok(found) if args.watch => {
                for version in &found {
                    if !before.contains(version) {
                        printer.change(version.clone(), false)?;
                    }
                }
                before = found;
            }
            Ok(found) => {
                let complaints = workers::complaints(&found);
                found.into_iter().for_each(|v| printer.item(v));
                printer.end(names.len() == 1 && names[0].contains('@'))?;
                if format.for_people() {
                    complaints.iter().for_each(|line| say(line));
                    if printer.printed == 0 {
                        say("no worker matches");
                    }
                }
                return Ok(Exit::Ok);
            }
            Err(e) if args.watch && e.downcast_ref().is_some_and(ClientError::passing) => {
                client.refresh();
            }
            Err(e) => return Err(e),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        }
    }
}

/// Value of a selector key as the server looks it up: label, field, fact.
fn value_of<'a>(record: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    if let Some(label) = record.pointer("/metadata/labels").and_then(|l| l.get(key)) {
        return Some(Cow::Owned(views::scalar(label)));
    }
    let field = match key {
        "name" => record.pointer("/metadata/name"),
        "kind" => record.pointer("/spec/kind"),
        "zone" => {
            return Some(match record.pointer("/spec/zone") {
                Some(zone) => Cow::Owned(views::scalar(zone)),
                None => Cow::Borrowed(sengu_model::kinds::DEFAULT_ZONE),
            });
        }
        "reachable" => views::condition(record, "Reachable").and_then(|c| c.get("status")),
        _ => None,
    };
    field
        .or_else(|| record.pointer("/status/facts")?.get(key))
        .map(|v| Cow::Owned(views::scalar(v)))
}
