//! Waiting for a run: through restarts of the server, to a limit; and how its end is told.

use super::progress::{Loudness, Progress};
use super::{describe, views};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::output::{self, Format, Paint, Tone, say};
use sengu_model::quantity;
use serde_json::Value;
use std::time::{Duration, Instant};
use views::{number, text};

/// A server that cannot be reached this long is given up, the run is not.
const SERVER_AWAY_MAX: Duration = Duration::from_secs(60);
const SERVER_AWAY_PAUSE: Duration = Duration::from_millis(500);
/// Failures printed after a run; the rest is counted and the way to them is said.
const FAILURES_SHOWN_MAX: usize = 50;

/// Flags of the verbs that make a run.
#[derive(Debug, Clone, clap::Args)]
pub struct WaitArgs {
    /// Wait until the run is over (this is the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Do not wait: print the name of the run and leave
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// Wait at most this long (exit code 5); the run goes on
    #[arg(long, value_name = "5m", conflicts_with = "no_wait")]
    timeout: Option<quantity::Duration>,
    /// Exit 0 also when targets failed
    #[arg(long)]
    exit_zero: bool,
}

impl WaitArgs {
    pub fn waits(&self) -> bool {
        !self.no_wait
    }

    pub fn exit_zero(&self) -> bool {
        self.exit_zero
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.timeout
            .map(|d| Instant::now() + Duration::from_millis(d.ms))
    }
}

#[derive(Debug)]
pub enum Waited {
    Over(Value),
    Timeout(Value),
    Interrupted,
}

/// Waits until the run `name` is over.
///
/// # Errors
/// When the server refuses, or stays away longer than a minute.
pub async fn for_run(
    client: &mut Client,
    first: Value,
    deadline: Option<Instant>,
    progress: &mut Progress,
) -> anyhow::Result<Waited> {
    let path = format!("/v1/runs/{}", encode(&text(&first, "/metadata/name")));
    let mut run = first;
    let mut away_since: Option<Instant> = None;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        progress.show(&run);
        if over(&run) {
            return Ok(Waited::Over(run));
        }
        let mut wait = Duration::from_millis(if progress.moving() { 200 } else { 2_000 });
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::Timeout(run));
            }
            wait = wait.min(left.max(Duration::from_millis(1)));
        }
        let wait = format!("{}ms", wait.as_millis());
        let query = [("wait", wait.as_str())];
        let answer = tokio::select! {
            answer = client.get::<Value>(&path, &query) => answer,
            _ = &mut interrupt => return Ok(Waited::Interrupted),
        };
        match answer {
            Ok(now) => {
                run = now;
                if away_since.take().is_some() {
                    progress.remark("the server is back");
                }
            }
            Err(e) if e.passing() => {
                let since = *away_since.get_or_insert_with(|| {
                    progress.remark("the server does not answer; the run is kept, waiting for it");
                    Instant::now()
                });
                if since.elapsed() > SERVER_AWAY_MAX {
                    return Err(e.into());
                }
                tokio::select! {
                    () = tokio::time::sleep(SERVER_AWAY_PAUSE) => {}
                    _ = &mut interrupt => return Ok(Waited::Interrupted),
                }
                client.refresh();
            }
            Err(e) => return Err(e.into()),
        }
    }
}

pub fn over(run: &Value) -> bool {
    matches!(
        text(run, "/status/phase").as_str(),
        "Succeeded" | "Failed" | "Cancelled"
    )
}

/// Targets of a run that did not become done.
pub fn not_done(run: &Value) -> u64 {
    [
        "failed",
        "unknown",
        "cancelled",
        "expired",
        "held",
        "waiting",
        "active",
    ]
    .iter()
    .map(|k| number(run, &format!("/status/counts/{k}")))
    .sum()
}

/// What a verb that made a run does with it.
pub struct Follow<'a> {
    pub args: &'a WaitArgs,
    pub format: Format,
}

