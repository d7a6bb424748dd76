//! `sengu rollout`: how versions on their way stand, and what shadows have found.

use super::changes::{Change, Changes};
use super::nouns::{self, Noun};
use super::views::{number, text};
use super::{Context, releases, screen};
use crate::client::Client;
use crate::exit::Exit;
use crate::output::{self, Format, FormatArg, Paint, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sengu_model::quantity;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

/// How versions on their way stand
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Rules with their numbers, what they wait for, what went back
    ///
    /// Without KIND those Releases that have rules. With -w the page is drawn again as it changes.
    ///
    /// Example: sengu rollout status redfish -w
    Status {
        /// Worker kind: redfish
        #[arg(value_name = "KIND")]
        kind: Option<String>,
        /// Go on and show what changes
        #[arg(short, long)]
        watch: bool,
        #[command(flatten)]
        output: FormatArg,
    },
    /// What a shadow reads otherwise than the version in use, by field and cell
    ///
    /// Example: sengu rollout report redfish
    Report {
        /// Worker kind: redfish
        #[arg(value_name = "KIND")]
        kind: String,
        #[command(flatten)]
        output: FormatArg,
    },
}

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    match &args.verb {
        Verb::Status {
            kind,
            watch,
            output,
        } => {
            let kind = kind.as_deref().map(nouns::release).transpose()?;
            status(&client, kind.as_deref(), *watch, output.format).await
        }
        Verb::Report { kind, output } => {
            report(&client, &nouns::release(kind)?, output.format).await
        }
    }
}

/// Releases by name.
type Releases = BTreeMap<String, Value>;

/// What is asked for, and the revision it was read at.
async fn read(client: &Client, kind: Option<&str>) -> anyhow::Result<(Releases, u64)> {
    let path = format!("/v1/records/{}", Noun::Release.kind());
    let (items, revision) = match kind {
        Some(kind) => {
            let item: Value = client.get(&Noun::Release.path(kind), &[]).await?;
            let revision = number(&item, "/metadata/revision");
            (vec![item], revision)
        }
        None => {
            let page = client.list::<Value>(&path, &[], usize::MAX).await?;
            (page.items, page.revision.unwrap_or(0))
        }
    };
    let by_name = |item: Value| (text(&item, "/metadata/name"), item);
    Ok((items.into_iter().map(by_name).collect(), revision))
}

/// Without a name only those on which something is on its way are worth a page.
fn shown(releases: &Releases, kind: Option<&str>) -> Vec<Value> {
    let moves = |r: &&Value| kind.is_some() || !releases::list(r, "/spec/rules").is_empty();
    releases.values().filter(moves).cloned().collect()
}

async fn status(
    client: &Client,
    kind: Option<&str>,
    watch: bool,
    format: Format,
) -> anyhow::Result<Exit> {
    let (mut releases, revision) = read(client, kind).await?;
    let paint = Paint::stdout();
    let page = |releases: &Releases| {
        let pages = shown(releases, kind);
        let pages = pages
            .iter()
            .map(|r| releases::page(r, format == Format::Wide, paint));
        pages.collect::<Vec<_>>().join("\n")
    };
    print(&shown(&releases, kind), kind, watch, format)?;
    if !watch {
        if format.for_people() {
            output::print(&page(&releases));
        }
        return Ok(Exit::Ok);
    }
    let live = format.for_people() && std::io::stdout().is_terminal();
    if format.for_people() {
        screen::draw(&page(&releases));
    }
    let mut changes = Changes::new(client, Noun::Release.kind(), revision);
    loop {
        let change = tokio::select! {
            change = changes.next() => change?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let (record, gone) = match change {
            Change::Put(record) => (record, false),
            Change::Deleted(record) => (record, true),
        };
        let name = text(&record, "/metadata/name");
        if kind.is_some_and(|kind| kind != name) {
            continue;
        }
        let before = releases.remove(&name).unwrap_or_default();
        let new = new_events(&before, &record);
        if !live {
            print_change(&name, &record, gone, &new, format)?;
        }
        if !gone {
            releases.insert(name, record);
        }
        if live {
            screen::draw(&page(&releases));
        }
    }
}

/// The list for programs, or why there is nothing for people.
fn print(shown: &[Value], kind: Option<&str>, watch: bool, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Wide if shown.is_empty() => {
            say("nothing is on its way: `sengu get releases` lists what each kind runs");
        }
        Format::Table | Format::Wide => {}
        Format::Name => {
            for release in shown {
                let name = text(release, "/metadata/name");
                output::print_line(&format!("release/{}", output::safe(&name)));
            }
        }
        Format::Json | Format::Yaml if watch => {
            for release in shown {
                print_change("", release, false, &[], format)?;
            }
        }
        Format::Json | Format::Yaml => match (kind, shown) {
            (Some(_), [one]) => output::print_value(format, one)?,
            _ => output::print_value(format, &json!({"kind": "List", "items": shown}))?,
        },
    }
    Ok(())
}

