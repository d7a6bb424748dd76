//! A thousand kinds more, pushed into a sengu that runs: what each costs, what all cost the kinds that were there, and
//! whether the next one drives a target without anything starting anew. A second sengu without them is measured in turns
//! with it, so that whatever else the machine does falls on both.

use crate::Bench;
use crate::cpu;
use crate::http::Client;
use crate::releases::{push, task};
use crate::report::{Report, Wanted};
use crate::server::Server;
use crate::stats::{Latencies, median};
use crate::{targets, tasks};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TARGETS: usize = 1_000;
const PER_REQUEST: usize = 500;
const CONNECTIONS: usize = 4;
/// Of each.
const ROUNDS: usize = 15;
/// Before idle CPU is measured.
const SETTLE: Duration = Duration::from_secs(10);

/// A worker in the shell: it takes what it needs from a frame by its place and does nothing.
const SCRIPT: &str = r#"#!/bin/sh
printf '{"type":"hello","protocol":1,"worker":"%s","version":"1.0.0","slots":1}\n' "$1"
while IFS= read -r line; do
  case "$line" in
  *'"type":"drain"'*) exit 0 ;;
  *'"type":"task"'*) ;;
  *) continue ;;
  esac
  id=${line#*'"id":"'} fence=${line#*'"fence":"'}
  printf '{"type":"outcome","id":"%s","fence":"%s","outcome":{"status":"done","changed":false}}\n' \
    "${id%%'"'*}" "${fence%%'"'*}"
done
"#;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let kinds = bench.size(1_000, 50);
    let idle = Duration::from_secs(bench.size(20, 5) as u64);
    let mut plain = Subject::new(bench)?;
    let mut full = Subject::new(bench)?;
    full.round(bench)?;
    let (before_mib, _) = cpu::resident_mib(full.server.pid())?;
    let folder = tempfile::tempdir_in(&bench.scratch)?;

    let mut pushes = Latencies::default();
    let mut thirds: [Latencies; 3] = Default::default();
    for number in 0..kinds {
        let image = image(folder.path(), number)?;
        let ms = push(&full.server, &image)?.as_secs_f64() * 1e3;
        pushes.add(ms);
        thirds[3 * number / kinds].add(ms);
        std::fs::remove_dir_all(image)?;
    }
    let (after_mib, _) = cpu::resident_mib(full.server.pid())?;

    let before_last = full.server.below()?;
    let image = image(folder.path(), kinds)?;
    let last_push = push(&full.server, &image)?;
    let spec = json!({"kind": kind(kinds), "address": "nowhere"});
    targets::apply(&full.server, &[targets::target("last", &spec)])?;
    let (ended, first_task) = task(&mut full.client, "last", "observe", &json!({}))?;
    ensure!(
        ended["kind"] == kind(kinds),
        "done by another kind: {ended}"
    );
    let now = full.server.below()?;
    let gone = before_last.iter().filter(|pid| !now.contains(pid)).count();

    // The first round of each warms it up.
    plain.round(bench)?;
    full.round(bench)?;
    (plain.rounds, full.rounds) = <(Rounds, Rounds)>::default();
    for _ in 0..ROUNDS {
        plain.round(bench)?;
        full.round(bench)?;
    }
    std::thread::sleep(SETTLE);
    let (cpu_plain, cpu_full, started) = (plain.server.cpu()?, full.server.cpu()?, Instant::now());
    std::thread::sleep(idle);
    let share = |used: cpu::Tree| 100.0 * used.all_s() / started.elapsed().as_secs_f64();
    let idle_plain = share(plain.server.cpu()?.since(cpu_plain));
    let idle_full = share(full.server.cpu()?.since(cpu_full));

    report.raw(&format!(
        "sengu-push nan {:.2} {:.2} n={kinds} max_ms={:.1} first_third_p50_ms={:.2} last_third_p50_ms={:.2}",
        pushes.percentile(0.5),
        pushes.percentile(0.99),
        pushes.max(),
        thirds[0].percentile(0.5),
        thirds[2].percentile(0.5),
    ));
    plain.rounds.line(report, "sengu-kinds-without", idle_plain);
    full.rounds.line(report, "sengu-kinds-with", idle_full);
    report.figure(
        "push of a kind with the CLI, p50",
        Wanted::Nothing,
        pushes.percentile(0.5),
        "ms",
    );
    report.figure(
        &format!("kind {}: push", kinds + 1),
        Wanted::Nothing,
        last_push.as_secs_f64() * 1e3,
        "ms",
    );
    report.figure(
        &format!("kind {}: first task", kinds + 1),
        Wanted::Nothing,
        first_task.as_secs_f64() * 1e3,
        "ms",
    );
    report.figure(
        &format!("kind {}: processes that were restarted", kinds + 1),
        Wanted::AtMost(0.0),
        gone as f64,
        "",
    );
    let with = |what: &str| format!("{what} with {kinds} kinds more");
    report.figure(
        &with("memory per kind,"),
        Wanted::Nothing,
        (after_mib - before_mib) * 1024.0 / kinds as f64,
        "KiB",
    );
    report.figure(
        &with("CPU of one core, idle, beyond that without,"),
        Wanted::AtMost(0.2),
        idle_full - idle_plain,
        "%",
    );
    let ratio = |of: &dyn Fn(&Rounds) -> f64| of(&full.rounds) / of(&plain.rounds);
    for (what, wanted, ratio) in [
        (
            "throughput of echo",
            Wanted::AtLeast(0.9),
            ratio(&|r| median(r.per_s.clone())),
        ),
        (
            "CPU per task of echo",
            Wanted::AtMost(1.1),
            ratio(&|r| median(r.cpu_us.clone())),
        ),
        (
            "latency of echo, p50",
            Wanted::AtMost(1.1),
            ratio(&|r| r.latencies.percentile(0.5)),
        ),
        (
            "latency of echo, p99",
            Wanted::AtMost(1.2),
            ratio(&|r| r.latencies.percentile(0.99)),
        ),
    ] {
        report.figure(&with(what), wanted, ratio, "x");
    }
    Ok(())
}

