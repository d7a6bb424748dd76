//! A version that fails all its tasks is promoted to everything, watched, while a run goes over the whole fleet: how many
//! targets it touches before it goes back by itself. Counted by the targets.

use crate::Bench;
use crate::http::Client;
use crate::releases::push;
use crate::report::{Report, Wanted};
use crate::server::Server;
use crate::witness::{self, Conduct, Listener};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const GOOD: &str = "1.0.0";
const BAD: &str = "2.0.0";
const RUN_MAX: Duration = Duration::from_secs(120);
const ROLLBACK_MAX: Duration = Duration::from_secs(60);

/// One way for the version and the run to meet.
struct Case {
    name: &'static str,
    action: &'static str,
    sleep_ms: u64,
    /// Promoted before the run begins, and else when so much of it is done.
    after: Option<f64>,
}

const CASES: [Case; 3] = [
    Case {
        name: "promoted before the run",
        action: "observe",
        sleep_ms: 0,
        after: None,
    },
    Case {
        name: "promoted amid a run",
        action: "observe",
        sleep_ms: 250,
        after: Some(0.2),
    },
    Case {
        name: "promoted amid a run of changes",
        action: "once",
        sleep_ms: 250,
        after: Some(0.2),
    },
];

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let targets = bench.size(10_000, 2_000);
    for case in &CASES {
        one(bench, report, case, targets).with_context(|| case.name)?;
    }
    Ok(())
}

fn one(bench: &Bench, report: &mut Report, case: &Case, targets: usize) -> Result<()> {
    let listener = Listener::start()?;
    let server = Server::start(bench)?;
    let folder = tempfile::tempdir_in(&bench.scratch)?;
    push(
        &server,
        &witness::image(folder.path(), GOOD, Conduct::Good)?,
    )?;
    push(&server, &witness::image(folder.path(), BAD, Conduct::Bad)?)?;
    witness::apply(&server, targets, &listener)?;
    let mut client = server.client()?;
    // The good version has a record and is warm.
    let first = begin(&mut client, "observe", 0, Some(1_000))?;
    over(&mut client, &first)?;
    listener.forget();

    let (run, promoted) = match case.after {
        None => {
            let promoted = promote(&mut client)?;
            let run = begin(&mut client, case.action, case.sleep_ms, None)?;
            (run, promoted)
        }
        Some(share) => {
            let run = begin(&mut client, case.action, case.sleep_ms, None)?;
            let wanted = (targets as f64 * share) as u64;
            let end = Instant::now() + RUN_MAX;
            while status(&mut client, &run)?["counts"]["done"]
                .as_u64()
                .unwrap_or(0)
                < wanted
            {
                ensure!(Instant::now() < end, "the run does not begin");
                std::thread::sleep(Duration::from_millis(10));
            }
            (run, promote(&mut client)?)
        }
    };
    let (rolled_back_ms, why) = rolled_back(&mut client, promoted)?;
    let counts = over(&mut client, &run)?;
    let met = listener.met(BAD);
    let all = listener.told();
    let executions = all.values().flatten().filter(|e| e.version == BAD).count();
    report.raw(&format!(
        "sengu-{} nan nan nan n={targets} met={met} executions={executions} rolled_back_ms={rolled_back_ms:.0} counts={counts} why={why:?}",
        case.name.replace(' ', "-")
    ));
    report.figure(
        &format!("{}: targets of {targets} that met it", case.name),
        Wanted::AtMost(targets as f64 / 100.0),
        met as f64,
        "",
    );
    report.figure(
        &format!("{}: to its rollback", case.name),
        Wanted::Nothing,
        rolled_back_ms,
        "ms",
    );
    Ok(())
}

fn begin(client: &mut Client, action: &str, sleep_ms: u64, limit: Option<u32>) -> Result<String> {
    let mut spec = json!({"action": action, "selector": format!("kind={}", witness::KIND)});
    if sleep_ms > 0 {
        spec["params"] = json!({"sleep_ms": sleep_ms});
    }
    if let Some(limit) = limit {
        spec["limit"] = json!(limit);
    }
    let created = client.post_json("/v1/runs", &spec)?;
    let name = created["metadata"]["name"]
        .as_str()
        .context("a run has a name")?;
    Ok(name.to_owned())
}

fn status(client: &mut Client, run: &str) -> Result<Value> {
    Ok(client.get(&format!("/v1/runs/{run}"))?["status"].clone())
}

/// Waits for the end of a run, however it ends; its counts.
fn over(client: &mut Client, run: &str) -> Result<Value> {
    let end = Instant::now() + RUN_MAX;
    while Instant::now() < end {
        let run = client.get(&format!("/v1/runs/{run}?wait=10s"))?;
        let phase = run["status"]["phase"].as_str().unwrap_or_default();
        if ["Succeeded", "Failed", "Cancelled"].contains(&phase) {
            return Ok(run["status"]["counts"].clone());
        }
    }
    bail!("the run is not over within {RUN_MAX:?}")
}

/// At once to all, with the guard that comes by itself; the time of the Release's own clock.
fn promote(client: &mut Client) -> Result<jiff::Timestamp> {
    let path = format!("/v1/releases/{}/promote", witness::KIND);
    let release = client.post_json(&path, &json!({"version": BAD}))?;
    event(&release, "promoted")?
        .map(|(at, _)| at)
        .context("the promotion is in the Release's history")
}

/// When the newest event of this name happened, and what it says.
fn event(release: &Value, what: &str) -> Result<Option<(jiff::Timestamp, String)>> {
    let history = release["status"]["history"].as_array();
    let found = history
        .into_iter()
        .flatten()
        .rfind(|e| e["what"] == what && e["version"] == BAD);
    let Some(found) = found else { return Ok(None) };
    let at = found["at"].as_str().context("an event has a time")?;
    let message = found["message"].as_str().unwrap_or_default();
    Ok(Some((at.parse()?, message.to_owned())))
}

fn rolled_back(client: &mut Client, promoted: jiff::Timestamp) -> Result<(f64, String)> {
    let end = Instant::now() + ROLLBACK_MAX;
    while Instant::now() < end {
        let release = client.get(&format!("/v1/records/Release/{}", witness::KIND))?;
        let back = match event(&release, "rolled-back")? {
            Some(back) => Some(back),
            None => event(&release, "cell-rolled-back")?,
        };
        if let Some((at, message)) = back {
            let ms = at.as_millisecond() - promoted.as_millisecond();
            return Ok((ms as f64, message));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let release = client.get(&format!("/v1/records/Release/{}", witness::KIND))?;
    bail!("it was not rolled back within {ROLLBACK_MAX:?}: {release}")
}
