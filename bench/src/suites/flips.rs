//! A worker's version is changed again and again under a steady load: whether a task is lost, fails or is run twice for
//! it, and what others feel of it.

use crate::Bench;
use crate::load::{self, Asked, Conductor};
use crate::releases::{flip, push};
use crate::report::{Report, Wanted};
use crate::results::{Ended, Results};
use crate::server::Server;
use crate::stats::{Latencies, median};
use crate::witness::{self, Conduct, Execution, Listener};
use anyhow::Result;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TARGETS: usize = 1_000;
/// More, for the long tasks.
const LONG_TARGETS: usize = 10;
const VERSIONS: [&str; 2] = ["1.0.0", "1.0.1"];
/// Between two flips, so that both versions are warm; a round begins with one that is not.
const APART: Duration = Duration::from_millis(100);
/// Between two flips to a version whose instances have left.
const FAR_APART: Duration = Duration::from_secs(3);
/// From the last task to the end of all.
const END_MAX: Duration = Duration::from_secs(60);

/// What goes on when a task is created.
const WARMING: usize = 0;
const WITHOUT: usize = 1;
const WITH: usize = 2;
const SLOW: usize = 3;

pub fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let rounds = bench.size(10, 3);
    let flips = bench.size(100, 20);
    let slow_flips = bench.size(15, 2);
    let listener = Listener::start()?;
    let server = Server::start(bench)?;
    let folder = tempfile::tempdir_in(&bench.scratch)?;
    for version in VERSIONS {
        push(
            &server,
            &witness::image(folder.path(), version, Conduct::Good)?,
        )?;
    }
    witness::apply(&server, TARGETS + LONG_TARGETS, &listener)?;
    let results = Results::follow(&server)?;
    let conductor = Conductor::default();
    let (cpu_before, started) = (server.cpu()?, Instant::now());
    let (asked, moves) = std::thread::scope(|scope| -> Result<(Vec<Asked>, Latencies)> {
        let load = scope.spawn(|| load::run(&server, TARGETS, &conductor));
        let moves = flip_around(&server, &conductor, rounds, flips, slow_flips);
        conductor.stop.store(true, Ordering::SeqCst);
        let asked = load
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the load panicked")))?;
        Ok((asked, moves?))
    })?;
    let took = started.elapsed();
    let used = server.cpu()?.since(cpu_before);
    let end = Instant::now() + END_MAX;
    while results.count() < asked.len() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    let found = Found::of(&asked, &results.all(), &listener.told());
    report.raw(&format!(
        "sengu-flips {:.0} nan nan n={} cpu_us_per_task={:.0} flips={} slow_flips={slow_flips} flip_p50_ms={:.2} flip_p99_ms={:.2}",
        asked.len() as f64 / took.as_secs_f64(),
        asked.len(),
        used.all_s() * 1e6 / asked.len() as f64,
        rounds * flips,
        moves.percentile(0.5),
        moves.percentile(0.99),
    ));
    report.complaints(&server.complaints());
    found.tell(report, rounds * flips);
    Ok(())
}

/// Without and with flips in turns, so that whatever else the machine does falls on both; the time of each flip.
fn flip_around(
    server: &Server,
    conductor: &Conductor,
    rounds: usize,
    flips: usize,
    slow_flips: usize,
) -> Result<Latencies> {
    let mut client = server.client()?;
    let mut moves = Latencies::default();
    let mut at = 0;
    let mut next = |moves: &mut Latencies| -> Result<()> {
        at = (at + 1) % VERSIONS.len();
        let asked = Instant::now();
        flip(&mut client, witness::KIND, VERSIONS[at])?;
        moves.add(asked.elapsed().as_secs_f64() * 1e3);
        Ok(())
    };
    let time = APART * u32::try_from(flips)?;
    std::thread::sleep(Duration::from_secs(3));
    for _ in 0..rounds {
        conductor.phase.store(WITHOUT, Ordering::SeqCst);
        std::thread::sleep(time);
        conductor.phase.store(WITH, Ordering::SeqCst);
        let begin = Instant::now();
        for n in 0..flips {
            let due = begin + APART * u32::try_from(n)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            next(&mut moves)?;
        }
        std::thread::sleep((begin + time).saturating_duration_since(Instant::now()));
        // What the last flip left behind leaves: it belongs to neither.
        conductor.phase.store(WARMING, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(3));
    }
    conductor.phase.store(SLOW, Ordering::SeqCst);
    for _ in 0..slow_flips {
        next(&mut moves)?;
        std::thread::sleep(FAR_APART);
    }
    Ok(moves)
}

