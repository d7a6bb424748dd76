//! Ten values of each of 1,000 SNMP agents, beside prometheus-snmp-exporter on the same agents.

use super::sweep::Sweep;
use crate::Bench;
use crate::http::Client;
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::servers::agents::{Agents, COMMUNITY, address};
use crate::servers::{Process, is_free, listens, program};
use crate::stats::median;
use crate::{targets, tasks};
use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A peer's script has it written in it.
const EXPORTER_PORT: u16 = 9116;
const PARALLEL: usize = 100;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let n = bench.size(1_000, 100);
    let responder = bench
        .tool("snmpsim-command-responder")
        .map_err(|e| anyhow!(e))?;
    let _agents = Agents::start(&responder, n)?;
    let mut records = vec![targets::secret(
        "bench-community",
        &json!({"community": COMMUNITY}),
    )];
    records.extend((0..n).map(record));
    let sweep = Sweep {
        name: "sengu-snmp",
        records: &records,
        run: json!({"action": "observe", "selector": "suite=snmp"}),
        targets: n,
        cold_rounds: bench.size(2, 1),
        warm_rounds: 3,
    };
    let (cold, warm) = sweep.run(bench, report, &|| f64::NAN)?;
    report.figure(
        "CPU per agent, sengu + worker, cold",
        Wanted::Nothing,
        cold.cpu_s * 1e3 / n as f64,
        "ms",
    );
    report.figure(
        "CPU per agent, sengu + worker, warm",
        Wanted::Nothing,
        warm.cpu_s * 1e3 / n as f64,
        "ms",
    );
    let scheduled_s = schedule(bench, report, &records, n)?;
    let figure = |state: &str| format!("CPU as a share of snmp_exporter's, {state}");
    let by_schedule = "a sweep of a Schedule";
    match exporter(bench, report, n) {
        Ok(peer) => {
            let share = scheduled_s / peer.warm_s;
            report.figure(&figure(by_schedule), Wanted::AtMost(0.5), share, "x");
            report.figure(
                &figure("a Run, cold"),
                Wanted::AtMost(0.5),
                cold.cpu_s / peer.cold_s,
                "x",
            );
            report.figure(
                &figure("a Run, warm"),
                Wanted::AtMost(0.5),
                warm.cpu_s / peer.warm_s,
                "x",
            );
        }
        Err(why) => {
            report.not_run(&figure(by_schedule), Wanted::AtMost(0.5), "x", &why);
            report.not_run(&figure("a Run, cold"), Wanted::AtMost(0.5), "x", &why);
            report.not_run(&figure("a Run, warm"), Wanted::AtMost(0.5), "x", &why);
        }
    }
    Ok(())
}

fn record(number: usize) -> Value {
    let spec = json!({"kind": "snmp", "address": address(number), "secret": "bench-community",
        "config": {"profile": "apc-outlets"}});
    let mut record = targets::target(&format!("snmp-{number:04}"), &spec);
    record["metadata"]["labels"] = json!({"suite": "snmp"});
    record
}

/// The first turn of a Schedule, with the start of the worker.
const FIRST_SWEEP_MAX: Duration = Duration::from_secs(60);

