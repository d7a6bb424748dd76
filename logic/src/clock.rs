//! The one place where logic reads the clock, notices that somebody has set it, and begins what runs beside it: so that
//! a simulator can put its own in the place of both.

use futures::future::BoxFuture;
use sengu_model::Time;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Differences below this are drift, not a clock that was set.
const STEP_MIN_MS: i64 = 2_000;

/// What a simulator puts in the place of the system, for the whole process.
pub struct Simulated {
    /// The clock of the wall.
    pub now: fn() -> Time,
    /// Wraps whatever is begun, so that it can be held or ended as a process would be.
    pub begin: fn(BoxFuture<'static, ()>) -> BoxFuture<'static, ()>,
}

static SIMULATED: OnceLock<Simulated> = OnceLock::new();

/// For simulators: before anything of logic is begun in this process. The first one stays.
pub fn simulate(simulated: Simulated) {
    let _ = SIMULATED.set(simulated);
}

/// Begins what runs beside.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    match SIMULATED.get() {
        Some(simulated) => tokio::spawn((simulated.begin)(Box::pin(future))),
        None => tokio::spawn(future),
    }
}

pub fn now() -> Time {
    if let Some(simulated) = SIMULATED.get() {
        return (simulated.now)();
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Compares the clock of the wall with one that is never set.
pub(crate) struct Steps {
    seen: Time,
    at: Instant,
}

impl Steps {
    pub fn new() -> Steps {
        Steps {
            seen: now(),
            at: Instant::now(),
        }
    }

    /// The time, and by how many milliseconds the clock was set since the last call (0: it was not).
    pub fn now(&mut self) -> (Time, i64) {
        self.look(now(), Instant::now())
    }

    fn look(&mut self, now: Time, at: Instant) -> (Time, i64) {
        let passed = at.saturating_duration_since(self.at).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let step = now.0.saturating_sub(self.seen.0).saturating_sub(passed);
        (self.seen, self.at) = (now, at);
        (now, if step.abs() < STEP_MIN_MS { 0 } else { step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        let (at, seen) = (Instant::now(), Time(1_000_000_000));
        let mut steps = Steps { seen, at };
        let look = |steps: &mut Steps, wall: i64, passed: u64| {
            let at = at + Duration::from_millis(passed);
            steps.look(Time(seen.0 + wall), at).1
        };
        assert_eq!(look(&mut steps, 60_000, 60_000), 0);
        assert_eq!(look(&mut steps, 61_500, 61_000), 0, "drift");
        assert_eq!(look(&mut steps, 3_661_500, 61_000), 3_600_000);
        assert_eq!(look(&mut steps, 3_662_500, 62_000), 0);
        assert_eq!(look(&mut steps, 62_500, 62_000), -3_600_000);
    }
}
