//! `true` on 200 hosts over SSH, beside Ansible and parallel-ssh on the same OpenSSH server.

use super::sweep::{Sweep, Swept};
use crate::Bench;
use crate::peers::PeerLine;
use crate::report::{Report, Wanted};
use crate::servers::sshd::{PEERS_PORT, PEERS_USER, Sshd};
use crate::stats::median;
use crate::targets;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const PARALLEL: usize = 50;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let n = bench.size(200, 50);
    let sshd = Sshd::start()?;
    let records = records(&sshd, n)?;
    // Between sweeps the worker may keep its connections; the cold figure is the one beside peers.
    let sweep = Sweep {
        name: "sengu-ssh",
        records: &records,
        run: json!({"action": "exec", "params": {"command": "true"}, "selector": "suite=ssh"}),
        targets: n,
        cold_rounds: bench.size(3, 1),
        warm_rounds: 2,
    };
    let (cold, warm) = sweep.run(bench, report, &|| sshd.cpu_s())?;
    report.figure(
        "CPU per host, sengu + worker, cold",
        Wanted::Nothing,
        cold.cpu_s * 1e3 / n as f64,
        "ms",
    );
    report.figure(
        "CPU per host, sengu + worker, warm",
        Wanted::Nothing,
        warm.cpu_s * 1e3 / n as f64,
        "ms",
    );

    let wall = "wall time as a share of parallel-ssh's";
    let of_sshd_s = match parallel_ssh(bench, report, &sshd, n) {
        Ok(peer) => {
            report.figure(wall, Wanted::AtMost(1.0), cold.wall_s / peer.wall_s, "x");
            let ratio = peer.cpu_s / cold.cpu_s;
            report.figure(
                "parallel-ssh's CPU beside sengu's",
                Wanted::Nothing,
                ratio,
                "x",
            );
            cold.foreign_s.max(peer.foreign_s)
        }
        Err(why) => {
            report.not_run(wall, Wanted::AtMost(1.0), "x", &why);
            cold.foreign_s
        }
    };
    let cpu = "Ansible's CPU beside sengu's, both without sshd's";
    match ansible(bench, report, n, of_sshd_s) {
        Ok(ansible_s) => report.figure(cpu, Wanted::AtLeast(20.0), ansible_s / cold.cpu_s, "x"),
        Err(why) => report.not_run(cpu, Wanted::AtLeast(20.0), "x", &why),
    }
    Ok(())
}

fn host(number: usize) -> String {
    format!("127.9.{}.{}", number / 250, number % 250 + 1)
}

fn records(sshd: &Sshd, n: usize) -> Result<Vec<Value>> {
    let host_key = sshd.read("host.pub")?;
    let login = json!({"username": sshd.user, "privateKey": sshd.read("user")?});
    let mut records = vec![targets::secret("bench-login", &login)];
    for number in 0..n {
        let spec = json!({"kind": "ssh", "address": format!("{}:{}", host(number), sshd.port), "secret": "bench-login",
            "identity": {"hostKey": host_key.trim()}});
        let mut record = targets::target(&format!("ssh-{number:03}"), &spec);
        record["metadata"]["labels"] = json!({"suite": "ssh"});
        records.push(record);
    }
    Ok(records)
}

/// Medians of as many runs as sengu had; the wall time is the one that it prints, without the start of Python.
fn parallel_ssh(
    bench: &Bench,
    report: &mut Report,
    sshd: &Sshd,
    n: usize,
) -> Result<Swept, String> {
    let script = bench.peers.script("parallel_ssh.py")?;
    let python = bench.peers.python()?;
    if sshd.user != PEERS_USER || !sshd.on_peers_port {
        return Err(format!(
            "its script logs in as {PEERS_USER} on port {PEERS_PORT}: be root, and have the port free"
        ));
    }
    let hosts: Vec<String> = (0..n).map(host).collect();
    let text = |e: &dyn std::fmt::Display| format!("{e:#}");
    fs::write(sshd.path("hosts"), hosts.join("\n")).map_err(|e| text(&e))?;
    let (mut walls, mut cpus, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.size(3, 1) {
        let before = sshd.cpu_s();
        let mut command = Command::new(&python);
        command.arg(&script).arg(PARALLEL.to_string());
        command
            .env("HOSTS", sshd.path("hosts"))
            .env("KEY", sshd.path("user"));
        let run = bench.peers.run(&mut command).map_err(|e| text(&e))?;
        // ok <number> <seconds> [<errors>]
        let mut words = run.output.split_ascii_whitespace().skip(1);
        let mut number = || words.next()?.parse::<f64>().ok();
        let (ok, wall_s) = (number(), number());
        let (Some(ok), Some(wall_s)) = (ok, wall_s) else {
            return Err(format!("its script printed {:?}", run.output));
        };
        if ok != n as f64 {
            return Err(format!("{ok} of {n} hosts were ok: {}", run.output.trim()));
        }
        walls.push(wall_s);
        cpus.push(run.cpu_s);
        foreign.push(sshd.cpu_s() - before);
    }
    let swept = Swept {
        wall_s: median(walls),
        cpu_s: median(cpus),
        foreign_s: median(foreign),
    };
    report.raw(&format!(
        "parallel-ssh {:.0} nan nan n={n} cpu_us_per_task={:.0} wall_s={:.2} cpu_s={:.2} driven_s={:.2} parallel={PARALLEL}",
        n as f64 / swept.wall_s,
        swept.cpu_s * 1e6 / n as f64,
        swept.wall_s,
        swept.cpu_s,
        swept.foreign_s
    ));
    Ok(swept)
}

/// Ansible's CPU without sshd's share, for which the dearest connections seen in this run are taken.
fn ansible(bench: &Bench, report: &mut Report, n: usize, of_sshd_s: f64) -> Result<f64, String> {
    bench.peers.script("fanout.sh")?;
    bench.peers.need("venv/bin/ansible")?;
    let args = [
        "ansible-ssh".to_owned(),
        n.to_string(),
        PARALLEL.to_string(),
    ];
    let run = bench
        .peers
        .bash("fanout.sh", &args)
        .map_err(|e| format!("{e:#}"))?;
    let line =
        PeerLine::find(&run.output).ok_or_else(|| "its script printed no line".to_owned())?;
    report.raw(&line.text);
    if line.value("ok") != Some(n as f64) {
        return Err("not all of its hosts were ok".to_owned());
    }
    // Without the CPU accounting that the script asks for, it prints 0; then what was waited for is taken.
    let all_s = match line.value("cpu_us_per_target") {
        Some(us) if us > 0.0 => us * n as f64 / 1e6,
        _ => run.cpu_s,
    };
    Ok(all_s - of_sshd_s)
}
