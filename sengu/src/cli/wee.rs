//! `sengu wee upgrade`: execution environments start again as the program that is installed now, one by one, so that the
//! others carry the work meanwhile. It stops at the first that does not come back.

use super::views::{number, text};
use super::{Context, nouns, wees};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, say};
use anyhow::bail;
use sengu_model::quantity;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// For execution environments
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start execution environments again as the program that is installed now, one by one
    ///
    /// Each drains, starts again, and must be back with its pools before the next one goes. It stops at the first that
    /// does not come back (exit code 1). Those in the process of logic are left out: they go with it.
    ///
    /// Example: sengu wee upgrade --all
    Upgrade {
        /// wee/NAME or NAME
        #[arg(value_name = "WEE", required_unless_present = "all")]
        wees: Vec<String>,
        /// All that are in touch
        #[arg(long, conflicts_with = "wees")]
        all: bool,
        /// For each of them: tasks in hand end first
        #[arg(long, value_name = "10m", default_value = "10m")]
        timeout: quantity::Duration,
    },
}

/// What they say of themselves is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A server that cannot be reached this long is given up.
const SERVER_AWAY_MAX: Duration = Duration::from_secs(60);

pub async fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let Verb::Upgrade {
        wees: words,
        all,
        timeout,
    } = &args.verb;
    let mut client = context.client()?;
    let known = in_touch(&mut client).await?;
    let names = if *all {
        known.iter().map(|w| text(w, "/name")).collect()
    } else {
        nouns::wees(words)?
    };
    for name in &names {
        if !known.iter().any(|w| text(w, "/name") == *name) {
            bail!("no execution environment {name:?} is in touch: sengu get wees");
        }
    }
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut exit = Exit::Ok;
    let mut upgraded = 0;
    for (i, name) in names.iter().enumerate() {
        // As it is now: the ones before it may have taken a while.
        let known = in_touch(&mut client).await?;
        let before = known.iter().find(|w| text(w, "/name") == *name);
        if before.is_some_and(is_embedded) {
            let name = output::safe(name);
            say(&format!(
                "wee/{name} skipped: it is in the process of logic; start sengu again to upgrade it"
            ));
            if !*all {
                exit = Exit::NotAsWanted;
            }
            continue;
        }
        let limit = Duration::from_millis(timeout.ms);
        let result = tokio::select! {
            result = upgrade(&mut client, name, before, limit) => result?,
            _ = &mut interrupt => {
                say(&format!("wee/{} goes on by itself", output::safe(name)));
                return Ok(Exit::Interrupted);
            }
        };
        match result {
            Ok(sentence) => {
                upgraded += 1;
                output::print_line(&output::safe(&format!("wee/{name} {sentence}")));
            }
            Err(why) => {
                let left = output::count((names.len() - i - 1) as u64, "other");
                say(&output::safe(&format!(
                    "wee/{name} did not come back within {timeout}: {why}; {left} left alone"
                )));
                return Ok(Exit::NotAsWanted);
            }
        }
    }
    if upgraded == 0 && *all {
        say("there was none to upgrade");
    }
    Ok(exit)
}

fn is_embedded(wee: &Value) -> bool {
    wee.get("embedded") == Some(&Value::Bool(true))
}