/// One change where nothing can be drawn again: what was moved for people, the record for programs.
fn print_change(
    name: &str,
    record: &Value,
    gone: bool,
    new: &[&Value],
    format: Format,
) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Wide if gone => {
            output::print_line(&format!("release/{} deleted", output::safe(name)));
        }
        Format::Table | Format::Wide => {
            for event in new {
                let line = releases::event_line(event);
                output::print_line(&format!("release/{} {line}", output::safe(name)));
            }
        }
        Format::Name => output::print_line(&format!("release/{}", output::safe(name))),
        Format::Json => {
            let event = if gone { "delete" } else { "put" };
            output::print_line(&json!({"event": event, "record": record}).to_string());
        }
        Format::Yaml => {
            output::print("---\n");
            output::print_value(format, record)?;
        }
    }
    Ok(())
}

/// Events of `now` that came after those of `before`. The history is cut at its old end.
fn new_events<'a>(before: &Value, now: &'a Value) -> Vec<&'a Value> {
    let history = releases::list(now, "/status/history");
    let last = releases::list(before, "/status/history").last();
    let known = last.and_then(|last| history.iter().rposition(|event| event == last));
    history[known.map_or(0, |at| at + 1)..].iter().collect()
}

async fn report(client: &Client, kind: &str, format: Format) -> anyhow::Result<Exit> {
    let release: Value = client.get(&Noun::Release.path(kind), &[]).await?;
    if !format.for_people() {
        let shadows: Vec<Value> = releases::list(&release, "/status/rules")
            .iter()
            .filter(|s| s.get("shadow").is_some())
            .map(|s| json!({"version": s["version"], "replaces": s["replaces"], "shadow": s["shadow"]}))
            .collect();
        match format {
            Format::Name => output::print_line(&format!("release/{}", output::safe(kind))),
            _ => output::print_value(format, &shadows)?,
        }
        return Ok(Exit::Ok);
    }
    match releases::report(&release, Paint::stdout()) {
        Some(report) => output::print(&report),
        None => say(&format!(
            "no version of {kind} shadows another: sengu promote {kind}@VERSION --shadow"
        )),
    }
    Ok(Exit::Ok)
}

/// How the waiting for a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Settled, or good as far as it was asked to go.
    Good,
    /// All of it or some cells.
    WentBack,
    Timeout,
    Interrupted,
}

pub struct Ended {
    pub end: End,
    /// As it was last.
    pub release: Option<Value>,
}

/// Waits until the rollout of `version` is over, and tells on stderr what happens to it.
///
/// # Errors
/// When the server refuses, or stays away.
pub async fn follow(
    client: &Client,
    release: Value,
    version: &str,
    selector: &str,
    timeout: Option<quantity::Duration>,
) -> anyhow::Result<Ended> {
    let name = text(&release, "/metadata/name");
    let revision = number(&release, "/metadata/revision");
    let mut changes = Changes::new(client, Noun::Release.kind(), revision);
    let mut release = release;
    let spinner = spinner();
    let limit = timeout.map_or(Duration::MAX, |t| Duration::from_millis(t.ms));
    let over = tokio::time::sleep(limit.min(FOREVER));
    tokio::pin!(over);
    let end = loop {
        spinner.set_message(output::safe(&standing(&release, version, selector)));
        let change = tokio::select! {
            change = changes.next() => change?,
            () = &mut over => break End::Timeout,
            _ = tokio::signal::ctrl_c() => break End::Interrupted,
        };
        let now = match change {
            Change::Put(record) if text(&record, "/metadata/name") == name => record,
            Change::Deleted(record) if text(&record, "/metadata/name") == name => {
                spinner.suspend(|| say(&format!("release/{} was deleted", output::safe(&name))));
                break End::WentBack;
            }
            _ => continue,
        };
        let events = new_events(&release, &now);
        spinner.suspend(|| events.iter().for_each(|e| say(&releases::event_line(e))));
        let end = end_of(&now, &events, version, selector);
        release = now;
        if let Some((end, sentence)) = end {
            spinner.suspend(|| say(&output::safe(&format!("{name}@{version} {sentence}"))));
            break end;
        }
    };
    spinner.finish_and_clear();
    if matches!(end, End::Timeout | End::Interrupted) {
        say(&format!(
            "the rollout goes on: sengu rollout status {name} -w"
        ));
    }
    let release = Some(release);
    Ok(Ended { end, release })
}

/// Sleeping longer than this is for ever.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// How a rollout ended, if it did, by what is there now and what was told since it was looked at last.
fn end_of(
    release: &Value,
    events: &[&Value],
    version: &str,
    selector: &str,
) -> Option<(End, String)> {
    let told = |what: &str| {
        let mine = |e: &&&Value| text(e, "/what") == what && text(e, "/version") == version;
        events.iter().find(mine).map(|e| text(e, "/message"))
    };
    let held = releases::list(release, "/status/held")
        .iter()
        .filter(|h| text(h, "/version") == version)
        .count();
    let cells = output::count(held as u64, "cell");
    let end = |good: String| match held {
        0 => Some((End::Good, good)),
        _ => Some((
            End::WentBack,
            format!("{good}, but for {cells} that went back"),
        )),
    };
    if told("settled").is_some() {
        return end("has settled".to_owned());
    }
    let rule = releases::rule_of(release, version, selector);
    let Some(rule) = rule else {
        return match text(release, "/spec/version") == version {
            true => end("is what all run".to_owned()),
            // A step back by a person carries the version that is gone back to.
            false => Some((
                End::WentBack,
                match events.last() {
                    Some(last) => format!("was taken off: {}", text(last, "/message")),
                    None => "was taken off".to_owned(),
                },
            )),
        };
    };
    let status = releases::status_of(release, &text(rule, "/name"))?;
    if text(status, "/phase") == "Settled" {
        return end("has settled".to_owned());
    }
    if releases::waits_for_a_person(status) {
        let share = text(rule, "/share");
        return end(format!("is good at {share}, as far as it was asked to go"));
    }
    None
}

