//! Bugs planted on purpose are found: otherwise a thousand seeds that pass say nothing.

use sengu_logic::planted::Bug;
use sengu_sim::plan::Plan;
use sengu_sim::run::run;

const WITHIN: u64 = 1_000;

fn found(bug: Bug) {
    for seed in 0..WITHIN {
        let plan = Plan {
            bug: Some(bug),
            ..Plan::of(seed)
        };
        let report = run(&plan, false);
        if let Some(first) = report.wrong.first() {
            println!("{bug:?} is found by seed {seed}: {first}");
            return;
        }
    }
    panic!("{bug:?} is not found in {WITHIN} seeds");
}

#[test]
fn a_fence_that_is_not_checked_is_found() {
    found(Bug::StaleReportsBelieved);
}

#[test]
fn a_task_that_is_sent_before_that_is_durable_is_found() {
    found(Bug::SentBeforeMarked);
}

#[test]
fn a_lane_that_is_freed_early_is_found() {
    found(Bug::LaneFreedEarly);
}