impl Follow<'_> {
    /// Waits if asked, tells how it ended, and gives the exit code and the run if it is over.
    pub async fn follow(
        &self,
        client: &mut Client,
        run: Value,
    ) -> anyhow::Result<(Exit, Option<Value>)> {
        let name = text(&run, "/metadata/name");
        if !self.args.waits() {
            match self.format {
                Format::Json | Format::Yaml => output::print_value(self.format, &run)?,
                _ => output::print_line(&format!("run/{}", output::safe(&name))),
            }
            say(&format!("follow it with: sengu describe run/{name}"));
            return Ok((Exit::Ok, None));
        }
        if self.format == Format::Name {
            output::print_line(&format!("run/{}", output::safe(&name)));
        } else {
            let targets = output::count(number(&run, "/status/targets"), "target");
            say(&format!(
                "run {name}: {} on {targets}",
                text(&run, "/spec/action")
            ));
        }
        let mut progress = Progress::new(Loudness::Normal);
        let waited = for_run(client, run, self.args.deadline(), &mut progress).await;
        progress.end();
        match waited? {
            Waited::Interrupted => {
                say(&format!(
                    "the run goes on: sengu describe run/{name}, sengu cancel {name}"
                ));
                Ok((Exit::Interrupted, None))
            }
            Waited::Timeout(run) => {
                let ended = super::progress::ended(&run);
                let all = number(&run, "/status/targets");
                say(&format!(
                    "not over in time ({ended} of {all} ended); the run goes on: sengu describe run/{name}"
                ));
                Ok((Exit::Timeout, None))
            }
            Waited::Over(run) => {
                let exit = match not_done(&run) {
                    0 => Exit::Ok,
                    _ if self.args.exit_zero() => Exit::Ok,
                    _ => Exit::NotAsWanted,
                };
                Ok((exit, Some(run)))
            }
        }
    }

    /// Prints the end of a run: failures with reasons as data, the sum as talk.
    pub async fn tell(&self, client: &Client, run: &Value) -> anyhow::Result<()> {
        let name = text(run, "/metadata/name");
        match self.format {
            Format::Json | Format::Yaml => output::print_value(self.format, run)?,
            Format::Name => {}
            Format::Table | Format::Wide => {
                let failures = match not_done(run) {
                    0 => Vec::new(),
                    _ => describe::failures(client, &name, FAILURES_SHOWN_MAX).await?,
                };
                if !failures.is_empty() {
                    output::print(&describe::failures_table(&failures).take(Paint::stdout()));
                    let more = not_done(run).saturating_sub(failures.len() as u64);
                    if more > 0 {
                        say(&format!(
                            "and {more} more: sengu tasks --run {name} --status failed,unknown"
                        ));
                    }
                }
            }
        }
        say(&sentence(run, Paint::stderr()));
        if not_done(run) > 0 {
            say(&format!("run the unfinished again: sengu retry {name}"));
        }
        Ok(())
    }
}

/// `run r-.. succeeded in 12.4s: 132 done (120 changed), 4 retries`.
pub fn sentence(run: &Value, paint: Paint) -> String {
    let phase = text(run, "/status/phase");
    let n = |key: &str| number(run, &format!("/status/counts/{key}"));
    let read = n("changed") == 0 && text(run, "/spec/action") == "observe";
    let changed = if read {
        String::new()
    } else {
        format!(" ({} changed)", output::thousands(n("changed")))
    };
    let mut parts = vec![format!("{} done{changed}", output::thousands(n("done")))];
    for key in ["failed", "unknown", "cancelled", "expired"] {
        if n(key) > 0 {
            let tone = if key == "failed" {
                Tone::Bad
            } else {
                Tone::Warn
            };
            parts.push(paint.text(tone, &format!("{} {key}", output::thousands(n(key)))));
        }
    }
    if n("retries") > 0 {
        parts.push(output::count(n("retries"), "attempt") + " repeated");
    }
    let phase_word = paint.text(views::phase_tone(&phase), &phase.to_lowercase());
    let message = text(run, "/status/message");
    let why = match phase.as_str() {
        "Succeeded" => String::new(),
        _ if message.is_empty() => String::new(),
        _ => format!("\n{}", output::safe(&message)),
    };
    format!(
        "run {} {phase_word} in {}: {}{why}",
        output::safe(&text(run, "/metadata/name")),
        views::took(run),
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_end_is_told_in_one_sentence() {
        let run = json!({"metadata":{"name":"r-1"},"spec":{"action":"power.set"},
            "status":{"phase":"Failed","message":"budget spent: 3 > 2","targets":10,
            "startedAt":"2026-01-01T00:00:00Z","endedAt":"2026-01-01T00:00:02.5Z",
            "counts":{"done":6,"changed":5,"failed":3,"cancelled":1,"retries":1}}});
        expect_test::expect![[r#"
            run r-1 failed in 2.5s: 6 done (5 changed), 3 failed, 1 cancelled, 1 attempt repeated
            budget spent: 3 > 2"#]]
        .assert_eq(&sentence(&run, Paint { on: false }));
        assert_eq!(not_done(&run), 4);
    }
}
