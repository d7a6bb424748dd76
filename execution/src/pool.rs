//! How many instances a pool keeps and which of them go. Pure: what is known of the pool and its instances goes in,
//! moves come out; the shell makes them.

use sengu_model::limits;
use sengu_model::manifest::PoolDecl;

/// After this many crashes in a row, with no task ended between them, a pool counts as broken. A version of which no
/// instance has ever come up counts as broken from the first.
pub const CRASHES_UNTIL_BROKEN: u32 = 5;
/// Instances of a version that no Release sends tasks to leave after this long without one, in milliseconds.
const INACTIVE_IDLE_MS: u64 = 1_500;
/// A version that tasks are about to be sent to keeps an instance this long, even if it keeps none otherwise.
pub const ROUSED_MS: u64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Until its hello.
    Starting,
    Ready,
    /// Takes no more tasks; those in its hands may end in their own time.
    Retiring,
    /// Was told to leave.
    Draining,
}

#[derive(Debug, Clone, Copy)]
pub struct InstanceView {
    pub instance: u64,
    pub phase: Phase,
    /// Of the digest that is offered under the pool's version now.
    pub current: bool,
    pub slots: u32,
    pub busy: u32,
    pub tasks: u64,
    pub started_ms: u64,
    /// Since when it has no task; meaningless while busy.
    pub idle_since_ms: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct PoolView {
    pub decl: PoolDecl,
    /// Slots of an instance not started yet.
    pub slots: u32,
    /// Tasks received that are not in a slot.
    pub waiting: u32,
    pub now_ms: u64,
    /// The image is here and ready to be started.
    pub prepared: bool,
    /// Nobody has asked for the image yet: the first task does.
    pub dormant: bool,
    /// No new instance before this (crashes in a row).
    pub start_after_ms: u64,
    pub crashes: u32,
    /// Broken pools start one instance at a time to see whether it is mended.
    pub broken: bool,
    /// A Release sends tasks to it. One that is not is tried for a task only, once it is broken.
    pub active: bool,
    /// The version is no longer offered, or the WEE is drained or leaves.
    pub closing: bool,
}

/// Whether a Release sends tasks to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It runs only what is pinned to it.
    Inactive,
    Active,
    /// Active since a moment ago, so its first tasks are on their way.
    Roused,
}

/// How many instances are kept, by what is declared and by who sends tasks. Whatever was declared comes out within limits.
pub fn in_force(declared: PoolDecl, demand: Demand) -> PoolDecl {
    let max = declared.max.clamp(1, limits::INSTANCES_PER_POOL_MAX);
    let warm = declared.warm.min(max);
    let (warm, idle_ms) = match demand {
        Demand::Inactive => (0, declared.idle_ms.min(INACTIVE_IDLE_MS)),
        Demand::Active => (warm, declared.idle_ms),
        Demand::Roused => (warm.max(1), declared.idle_ms),
    };
    PoolDecl {
        warm,
        max,
        idle_ms,
        ..declared
    }
}

/// Whether a version that could not be had is broken now.
pub fn is_broken(crashes: u32, ever_came_up: bool) -> bool {
    crashes >= CRASHES_UNTIL_BROKEN || (crashes > 0 && !ever_came_up)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Start,
    Retire(u64),
    Drain(u64),
    Kill(u64),
}

