//! Whether a long backlog slows the system down, and whether a person gets through it. The same load is kept up with
//! at most 1,000 tasks outstanding and with 1,000,000: creation goes on in both, at the rate at which tasks end.

use crate::Bench;
use crate::cpu;
use crate::report::{Line, Report, Wanted};
use crate::server::Server;
use crate::stats::Latencies;
use crate::{targets, tasks};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TARGETS: usize = 10_000;
const PER_REQUEST: u64 = 100;
const FILL_PER_REQUEST: usize = 500;
/// Enough that creation is not the limit: each waits for its own commit.
const CONNECTIONS: usize = 16;
const SMALL: u64 = 1_000;
/// Between two tasks of people.
const PEOPLE_APART: Duration = Duration::from_millis(50);
/// Often enough that 1,000 outstanding tasks do not run dry, and the same with any backlog.
const COUNT_EVERY: Duration = Duration::from_millis(5);
/// Longest time without a task ending while nothing new is created.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Filling gives up after this; what was reached is said.
const FILL_MAX: Duration = Duration::from_secs(400);

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let large = bench.size(1_000_000, 50_000) as u64;
    let people = bench.size(50, 10);
    let hold = Duration::from_secs(bench.size(20, 4) as u64);
    let server = Server::start(bench)?;
    targets::apply_echo(&server, TARGETS)?;
    let flow = Flow::new(&server)?;

    let small = flow.hold(SMALL, hold)?;
    line(report, "sengu-outstanding-1000", &small);

    flow.fill(large)?;
    let held = flow.hold(large, hold)?;
    line(report, &format!("sengu-backlog-{large}"), &held);
    let (resident_mib, _) = cpu::resident_mib(server.pid())?;
    flow.fill(large)?;
    let mut amid = People::new(people);
    flow.keep(large, || amid.ask(&server))?;

    flow.fill(large)?;
    let mut draining = People::new(people);
    let drained = flow.drain(large / 2, || draining.ask(&server))?;
    line(report, "sengu-backlog-drained", &drained);

    let name = format!("throughput with a backlog of {large} beside {SMALL}");
    let ratio = held.per_s / small.per_s;
    if held.outstanding_before.min(held.outstanding_after) < large / 2 {
        report.note("the backlog fell below half of its size: the ratio is that of a smaller one");
    }
    report.figure(&name, Wanted::AtLeast(0.9), ratio, "x");
    let ratio = drained.per_s / small.per_s;
    report.figure("the same, nothing new created", Wanted::Nothing, ratio, "x");
    amid.figures(report, "while as many are created");
    draining.figures(report, "while it is drained");
    report.figure(
        "resident memory with the backlog",
        Wanted::Nothing,
        resident_mib,
        "MiB",
    );
    Ok(())
}

struct Rate {
    per_s: f64,
    n: u64,
    sengu_s: f64,
    worker_s: f64,
    outstanding_before: u64,
    outstanding_after: u64,
}

fn line(report: &mut Report, name: &str, rate: &Rate) {
    let us = |s: f64| s * 1e6 / rate.n as f64;
    report.line(&Line {
        name,
        per_s: rate.per_s,
        p50_ms: f64::NAN,
        p99_ms: f64::NAN,
        n: usize::try_from(rate.n).unwrap_or(usize::MAX),
        cpu_us: us(rate.sengu_s + rate.worker_s),
        more: format!(
            "sengu_us={:.1} worker_us={:.1} outstanding={}..{}",
            us(rate.sengu_s),
            us(rate.worker_s),
            rate.outstanding_before,
            rate.outstanding_after
        ),
    });
}

/// Tasks that flow through one server.
struct Flow<'a> {
    server: &'a Server,
    requests: Vec<Vec<u8>>,
    fill: Vec<Vec<u8>>,
    created: AtomicU64,
    ended: AtomicU64,
}

