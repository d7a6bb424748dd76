//! A broker that is away for a minute while tasks are asked for at a steady rate: how fast what has gathered is done
//! once it is back, while as many go on to be asked for.

use super::engines::Nats;
use crate::Bench;
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::{targets, tasks};
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TARGETS: usize = 1_000;
const PER_S: u64 = 1_000;
const EACH: usize = 10;
const CONNECTIONS: u64 = 4;
/// What is in hand anyway at this rate.
const IN_HAND: u64 = 500;
const DRAIN_MAX: Duration = Duration::from_secs(180);

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let what = "broker back after a minute: tasks done beside those asked for";
    let wanted = Wanted::AtLeast(3.0);
    let mut nats = match Nats::start(bench) {
        Ok(nats) => nats,
        Err(why) => {
            report.not_run(what, wanted, "x", &why);
            return Ok(());
        }
    };
    let away = Duration::from_secs(bench.size(60, 8) as u64);
    let server = Server::start_with(bench, Some(&nats.config()))?;
    targets::apply_echo(&server, TARGETS)?;
    let requests = tasks::requests("noop", TARGETS, EACH);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let over = std::thread::scope(|scope| {
        let ask = |number: u64| {
            let (server, requests, stop, asked) = (&server, &requests, &stop, &asked);
            move || ask_steadily(server, requests, number, stop, asked)
        };
        let threads = (0..CONNECTIONS).map(|n| scope.spawn(ask(n))).collect();
        let over = through(&server, &mut nats, away, &asked);
        stop.store(true, Ordering::SeqCst);
        tasks::join(threads).and(over)
    })?;
    let per_s = over.done as f64 / over.took.as_secs_f64();
    report.line(&Line {
        name: "sengu-drained-over-NATS",
        per_s,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
        n: usize::try_from(over.done)?,
        cpu_us: f64::NAN,
        more: format!(
            "away_s={} gathered={} drained_s={:.1}",
            away.as_secs(),
            over.gathered,
            over.took.as_secs_f64()
        ),
    });
    let first = "broker back after a minute: first task done after";
    report.figure(first, Wanted::Nothing, over.first.as_secs_f64() * 1e3, "ms");
    report.figure(what, wanted, per_s / PER_S as f64, "x");
    report.complaints(&server.complaints());
    Ok(())
}

struct Over {
    gathered: u64,
    /// From the return of the broker to the first task that was done.
    first: Duration,
    /// From then until no more were left than are in hand anyway.
    took: Duration,
    done: u64,
}

fn through(server: &Server, nats: &mut Nats, away: Duration, asked: &AtomicU64) -> Result<Over> {
    let mut client = server.client()?;
    std::thread::sleep(Duration::from_secs(5));
    nats.stop();
    std::thread::sleep(away);
    let before = tasks::ended(&mut client)?;
    let gathered = asked.load(Ordering::SeqCst) - before.all;
    nats.begin()?;
    let (back, mut first) = (Instant::now(), None);
    loop {
        let ended = tasks::ended(&mut client)?;
        ensure!(ended.all == ended.done, "some tasks were not done");
        if first.is_none() && ended.all > before.all {
            first = Some(back.elapsed());
        }
        if asked.load(Ordering::SeqCst).saturating_sub(ended.all) <= IN_HAND {
            let first = first.unwrap_or_default();
            return Ok(Over {
                gathered,
                first,
                took: back.elapsed().saturating_sub(first),
                done: ended.all - before.all,
            });
        }
        ensure!(
            back.elapsed() < DRAIN_MAX,
            "{} tasks are left after {DRAIN_MAX:?}",
            asked.load(Ordering::SeqCst) - ended.all
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Its share of the rate, at fixed moments; what was late is caught up.
fn ask_steadily(
    server: &Server,
    requests: &[Vec<u8>],
    number: u64,
    stop: &AtomicBool,
    asked: &AtomicU64,
) -> Result<()> {
    let every = Duration::from_secs(1) * EACH as u32 * CONNECTIONS as u32 / PER_S as u32;
    let mut client = server.client()?;
    let mut next = Instant::now() + every * number as u32 / CONNECTIONS as u32;
    let mut turn = number as usize * requests.len() / CONNECTIONS as usize;
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        client.post("/v1/tasks", &requests[turn % requests.len()])?;
        asked.fetch_add(EACH as u64, Ordering::SeqCst);
        turn += 1;
        next += every;
    }
    Ok(())
}
