//! Power state of 200 systems over Redfish, beside the `sushy` client on the same emulator.

use super::sweep::Sweep;
use crate::Bench;
use crate::report::{Report, Wanted};
use crate::servers::emulator::{Emulator, system_id};
use crate::targets;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use std::process::Command;

const PARALLEL: usize = 16;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let n = bench.size(200, 50);
    let gunicorn = bench.tool("gunicorn").map_err(|e| anyhow!(e))?;
    bench.tool("sushy-emulator").map_err(|e| anyhow!(e))?;
    let emulator = Emulator::start(&gunicorn, n)?;
    let mut records = vec![targets::secret(
        "bench-bmc",
        &json!({"username": "a", "password": "b"}),
    )];
    records.extend((0..n).map(|number| record(&emulator, number)));
    let sweep = Sweep {
        name: "sengu-redfish",
        records: &records,
        run: json!({"action": "observe", "params": {"depth": "power"}, "selector": "suite=redfish"}),
        targets: n,
        cold_rounds: bench.size(3, 1),
        warm_rounds: 2,
    };
    let (cold, warm) = sweep.run(bench, report, &|| emulator.cpu_s())?;
    report.figure(
        "CPU per system, sengu + worker, cold",
        Wanted::Nothing,
        cold.cpu_s * 1e3 / n as f64,
        "ms",
    );
    report.figure(
        "CPU per system, sengu + worker, warm",
        Wanted::Nothing,
        warm.cpu_s * 1e3 / n as f64,
        "ms",
    );
    let cpu = "sushy's CPU beside sengu's, cold";
    match sushy(bench, report, &emulator, n) {
        Ok(sushy_s) => report.figure(cpu, Wanted::AtLeast(20.0), sushy_s / cold.cpu_s, "x"),
        Err(why) => report.not_run(cpu, Wanted::AtLeast(20.0), "x", &why),
    }
    Ok(())
}

fn record(emulator: &Emulator, number: usize) -> Value {
    let spec = json!({"kind": "redfish", "address": format!("https://127.0.0.1:{}", emulator.port), "secret": "bench-bmc",
        "config": {"system": system_id(number), "tls": {"ca": emulator.ca}}});
    let mut record = targets::target(&format!("bmc-{number:03}"), &spec);
    record["metadata"]["labels"] = json!({"suite": "redfish"});
    record
}

/// CPU of the client, the start of Python included.
fn sushy(bench: &Bench, report: &mut Report, emulator: &Emulator, n: usize) -> Result<f64, String> {
    let script = bench.peers.script("redfish_sushy.py")?;
    let python = bench.peers.python()?;
    bench.peers.need("venv/bin/python")?;
    let mut command = Command::new(python);
    command
        .arg(script)
        .args([n, PARALLEL, usize::from(emulator.port)].map(|a| a.to_string()));
    let before = emulator.cpu_s();
    let run = bench
        .peers
        .run(&mut command)
        .map_err(|e| format!("{e:#}"))?;
    // sushy <number> {<states>} <seconds>
    let read = run.output.split_ascii_whitespace().nth(1);
    if read.and_then(|r| r.parse().ok()) != Some(n) {
        return Err(format!("its script printed {:?}", run.output));
    }
    report.raw(&format!(
        "sushy {:.0} nan nan n={n} cpu_us_per_task={:.0} wall_s={:.2} cpu_s={:.2} driven_s={:.2} parallel={PARALLEL}",
        n as f64 / run.wall_s,
        run.cpu_s * 1e6 / n as f64,
        run.wall_s,
        run.cpu_s,
        emulator.cpu_s() - before
    ));
    Ok(run.cpu_s)
}