/// What became of the tasks.
#[derive(Default)]
struct Found {
    lost: usize,
    failed: usize,
    /// Tasks that must not be repeated, and were.
    doubled: usize,
    /// Reads that were run more than once: allowed, and shown.
    repeated: usize,
    /// Done by another version than is said, or never told to the target.
    misattributed: usize,
    told_twice: usize,
    retried: usize,
    first_fault: Option<String>,
    /// By phase.
    times: [Latencies; 4],
    /// p99 of each second, by phase.
    seconds: [BTreeMap<u64, Latencies>; 4],
}

impl Found {
    fn of(
        asked: &[Asked],
        ended: &HashMap<String, Ended>,
        told: &HashMap<String, Vec<Execution>>,
    ) -> Found {
        let mut found = Found::default();
        let begin = asked.iter().map(|a| a.at).min();
        for task in asked {
            let executions = told.get(&task.id).map_or(&[][..], Vec::as_slice);
            let Some(end) = ended.get(&task.id) else {
                found.lost += 1;
                found.fault(format!("lost {task:?}, executions {executions:?}"));
                continue;
            };
            if end.status != "done" {
                found.failed += 1;
                found.fault(format!("failed {task:?}: {}", end.outcome));
            }
            if executions.len() > 1 {
                if task.once {
                    found.doubled += 1;
                    found.fault(format!("run twice {task:?}: {executions:?}, {end:?}"));
                } else {
                    found.repeated += 1;
                }
            }
            found.retried += usize::from(end.attempts > 1);
            found.told_twice += usize::from(end.times > 1);
            let by = |e: &Execution| end.instance.contains(&format!("@{}/", e.version));
            if !executions.iter().any(by) {
                found.misattributed += 1;
                found.fault(format!(
                    "not by whom it is said {task:?}: {executions:?}, {end:?}"
                ));
            }
            if task.long {
                continue;
            }
            let ms = end.at.saturating_duration_since(task.at).as_secs_f64() * 1e3;
            found.times[task.phase].add(ms);
            let second = begin.map_or(0, |b| (task.at - b).as_secs());
            found.seconds[task.phase].entry(second).or_default().add(ms);
        }
        found
    }

    fn fault(&mut self, what: String) {
        self.first_fault.get_or_insert(what);
    }

    fn tell(&self, report: &mut Report, flips: usize) {
        for (phase, name) in [(WITHOUT, "without"), (WITH, "with"), (SLOW, "slow")] {
            let times = &self.times[phase];
            report.raw(&format!(
                "sengu-flips-{name} nan {:.2} {:.2} n={} p90_ms={:.2} p999_ms={:.2} max_ms={:.1} p99_of_a_second_p50_ms={:.2}",
                times.percentile(0.5),
                times.percentile(0.99),
                times.count(),
                times.percentile(0.9),
                times.percentile(0.999),
                times.max(),
                self.typical(phase),
            ));
        }
        if let Some(fault) = &self.first_fault {
            report.note(&format!("the first fault: {fault}"));
        }
        let mut none = |what: &str, count: usize| {
            let what = format!("{what}, over {flips} flips");
            report.figure(&what, Wanted::AtMost(0.0), count as f64, "");
        };
        none("tasks lost", self.lost);
        none("tasks failed", self.failed);
        none("changes run twice", self.doubled);
        none("ended by another version than began", self.misattributed);
        none("results told twice", self.told_twice);
        let repeated = self.repeated as f64;
        report.figure("reads run twice", Wanted::Nothing, repeated, "");
        let retried = self.retried as f64;
        report.figure(
            "tasks that took a second attempt",
            Wanted::Nothing,
            retried,
            "",
        );
        let ratio = |of: &dyn Fn(usize) -> f64| of(WITH) / of(WITHOUT);
        report.figure(
            "p99 with flips beside without",
            Wanted::AtMost(1.2),
            ratio(&|p| self.times[p].percentile(0.99)),
            "x",
        );
        report.figure(
            "p99 of the typical second, the same",
            Wanted::Nothing,
            ratio(&|p| self.typical(p)),
            "x",
        );
        report.figure(
            "p50, the same",
            Wanted::Nothing,
            ratio(&|p| self.times[p].percentile(0.5)),
            "x",
        );
        let slow = self.times[SLOW].percentile(0.99) / self.times[WITHOUT].percentile(0.99);
        report.figure(
            "p99, flips 3 s apart to cold versions",
            Wanted::Nothing,
            slow,
            "x",
        );
    }

    fn typical(&self, phase: usize) -> f64 {
        median(self.seconds[phase].values().map(|l| l.percentile(0.99)))
    }
}
