//! What all parts of one run share, per thread: the targets, the dice, and the trace.

use crate::life::elapsed_ms;
use crate::random::Random;
use crate::target::Targets;
use sengu_model::TaskId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// Lines kept of one run; beyond these only the hash goes on.
const LINES_MAX: usize = 200_000;

pub struct World {
    pub random: Random,
    pub targets: Targets,
    /// WEEs that cannot be heard, or cannot hear, at present.
    pub out_of_touch: BTreeMap<String, u32>,
    /// Lives of logic that were active, and the newest epoch.
    pub epochs: u64,
    pub epoch: u64,
    /// Tasks of which a message was dealt twice.
    pub doubled: BTreeSet<TaskId>,
    /// Tasks whose worker has said `done` while nobody was out of touch.
    pub said_done: BTreeSet<TaskId>,
    /// Those of them whose worker has not written it yet.
    pub saying_done: BTreeSet<TaskId>,
    /// How badly workers behave, in per mille of tasks; 0 once faults are over.
    pub mischief: u64,
    trace: Trace,
}

#[derive(Default)]
struct Trace {
    hash: Fnv,
    count: u64,
    keep: bool,
    lines: Vec<String>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Makes the world of this thread.
pub fn create(seed: u64, mischief: u64, keep_trace: bool) {
    WORLD.set(Some(World {
        random: Random::stream(seed, "world"),
        targets: Targets::default(),
        out_of_touch: BTreeMap::new(),
        epochs: 0,
        epoch: 0,
        doubled: BTreeSet::new(),
        said_done: BTreeSet::new(),
        saying_done: BTreeSet::new(),
        mischief,
        trace: Trace {
            keep: keep_trace,
            ..Trace::default()
        },
    }));
}

/// # Panics
/// Outside a run.
pub fn with<T>(use_it: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| use_it(world.as_mut().expect("a run made the world")))
}

pub fn below(end: u64) -> u64 {
    with(|w| w.random.below(end))
}

pub fn between(low: u64, high: u64) -> u64 {
    with(|w| w.random.between(low, high))
}

pub fn chance(per_mille: u64) -> bool {
    with(|w| w.random.chance(per_mille))
}

/// Notes what happens: into the hash, and as a line where the trace is kept.
pub fn noted(what: fmt::Arguments<'_>) {
    let at = elapsed_ms();
    WORLD.with_borrow_mut(|world| {
        let Some(world) = world else {
            return; // the suites of the ports run without one
        };
        let trace = &mut world.trace;
        trace.count += 1;
        let _ = write!(trace.hash, "{at} {what}");
        if trace.keep && trace.lines.len() < LINES_MAX {
            trace.lines.push(format!("{at:>9} {what}"));
        }
    });
}

macro_rules! note {
    ($($all:tt)*) => { $crate::world::noted(format_args!($($all)*)) };
}
pub(crate) use note;

/// Takes the world away: its hash, how many events it had, the lines, and the targets.
pub fn end() -> (u64, u64, Vec<String>, Targets) {
    match WORLD.take() {
        Some(world) => (
            world.trace.hash.0,
            world.trace.count,
            world.trace.lines,
            world.targets,
        ),
        None => (0, 0, Vec::new(), Targets::default()),
    }
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

/// As `with`, or nothing where the run is over.
pub fn if_there(use_it: impl FnOnce(&mut World)) {
    let _ = WORLD.try_with(|world| {
        if let Ok(mut world) = world.try_borrow_mut()
            && let Some(world) = world.as_mut()
        {
            use_it(world);
        }
    });
}
