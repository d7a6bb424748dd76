//! `sengu promote`: moves a version of a worker to a part of the targets, watched by a guard.

use super::nouns::{self, Noun};
use super::rollout::{self, End};
use super::views::{number, text};
use super::{Context, releases};
use crate::client::{Client, ClientError, encode};
use crate::exit::Exit;
use crate::output::{self, Format, FormatArg, say};
use anyhow::{Context as _, bail};
use sengu_model::Selector;
use sengu_model::quantity::{Duration, Share};
use serde_json::{Map, Value, json};

/// Move a version of a worker to a part of the targets
///
/// The first rule that matches a task wins; the rest goes to the version that no rule names. The share is of the
/// targets, and always the same ones. A guard compares the new version with the one it replaces, for each vendor,
/// model, firmware and action; what is worse goes back by itself.
///
/// Examples:
///
///   sengu promote redfish@1.5.0 --where 'vendor=Contoso,firmware<2.0' --share 10%
///   sengu promote redfish@1.5.0 --auto --wait
///   sengu promote redfish@1.5.0 --shadow
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The version: redfish@1.5.0
    #[arg(value_name = "KIND@VERSION")]
    version: String,
    /// Only these: labels, fields, facts and `action` (default: every task)
    #[arg(
        long = "where",
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
    /// Part of the targets (default: all, or the first of --steps)
    #[arg(long, value_name = "10%", conflicts_with = "auto")]
    share: Option<Share>,
    /// Shares one after the other, each after a good window
    #[arg(
        long,
        value_name = "1%,10%,..",
        value_delimiter = ',',
        conflicts_with = "auto"
    )]
    steps: Vec<Share>,
    /// The same as --steps 1%,10%,50%,100%
    #[arg(long)]
    auto: bool,
    /// Tasks that must have ended well enough before the next step (default: 50)
    #[arg(long, value_name = "N", conflicts_with = "no_guard")]
    window: Option<u32>,
    /// Each step lasts at least this long (default: 30s)
    #[arg(long, value_name = "30s", conflicts_with = "no_guard")]
    hold: Option<Duration>,
    /// Failures borne beyond those of the version that is replaced (default: 2%)
    #[arg(long, value_name = "2%", conflicts_with = "no_guard")]
    max_failures: Option<Share>,
    /// Times the latency of the version that is replaced; 0: not watched (default: 2.0)
    #[arg(long, value_name = "2.0", conflicts_with = "no_guard")]
    max_latency: Option<f64>,
    /// Fewer failures than this never roll back (default: 3)
    #[arg(long, value_name = "N", conflicts_with = "no_guard")]
    min_failures: Option<u32>,
    /// Nobody watches
    #[arg(long)]
    no_guard: bool,
    /// Only run read actions beside the version in use, and compare: sengu rollout report
    #[arg(long, conflicts_with_all = ["steps", "auto", "wait"])]
    shadow: bool,
    /// Take back whatever other rollout of the kind is on its way
    #[arg(long)]
    replace: bool,
    /// Wait until it has settled (exit code 0) or something went back (exit code 1)
    #[arg(long)]
    wait: bool,
    /// Wait at most this long (exit code 5); the rollout goes on
    #[arg(long, value_name = "1h", requires = "wait")]
    timeout: Option<Duration>,
    /// Check it here, show what would be sent, and move nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: FormatArg,
}

