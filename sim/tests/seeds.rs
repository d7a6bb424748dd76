//! Runs from seeds: that they can be repeated, those that once failed, a fixed thousand, and some that nobody has had.
//! A failure says how to see it again.
#![allow(clippy::unwrap_used)] // helpers of tests

use sengu_sim::plan::Plan;
use sengu_sim::run::run;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds of every build.
const FIXED: u64 = 1_000;
/// Seeds of this run alone.
const FRESH: u64 = 100;
/// Failures told before the rest is left out.
const TOLD_MAX: usize = 5;

/// Runs them on all cores.
fn all_pass(seeds: &[u64]) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failed.lock().unwrap().len() >= TOLD_MAX {
                        return;
                    }
                    let report = run(&Plan::of(*seed), false);
                    if !report.wrong.is_empty() {
                        let what = report.wrong.join("\n  ");
                        failed.lock().unwrap().push(format!(
                            "seed {seed}:\n  {what}\n  to see it: cargo run -p sengu-sim -- --seed {seed}"
                        ));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn seeds_that_once_failed_pass() {
    let seeds: Vec<u64> = include_str!("../seeds.txt")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !word.starts_with('#'))
        .map(|word| word.parse().expect("a line starts with a seed"))
        .collect();
    all_pass(&seeds);
}

#[test]
fn a_fixed_thousand_of_seeds_passes() {
    let seeds: Vec<u64> = (0..FIXED).collect();
    all_pass(&seeds);
}

#[test]
fn seeds_that_nobody_has_had_pass() {
    let first = sengu_sim::entropy::fresh_seed();
    println!("seeds {first} to {}", first + FRESH - 1);
    let seeds: Vec<u64> = (first..first + FRESH).collect();
    all_pass(&seeds);
}

#[test]
fn a_seed_gives_the_same_run_twice_here_and_in_another_process() {
    for seed in [1, 7, 42] {
        let plan = Plan::of(seed);
        let (first, second) = (run(&plan, false), run(&plan, false));
        assert_eq!(
            (first.hash, first.events),
            (second.hash, second.events),
            "seed {seed} twice in one process"
        );
        let out = Command::new(env!("CARGO_BIN_EXE_sengu-sim"))
            .args(["--seed", &seed.to_string(), "--no-shrink"])
            .output()
            .expect("the simulator runs");
        let text = String::from_utf8_lossy(&out.stdout);
        let hash = format!("hash {:016x}", first.hash);
        assert!(text.contains(&hash), "seed {seed} elsewhere: {text}");
    }
}
