//! `cargo run -p sengu-sim -- --seed N`: one run, or many.

use sengu_logic::planted::Bug;
use sengu_sim::plan::Plan;
use sengu_sim::run::{Report, run};
use sengu_sim::shrink::shrink;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const USAGE: &str = "\
usage: cargo run -p sengu-sim -- [options]
  --seed N       one run
  --seeds N      runs of the seeds 0 to N - 1
  --from N       with --seeds: from this one on
  --fresh N      runs of new seeds, which are printed
  --trace        what happens, line by line
  --log          what logic and execution log (RUST_LOG)
  --planted BUG  with a bug planted in logic: stale, unmarked or early
  --no-shrink    a failing run is not made smaller";

struct Options {
    seeds: Vec<u64>,
    trace: bool,
    log: bool,
    shrink: bool,
    bug: Option<Bug>,
}

impl Options {
    fn plan(&self, seed: u64) -> Plan {
        Plan {
            bug: self.bug,
            ..Plan::of(seed)
        }
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.log {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    let failed = match options.seeds.as_slice() {
        [seed] => u64::from(!one(*seed, &options)),
        seeds => many(seeds, &options),
    };
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn options() -> Result<Options, String> {
    let mut words: VecDeque<String> = std::env::args().skip(1).collect();
    let (mut from, mut seeds, mut fresh) = (0, None, None);
    let mut options = Options {
        seeds: Vec::new(),
        trace: false,
        log: false,
        shrink: true,
        bug: None,
    };
    while let Some(word) = words.pop_front() {
        let mut number = || {
            let text = words.pop_front().unwrap_or_default();
            text.parse::<u64>()
                .map_err(|_| format!("{word} needs a number, not {text:?}"))
        };
        match word.as_str() {
            "--seed" => options.seeds.push(number()?),
            "--seeds" => seeds = Some(number()?),
            "--from" => from = number()?,
            "--fresh" => fresh = Some(number()?),
            "--trace" => options.trace = true,
            "--log" => options.log = true,
            "--planted" => {
                options.bug = match words.pop_front().as_deref() {
                    Some("stale") => Some(Bug::StaleReportsBelieved),
                    Some("unmarked") => Some(Bug::SentBeforeMarked),
                    Some("early") => Some(Bug::LaneFreedEarly),
                    other => return Err(format!("no such bug: {other:?}")),
                };
            }
            "--no-shrink" => options.shrink = false,
            other => return Err(format!("{other} is not known")),
        }
    }
    options
        .seeds
        .extend((from..).take(seeds.unwrap_or(0) as usize));
    if let Some(count) = fresh {
        let first = sengu_sim::entropy::fresh_seed();
        println!("seeds {first} to {}", first + count - 1);
        options.seeds.extend((first..).take(count as usize));
    }
    match options.seeds.is_empty() {
        true => Err("no seed".to_owned()),
        false => Ok(options),
    }
}

fn one(seed: u64, options: &Options) -> bool {
    let plan = options.plan(seed);
    let began = Instant::now();
    let report = run(&plan, options.trace);
    if options.trace {
        println!("{plan:#?}");
        for line in &report.trace {
            println!("{line}");
        }
    }
    println!(
        "seed {seed}: {} targets, {} tasks, {} effects, {} events, {} s of virtual time in {} ms, hash {:016x}, {} overlaps excused",
        plan.targets,
        report.tasks,
        report.effects,
        report.events,
        report.virtual_ms / 1_000,
        began.elapsed().as_millis(),
        report.hash,
        report.excused,
    );
    if report.wrong.is_empty() {
        return true;
    }
    for wrong in &report.wrong {
        println!("WRONG {wrong}");
    }
    if options.shrink {
        let (plan, report) = shrink(&plan);
        tell(&plan, &report);
    }
    false
}

fn tell(plan: &Plan, report: &Report) {
    println!("--- the smallest that was found: {plan:#?}");
    for line in &report.trace {
        println!("{line}");
    }
    for wrong in &report.wrong {
        println!("WRONG {wrong}");
    }
    println!(
        "to see it again: cargo run -p sengu-sim -- --seed {}",
        plan.seed
    );
}

/// How many failed.
fn many(seeds: &[u64], options: &Options) -> u64 {
    let began = Instant::now();
    let (next, failed, virtual_ms) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let plan = options.plan(*seed);
                    let report = run(&plan, false);
                    virtual_ms.fetch_add(report.virtual_ms, Ordering::Relaxed);
                    if let Some(first) = report.wrong.first() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("seed {seed} WRONG ({}) {first}", report.wrong.len());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "{} seeds, {failed} failed, {} h of virtual time in {} s",
        seeds.len(),
        virtual_ms.into_inner() / 3_600_000,
        began.elapsed().as_secs()
    );
    if failed > 0 && options.shrink {
        println!("one of them with --seed N tells more");
    }
    failed
}