/// What `--auto` means.
const AUTO: [f64; 4] = [1.0, 10.0, 50.0, 100.0];
/// A Release whose numbers change all the time is read again this often before a move is given up.
const ROUNDS_MAX: u32 = 10;

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let (kind, version) = nouns::worker_version(&args.version)?;
    let wanted = wanted(args, &version)?;
    let client = context.client()?;
    if args.dry_run {
        return dry_run(args, &client, &kind, &version, wanted).await;
    }
    let (before, release) = move_release(&client, &kind, "promote", wanted).await?;
    let moved = number(&before, "/metadata/revision") != number(&release, "/metadata/revision");
    if args.output.format.for_people() {
        let line = releases::moved(&release, &version, &args.selector);
        output::print_line(&output::safe(&line));
    } else if args.output.format == Format::Name {
        output::print_line(&format!("release/{}", output::safe(&kind)));
    } else if !args.wait {
        output::print_value(args.output.format, &release)?;
    }
    if !moved {
        say("it was so already: nothing was moved");
        return Ok(Exit::Ok);
    }
    if !args.wait {
        if args.output.format.for_people() {
            let what = if args.shadow { "report" } else { "status -w" };
            say(&format!("follow it with: sengu rollout {what} {kind}"));
        }
        return Ok(Exit::Ok);
    }
    let ended = rollout::follow(&client, release, &version, &args.selector, args.timeout).await?;
    if let (Format::Json | Format::Yaml, Some(release)) = (args.output.format, &ended.release) {
        output::print_value(args.output.format, release)?;
    }
    Ok(match ended.end {
        End::Good => Exit::Ok,
        End::WentBack => Exit::NotAsWanted,
        End::Timeout => Exit::Timeout,
        End::Interrupted => Exit::Interrupted,
    })
}

/// Checks what was said, and puts it as the API wants it.
fn wanted(args: &Args, version: &str) -> anyhow::Result<Map<String, Value>> {
    args.selector.parse::<Selector>().context("--where")?;
    let (share, steps) = shares(args.share, &args.steps, args.auto)?;
    let mut wanted = Map::new();
    wanted.insert("version".to_owned(), json!(version));
    let mut put = |key: &str, value: Value| wanted.insert(key.to_owned(), value);
    if !args.selector.is_empty() {
        put("where", json!(args.selector));
    }
    put("share", json!(share));
    if !steps.is_empty() {
        put("steps", json!(steps));
    }
    if args.no_guard {
        put("unguarded", json!(true));
    } else if let Some(guard) = guard(args)? {
        put("guard", guard);
    }
    for (key, flag) in [("shadow", args.shadow), ("replace", args.replace)] {
        if flag {
            put(key, json!(true));
        }
    }
    Ok(wanted)
}

/// The first share and those that follow. What `--share` says comes before `--steps`; without it the first step does.
fn shares(
    share: Option<Share>,
    steps: &[Share],
    auto: bool,
) -> anyhow::Result<(Share, Vec<Share>)> {
    let mut all: Vec<Share> = if auto {
        AUTO.map(Share::Percent).to_vec()
    } else {
        // Said twice is meant once.
        let steps = steps.iter().copied();
        share.into_iter().chain(steps).collect()
    };
    if share.is_some() && all.len() > 1 && all[0] == all[1] {
        all.remove(0);
    }
    if all.is_empty() {
        all.push(Share::Percent(100.0));
    }
    let mut last = 0.0;
    for share in &all {
        match share {
            Share::Percent(percent) if *percent > last => last = *percent,
            Share::Percent(_) if last == 0.0 => bail!("a share of {share} is nothing"),
            Share::Percent(_) => bail!("each step must be greater than the one before: {share}"),
            Share::Count(_) => bail!("{share}: say a percentage, such as 10%"),
        }
    }
    let first = all.remove(0);
    Ok((first, all))
}

/// Only what was said; the server adds its defaults.
fn guard(args: &Args) -> anyhow::Result<Option<Value>> {
    let mut guard = Map::new();
    if let Some(window) = args.window {
        if window == 0 {
            bail!("--window: at least 1");
        }
        guard.insert("window".to_owned(), json!(window));
    }
    if let Some(hold) = args.hold {
        guard.insert("hold".to_owned(), json!(hold));
    }
    if let Some(failures) = args.max_failures {
        let Share::Percent(percent) = failures else {
            bail!("--max-failures: say a percentage, such as 2%");
        };
        guard.insert("maxFailures".to_owned(), json!(percent / 100.0));
    }
    if let Some(latency) = args.max_latency {
        if !(0.0..=1_000.0).contains(&latency) {
            bail!("--max-latency: 0 (not watched) to 1000");
        }
        guard.insert("maxLatency".to_owned(), json!(latency));
    }
    if let Some(failures) = args.min_failures {
        guard.insert("minFailures".to_owned(), json!(failures));
    }
    Ok((!guard.is_empty()).then_some(Value::Object(guard)))
}

