//! What a run will be: sizes, requests and faults, drawn from the seed before anything runs, so that a failing run can be
//! made smaller by leaving things out.

use crate::random::Random;
use crate::trap::Boundary;
use sengu_logic::planted::Bug;

/// Faults end before this, in virtual milliseconds.
const FAULTS_MS: u64 = 120_000;
const HOUR_MS: i64 = 3_600_000;
/// The workers' versions.
pub const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];
pub const ACTIONS: [&str; 4] = ["observe", "set", "cycle", "fire"];

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub bug: Option<Bug>,
    pub targets: u32,
    pub sessions: u32,
    pub wees: u32,
    /// Processes of logic: one, or one that is active and one that stands by.
    pub logics: u32,
    pub slots: u32,
    pub instances: u32,
    /// Tasks that go wrong in the worker, in per mille.
    pub mischief: u64,
    /// Targets are observed this often; 0: never.
    pub observe_every_s: u64,
    pub doubled: u64,
    pub overtaken: u64,
    pub commit_ms: u64,
    pub asks: Vec<(u64, Ask)>,
    pub faults: Vec<(u64, Fault)>,
}

/// What people and programs want.
#[derive(Debug, Clone)]
pub enum Ask {
    Tasks {
        action: &'static str,
        first: u32,
        count: u32,
        /// Not begun within this: expired. 0: no limit.
        start_within_s: u64,
    },
    Run {
        action: &'static str,
        first: u32,
        count: u32,
        batch: u32,
        max_fail: Option<u32>,
    },
    CancelTask(u32),
    CancelRun(u32),
    RetryRun(u32),
    Promote(&'static str),
    Rollback,
    Maintenance(u32, bool),
    Delete(u32),
    /// All that are quarantined are let back.
    Uncordon,
}

#[derive(Debug, Clone)]
pub enum Fault {
    KillLogic {
        at: Option<Boundary>,
        away_ms: u64,
    },
    HoldLogic {
        ms: u64,
    },
    KillWee {
        wee: u32,
        away_ms: u64,
    },
    HoldWee {
        wee: u32,
        ms: u64,
    },
    Cut {
        /// 0 is logic.
        party: u32,
        how: Cut,
        ms: u64,
    },
    BrokerAway {
        ms: u64,
    },
    BrokerRestart,
    BrokerSlow {
        latency_ms: u64,
        ms: u64,
    },
    StoreRefuses {
        ms: u64,
    },
    /// The active logic alone does not reach the store.
    StoreCut {
        ms: u64,
    },
    StoreSlow {
        commit_ms: u64,
        ms: u64,
    },
    /// Commits that are applied, and whoever asked is told that the store broke.
    StoreMute {
        commits: u32,
    },
    Clock {
        logic: bool,
        step_ms: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It cannot reach the broker, and knows.
    Away,
    /// What it publishes is accepted and vanishes.
    Swallowed,
    /// What it publishes is taken, and it is not told.
    Mute,
    /// Nothing comes to it.
    Deaf,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut random = Random::stream(seed, "plan");
        let random = &mut random;
        let targets = match random.below(200) {
            0 => 10_000,
            1..=9 => random.between(200, 1_000) as u32,
            _ => random.between(10, 200) as u32,
        };
        let large = targets > 1_000;
        let calm = random.chance(100);
        let mut plan = Plan {
            seed,
            bug: None,
            targets,
            sessions: random.between(1, 4) as u32,
            wees: random.between(1, 4) as u32,
            logics: 1 + u32::from(random.chance(400)),
            slots: if large {
                256
            } else {
                random.between(2, 16) as u32
            },
            instances: random.between(1, 3) as u32,
            mischief: if calm { 0 } else { random.between(0, 60) },
            observe_every_s: match random.below(3) {
                0 => 0,
                _ if large => 60,
                _ => random.between(5, 60),
            },
            doubled: if calm || random.chance(500) {
                0
            } else {
                random.between(1, 200)
            },
            overtaken: if calm || random.chance(500) {
                0
            } else {
                random.between(1, 100)
            },
            commit_ms: random.between(1, 20),
            asks: Vec::new(),
            faults: Vec::new(),
        };
        plan.draw_asks(random, large);
        if !calm {
            let count = random.between(1, 8);
            for _ in 0..count {
                let at = random.between(1_000, FAULTS_MS / 2);
                let fault = plan.draw_fault(random);
                plan.faults.push((at, fault.clone()));
                // Much breaks only the second time, or while it mends.
                if random.chance(250) {
                    let again = at + random.between(1, 20_000);
                    plan.faults.push((again, fault));
                }
            }
            // Came later than the others: a stream of its own leaves theirs to most seeds.
            let random = &mut Random::stream(seed, "mute");
            if random.chance(100) {
                let at = random.between(1_000, FAULTS_MS / 2);
                let commits = random.between(1, 3) as u32;
                plan.faults.push((at, Fault::StoreMute { commits }));
            }
            plan.faults.sort_by_key(|(at, _)| *at);
        }
        plan
    }

