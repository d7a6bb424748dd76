//! Makes a failing plan smaller for as long as it still fails.

use crate::plan::{Ask, Plan};
use crate::run::{Report, run};

/// Runs spent on making one plan smaller.
const TRIES_MAX: u32 = 300;

/// The smallest failing plan that was found, with what it gives.
pub fn shrink(plan: &Plan) -> (Plan, Report) {
    let mut best = plan.clone();
    let mut report = run(&best, true);
    let mut tries = 0;
    loop {
        let before = tries;
        let mut smaller = false;
        for candidate in candidates(&best) {
            tries += 1;
            if tries > TRIES_MAX {
                return (best, report);
            }
            let found = run(&candidate, true);
            if !found.wrong.is_empty() {
                best = candidate;
                report = found;
                smaller = true;
                break;
            }
        }
        if !smaller || tries == before {
            return (best, report);
        }
    }
}

/// Plans with something left out, the most first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    let (asks, faults) = (plan.asks.len(), plan.faults.len());
    if asks > 1 {
        add(&|p| p.asks.truncate(asks / 2));
        add(&|p| drop(p.asks.drain(..asks / 2)));
    }
    if faults > 1 {
        add(&|p| p.faults.truncate(faults / 2));
        add(&|p| drop(p.faults.drain(..faults / 2)));
    }
    for n in 0..faults {
        add(&|p| {
            p.faults.remove(n);
        });
    }
    for n in 0..asks {
        add(&|p| {
            p.asks.remove(n);
        });
    }
    if plan.targets > 1 {
        add(&|p| p.targets = p.targets.div_ceil(4));
        add(&|p| p.targets = p.targets.div_ceil(2));
    }
    if plan.observe_every_s > 0 {
        add(&|p| p.observe_every_s = 0);
    }
    if plan.mischief > 0 {
        add(&|p| p.mischief = 0);
    }
    if plan.doubled > 0 {
        add(&|p| p.doubled = 0);
    }
    if plan.overtaken > 0 {
        add(&|p| p.overtaken = 0);
    }
    if plan.logics > 1 {
        add(&|p| p.logics = 1);
    }
    if plan.wees > 1 {
        add(&|p| p.wees -= 1);
    }
    for n in 0..asks {
        if let Ask::Tasks { count, .. } | Ask::Run { count, .. } = plan.asks[n].1
            && count > 1
        {
            add(&|p| {
                if let Ask::Tasks { count, .. } | Ask::Run { count, .. } = &mut p.asks[n].1 {
                    *count = count.div_ceil(2);
                }
            });
        }
    }
    all
}
