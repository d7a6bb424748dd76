//! A thousand kinds more, pushed into a sengu that runs: what each costs, what all cost the kinds that were there, and
//! whether the next one drives a target without anything starting anew.

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
const ROUNDS: usize = 5;
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
    let server = Server::start(bench)?;
    let folder = tempfile::tempdir_in(&bench.scratch)?;
    let mut client = server.client()?;
    targets::apply_echo(&server, TARGETS)?;
    let before = measure(bench, &server, &mut client, idle)?;

    let mut pushes = Latencies::default();
    let mut thirds: [Latencies; 3] = Default::default();
    for number in 0..kinds {
        let image = image(folder.path(), number)?;
        let ms = push(&server, &image)?.as_secs_f64() * 1e3;
        pushes.add(ms);
        thirds[3 * number / kinds].add(ms);
        std::fs::remove_dir_all(image)?;
    }
    let after = measure(bench, &server, &mut client, idle)?;

    let before_last = server.below()?;
    let image = image(folder.path(), kinds)?;
    let last_push = push(&server, &image)?;
    let spec = json!({"kind": kind(kinds), "address": "nowhere"});
    targets::apply(&server, &[targets::target("last", &spec)])?;
    let (ended, first_task) = task(&mut client, "last", "observe", &json!({}))?;
    ensure!(
        ended["kind"] == kind(kinds),
        "done by another kind: {ended}"
    );
    let now = server.below()?;
    let gone = before_last.iter().filter(|pid| !now.contains(pid)).count();

    report.raw(&format!(
        "sengu-push nan {:.2} {:.2} n={kinds} max_ms={:.1} first_third_p50_ms={:.2} last_third_p50_ms={:.2}",
        pushes.percentile(0.5),
        pushes.percentile(0.99),
        pushes.max(),
        thirds[0].percentile(0.5),
        thirds[2].percentile(0.5),
    ));
    before.line(report, "sengu-kinds-before");
    after.line(report, "sengu-kinds-after");
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
        (after.resident_mib - before.resident_mib) * 1024.0 / kinds as f64,
        "KiB",
    );
    report.figure(
        &with("CPU of one core, idle,"),
        Wanted::AtMost(before.idle_share.max(0.5)),
        after.idle_share,
        "%",
    );
    report.figure(
        &with("throughput of echo"),
        Wanted::AtLeast(0.9),
        after.per_s / before.per_s,
        "x",
    );
    report.figure(
        &with("CPU per task of echo"),
        Wanted::AtMost(1.1),
        after.cpu_us / before.cpu_us,
        "x",
    );
    report.figure(
        &with("latency of echo, p50"),
        Wanted::AtMost(1.1),
        after.p50_ms / before.p50_ms,
        "x",
    );
    report.figure(
        &with("latency of echo, p99"),
        Wanted::AtMost(1.2),
        after.p99_ms / before.p99_ms,
        "x",
    );
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

/// What those feel that were there before. Medians of rounds.
struct Measured {
    per_s: f64,
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    idle_share: f64,
    resident_mib: f64,
}

impl Measured {
    fn line(&self, report: &mut Report, name: &str) {
        report.raw(&format!(
            "{name} {:.0} {:.2} {:.2} cpu_us_per_task={:.1} idle_cpu_percent_of_one_core={:.2} sengu_rss_mib={:.1}",
            self.per_s, self.p50_ms, self.p99_ms, self.cpu_us, self.idle_share, self.resident_mib
        ));
    }
}

fn measure(
    bench: &Bench,
    server: &Server,
    client: &mut Client,
    idle: Duration,
) -> Result<Measured> {
    let n = bench.size(40_000, 4_000);
    let single = bench.size(500, 100);
    let requests = tasks::requests("noop", TARGETS, PER_REQUEST);
    let (mut per_s, mut cpu_us, mut p50, mut p99) = (vec![], vec![], vec![], vec![]);
    // The first round warms up.
    for round in 0..=ROUNDS {
        let ended = tasks::ended(client)?;
        let (cpu_before, started) = (server.cpu()?, Instant::now());
        tasks::create(server, &requests, n / PER_REQUEST, CONNECTIONS)?;
        tasks::wait_ended(client, ended, n as u64)?;
        let wall_s = started.elapsed().as_secs_f64();
        let used = server.cpu()?.since(cpu_before);
        let mut latencies = Latencies::default();
        for i in 0..single {
            let target = targets::name(i % TARGETS);
            let (_, took) = task(client, &target, "noop", &json!({}))?;
            latencies.add(took.as_secs_f64() * 1e3);
        }
        if round > 0 {
            per_s.push(n as f64 / wall_s);
            cpu_us.push(used.all_s() * 1e6 / n as f64);
            p50.push(latencies.percentile(0.5));
            p99.push(latencies.percentile(0.99));
        }
    }
    std::thread::sleep(SETTLE);
    let (cpu_before, started) = (server.cpu()?, Instant::now());
    std::thread::sleep(idle);
    let used = server.cpu()?.since(cpu_before);
    let idle_share = 100.0 * used.all_s() / started.elapsed().as_secs_f64();
    let (resident_mib, _) = cpu::resident_mib(server.pid())?;
    Ok(Measured {
        per_s: median(per_s),
        cpu_us: median(cpu_us),
        p50_ms: median(p50),
        p99_ms: median(p99),
        idle_share,
        resident_mib,
    })
}