    fn draw_asks(&mut self, random: &mut Random, large: bool) {
        let count = random.between(4, 20);
        let targets = u64::from(self.targets);
        for _ in 0..count {
            let at = random.between(0, FAULTS_MS / 2);
            let first = random.below(targets) as u32;
            let action = ACTIONS[random.below(4) as usize];
            let ask = match random.below(20) {
                0..=6 => Ask::Tasks {
                    action,
                    first,
                    count: random.between(1, 20) as u32,
                    start_within_s: match random.below(5) {
                        0 => random.between(1, 60),
                        _ => 0,
                    },
                },
                7..=11 => Ask::Run {
                    action,
                    first,
                    count: random.between(1, targets.min(if large { 10_000 } else { 100 })) as u32,
                    batch: random.between(1, targets.min(50)) as u32 * if large { 50 } else { 1 },
                    max_fail: random.chance(300).then(|| random.below(5) as u32),
                },
                12..=13 => Ask::CancelTask(random.below(1_000) as u32),
                14 => Ask::CancelRun(random.below(10) as u32),
                15 => Ask::RetryRun(random.below(10) as u32),
                16 => Ask::Promote(VERSIONS[random.below(2) as usize]),
                17 => match random.below(2) {
                    0 => Ask::Rollback,
                    _ => Ask::Uncordon,
                },
                18 => Ask::Maintenance(first, random.chance(700)),
                _ => Ask::Delete(first),
            };
            self.asks.push((at, ask));
        }
        if large {
            let all = Ask::Run {
                action: "set",
                first: 0,
                count: self.targets,
                batch: self.targets,
                max_fail: None,
            };
            self.asks.push((2_000, all));
        }
        self.asks.sort_by_key(|(at, _)| *at);
    }

    fn draw_fault(&self, random: &mut Random) -> Fault {
        let wee = random.below(u64::from(self.wees)) as u32;
        // Some pass before anybody minds, some outlast every lease.
        let ms = match random.below(3) {
            0 => random.between(100, 3_000),
            1 => random.between(3_000, 30_000),
            _ => random.between(15_000, 60_000),
        };
        match random.below(24) {
            0..=5 => Fault::KillLogic {
                at: match random.below(1 + Boundary::ALL.len() as u64) {
                    0 => None,
                    n => Some(Boundary::ALL[n as usize - 1]),
                },
                away_ms: random.between(10, 20_000),
            },
            6..=7 => Fault::HoldLogic { ms },
            8..=9 => Fault::KillWee {
                wee,
                away_ms: random.between(10, 30_000),
            },
            10..=11 => Fault::HoldWee { wee, ms },
            12..=15 => Fault::Cut {
                party: random.below(u64::from(self.wees) + 1) as u32,
                how: [Cut::Away, Cut::Swallowed, Cut::Mute, Cut::Deaf][random.below(4) as usize],
                ms,
            },
            16 => Fault::BrokerAway {
                ms: if random.chance(100) { 600_000 } else { ms },
            },
            17 => Fault::BrokerRestart,
            18 => Fault::BrokerSlow {
                latency_ms: random.between(50, 5_000),
                ms,
            },
            19 => match random.chance(500) {
                true => Fault::StoreRefuses { ms },
                false => Fault::StoreCut { ms },
            },
            20..=21 => Fault::StoreSlow {
                commit_ms: random.between(100, 8_000),
                ms,
            },
            _ => Fault::Clock {
                logic: random.chance(500),
                step_ms: match random.below(2) {
                    0 => HOUR_MS,
                    _ => -HOUR_MS,
                },
            },
        }
    }

    /// Only logic ended, and began anew: whatever a worker has said by then must be believed.
    pub fn only_logic_dies(&self) -> bool {
        let is_death = |(_, fault): &(u64, Fault)| {
            matches!(fault, Fault::KillLogic { .. } | Fault::StoreSlow { .. })
        };
        self.logics == 1 && self.faults.iter().all(is_death)
    }

    /// When the last fault is over.
    pub fn faults_end_ms(&self) -> u64 {
        let end = |(at, fault): &(u64, Fault)| {
            at + match fault {
                Fault::KillLogic { away_ms, .. } | Fault::KillWee { away_ms, .. } => *away_ms,
                Fault::HoldLogic { ms }
                | Fault::HoldWee { ms, .. }
                | Fault::Cut { ms, .. }
                | Fault::BrokerAway { ms }
                | Fault::BrokerSlow { ms, .. }
                | Fault::StoreRefuses { ms }
                | Fault::StoreCut { ms }
                | Fault::StoreSlow { ms, .. } => *ms,
                Fault::BrokerRestart | Fault::StoreMute { .. } | Fault::Clock { .. } => 0,
            }
        };
        self.faults.iter().map(end).max().unwrap_or(0)
    }

    pub fn asks_end_ms(&self) -> u64 {
        self.asks.iter().map(|(at, _)| *at).max().unwrap_or(0)
    }
}
