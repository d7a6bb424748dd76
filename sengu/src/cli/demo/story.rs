//! What happens in the demo, in order. Every number comes from the API or from the twins; claims are checked, not made.

use super::super::nouns::Noun;
use super::super::progress::{Loudness, Progress};
use super::super::views::{number, text};
use super::super::{describe, observe, run, views, wait, workers};
use super::children::{self, Seen, Twins};
use super::fleet;
use super::report::{Claim, Killed, Report, Retried, RunTold, ScheduleTold};
use super::tell::{Teller, ms, quoted};
use crate::client::Client;
use crate::output::{self, Tone};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One run may take this long; the demo gives up then and says so.
const RUN_MAX: Duration = Duration::from_secs(90);
/// Racks whose servers are switched off.
const RACKS: usize = 8;
const BATCH: &str = "10%";
const MAX_FAIL: &str = "5%";
/// 5% of a dozen servers is none at all, and one of them is in trouble.
const MAX_FAIL_OF_FEW: &str = "10%";
const FEW: usize = 20;
/// Of the servers to be changed, this one has another certificate than the one pinned.
const IMPOSTOR: usize = 24;
/// The scheduled sweeps are watched this long.
const SCHEDULE_WATCHED: Duration = Duration::from_millis(2_500);
/// Reasons and failures listed.
const LISTED_MAX: usize = 6;
const REASON_CHARS_MAX: usize = 100;
const CHANGED_KIND: &str = "redfish";
const CHANGED_PROGRAM: &str = "sengu-worker-redfish";
/// The effect that the twin counts when a server is asked to shut down.
const EFFECT: &str = "power.off";

pub struct Story<'a> {
    pub client: Client,
    pub twins: &'a mut Vec<Twins>,
    pub teller: &'a mut Teller,
    pub up_pid: u32,
    pub begun: Instant,
    pub data: std::path::PathBuf,
}

