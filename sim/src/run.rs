//! One run: a fresh thread, a runtime whose time is virtual, and the plan carried out in it.

use crate::plan::Plan;
use crate::{check, entropy, life, site, world};
use std::time::Duration;

/// After the last fault all must have ended within this, in virtual time.
pub const SETTLE_MAX: Duration = Duration::from_secs(30 * 60);
/// After all has ended, what still comes must come within this.
const AFTERMATH: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// Of all that happened.
    pub hash: u64,
    pub events: u64,
    pub virtual_ms: u64,
    pub tasks: u64,
    pub effects: u64,
    /// Overlaps on a target of which nobody could have known.
    pub excused: u64,
    pub wrong: Vec<String>,
    pub trace: Vec<String>,
}

/// Carries out the plan, on a thread of its own.
pub fn run(plan: &Plan, keep_trace: bool) -> Report {
    let plan = plan.clone();
    let seed = plan.seed;
    let thread = std::thread::Builder::new()
        .name(format!("seed-{seed}"))
        .stack_size(8 << 20)
        .spawn(move || {
            entropy::seed_this_thread(plan.seed);
            run_here(&plan, keep_trace)
        });
    let report = thread.map(std::thread::JoinHandle::join);
    match report {
        Ok(Ok(report)) => report,
        _ => Report {
            hash: 0,
            events: 0,
            virtual_ms: 0,
            tasks: 0,
            effects: 0,
            excused: 0,
            wrong: vec![format!("seed {seed} panicked")],
            trace: Vec::new(),
        },
    }
}

fn run_here(plan: &Plan, keep_trace: bool) -> Report {
    life::install();
    sengu_logic::planted::plant(plan.bug);
    world::create(plan.seed, plan.mischief, keep_trace);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let mut wrong = Vec::new();
    let mut tasks = 0;
    let mut virtual_ms = 0;
    match runtime {
        Ok(runtime) => {
            (wrong, tasks, virtual_ms) = runtime.block_on(carry_out(plan));
            // What still runs is dropped here, inside the world.
            drop(runtime);
        }
        Err(error) => wrong.push(format!("no runtime: {error}")),
    }
    let (hash, events, trace, targets) = world::end();
    wrong.extend(targets.wrong);
    Report {
        hash,
        events,
        virtual_ms,
        tasks,
        effects: targets.effects,
        excused: targets.overlaps_excused,
        wrong,
        trace,
    }
}

async fn carry_out(plan: &Plan) -> (Vec<String>, u64, u64) {
    life::begin_time();
    let site = site::Site::build(plan).await;
    site.follow(plan).await;
    site.heal().await;
    let mut wrong = check::until_settled(&site, SETTLE_MAX).await;
    if wrong.is_empty() {
        tokio::time::sleep(AFTERMATH).await;
        wrong.extend(check::all(&site).await);
        wrong.extend(check::moves_on(&site).await);
    }
    let tasks = site.store.look(|s| s.tasks.len() as u64);
    (wrong, tasks, life::elapsed_ms())
}
