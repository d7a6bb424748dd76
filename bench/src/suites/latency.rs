//! One task at a time on an idle system: what a person waits for.

use crate::Bench;
use crate::cpu;
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::stats::Latencies;
use crate::targets;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::time::Instant;

const TARGETS: usize = 10;
const WARM: usize = 50;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let n = bench.size(500, 200);
    let server = Server::start(bench)?;
    targets::apply_echo(&server, TARGETS)?;
    let mut client = server.client()?;
    let mut latencies = Latencies::default();
    let (mut cpu_before, mut started) = (server.cpu()?, Instant::now());
    let mut own_before = cpu::own_s();
    for i in 0..WARM + n {
        if i == WARM {
            (cpu_before, started, own_before) = (server.cpu()?, Instant::now(), cpu::own_s());
        }
        let asked = Instant::now();
        let request = json!({"targets": [targets::name(i % TARGETS)], "action": "noop"});
        let created = client.post_json("/v1/tasks", &request)?;
        let id = created["tasks"][0]["id"]
            .as_str()
            .context("a task has an id")?;
        let task = client.get(&format!("/v1/tasks/{id}?wait=5s"))?;
        ensure!(task["state"] == "ended", "the task has not ended: {task}");
        if i >= WARM {
            latencies.add(asked.elapsed().as_secs_f64() * 1e3);
        }
    }
    let used = server.cpu()?.since(cpu_before);
    let us = |s: f64| s * 1e6 / n as f64;
    let (p50_ms, p99_ms) = (latencies.percentile(0.5), latencies.percentile(0.99));
    report.line(&Line {
        name: "sengu-idle-latency",
        per_s: n as f64 / started.elapsed().as_secs_f64(),
        p50_ms,
        p99_ms,
        n,
        cpu_us: us(used.all_s()),
        more: format!(
            "sengu_us={:.0} worker_us={:.0} client_us={:.0} max_ms={:.2}",
            us(used.root_s),
            us(used.below_s),
            us(cpu::own_s() - own_before),
            latencies.max()
        ),
    });
    report.figure(
        "idle task, created to seen ended, p50",
        Wanted::AtMost(2.0),
        p50_ms,
        "ms",
    );
    report.figure(
        "idle task, created to seen ended, p99",
        Wanted::AtMost(10.0),
        p99_ms,
        "ms",
    );
    Ok(())
}