/// The moves that are due now.
pub fn plan(pool: &PoolView, instances: &[InstanceView]) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut serving = 0u32;
    let mut starting = 0;
    let mut free = 0;
    let mut idle: Vec<&InstanceView> = Vec::new();
    let mut others: Vec<&InstanceView> = Vec::new();
    for instance in instances {
        let age_ms = pool.now_ms.saturating_sub(instance.started_ms);
        let worn = (pool.decl.max_tasks > 0 && instance.tasks >= pool.decl.max_tasks)
            || (pool.decl.max_age_ms > 0 && age_ms >= pool.decl.max_age_ms);
        match instance.phase {
            Phase::Starting if pool.closing || !instance.current => {
                moves.push(Move::Kill(instance.instance));
            }
            Phase::Starting => {
                serving += 1;
                starting += 1;
                others.push(instance);
            }
            Phase::Ready if pool.closing || !instance.current || worn => {
                moves.push(Move::Retire(instance.instance));
            }
            Phase::Ready => {
                serving += 1;
                free += instance.slots.saturating_sub(instance.busy);
                if instance.busy == 0 {
                    idle.push(instance);
                } else {
                    others.push(instance);
                }
            }
            Phase::Retiring if instance.busy == 0 => moves.push(Move::Drain(instance.instance)),
            Phase::Retiring | Phase::Draining => {}
        }
    }
    if pool.closing {
        return moves;
    }
    idle.sort_by_key(|instance| instance.idle_since_ms);
    let surplus = serving.saturating_sub(pool.decl.max) as usize;
    if surplus > 0 {
        moves.extend(too_many(surplus, &idle, others));
        return moves;
    }
    let starts = starts(pool, instances.len(), serving, starting, free);
    moves.extend(std::iter::repeat_n(Move::Start, starts as usize));
    if starts == 0 && pool.waiting == 0 {
        let spare = serving.saturating_sub(pool.decl.warm) as usize;
        let long =
            |i: &&&InstanceView| pool.now_ms.saturating_sub(i.idle_since_ms) >= pool.decl.idle_ms;
        moves.extend(
            idle.iter()
                .filter(long)
                .take(spare)
                .map(|instance| Move::Retire(instance.instance)),
        );
    }
    moves
}

/// Who goes when there may be fewer than there are: those that nobody waits for first, and the busy ones only once their
/// tasks have ended.
fn too_many(surplus: usize, idle: &[&InstanceView], mut others: Vec<&InstanceView>) -> Vec<Move> {
    others.sort_by_key(|i| (i.phase != Phase::Starting, i.busy, i.instance));
    let starting = others.iter().filter(|i| i.phase == Phase::Starting);
    let busy = others.iter().filter(|i| i.phase != Phase::Starting);
    let kills = starting.map(|i| Move::Kill(i.instance));
    let retires = idle.iter().chain(busy).map(|i| Move::Retire(i.instance));
    kills.chain(retires).take(surplus).collect()
}

fn starts(pool: &PoolView, total: usize, serving: u32, starting: u32, free: u32) -> u32 {
    if !pool.prepared || pool.now_ms < pool.start_after_ms {
        return 0;
    }
    // Old ones that are still leaving may not add up without end.
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let room =
        (pool.decl.max.saturating_sub(serving)).min((2 * pool.decl.max).saturating_sub(total));
    let coming = starting.saturating_mul(pool.slots);
    let lacking = pool.waiting.saturating_sub(free).saturating_sub(coming);
    let for_tasks = lacking.div_ceil(pool.slots.max(1));
    let for_warmth = pool.decl.warm.saturating_sub(serving);
    let mut wanted = for_tasks.max(for_warmth);
    if pool.broken {
        wanted = u32::from(pool.active || pool.waiting > 0);
    }
    if pool.crashes > 0 || pool.broken {
        wanted = wanted.min(1u32.saturating_sub(starting));
    }
    wanted.min(room)
}

/// Wait before the next start after `crashes` in a row, in milliseconds.
pub fn restart_wait_ms(crashes: u32) -> u64 {
    match crashes {
        0 => 0,
        n => limits::RETRY_FIRST_MS
            .saturating_mul(1 << (n - 1).min(16))
            .min(limits::RETRY_MAX_MS),
    }
}