fn kind(number: usize) -> String {
    format!("kind-{number:04}")
}

/// The folder of a kind: worker.toml and one script.
fn image(folder: &Path, number: usize) -> Result<PathBuf> {
    let kind = kind(number);
    let image = folder.join(&kind);
    std::fs::create_dir(&image).with_context(|| format!("make {}", image.display()))?;
    let manifest = format!(
        "name = \"{kind}\"\nversion = \"1.0.0\"\nprotocol = 1\ncommand = [\"run\", \"{kind}\"]\nslots = 1\n\
         [target]\naddress = \"any text\"\n[[action]]\nname = \"observe\"\neffect = \"read\"\ntimeout_ms = 10_000\n"
    );
    std::fs::write(image.join("worker.toml"), manifest)?;
    std::fs::write(image.join("run"), SCRIPT)?;
    std::fs::set_permissions(image.join("run"), std::fs::Permissions::from_mode(0o755))?;
    Ok(image)
}

/// A sengu, and how the kind that it came with does.
struct Subject {
    server: Server,
    client: Client,
    rounds: Rounds,
}

#[derive(Default)]
struct Rounds {
    per_s: Vec<f64>,
    cpu_us: Vec<f64>,
    latencies: Latencies,
}

impl Rounds {
    fn line(&self, report: &mut Report, name: &str, idle_share: f64) {
        report.raw(&format!(
            "{name} {:.0} {:.2} {:.2} cpu_us_per_task={:.1} rounds={} idle_cpu_percent_of_one_core={idle_share:.2}",
            median(self.per_s.clone()),
            self.latencies.percentile(0.5),
            self.latencies.percentile(0.99),
            median(self.cpu_us.clone()),
            self.per_s.len(),
        ));
    }
}

impl Subject {
    fn new(bench: &Bench) -> Result<Subject> {
        let server = Server::start(bench)?;
        targets::apply_echo(&server, TARGETS)?;
        let client = server.client()?;
        Ok(Subject {
            server,
            client,
            rounds: Rounds::default(),
        })
    }

    /// As many tasks as it takes, then one after the other.
    fn round(&mut self, bench: &Bench) -> Result<()> {
        let n = bench.size(20_000, 4_000);
        let single = bench.size(300, 100);
        let requests = tasks::requests("noop", TARGETS, PER_REQUEST);
        let ended = tasks::ended(&mut self.client)?;
        let (cpu_before, started) = (self.server.cpu()?, Instant::now());
        tasks::create(&self.server, &requests, n / PER_REQUEST, CONNECTIONS)?;
        tasks::wait_ended(&mut self.client, ended, n as u64)?;
        let wall_s = started.elapsed().as_secs_f64();
        let used = self.server.cpu()?.since(cpu_before);
        self.rounds.per_s.push(n as f64 / wall_s);
        self.rounds.cpu_us.push(used.all_s() * 1e6 / n as f64);
        for i in 0..single {
            let target = targets::name(i % TARGETS);
            let (_, took) = task(&mut self.client, &target, "noop", &json!({}))?;
            self.rounds.latencies.add(took.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}
