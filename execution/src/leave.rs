//! The end of a WEE: tasks in hand may end within limits, instances leave, the last reports go out.

use crate::intake::Intake;
use crate::runtime::RuntimeError;
use crate::shell::Shell;
use sengu_model::limits;
use std::time::Duration;

/// For instances to leave, and for the last reports to go out, in milliseconds.
const REST_MAX_MS: u64 = 5_000;

/// For a runtime to tell what an earlier life left behind, and to end each of it: an engine that hangs is not to keep
/// the others from work.
const LEFTOVERS_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    since_ms: u64,
    cancelled: bool,
    killed: bool,
}

impl Shell {
    pub fn leave(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        tracing::info!(tasks = self.hand.len(), "draining");
        self.leaving = Some(Leaving {
            since_ms: self.now_ms,
            cancelled: false,
            killed: false,
        });
        for pool in self.pools.keys() {
            self.close_pool(pool, "this WEE drains");
        }
    }

    /// Tasks in hand get `DRAIN_MAX_MS` to end, then a cancel and a grace, then their instance is killed.
    pub fn leave_on(&mut self) {
        let Some(mut leaving) = self.leaving else {
            return;
        };
        let spent_ms = self.now_ms.saturating_sub(leaving.since_ms);
        if spent_ms >= limits::DRAIN_MAX_MS && !leaving.cancelled {
            leaving.cancelled = true;
            self.cancel_all();
        }
        if spent_ms >= limits::DRAIN_MAX_MS + limits::TIMEOUT_GRACE_MS && !leaving.killed {
            leaving.killed = true;
            let busy = self.instances.values().filter(|i| i.busy > 0);
            let busy: Vec<u64> = busy.map(|i| i.key).collect();
            for key in busy {
                self.kill(key, "tasks did not end before the WEE had to");
            }
        }
        self.leaving = Some(leaving);
    }

    pub fn has_left(&self) -> bool {
        let Some(leaving) = self.leaving else {
            return false;
        };
        let most_ms = 2 * limits::DRAIN_MAX_MS + limits::TIMEOUT_GRACE_MS + REST_MAX_MS;
        let settled = |pool: &crate::pools::Pool| pool.intakes.iter().all(Intake::is_settled);
        let settled = self.pools.iter().all(|(_, pool)| settled(pool));
        (self.instances.is_empty() && settled && self.all_is_told())
            || self.now_ms.saturating_sub(leaving.since_ms) >= most_ms
    }

    /// Kills what an earlier life of this WEE left behind.
    pub async fn clear_leftovers(&mut self) {
        for runtime in &self.runtimes {
            let listed = tokio::time::timeout(LEFTOVERS_MAX, runtime.list()).await;
            let late = || RuntimeError::Engine("it does not answer".to_owned());
            let leftovers = match listed.unwrap_or_else(|_| Err(late())) {
                Ok(leftovers) => leftovers,
                Err(e) => {
                    tracing::warn!(runtime = runtime.name(), error = e.text(), "list instances");
                    continue;
                }
            };
            for handle in leftovers {
                let stopped = tokio::time::timeout(LEFTOVERS_MAX, runtime.stop(handle.clone()));
                let stopped = stopped.await.unwrap_or_else(|_| Err(late()));
                let error = stopped.err().map(|e| e.text());
                tracing::warn!(runtime = runtime.name(), %handle, error, "left-over instance");
            }
        }
    }
}