/// CPU of one sweep of a Schedule, which is what an exporter that is scraped stands beside: its tasks are volatile.
/// What sengu uses for itself in that time is counted, too.
fn schedule(bench: &Bench, report: &mut Report, records: &[Value], n: usize) -> Result<f64> {
    let server = Server::start(bench)?;
    let every_s = bench.size(10, 3);
    let spec = json!({"selector": "suite=snmp", "every": format!("{every_s}s")});
    let schedule = json!({"apiVersion": "sengu/v1", "kind": "Schedule", "metadata": {"name": "bench"}, "spec": spec});
    targets::apply(&server, records)?;
    targets::apply(&server, &[schedule])?;
    let mut client = server.client()?;
    // The first sweep starts the worker. Volatile tasks are counted where they are sent, and seen in the targets.
    let reachable = |client: &mut Client| tasks::metric(client, "sengu_targets_reachable");
    let end = Instant::now() + FIRST_SWEEP_MAX;
    while reachable(&mut client)? < n as u64 {
        ensure!(
            Instant::now() < end,
            "not all agents are reached within {FIRST_SWEEP_MAX:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let before = tasks::metric(&mut client, "sengu_tasks_sent_total")?;
    let (cpu, started) = (server.cpu()?, Instant::now());
    std::thread::sleep(Duration::from_secs(3 * every_s as u64));
    let read = tasks::metric(&mut client, "sengu_tasks_sent_total")? - before;
    let wall_s = started.elapsed().as_secs_f64();
    let used = server.cpu()?.since(cpu);
    let left = n as u64 - reachable(&mut client)?;
    ensure!(left == 0, "{left} agents did not answer");
    let least = 2 * n as u64;
    ensure!(
        read >= least,
        "{read} observations in three turns of {n} agents"
    );
    let us = |s: f64| s * 1e6 / read as f64;
    report.line(&Line {
        name: "sengu-snmp-schedule",
        per_s: read as f64 / wall_s,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
        n: usize::try_from(read)?,
        cpu_us: us(used.all_s()),
        more: format!(
            "every_s={every_s} sengu_us={:.0} worker_us={:.0}",
            us(used.root_s),
            us(used.below_s)
        ),
    });
    report.figure(
        "CPU per agent, sengu + worker, by a Schedule",
        Wanted::Nothing,
        us(used.all_s()) / 1e3,
        "ms",
    );
    Ok(used.all_s() * n as f64 / read as f64)
}

struct Exporter {
    cold_s: f64,
    warm_s: f64,
}

/// CPU of the exporter alone: cold from its start to the end of the first sweep, warm of a later sweep.
fn exporter(bench: &Bench, report: &mut Report, n: usize) -> Result<Exporter, String> {
    let config = bench.peers.script("snmp_exporter.yml")?;
    let script = bench.peers.script("snmp_exporter.py")?;
    let python = bench.tool("python")?;
    let path = "/usr/bin/prometheus-snmp-exporter";
    let exporter = program(path, "apt-get install prometheus-snmp-exporter")?;
    if !is_free(EXPORTER_PORT) {
        return Err(format!("port {EXPORTER_PORT} is taken"));
    }
    let text = |e: anyhow::Error| format!("{e:#}");
    let mut process = Process::start(
        Command::new(exporter)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{EXPORTER_PORT}"))
            .stderr(Stdio::null()),
    )
    .map_err(text)?;
    process
        .wait_for("the exporter", || listens(EXPORTER_PORT))
        .map_err(text)?;
    let (mut before, mut each) = (0.0, Vec::new());
    for round in 0..4 {
        let mut command = Command::new(&python);
        command
            .arg(&script)
            .args([n.to_string(), PARALLEL.to_string()]);
        let run = bench.peers.run(&mut command).map_err(text)?;
        // snmp_exporter ok <number> <seconds>
        let mut words = run.output.split_ascii_whitespace().skip(2);
        let mut number = || words.next()?.parse::<f64>().ok();
        let (ok, wall_s) = (number(), number());
        let (Some(ok), Some(wall_s)) = (ok, wall_s) else {
            return Err(format!("its script printed {:?}", run.output));
        };
        if ok != n as f64 {
            return Err(format!("{ok} of {n} agents were read"));
        }
        let now = process.cpu_s();
        let state = if round == 0 { "cold" } else { "warm" };
        report.raw(&format!(
            "snmp-exporter-{state} {:.0} nan nan n={n} cpu_us_per_task={:.0} wall_s={wall_s:.2} cpu_s={:.2} parallel={PARALLEL}",
            ok / wall_s,
            (now - before) * 1e6 / ok,
            now - before
        ));
        each.push(now - before);
        before = now;
    }
    Ok(Exporter {
        cold_s: each[0],
        warm_s: median(each[1..].iter().copied()),
    })
}