impl Story<'_> {
    pub async fn tell(&mut self, targets: u32) -> anyhow::Result<Report> {
        let mut report = Report {
            targets: targets.into(),
            ..Report::default()
        };
        report.server = self.client.get("/v1/version", &[]).await?;
        self.apply(&mut report).await?;
        self.sweep(&mut report).await?;
        self.change(&mut report).await?;
        self.retry(&mut report).await?;
        self.proof(&mut report).await?;
        self.schedule(&mut report).await?;
        self.renewal(&mut report).await?;
        self.fleet(&mut report).await?;
        report.honest = report.claims.iter().all(|c| c.holds);
        report.seconds = ms(self.begun.elapsed()) as f64 / 1_000.0;
        self.teller.end(&report);
        Ok(report)
    }

    fn of(&mut self, kind: &str) -> anyhow::Result<&mut Twins> {
        let found = self.twins.iter_mut().find(|t| t.kind == kind);
        found.with_context(|| format!("no twins of kind {kind}"))
    }

    async fn apply(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut sources = Vec::new();
        for twins in self.twins.iter() {
            let mut text = String::new();
            for record in &twins.records {
                // Any JSON document is a YAML document.
                text.push_str("---\n");
                text.push_str(&serde_json::to_string(record)?);
                text.push('\n');
            }
            report.records_applied += twins.records.len() as u64;
            sources.push(json!({"name": format!("{}.yaml", twins.kind), "text": text}));
        }
        let body = json!({"sources": sources, "dryRun": false});
        self.client.post::<Value>("/v1/apply", &[], &body).await?;
        report.apply_ms = ms(begun.elapsed());
        let records = output::count(report.records_applied, "record");
        self.teller.fact(
            "applied",
            &format!("{records} in {}", output::span(report.apply_ms)),
        );
        Ok(())
    }

    /// Reads everything, with some targets in trouble.
    async fn sweep(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let redfish = self.of(CHANGED_KIND)?;
        let names = redfish.targets();
        // Only where the trouble is the exception.
        if names.len() >= 10 {
            for name in &names[1..names.len().min(4)] {
                redfish.fault(name, "busy", Some(300), Some(1)).await?;
            }
            let impostor = names.get(IMPOSTOR).or(names.last());
            if let Some(name) = impostor {
                redfish.fault(name, "wrong_cert", None, None).await?;
            }
        }
        let ssh = self.of("ssh")?;
        let names = ssh.targets();
        if names.len() >= 10 {
            for name in &names[1..names.len().min(4)] {
                ssh.fault(name, "refuse", None, Some(1)).await?;
            }
        }
        self.teller.section("Sweep: read every target once");
        self.teller.command("sengu observe");
        let spec = json!({"action": "observe", "selector": "name"});
        let run: Value = self.client.post("/v1/runs", &[], &spec).await?;
        let run = self.follow(run, None).await?;
        let mut told = self.told(&run, "sengu observe").await?;
        told.selector = "name".to_owned();
        self.tell_run(&told);
        report.sweep = told;
        Ok(())
    }

    /// Switches servers of some racks off, batch by batch, and kills their worker in the middle.
    async fn change(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let redfish = self.of(CHANGED_KIND)?;
        let mut racks: Vec<String> = Vec::new();
        for record in redfish.records.iter().filter(|r| r.kind == "Target") {
            if let Some(rack) = record.metadata.labels.get("rack")
                && !racks.contains(rack)
            {
                racks.push(rack.clone());
            }
        }
        racks.truncate(RACKS);
        let chosen: Vec<String> = redfish
            .records
            .iter()
            .filter(|r| {
                r.metadata
                    .labels
                    .get("rack")
                    .is_some_and(|rack| racks.contains(rack))
            })
            .filter(|r| r.kind == "Target")
            .map(|r| r.metadata.name.clone())
            .collect();
        let mut by_name = chosen.clone();
        by_name.sort();
        if chosen.len() >= FEW {
            for (i, name) in by_name.iter().enumerate() {
                match i % 64 {
                    // Says 503 once, then works.
                    3 => redfish.fault(name, "busy", Some(200), Some(1)).await?,
                    // Does it, and hangs up instead of saying so.
                    7 => redfish.fault(name, "lost_reply", None, Some(1)).await?,
                    _ => {}
                }
            }
        }
        let max_fail = if chosen.len() < FEW {
            MAX_FAIL_OF_FEW
        } else {
            MAX_FAIL
        };
        let selector = format!(
            "kind={CHANGED_KIND},rack<={}",
            racks.last().map_or("", String::as_str)
        );
        let command = format!(
            "sengu run power.set state=off -l {} --batch {BATCH} --max-fail {max_fail}",
            quoted(&selector)
        );
        self.teller
            .section("Change: switch servers off, and kill their worker in the middle");
        self.teller.command(&command);
        let spec = json!({"action": "power.set", "params": {"state": "off"}, "selector": selector,
            "batch": BATCH, "maxFail": max_fail});
        let run: Value = self.client.post("/v1/runs", &[], &spec).await?;
        let mut killed = None;
        let run = self.follow(run, Some(&mut killed)).await?;
        let mut told = self.told(&run, &command).await?;
        told.selector = selector;
        if killed.is_none() {
            self.teller.fact(
                "killed",
                "none: no worker was at work when it was looked for",
            );
        }
        self.tell_run(&told);
        report.change = told;
        report.killed = killed;
        Ok(())
    }

    /// When the cause is gone, only the unfinished are done again.
    async fn retry(&mut self, report: &mut Report) -> anyhow::Result<()> {
        if report.change.done == report.change.targets {
            return Ok(());
        }
        self.of(CHANGED_KIND)?.clear().await?;
        self.teller
            .section("Mend: the cause is gone; only what is unfinished is done again");
        for failure in &report.change.failures {
            let name = text(failure, "/target");
            let target: Value = self.client.get(&Noun::Target.path(&name), &[]).await?;
            if views::target_state(&target).0 == "Quarantined" {
                self.teller
                    .command(&format!("sengu uncordon target/{name}"));
                let path = format!("{}/uncordon", observe::target_path(&name));
                self.client.post::<Value>(&path, &[], &json!({})).await?;
            }
        }
        let name = report.change.run.clone();
        let command = format!("sengu retry {name}");
        self.teller.command(&command);
        let path = format!("{}/retry", run::path(&name));
        let run: Value = self.client.post(&path, &[], &json!({})).await?;
        let begun = Instant::now();
        let run = self.follow(run, None).await?;
        let mut told = self.told(&run, &command).await?;
        told.ms = ms(begun.elapsed());
        let done = output::thousands(told.done);
        let tone = if told.done == told.targets {
            Tone::Good
        } else {
            Tone::Warn
        };
        let all = output::thousands(told.targets);
        self.teller.toned("done", &format!("{done} of {all}"), tone);
        report.retry = Some(told);
        Ok(())
    }

    /// What the API says, held against what the twins saw.
    async fn proof(&mut self, report: &mut Report) -> anyhow::Result<()> {
        self.teller.section("Was anything lost, or done twice?");
        let path = format!("{}/targets", run::path(&report.change.run));
        let outcomes = self
            .client
            .list::<Value>(&path, &[], usize::MAX)
            .await?
            .items;
        let mut by_target = BTreeMap::<String, Vec<String>>::new();
        for outcome in &outcomes {
            by_target
                .entry(text(outcome, "/target"))
                .or_default()
                .push(text(outcome, "/status"));
        }
        let chosen = report.change.targets;
        let one_each = by_target.len() as u64 == chosen
            && by_target.values().all(|s| s.len() == 1 && !s[0].is_empty());
        let claim = format!(
            "each of the {} has exactly one outcome",
            output::count(chosen, "target")
        );
        self.claim(report, one_each, claim);

        let seen: BTreeMap<String, Seen> = self.of(CHANGED_KIND)?.report().await?;
        let count = |target: &String| {
            seen.get(target)
                .and_then(|s| s.effects.get(EFFECT))
                .copied()
                .unwrap_or(0)
        };
        let done: Vec<&String> = by_target
            .iter()
            .filter(|(_, s)| s[0] == "done")
            .map(|(t, _)| t)
            .collect();
        let off = done.iter().filter(|t| count(t) >= 1).count() as u64;
        let claim = format!(
            "of {} called done, {} did shut down, as their twins saw it",
            output::thousands(done.len() as u64),
            output::thousands(off)
        );
        self.claim(report, off == done.len() as u64, claim);
        let others = seen.iter().filter(|(t, s)| {
            !by_target.contains_key(*t) && s.effects.get(EFFECT).copied().unwrap_or(0) > 0
        });
        let others = others.count() as u64;
        let claim = if others == 0 {
            "no server outside the selection was touched".to_owned()
        } else {
            format!(
                "{} outside the selection were switched off",
                output::count(others, "server")
            )
        };
        self.claim(report, others == 0, claim);
        let twice: Vec<&String> = by_target.keys().filter(|t| count(t) > 1).collect();
        let claim = match twice.len() {
            0 => "no server was told to shut down twice".to_owned(),
            n => format!(
                "{} heard the order twice (power.set is idempotent, so it may)",
                output::count(n as u64, "server")
            ),
        };
        // The order says what is wanted, so hearing it twice changes nothing; it is told, not hidden.
        self.claim(report, true, claim);
        let sessions = seen.values().map(|s| s.sessions_max).max().unwrap_or(0);
        if let Some(limit) = self.session_limit().await? {
            let claim = format!(
                "no BMC had more than {sessions} sessions at once (its kind's limit is {limit})"
            );
            self.claim(report, u64::from(sessions) <= limit, claim);
        }
        let open: Value = self
            .client
            .get(
                "/v1/tasks",
                &[("run", &report.change.run), ("state", "open")],
            )
            .await?;
        let open = open
            .get("items")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let claim = match open {
            0 => "no task is left \"running\"".to_owned(),
            n => format!("{n} tasks are still open"),
        };
        self.claim(report, open == 0, claim);
        Ok(())
    }

    async fn session_limit(&self) -> anyhow::Result<Option<u64>> {
        let name = workers::resolve(&self.client, CHANGED_KIND).await?;
        let worker: Value = self.client.get(&Noun::Worker.path(&name), &[]).await?;
        let manifest = workers::manifest(&worker);
        Ok(manifest.pointer("/limits/sessions").and_then(Value::as_u64))
    }

    pub(super) fn claim(&self, report: &mut Report, holds: bool, claim: String) {
        self.teller.verdict(holds, &claim);
        report.claims.push(Claim { claim, holds });
    }

    /// A schedule keeps reading; looked at for a moment.
    async fn schedule(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let every = "2s";
        let record = json!({"apiVersion": sengu_model::record::API_VERSION, "kind": "Schedule",
            "metadata": {"name": "demo"}, "spec": {"selector": "kind=snmp", "every": every}});
        let text_ = serde_json::to_string(&record)?;
        let body = json!({"sources": [{"name": "schedule.yaml", "text": text_}], "dryRun": false});
        self.client.post::<Value>("/v1/apply", &[], &body).await?;
        self.teller
            .section("Schedule: read all PDUs every 2s, volatile, from now on");
        let from = output::now();
        let before: Value = self.client.get("/v1/top", &[]).await?;
        tokio::time::sleep(SCHEDULE_WATCHED).await;
        let query = [("selector", "kind=snmp")];
        let targets = self
            .client
            .list::<Value>("/v1/records/Target", &query, usize::MAX)
            .await?;
        let fresh = |t: &&Value| views::time(t, "/status/observedAt").is_some_and(|at| at > from);
        let seen = targets.items.iter().filter(fresh).count() as u64;
        let top: Value = self.client.get("/v1/top", &[]).await?;
        let ended = number(&top, "/tasks/ended").saturating_sub(number(&before, "/tasks/ended"));
        let all = targets.items.len();
        let took = ms(SCHEDULE_WATCHED);
        self.teller.fact(
            "read again",
            &format!(
                "{} of {} within {}",
                output::thousands(seen),
                output::count(all as u64, "PDU"),
                output::span(took)
            ),
        );
        report.schedule = Some(ScheduleTold {
            every: every.to_owned(),
            ms: took,
            targets_seen: seen,
            tasks_ended: ended,
        });
        Ok(())
    }

    /// Looks again at what was changed, and shows all that is known.
    async fn fleet(&mut self, report: &mut Report) -> anyhow::Result<()> {
        self.teller.section("Fleet: what was changed is read again");
        self.teller.command(&format!(
            "sengu observe -l {}",
            quoted(&report.change.selector)
        ));
        let spec = json!({"action": "observe", "selector": report.change.selector});
        let run: Value = self.client.post("/v1/runs", &[], &spec).await?;
        self.follow(run, None).await?;
        let targets = self
            .client
            .list::<Value>("/v1/records/Target", &[], usize::MAX)
            .await?;
        report.fleet = fleet::groups(&targets.items);
        let paint = self.teller.paint();
        self.teller.text(&fleet::table(&report.fleet).take(paint));
        Ok(())
    }

    /// Waits for a run with live progress; with `kill`, ends its worker hard once a later batch is at work.
    pub(super) async fn follow(
        &mut self,
        first: Value,
        mut kill: Option<&mut Option<Killed>>,
    ) -> anyhow::Result<Value> {
        let loudness = if self.teller.quiet() {
            Loudness::Quiet
        } else {
            Loudness::Normal
        };
        let mut progress = Progress::new(loudness);
        let path = run::path(&text(&first, "/metadata/name"));
        let begun = Instant::now();
        let mut now = first;
        loop {
            progress.show(&now);
            if wait::over(&now) {
                progress.end();
                return Ok(now);
            }
            if begun.elapsed() > RUN_MAX {
                progress.end();
                bail!("the run was not over within {}s", RUN_MAX.as_secs());
            }
            if let Some(killed) = kill.as_deref_mut().filter(|k| k.is_none()) {
                let batch = number(&now, "/status/batch");
                let active = number(&now, "/status/counts/active");
                let late = batch > number(&now, "/status/batches") / 3;
                if late
                    && active > 0
                    && let Some(pid) = children::descendant(self.up_pid, CHANGED_PROGRAM)
                    && children::kill_hard(pid)
                {
                    let hand = output::count(active, "task");
                    let text = format!(
                        "{CHANGED_PROGRAM}, process {pid}, by SIGKILL in batch {batch} with {hand} in hand"
                    );
                    progress.aside(|| self.teller.toned("killed", &text, Tone::Bad));
                    *killed = Some(Killed {
                        program: CHANGED_PROGRAM.to_owned(),
                        pid,
                        batch,
                        tasks_in_hand: active,
                    });
                }
            }
            now = self.client.get(&path, &[("wait", "50ms")]).await?;
        }
    }

    /// What became of a run, with the reasons of every repeated attempt.
    async fn told(&self, run: &Value, command: &str) -> anyhow::Result<RunTold> {
        let name = text(run, "/metadata/name");
        let n = |key: &str| number(run, &format!("/status/counts/{key}"));
        let took = views::time(run, "/status/endedAt")
            .zip(views::time(run, "/status/startedAt"))
            .map_or(0, |(end, start)| end.ms_since(start));
        let targets = number(run, "/status/targets");
        let mut told = RunTold {
            command: command.to_owned(),
            phase: text(run, "/status/phase"),
            targets,
            batches: number(run, "/status/batches"),
            done: n("done"),
            changed: n("changed"),
            failed: n("failed"),
            unknown: n("unknown"),
            ms: took,
            tasks_per_second: if took == 0 {
                0.0
            } else {
                targets as f64 * 1_000.0 / took as f64
            },
            retries: n("retries"),
            failures: describe::failures(&self.client, &name, LISTED_MAX).await?,
            run: name.clone(),
            ..RunTold::default()
        };
        if told.retries > 0 {
            let tasks = self
                .client
                .list::<Value>("/v1/tasks", &[("run", &name)], usize::MAX)
                .await?;
            let mut alike = BTreeMap::<String, Retried>::new();
            for task in &tasks.items {
                let history = task.pointer("/ending/history").and_then(Value::as_array);
                for line in history.into_iter().flatten().filter_map(Value::as_str) {
                    let reason = reason(line);
                    let first = || Retried {
                        reason: reason.to_owned(),
                        count: 0,
                    };
                    alike
                        .entry(without_numbers(reason))
                        .or_insert_with(first)
                        .count += 1;
                }
            }
            told.retried = alike.into_values().collect();
            told.retried.sort_by_key(|r| std::cmp::Reverse(r.count));
        }
        Ok(told)
    }

    fn tell_run(&self, told: &RunTold) {
        let batches = if told.batches > 1 {
            format!(" in {} batches", told.batches)
        } else {
            String::new()
        };
        // A rate says something only where nothing waits on purpose.
        let rate = if told.batches > 1 {
            String::new()
        } else {
            format!(
                ", {}/s",
                output::thousands(told.tasks_per_second.round() as u64)
            )
        };
        self.teller.fact(
            "took",
            &format!(
                "{} for {}{batches}{rate}",
                output::span(told.ms),
                output::count(told.targets, "target")
            ),
        );
        let changed = if told.changed > 0 {
            format!(" ({} changed)", output::thousands(told.changed))
        } else {
            String::new()
        };
        self.teller.toned(
            "done",
            &format!("{}{changed}", output::thousands(told.done)),
            Tone::Good,
        );
        for (i, retried) in told.retried.iter().take(LISTED_MAX).enumerate() {
            let name = if i == 0 { "tried again" } else { "" };
            self.teller
                .fact(name, &format!("{:>3} x {}", retried.count, retried.reason));
        }
        for (i, failure) in told.failures.iter().enumerate() {
            let name = if i == 0 { "not done" } else { "" };
            let code = text(failure, "/code");
            let code = if code.is_empty() {
                text(failure, "/status")
            } else {
                code
            };
            let line = format!(
                "{} {code}: {}",
                text(failure, "/target"),
                text(failure, "/message")
            );
            self.teller.toned(name, &line, Tone::Warn);
        }
    }
}

/// The reason of a repeated attempt, from `<time> attempt <n>: <reason>`.
fn reason(line: &str) -> &str {
    let noted = line
        .split_once(" attempt ")
        .and_then(|(_, rest)| rest.split_once(": "));
    noted.map_or(line, |(_, reason)| reason)
}

/// Reasons that differ in numbers alone (addresses, times, sizes) are alike.
fn without_numbers(reason: &str) -> String {
    let kept = |c: &char| !c.is_ascii_digit();
    reason.chars().filter(kept).take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_reasons_are_counted_together() {
        let one = "2026-11-20T13:42:48.000Z attempt 1: busy: again in 200 ms";
        let two = "2026-11-20T13:42:49.123Z attempt 2: busy: again in 1300 ms";
        assert_eq!(
            (reason(one), reason("odd")),
            ("busy: again in 200 ms", "odd")
        );
        assert_eq!(without_numbers(reason(one)), without_numbers(reason(two)));
    }
}
