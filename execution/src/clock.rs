//! The one place where execution reads the clock and begins its loop: so that a simulator can put its own in the place of
//! both.

use crate::Ended;
use futures::future::BoxFuture;
use sengu_model::Time;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::{JoinError, JoinHandle};

/// What a simulator puts in the place of the system, for the whole process.
pub struct Simulated {
    /// The clock of the wall.
    pub now: fn() -> Time,
    /// Wraps the loop of a WEE, so that it can be held or ended as a process would be.
    pub begin: fn(BoxFuture<'static, Ended>) -> BoxFuture<'static, Ended>,
}

static SIMULATED: OnceLock<Simulated> = OnceLock::new();

/// For simulators: before any WEE is started in this process. The first one stays.
pub fn simulate(simulated: Simulated) {
    let _ = SIMULATED.set(simulated);
}

pub(crate) fn now() -> Time {
    if let Some(simulated) = SIMULATED.get() {
        return (simulated.now)();
    }
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Time(unix.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(0)))
}

pub(crate) fn spawn(shell: impl Future<Output = Ended> + Send + 'static) -> JoinHandle<Ended> {
    match SIMULATED.get() {
        Some(simulated) => tokio::spawn((simulated.begin)(Box::pin(shell))),
        None => tokio::spawn(shell),
    }
}

/// Work on files, beside the loop. A simulator has only one thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match SIMULATED.get() {
        Some(_) => Ok(work()),
        None => tokio::task::spawn_blocking(work).await,
    }
}