/// Has one start again and waits for it: how it went, or what is missing when the time is over.
async fn upgrade(
    client: &mut Client,
    name: &str,
    before: Option<&Value>,
    limit: Duration,
) -> anyhow::Result<Result<String, String>> {
    let path = format!("/v1/wees/{}/upgrade", encode(name));
    let began = Instant::now();
    let asked: Value = client.post(&path, &[], &json!({})).await?;
    let before = before.unwrap_or(&asked);
    say(&output::safe(&format!("wee/{name} drains")));
    let mut missing = String::new();
    loop {
        let known = in_touch(client).await?;
        let now = known.iter().find(|w| text(w, "/name") == name);
        match unmet(before, now) {
            None => {
                let (from, to) = (
                    text(before, "/sengu_version"),
                    now.map(|n| text(n, "/sengu_version")),
                );
                let to = to.unwrap_or_default();
                let took = output::span(u64::try_from(began.elapsed().as_millis()).unwrap_or(0));
                return Ok(Ok(if from == to {
                    format!("started again as {to} in {took}")
                } else {
                    format!("upgraded from {from} to {to} in {took}")
                }));
            }
            Some(why) if why != missing => {
                say(&output::safe(&format!("wee/{name}: {why}")));
                missing = why;
            }
            Some(_) => {}
        }
        if began.elapsed() >= limit {
            return Ok(Err(missing));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What keeps an execution environment from being back as it was; none when it is.
fn unmet(before: &Value, now: Option<&Value>) -> Option<String> {
    let Some(now) = now else {
        return Some("it is away".to_owned());
    };
    if number(now, "/life") == number(before, "/life") {
        return Some("it has not begun a new life yet".to_owned());
    }
    let flag = |pointer: &str| now.pointer(pointer) == Some(&Value::Bool(true));
    let wanted = |pointer: &str| before.pointer(pointer) == Some(&Value::Bool(true));
    if flag("/spec/cordoned") && !wanted("/spec/cordoned") {
        return Some("it takes no tasks yet".to_owned());
    }
    let able = |wee: &Value| {
        let pools = wees::pools(wee).iter();
        pools
            .filter(|p| text(p, "/broken").is_empty())
            .map(|p| format!("{}@{}", text(p, "/kind"), text(p, "/version")))
            .collect::<BTreeSet<_>>()
    };
    let (had, has) = (able(before), able(now));
    let missing: Vec<&str> = had.difference(&has).map(String::as_str).collect();
    if missing.is_empty() {
        return None;
    }
    let broken = wees::pools(now).iter().find_map(|p| {
        let name = format!("{}@{}", text(p, "/kind"), text(p, "/version"));
        let why = text(p, "/broken");
        (!why.is_empty() && had.contains(&name)).then(|| format!(" ({name}: {why})"))
    });
    let broken = broken.unwrap_or_default();
    Some(format!("it cannot run {} yet{broken}", missing.join(", ")))
}

/// What the execution environments say of themselves now; waits for a server that is away.
///
/// # Errors
/// When the server refuses, or stays away.
pub async fn in_touch(client: &mut Client) -> anyhow::Result<Vec<Value>> {
    let since = Instant::now();
    loop {
        match client.get::<Value>("/v1/top", &[]).await {
            Ok(mut top) => {
                let wees = top.get_mut("wees").map(Value::take);
                return Ok(match wees {
                    Some(Value::Array(wees)) => wees,
                    _ => Vec::new(),
                });
            }
            Err(e) if e.passing() && since.elapsed() < SERVER_AWAY_MAX => {
                tokio::time::sleep(LOOK_EVERY).await;
                client.refresh();
            }
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_back_when_it_can_do_what_it_could_before() {
        let pool = |kind: &str, broken: Option<&str>| json!({"kind": kind, "version": "1", "broken": broken});
        let wee = |life: u64, cordoned: bool, pools: &[Value]| json!({"life": life, "spec": {"cordoned": cordoned}, "pools": pools});
        let both = [pool("pdu", None), pool("ssh", None)];
        let before = wee(
            1,
            false,
            &[both[0].clone(), both[1].clone(), pool("old", Some("x"))],
        );
        let mut table = String::new();
        for now in [
            None,
            Some(wee(1, false, &both)),
            Some(wee(2, true, &both)),
            Some(wee(2, false, &[])),
            Some(wee(
                2,
                false,
                &[pool("pdu", None), pool("ssh", Some("no program"))],
            )),
            Some(wee(2, false, &both)),
        ] {
            table += &format!("{}\n", unmet(&before, now.as_ref()).unwrap_or_default());
        }
        expect_test::expect![[r#"
            it is away
            it has not begun a new life yet
            it takes no tasks yet
            it cannot run pdu@1, ssh@1 yet
            it cannot run ssh@1 yet (ssh@1: no program)

        "#]]
        .assert_eq(&table);
        // It was cordoned before, so it need not take tasks to be back.
        assert_eq!(
            unmet(&wee(1, true, &both), Some(&wee(2, true, &both))),
            None
        );
    }
}