/// Moves a Release as it was read: of two moves at once one is told. Numbers that sengu itself writes into the status
/// meanwhile do not count as a move. Gives the Release before and after.
///
/// # Errors
/// `conflict` when somebody moved it, or whatever the server refuses.
pub async fn move_release(
    client: &Client,
    kind: &str,
    verb: &str,
    mut wanted: Map<String, Value>,
) -> anyhow::Result<(Value, Value)> {
    let path = format!("/v1/releases/{}/{verb}", encode(kind));
    let record = Noun::Release.path(kind);
    let mut before: Value = client.get(&record, &[]).await?;
    let mut round = 0;
    loop {
        round += 1;
        let revision = number(&before, "/metadata/revision");
        wanted.insert("revision".to_owned(), json!(revision));
        let conflict = match client.post::<Value>(&path, &[], &wanted).await {
            Ok(after) => return Ok((before, after)),
            Err(ClientError::Problem(p)) if p.code == sengu_model::problem::Code::Conflict => p,
            Err(e) => return Err(e.into()),
        };
        let now: Value = client.get(&record, &[]).await?;
        if now.get("spec") != before.get("spec") || round >= ROUNDS_MAX {
            let by = releases::list(&now, "/status/history").last();
            let by = by.map(releases::event_line).unwrap_or_default();
            return Err(
                anyhow::Error::from(ClientError::Problem(conflict)).context(format!(
                    "release/{kind} was moved meanwhile ({by}); nothing was changed"
                )),
            );
        }
        before = now;
    }
}

