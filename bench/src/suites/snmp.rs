//! Ten values of each of 1,000 SNMP agents, beside prometheus-snmp-exporter on the same agents.

use super::sweep::Sweep;
use crate::Bench;
use crate::report::{Report, Wanted};
use crate::servers::agents::{Agents, COMMUNITY, address};
use crate::servers::{Process, is_free, listens, program};
use crate::stats::median;
use crate::targets;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

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
    let figure = |state: &str| format!("CPU as a share of snmp_exporter's, {state}");
    match exporter(bench, report, n) {
        Ok(peer) => {
            report.figure(
                &figure("cold"),
                Wanted::AtMost(0.5),
                cold.cpu_s / peer.cold_s,
                "x",
            );
            report.figure(
                &figure("warm"),
                Wanted::AtMost(0.5),
                warm.cpu_s / peer.warm_s,
                "x",
            );
        }
        Err(why) => {
            report.not_run(&figure("cold"), Wanted::AtMost(0.5), "x", &why);
            report.not_run(&figure("warm"), Wanted::AtMost(0.5), "x", &why);
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