/// Free slots that a pool can offer, those of instances that it may still start included.
pub fn free_slots(pool: &PoolView, instances: &[InstanceView]) -> u32 {
    if pool.closing {
        return 0;
    }
    let mut serving = 0;
    let mut free = 0u32;
    for instance in instances.iter().filter(|i| i.current) {
        match instance.phase {
            Phase::Starting => {
                serving += 1;
                free += pool.slots;
            }
            Phase::Ready => {
                serving += 1;
                free += instance.slots.saturating_sub(instance.busy);
            }
            Phase::Retiring | Phase::Draining => {}
        }
    }
    if pool.prepared && pool.now_ms >= pool.start_after_ms && !pool.broken {
        let total = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        let room =
            (pool.decl.max.saturating_sub(serving)).min((2 * pool.decl.max).saturating_sub(total));
        free += room.saturating_mul(pool.slots);
    }
    if pool.dormant { free.max(1) } else { free }
}

/// Slots that observation leaves free, so that changes and people find room: what the manifest says, at least a
/// sixteenth, and never all.
pub fn reserve(decl: &PoolDecl, slots: u32) -> u32 {
    let all = slots.saturating_mul(decl.max);
    decl.reserve.max(all / 16).min(all.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100_000;

    fn pool() -> PoolView {
        PoolView {
            decl: PoolDecl {
                warm: 1,
                max: 3,
                idle_ms: 10_000,
                max_tasks: 100,
                max_age_ms: 50_000,
                reserve: 1,
            },
            slots: 4,
            waiting: 0,
            now_ms: NOW,
            prepared: true,
            dormant: false,
            start_after_ms: 0,
            crashes: 0,
            broken: false,
            active: true,
            closing: false,
        }
    }

    fn ready(instance: u64, busy: u32) -> InstanceView {
        InstanceView {
            instance,
            phase: Phase::Ready,
            current: true,
            slots: 4,
            busy,
            tasks: 0,
            started_ms: NOW - 20_000,
            idle_since_ms: NOW,
        }
    }

    fn starting(instance: u64) -> InstanceView {
        InstanceView {
            phase: Phase::Starting,
            ..ready(instance, 0)
        }
    }

    #[test]
    fn instances_start_for_tasks_and_for_warmth() {
        use Move::Start;
        let waiting = |n| PoolView {
            waiting: n,
            ..pool()
        };
        let table: [(PoolView, &[InstanceView], &[Move]); 9] = [
            (pool(), &[], &[Start]),
            (pool(), &[starting(1)], &[]),
            (waiting(1), &[starting(1)], &[]),
            (waiting(5), &[starting(1)], &[Start]),
            (waiting(1), &[ready(1, 4)], &[Start]),
            (waiting(1), &[ready(1, 3)], &[]),
            (waiting(99), &[ready(1, 4)], &[Start, Start]),
            (waiting(99), &[ready(1, 4), ready(2, 4), ready(3, 4)], &[]),
            (
                PoolView {
                    start_after_ms: NOW + 1,
                    ..waiting(9)
                },
                &[],
                &[],
            ),
        ];
        for (pool, instances, moves) in table {
            assert_eq!(plan(&pool, instances), moves, "{pool:?} {instances:?}");
        }
    }

    #[test]
    fn after_crashes_one_starts_at_a_time() {
        let crashed = PoolView {
            waiting: 99,
            crashes: 2,
            ..pool()
        };
        assert_eq!(plan(&crashed, &[]), [Move::Start]);
        assert_eq!(plan(&crashed, &[starting(1)]), []);
        let broken = PoolView {
            broken: true,
            waiting: 0,
            ..pool()
        };
        let cold = PoolView {
            decl: PoolDecl {
                warm: 0,
                ..broken.decl
            },
            ..broken
        };
        assert_eq!(
            plan(&cold, &[]),
            [Move::Start],
            "it tries whether it is mended"
        );
        let rolled_back = PoolView {
            active: false,
            ..cold
        };
        assert_eq!(plan(&rolled_back, &[]), [], "nobody waits for it");
        let pinned = PoolView {
            waiting: 3,
            ..rolled_back
        };
        assert_eq!(plan(&pinned, &[]), [Move::Start]);
        let waits: Vec<u64> = [0, 1, 2, 3, 7, 40].map(restart_wait_ms).into();
        assert_eq!(waits, [0, 500, 1_000, 2_000, 30_000, 30_000]);
    }

    #[test]
    fn instances_go_when_idle_worn_or_old() {
        use Move::{Drain, Retire};
        let idle = |n, ms| InstanceView {
            idle_since_ms: NOW - ms,
            ..ready(n, 0)
        };
        let worn = InstanceView {
            tasks: 100,
            ..ready(1, 2)
        };
        let old = InstanceView {
            started_ms: NOW - 50_000,
            ..ready(1, 2)
        };
        let retiring = |busy| InstanceView {
            phase: Phase::Retiring,
            ..ready(1, busy)
        };
        let two = ready(2, 1);
        let table: [(&[InstanceView], &[Move]); 8] = [
            (&[idle(1, 20_000)], &[]),
            (&[idle(1, 20_000), two], &[Retire(1)]),
            (&[idle(1, 9_999), two], &[]),
            (&[idle(1, 20_000), idle(2, 30_000)], &[Retire(2)]),
            (&[worn, two], &[Retire(1)]),
            (&[old, two], &[Retire(1)]),
            (&[retiring(1), two], &[]),
            (&[retiring(0), two], &[Drain(1)]),
        ];
        for (instances, moves) in table {
            assert_eq!(plan(&pool(), instances), moves, "{instances:?}");
        }
    }

    #[test]
    fn a_new_version_replaces_and_a_closed_pool_empties() {
        use Move::{Drain, Kill, Retire, Start};
        let before = |i: InstanceView| InstanceView {
            current: false,
            ..i
        };
        assert_eq!(plan(&pool(), &[before(ready(1, 4))]), [Retire(1), Start]);
        assert_eq!(
            plan(&pool(), &[before(starting(1)), ready(2, 0)]),
            [Kill(1)]
        );
        let closing = PoolView {
            closing: true,
            waiting: 9,
            ..pool()
        };
        let retiring = InstanceView {
            phase: Phase::Retiring,
            ..ready(3, 0)
        };
        let all = [ready(1, 1), starting(2), retiring];
        assert_eq!(plan(&closing, &all), [Retire(1), Kill(2), Drain(3)]);
        assert_eq!(free_slots(&closing, &all), 0);
    }

    #[test]
    fn the_settings_in_force_are_within_limits_and_by_demand() {
        let decl = |warm, max, idle_ms| PoolDecl {
            warm,
            max,
            idle_ms,
            ..PoolDecl::default()
        };
        use Demand::{Active, Inactive, Roused};
        let table = [
            (decl(2, 4, 60_000), Active, (2, 4, 60_000)),
            (decl(2, 4, 60_000), Inactive, (0, 4, 1_500)),
            (decl(2, 4, 300), Inactive, (0, 4, 300)),
            (decl(2, 4, 60_000), Roused, (2, 4, 60_000)),
            (decl(0, 4, 60_000), Roused, (1, 4, 60_000)),
            (decl(9, 4, 0), Active, (4, 4, 0)),
            (decl(1, 0, 0), Active, (1, 1, 0)),
            (decl(0, 999, 0), Active, (0, 64, 0)),
        ];
        for (declared, demand, want) in table {
            let got = in_force(declared, demand);
            assert_eq!((got.warm, got.max, got.idle_ms), want, "{demand:?}");
        }
    }

    #[test]
    fn settings_change_live() {
        use Move::{Kill, Retire, Start};
        let with = |warm, max| PoolView {
            decl: PoolDecl {
                warm,
                max,
                ..pool().decl
            },
            ..pool()
        };
        let idle = |n, ms| InstanceView {
            idle_since_ms: NOW - ms,
            ..ready(n, 0)
        };
        let table: [(PoolView, &[InstanceView], &[Move]); 7] = [
            // More warm: started now.
            (with(3, 3), &[ready(1, 0)], &[Start, Start]),
            // Less max: who does nothing goes first, whoever did nothing for longest before others.
            (
                with(1, 2),
                &[ready(1, 1), idle(2, 5), idle(3, 9)],
                &[Retire(3)],
            ),
            (
                with(0, 1),
                &[ready(1, 4), ready(2, 1), idle(3, 0)],
                &[Retire(3), Retire(2)],
            ),
            (with(0, 1), &[starting(1), idle(2, 9)], &[Kill(1)]),
            (with(1, 1), &[ready(1, 1)], &[]),
            // Less warm: as if it had been like that always.
            (with(0, 3), &[idle(1, 20_000)], &[Retire(1)]),
            (with(0, 3), &[idle(1, 9_000)], &[]),
        ];
        for (pool, instances, moves) in table {
            assert_eq!(plan(&pool, instances), moves, "{pool:?} {instances:?}");
        }
        let inactive = PoolView {
            decl: in_force(pool().decl, Demand::Inactive),
            ..pool()
        };
        assert_eq!(plan(&inactive, &[]), [], "nothing is kept warm");
        assert_eq!(plan(&inactive, &[idle(1, 1_500)]), [Retire(1)]);
        assert_eq!(plan(&inactive, &[ready(1, 1)]), [], "its task may end");
        let pinned = PoolView {
            waiting: 1,
            ..inactive
        };
        assert_eq!(
            plan(&pinned, &[]),
            [Start],
            "it still runs what is pinned to it"
        );
    }

    #[test]
    fn nothing_starts_before_the_image_is_here_and_the_first_task_asks_for_it() {
        let coming = PoolView {
            prepared: false,
            waiting: 1,
            ..pool()
        };
        assert_eq!(plan(&coming, &[]), []);
        assert_eq!(free_slots(&coming, &[]), 0);
        assert_eq!(free_slots(&coming, &[ready(1, 1)]), 3);
        let dormant = PoolView {
            dormant: true,
            ..coming
        };
        assert_eq!(free_slots(&dormant, &[]), 1);
        let closed = PoolView {
            closing: true,
            ..dormant
        };
        assert_eq!(free_slots(&closed, &[]), 0);
    }

    #[test]
    fn what_never_came_up_is_broken_at_once() {
        let table = [
            ((0, false), false),
            ((1, false), true),
            ((1, true), false),
            ((4, true), false),
            ((5, true), true),
        ];
        for ((crashes, came_up), want) in table {
            assert_eq!(is_broken(crashes, came_up), want, "{crashes} {came_up}");
        }
    }

    #[test]
    fn those_that_will_not_leave_do_not_add_up() {
        let stuck = |n| InstanceView {
            phase: Phase::Retiring,
            ..ready(n, 1)
        };
        let all: Vec<_> = (1..=6).map(stuck).collect();
        let waiting = PoolView {
            waiting: 9,
            ..pool()
        };
        assert_eq!(plan(&waiting, &all), []);
        assert_eq!(plan(&waiting, &all[..5]), [Move::Start]);
        assert_eq!(free_slots(&waiting, &all), 0);
    }

    #[test]
    fn free_slots_count_what_may_still_start() {
        let off = PoolView {
            start_after_ms: NOW + 1,
            ..pool()
        };
        assert_eq!(free_slots(&pool(), &[]), 12);
        assert_eq!(free_slots(&pool(), &[ready(1, 3), starting(2)]), 1 + 4 + 4);
        assert_eq!(free_slots(&off, &[ready(1, 3)]), 1);
        assert_eq!(free_slots(&off, &[]), 0);
    }

    #[test]
    fn observation_leaves_a_share() {
        let decl = |reserve, max| PoolDecl {
            reserve,
            max,
            ..PoolDecl::default()
        };
        let table = [
            ((1, 1), 512, 32),
            ((1, 1), 1, 0),
            ((9, 2), 4, 7),
            ((2, 2), 4, 2),
        ];
        for ((least, max), slots, want) in table {
            assert_eq!(reserve(&decl(least, max), slots), want);
        }
    }
}
