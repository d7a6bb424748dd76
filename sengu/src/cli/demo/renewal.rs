//! The demo's release: a version that is bad on one firmware is released while everything runs, and goes back by itself
//! where it is bad. What it met is counted from the tasks, not from what was hoped.

use super::super::nouns::Noun;
use super::super::views::{number, text};
use super::super::worker::drill;
use super::report::{Released, Report};
use super::story::Story;
use super::tell::ms;
use crate::images;
use crate::output::{self, Tone};
use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KIND: &str = "redfish";
const VERSION: &str = "1.1.0";
/// Firmware of the twins of one vendor.
const BAD_FIRMWARE: &str = "3.14.1";
const SELECTOR: &str = "kind=redfish";
/// The rollout is watched this long at most.
const WATCHED_MAX: Duration = Duration::from_secs(12);
/// Smaller fleets have too few servers to tell a bad version from a bad day.
const SERVERS_MIN: u64 = 30;
const LISTED_MAX: usize = 3;

impl Story<'_> {
    pub(super) async fn renewal(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let query = [("selector", SELECTOR)];
        let targets = self
            .client
            .list::<Value>("/v1/records/Target", &query, usize::MAX)
            .await?;
        let servers = targets.items.len() as u64;
        if servers < SERVERS_MIN {
            return Ok(());
        }
        let firmware = |t: &&Value| text(t, "/status/facts/firmware") == BAD_FIRMWARE;
        let hit = targets.items.iter().filter(firmware).count() as u64;
        self.teller.section(&format!(
            "Release: {KIND} {VERSION}, bad on purpose where firmware is {BAD_FIRMWARE}, while everything runs"
        ));
        self.push().await?;
        let path = format!("/v1/releases/{KIND}/promote");
        self.teller.command(&format!(
            "sengu promote {KIND}@{VERSION} --share 10% --steps 50%,100% --window 30 --hold 500ms"
        ));
        let promote = json!({"version": VERSION, "share": "10%", "steps": ["50%", "100%"],
            "guard": {"window": 30, "hold": "500ms"}});
        self.client.post::<Value>(&path, &[], &promote).await?;
        let begun = Instant::now();
        let (mut met, mut ended) = (0, 0);
        let mut release;
        loop {
            let spec = json!({"action": "observe", "selector": SELECTOR});
            let run: Value = self.client.post("/v1/runs", &[], &spec).await?;
            let run = self.follow(run, None).await?;
            let (here, bad) = self.by_the_new(&text(&run, "/metadata/name")).await?;
            ended += here;
            met += bad;
            release = self
                .client
                .get::<Value>(&Noun::Release.path(KIND), &[])
                .await?;
            let phase = text(&release, "/status/rules/0/phase");
            if phase != "Rolling" || begun.elapsed() > WATCHED_MAX {
                break;
            }
        }
        let held = release.pointer("/status/held").and_then(Value::as_array);
        let held: Vec<String> = held
            .into_iter()
            .flatten()
            .map(|held| {
                let cell = |key: &str| text(held, &format!("/cell/{key}"));
                let (vendor, model, firmware) = (cell("vendor"), cell("model"), cell("firmware"));
                format!(
                    "{vendor} {model}, firmware {firmware}: {}",
                    text(held, "/why")
                )
            })
            .collect();
        self.teller.fact(
            "rolled out",
            &format!(
                "{} of {VERSION} in {}; {} of them failed",
                output::count(ended, "task"),
                output::span(ms(begun.elapsed())),
                output::thousands(met)
            ),
        );
        for line in held.iter().take(LISTED_MAX) {
            self.teller
                .toned("rolled back", &output::safe(line), Tone::Bad);
        }
        let top: Value = self.client.get("/v1/version", &[]).await?;
        let same = number(&top, "/epoch") == number(&report.server, "/epoch");
        let only = held.iter().all(|line| line.contains(BAD_FIRMWARE));
        let share = met as f64 * 100.0 / hit.max(1) as f64;
        let claim = format!(
            "the bad version failed {} of {} such servers ({share:.1}%), and only there it went back",
            output::thousands(met),
            output::thousands(hit)
        );
        self.claim(report, !held.is_empty() && only && met < hit, claim);
        let rest = text(&release, "/status/rules/0/phase") == "Settled";
        let claim =
            format!("all others run {VERSION}; nothing was restarted and no other task failed");
        self.claim(report, same && rest, claim);
        report.released = Some(Released {
            version: VERSION.to_owned(),
            tasks: ended,
            failed: met,
            affected: hit,
            rolled_back: held,
            ms: ms(begun.elapsed()),
        });
        Ok(())
    }

    async fn push(&mut self) -> anyhow::Result<()> {
        let folder = self.data.join(format!("{KIND}-{VERSION}"));
        drill::make(
            KIND,
            VERSION,
            Some(&format!("firmware={BAD_FIRMWARE}")),
            None,
            &folder,
        )?;
        self.teller
            .command(&format!("sengu worker push {KIND}-{VERSION}"));
        let (tar, bytes, digest) =
            tokio::task::spawn_blocking(move || images::pack(&folder, Vec::new())).await??;
        let part = futures::stream::iter([Ok(Bytes::from(tar))]);
        let query = [("digest", digest.as_str())];
        let begun = Instant::now();
        let pushed = self
            .client
            .upload::<Value>("/v1/workers", &query, part)
            .await;
        pushed.context("push the worker")?;
        self.teller.fact(
            "pushed",
            &format!(
                "{} KiB in {}",
                bytes >> 10,
                output::span(ms(begun.elapsed()))
            ),
        );
        Ok(())
    }

    /// Tasks of a run that the new version ended, and those of them that failed by the drill.
    async fn by_the_new(&self, run: &str) -> anyhow::Result<(u64, u64)> {
        let query = [("run", run)];
        let tasks = self
            .client
            .list::<Value>("/v1/tasks", &query, usize::MAX)
            .await?;
        let new = format!("{KIND}@{VERSION}/");
        let mine = |task: &&Value| text(task, "/ending/instance").starts_with(&new);
        let failed = |task: &&Value| text(task, "/ending/outcome/message").contains("as a drill");
        let all: Vec<&Value> = tasks.items.iter().filter(mine).collect();
        let bad = all.iter().copied().filter(failed).count();
        Ok((all.len() as u64, bad as u64))
    }
}