/// `10%: 24 of 50 tasks of this step have ended; 3 of 120 failed (before: 9 of 9,000)`.
fn standing(release: &Value, version: &str, selector: &str) -> String {
    let Some(rule) = releases::rule_of(release, version, selector) else {
        return String::new();
    };
    let none = Value::Null;
    let status = releases::status_of(release, &text(rule, "/name")).unwrap_or(&none);
    let n = |pointer: &str| output::thousands(number(status, pointer));
    format!(
        "{}: {}; {} of {} failed (before: {} of {})",
        text(rule, "/share"),
        text(status, "/waitsFor"),
        n("/seen/failed"),
        n("/seen/tasks"),
        n("/replaced/failed"),
        n("/replaced/tasks")
    )
}

fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: &str, version: &str, message: &str) -> Value {
        json!({"at": "2026-11-20T13:42:48Z", "what": what, "version": version, "message": message})
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (a, b, c) = (
            event("promoted", "2", "x"),
            event("stepped", "2", "y"),
            event("settled", "2", "z"),
        );
        let with = |events: &[&Value]| json!({"status": {"history": events}});
        let now = with(&[&a, &b, &c]);
        assert_eq!(new_events(&with(&[&a]), &now), [&b, &c]);
        assert_eq!(new_events(&now, &now), Vec::<&Value>::new());
        assert_eq!(new_events(&json!({}), &now).len(), 3);
    }

    #[test]
    fn a_rollout_is_over_when_it_settles_goes_back_or_waits_for_a_person() {
        let rule = json!({"name": "r", "version": "2", "share": "10%"});
        let release = |rules: &[&Value], version: &str, phase: &str, waits: &str, held: usize| {
            let held: Vec<Value> = (0..held).map(|_| json!({"version": "2"})).collect();
            json!({"spec": {"version": version, "rules": rules},
                "status": {"held": held, "rules": [{"name": "r", "phase": phase, "waitsFor": waits}]}})
        };
        let settled = event("settled", "2", "all run 2");
        let back = event(
            "rolled-back",
            "2",
            "all goes back to 1: 3 of 3 tasks failed",
        );
        let person = event(
            "rolled-back",
            "1",
            "the rollout was ended on request; all go to 1",
        );
        let stepped = event("stepped", "2", "from 1% to 10%");
        let mut table = String::new();
        for (what, release, events) in [
            (
                "rolls",
                release(&[&rule], "1", "Rolling", "24 of 50", 0),
                vec![&stepped],
            ),
            (
                "rolls on, a cell back",
                release(&[&rule], "1", "Rolling", "24 of 50", 1),
                vec![],
            ),
            ("settled", release(&[], "2", "", "", 0), vec![&settled]),
            (
                "settled but a cell",
                release(&[&rule], "1", "Settled", "", 1),
                vec![&settled],
            ),
            (
                "settled unseen",
                release(&[&rule], "1", "Settled", "", 0),
                vec![],
            ),
            ("guard", release(&[], "1", "", "", 0), vec![&back]),
            ("person", release(&[], "1", "", "", 0), vec![&person]),
            (
                "person needed",
                release(
                    &[&rule],
                    "1",
                    "Rolling",
                    "a person: there is no further step",
                    0,
                ),
                vec![],
            ),
        ] {
            let end = end_of(&release, &events, "2", "");
            let end = end.map_or_else(|| "goes on".to_owned(), |(end, s)| format!("{end:?}: {s}"));
            table += &format!("{what}: {end}\n");
        }
        expect_test::expect![[r#"
            rolls: goes on
            rolls on, a cell back: goes on
            settled: Good: has settled
            settled but a cell: WentBack: has settled, but for 1 cell that went back
            settled unseen: Good: has settled
            guard: WentBack: was taken off: all goes back to 1: 3 of 3 tasks failed
            person: WentBack: was taken off: the rollout was ended on request; all go to 1
            person needed: Good: is good at 10%, as far as it was asked to go
        "#]]
        .assert_eq(&table);
    }

    #[test]
    fn where_it_stands_is_one_line() {
        let release = super::super::releases::tests::release();
        expect_test::expect![
            "10%: 24 of 50 tasks of this step have ended; 3 of 120 failed (before: 9 of 9,000)"
        ]
        .assert_eq(&standing(&release, "1.5.0", "vendor=Contoso,firmware<2.0"));
    }
}