impl Flow<'_> {
    fn new(server: &Server) -> Result<Flow<'_>> {
        let flow = Flow {
            server,
            requests: tasks::requests("noop", TARGETS, usize::try_from(PER_REQUEST)?),
            fill: tasks::requests("noop", TARGETS, FILL_PER_REQUEST),
            created: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        };
        // Starts the worker.
        flow.hold(SMALL, Duration::from_millis(500))?;
        Ok(flow)
    }

    fn outstanding(&self) -> Result<u64> {
        let mut client = self.server.client()?;
        self.count(&mut client)?;
        let ended = self.ended.load(Ordering::SeqCst);
        Ok(self.created.load(Ordering::SeqCst).saturating_sub(ended))
    }

    fn count(&self, client: &mut crate::http::Client) -> Result<()> {
        let ended = tasks::ended(client)?;
        ensure!(
            ended.all == ended.done,
            "{} tasks were not done",
            ended.all - ended.done
        );
        self.ended.store(ended.all, Ordering::SeqCst);
        Ok(())
    }

    /// Creates until `outstanding` are, then keeps so many for a time and measures the rate at which tasks end.
    fn hold(&self, outstanding: u64, time: Duration) -> Result<Rate> {
        self.keep(outstanding, || {
            // The first moments fill the pipeline.
            std::thread::sleep(time / 10);
            self.measure(|| {
                std::thread::sleep(time);
                Ok(())
            })
        })
    }

    fn measure(&self, work: impl FnOnce() -> Result<()>) -> Result<Rate> {
        let standing = || {
            let ended = self.ended.load(Ordering::SeqCst);
            let created = self.created.load(Ordering::SeqCst);
            (ended, created.saturating_sub(ended))
        };
        let (cpu, started) = (self.server.cpu()?, Instant::now());
        let (ended, outstanding_before) = standing();
        work()?;
        let (ended_after, outstanding_after) = standing();
        let n = ended_after - ended;
        let wall_s = started.elapsed().as_secs_f64();
        let used = self.server.cpu()?.since(cpu);
        Ok(Rate {
            per_s: n as f64 / wall_s,
            n,
            sengu_s: used.root_s,
            worker_s: used.below_s,
            outstanding_before,
            outstanding_after,
        })
    }

    /// Creates until `outstanding` are, and keeps so many while something else is done. Where tasks end faster than
    /// they can be created, fewer remain.
    fn keep<T>(&self, outstanding: u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut threads = vec![scope.spawn(|| self.count_until(&stop))];
            for _ in 0..CONNECTIONS {
                threads.push(scope.spawn(|| self.create_until(&stop, outstanding)));
            }
            let done = work();
            stop.store(true, Ordering::SeqCst);
            tasks::join(threads)?;
            done
        })
    }

    fn count_until(&self, stop: &AtomicBool) -> Result<()> {
        let mut client = self.server.client()?;
        while !stop.load(Ordering::SeqCst) {
            self.count(&mut client)?;
            std::thread::sleep(COUNT_EVERY);
        }
        Ok(())
    }

    fn create_until(&self, stop: &AtomicBool, outstanding: u64) -> Result<()> {
        let mut client = self.server.client()?;
        while !stop.load(Ordering::SeqCst) {
            let ended = self.ended.load(Ordering::SeqCst);
            let more = |created: u64| {
                (created + PER_REQUEST <= ended + outstanding).then_some(created + PER_REQUEST)
            };
            match self
                .created
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            {
                Ok(created) => {
                    let number = usize::try_from(created / PER_REQUEST)? % self.requests.len();
                    client.post("/v1/tasks", &self.requests[number])?;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(())
    }

    /// Creates as fast as it is taken until `outstanding` are.
    fn fill(&self, outstanding: u64) -> Result<()> {
        let end = Instant::now() + FILL_MAX;
        loop {
            let lacking = outstanding.saturating_sub(self.outstanding()?);
            if lacking == 0 || Instant::now() > end {
                return Ok(());
            }
            let count = usize::try_from(lacking)?.div_ceil(FILL_PER_REQUEST);
            tasks::create(self.server, &self.fill, count, CONNECTIONS)?;
            self.created
                .fetch_add((count * FILL_PER_REQUEST) as u64, Ordering::SeqCst);
        }
    }

    /// Creates nothing more and measures until `left` are; `beside` runs meanwhile, and to its end.
    fn drain(&self, left: u64, beside: impl FnOnce() -> Result<()> + Send) -> Result<Rate> {
        std::thread::scope(|scope| {
            let people = scope.spawn(beside);
            let rate = self.drain_to(left);
            tasks::join(vec![people]).and(rate)
        })
    }

    fn drain_to(&self, left: u64) -> Result<Rate> {
        let mut client = self.server.client()?;
        self.count(&mut client)?;
        self.measure(|| {
            let (mut last, mut moved) = (0, Instant::now());
            loop {
                self.count(&mut client)?;
                let ended = self.ended.load(Ordering::SeqCst);
                if self.created.load(Ordering::SeqCst).saturating_sub(ended) <= left {
                    return Ok(());
                }
                if ended != last {
                    (last, moved) = (ended, Instant::now());
                }
                ensure!(
                    moved.elapsed() < STALL_MAX,
                    "no task ended for {STALL_MAX:?}"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    }
}

/// Single tasks of priority `people`, on targets that have a backlog of their own.
struct People {
    number: usize,
    started: Latencies,
    ended: Latencies,
}

impl People {
    fn new(number: usize) -> People {
        People {
            number,
            started: Latencies::default(),
            ended: Latencies::default(),
        }
    }

    fn ask(&mut self, server: &Server) -> Result<()> {
        let mut client = server.client()?;
        for i in 0..self.number {
            let target = targets::name((i * 197 + 31) % TARGETS);
            let request = json!({"targets": [target], "action": "noop", "priority": "people"});
            let asked_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
            let asked = Instant::now();
            let created = client.post_json("/v1/tasks", &request)?;
            let id = created["tasks"][0]["id"]
                .as_str()
                .context("a task has an id")?;
            let task = client.get(&format!("/v1/tasks/{id}?wait=30s"))?;
            self.ended.add(asked.elapsed().as_secs_f64() * 1e3);
            let Some(at) = task["ending"]["startedAt"].as_str() else {
                let why = client.get(&format!("/v1/why/task/{id}"))?;
                let top = client.get("/v1/top")?;
                let top = &top["tasks"];
                bail!("a person's task did not run in 30 s: {task}; why: {why}; all tasks: {top}");
            };
            let at: jiff::Timestamp = at.parse().context("read startedAt")?;
            // Times are kept in whole milliseconds.
            self.started
                .add((at.as_millisecond() as f64 - asked_ms.floor()).max(0.0));
            std::thread::sleep(PEOPLE_APART);
        }
        Ok(())
    }

    fn figures(&self, report: &mut Report, when: &str) {
        report.raw(&format!(
            "sengu-people {} {:.2} {:.2} n={} started_p50_ms={:.1} started_p99_ms={:.1} started_max_ms={:.1} ended_max_ms={:.1}",
            "nan",
            self.ended.percentile(0.5),
            self.ended.percentile(0.99),
            self.ended.count(),
            self.started.percentile(0.5),
            self.started.percentile(0.99),
            self.started.max(),
            self.ended.max()
        ));
        let number = self.number;
        let what = format!("a person's task in the backlog {when}: started, worst of {number}");
        report.figure(&what, Wanted::AtMost(100.0), self.started.max(), "ms");
        let what = format!("a person's task in the backlog {when}: seen ended, worst of {number}");
        report.figure(&what, Wanted::Nothing, self.ended.max(), "ms");
    }
}