/// What can be told without moving anything. How many targets a rule would touch is not counted by the server.
async fn dry_run(
    args: &Args,
    client: &Client,
    kind: &str,
    version: &str,
    wanted: Map<String, Value>,
) -> anyhow::Result<Exit> {
    let versions = super::workers::list(client).await?;
    let known: Vec<&Value> = versions
        .iter()
        .filter(|v| text(v, "/kind") == kind)
        .collect();
    let name = format!("{kind}@{version}");
    let found = known.iter().find(|v| text(v, "/name") == name);
    let Some(found) = found else {
        let names: Vec<String> = known.iter().map(|v| text(v, "/version")).collect();
        let problem = sengu_model::Problem::new(
            sengu_model::problem::Code::UnknownVersion,
            format!(
                "version {version:?} of {kind} is not known (known: {})",
                names.join(", ")
            ),
        );
        return Err(ClientError::Problem(Box::new(problem)).into());
    };
    let release: Value = client.get(&Noun::Release.path(kind), &[]).await?;
    if !args.output.format.for_people() {
        let sent = json!({"dryRun": true, "release": kind, "promote": wanted});
        output::print_value(args.output.format, &sent)?;
        return Ok(Exit::Ok);
    }
    let steps: Vec<String> = releases::list(&Value::Object(wanted.clone()), "/steps")
        .iter()
        .map(super::views::scalar)
        .collect();
    let then = if steps.is_empty() {
        String::new()
    } else {
        format!(", then {}", steps.join(", "))
    };
    let word = if args.shadow {
        "would shadow"
    } else {
        "would get"
    };
    output::print_line(&output::safe(&format!(
        "release/{kind}: {version} {word} {}{then} of {} (rest {})",
        wanted
            .get("share")
            .map(super::views::scalar)
            .unwrap_or_default(),
        releases::whom(&args.selector),
        text(&release, "/spec/version"),
    )));
    let targets = output::count(number(found, "/targets"), "target");
    say(&format!(
        "{kind} drives {targets}; how many of them match is not counted before it is moved"
    ));
    for line in super::workers::complaints(std::slice::from_ref(*found)) {
        say(&line);
    }
    let held = releases::list(&release, "/status/held").iter();
    let held: Vec<&Value> = held.filter(|h| text(h, "/version") == version).collect();
    for cell in &held {
        let words = releases::cell_words(cell.get("cell"));
        let line = format!(
            "tried again: {words}, rolled back before: {}",
            text(cell, "/why")
        );
        say(&output::safe(&line));
    }
    if !args.replace {
        let others = releases::list(&release, "/status/rules")
            .iter()
            .filter(|s| {
                text(s, "/version") != version
                    && matches!(text(s, "/phase").as_str(), "Rolling" | "Unguarded")
            });
        for other in others {
            say(&output::safe(&format!(
                "it would be refused: {kind}@{} is on its way; roll it back first, or say --replace",
                text(other, "/version")
            )));
        }
    }
    say("dry run: nothing was moved");
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// The request that a command line becomes, or what is wrong with it.
    fn request(words: &str) -> String {
        let words = ["promote", "redfish@1.5.0"]
            .into_iter()
            .chain(words.split_whitespace());
        let line = match Line::try_parse_from(words) {
            Ok(line) => line,
            Err(e) => return e.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        match wanted(&line.args, "1.5.0") {
            Ok(wanted) => Value::Object(wanted).to_string(),
            Err(e) => format!("{e:#}"),
        }
    }

    #[test]
    fn what_is_said_becomes_one_request() {
        let mut table = String::new();
        for words in [
            "",
            "--share 10%",
            "--where vendor=Contoso,firmware<2.0 --share 10%",
            "--auto",
            "--steps 1%,10%",
            "--share 5% --steps 10%,100%",
            "--share 1% --steps 1%,10%",
            "--steps 10%,1%",
            "--steps 10%,10%",
            "--share 20",
            "--share 0%",
            "--share 101%",
            "--auto --share 5%",
            "--where a=",
            "--where a!",
            "--window 20 --hold 5s --max-failures 5% --max-latency 1.5 --min-failures 2",
            "--max-failures 5",
            "--max-latency -1",
            "--window 0",
            "--no-guard",
            "--no-guard --window 5",
            "--shadow",
            "--shadow --wait",
            "--shadow --share 5%",
            "--replace",
            "--timeout 5s",
        ] {
            table += &format!("{words}\n    {}\n", request(words));
        }
        expect_test::expect![[r#"

                {"share":"100%","version":"1.5.0"}
            --share 10%
                {"share":"10%","version":"1.5.0"}
            --where vendor=Contoso,firmware<2.0 --share 10%
                {"share":"10%","version":"1.5.0","where":"vendor=Contoso,firmware<2.0"}
            --auto
                {"share":"1%","steps":["10%","50%","100%"],"version":"1.5.0"}
            --steps 1%,10%
                {"share":"1%","steps":["10%"],"version":"1.5.0"}
            --share 5% --steps 10%,100%
                {"share":"5%","steps":["10%","100%"],"version":"1.5.0"}
            --share 1% --steps 1%,10%
                {"share":"1%","steps":["10%"],"version":"1.5.0"}
            --steps 10%,1%
                each step must be greater than the one before: 1%
            --steps 10%,10%
                each step must be greater than the one before: 10%
            --share 20
                20: say a percentage, such as 10%
            --share 0%
                a share of 0% is nothing
            --share 101%
                error: invalid value '101%' for '--share <10%>': "101%" is no share: write a count such as 20 or a percentage such as 10%
            --auto --share 5%
                error: the argument '--auto' cannot be used with '--share <10%>'
            --where a=
                {"share":"100%","version":"1.5.0","where":"a="}
            --where a!
                --where: selector term "a!": known operators: = != < <= > >= ~ in notin, or a bare key
            --window 20 --hold 5s --max-failures 5% --max-latency 1.5 --min-failures 2
                {"guard":{"hold":"5s","maxFailures":0.05,"maxLatency":1.5,"minFailures":2,"window":20},"share":"100%","version":"1.5.0"}
            --max-failures 5
                --max-failures: say a percentage, such as 2%
            --max-latency -1
                error: unexpected argument '-1' found
            --window 0
                --window: at least 1
            --no-guard
                {"share":"100%","unguarded":true,"version":"1.5.0"}
            --no-guard --window 5
                error: the argument '--no-guard' cannot be used with '--window <N>'
            --shadow
                {"shadow":true,"share":"100%","version":"1.5.0"}
            --shadow --wait
                error: the argument '--shadow' cannot be used with '--wait'
            --shadow --share 5%
                {"shadow":true,"share":"5%","version":"1.5.0"}
            --replace
                {"replace":true,"share":"100%","version":"1.5.0"}
            --timeout 5s
                error: the following required arguments were not provided:
        "#]].assert_eq(&table);
    }
}
