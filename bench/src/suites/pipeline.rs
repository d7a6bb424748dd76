//! Durable tasks that do nothing, end to end: created over the API, committed, handed to a real worker process, their
//! outcomes committed. What is left is the cost of the pipeline itself.

use crate::Bench;
use crate::cpu;
use crate::peers::{PeerLine, Peers};
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::{targets, tasks};
use anyhow::{Context as _, Result, ensure};
use std::time::Instant;

const TARGETS: usize = 1_000;
const PER_REQUEST: usize = 500;
const CONNECTIONS: usize = 4;
const WARM: usize = 5_000;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let n = bench.size(200_000, 20_000);
    let server = Server::start(bench)?;
    targets::apply_echo(&server, TARGETS)?;
    let noop = load(&server, report, "sengu-noop", "noop", n)?;
    load(&server, report, "sengu-once", "once", n)?;
    let stored = server.client()?.get("/v1/version")?["store"]["tasksEnded"].as_u64();
    let wanted = 2 * (n + WARM) as u64;
    ensure!(
        stored == Some(wanted),
        "{stored:?} results are stored, not {wanted}"
    );
    report.complaints(&server.complaints());
    drop(server);

    report.figure(
        "durable no-op tasks",
        Wanted::AtLeast(20_000.0),
        noop.per_s,
        "/s",
    );
    report.figure(
        "CPU per task, sengu + worker",
        Wanted::AtMost(70.0),
        noop.system_us,
        "us",
    );
    report.figure(
        "CPU per task, with the load generator",
        Wanted::Nothing,
        noop.all_us,
        "us",
    );
    beside_peers(bench, report, noop.per_s);
    Ok(())
}

pub(super) struct Load {
    pub(super) per_s: f64,
    system_us: f64,
    all_us: f64,
}

pub(super) fn load(
    server: &Server,
    report: &mut Report,
    name: &str,
    action: &str,
    n: usize,
) -> Result<Load> {
    let requests = tasks::requests(action, TARGETS, PER_REQUEST);
    let mut client = server.client()?;
    // Starts the worker, and fills what is filled once.
    let before = tasks::ended(&mut client)?;
    tasks::create(server, &requests, WARM / PER_REQUEST, CONNECTIONS)?;
    tasks::wait_ended(&mut client, before, WARM as u64)?;

    let before = tasks::ended(&mut client)?;
    let (cpu_before, own_before) = (server.cpu()?, cpu::own_s());
    let started = Instant::now();
    let created_s = std::thread::scope(|scope| -> Result<f64> {
        let creating = scope.spawn(|| {
            let created = tasks::create(server, &requests, n / PER_REQUEST, CONNECTIONS);
            created.map(|()| started.elapsed().as_secs_f64())
        });
        tasks::wait_ended(&mut client, before, n as u64)?;
        creating
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the creator panicked")))
    })
    .with_context(|| name.to_owned())?;
    let wall_s = started.elapsed().as_secs_f64();
    let used = server.cpu()?.since(cpu_before);
    let own_s = cpu::own_s() - own_before;
    let us = |s: f64| s * 1e6 / n as f64;
    report.line(&Line {
        name,
        per_s: n as f64 / wall_s,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
        n,
        cpu_us: us(used.all_s()),
        more: format!(
            "sengu_us={:.1} worker_us={:.1} client_us={:.1} all_us={:.1} create_per_s={:.0}",
            us(used.root_s),
            us(used.below_s),
            us(own_s),
            us(used.all_s() + own_s),
            n as f64 / created_s,
        ),
    });
    Ok(Load {
        per_s: n as f64 / wall_s,
        system_us: us(used.all_s()),
        all_us: us(used.all_s() + own_s),
    })
}

struct Peer {
    name: &'static str,
    script: &'static str,
    mode: &'static str,
    tasks: [usize; 2],
    needs: &'static [&'static str],
    wanted: f64,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "graphile-worker, batched, on PostgreSQL",
        script: "graphile.sh",
        mode: "fast",
        tasks: [100_000, 10_000],
        needs: &[
            "node/node_modules/graphile-worker",
            "/usr/lib/postgresql/15/bin/postgres",
        ],
        wanted: 1.1,
    },
    Peer {
        name: "BullMQ on Redis (everysec)",
        script: "bullmq.sh",
        mode: "everysec",
        tasks: [20_000, 5_000],
        needs: &["node/node_modules/bullmq", "/usr/bin/redis-server"],
        wanted: 4.0,
    },
    Peer {
        name: "Celery with RabbitMQ",
        script: "celery.sh",
        mode: "rabbit",
        tasks: [5_000, 1_000],
        needs: &["venv/bin/celery", "/usr/lib/rabbitmq/bin/rabbitmq-server"],
        wanted: 40.0,
    },
];

fn beside_peers(bench: &Bench, report: &mut Report, sengu_per_s: f64) {
    for peer in &PEERS {
        let figure = format!("rate beside {}", peer.name);
        match run_peer(&bench.peers, peer, bench.quick) {
            Ok(line) => {
                report.raw(&line.text);
                report.figure(
                    &figure,
                    Wanted::AtLeast(peer.wanted),
                    sengu_per_s / line.per_s,
                    "x",
                );
            }
            Err(why) => report.not_run(&figure, Wanted::AtLeast(peer.wanted), "x", &why),
        }
    }
}

fn run_peer(peers: &Peers, peer: &Peer, quick: bool) -> Result<PeerLine, String> {
    peers.script(peer.script)?;
    for need in peer.needs {
        peers.need(need)?;
    }
    let n = peer.tasks[usize::from(quick)].to_string();
    let run = peers
        .bash(peer.script, &[peer.mode.to_owned(), n, "50".to_owned()])
        .map_err(|e| format!("{e:#}"))?;
    PeerLine::find(&run.output).ok_or_else(|| "its script printed no line".to_owned())
}
