//! What one instance may use of the machine, all its tasks together: memory, and a share of CPU time.

use crate::limits;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::ResourceLimiter;

/// Memory of an instance.
pub struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
}

impl Budget {
    pub fn new(memory_mb: u32) -> Budget {
        Budget {
            bytes_max: u64::from(memory_mb) << 20,
            bytes: AtomicU64::new(0),
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let used = used.checked_add(bytes)?;
                (used <= self.bytes_max).then_some(used)
            });
        taken.is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one task has taken of its instance's memory; given back when it ends.
pub struct Meter {
    budget: Arc<Budget>,
    taken: u64,
    refused: Arc<AtomicBool>,
}

impl Meter {
    pub fn new(budget: Arc<Budget>) -> Meter {
        Meter {
            budget,
            taken: 0,
            refused: Arc::default(),
        }
    }

    /// False when that is more than the instance may have.
    pub fn take(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let taken = self.budget.take(bytes);
        if taken {
            self.taken += bytes;
        } else {
            self.refused.store(true, Ordering::Relaxed);
        }
        taken
    }

    pub fn give_back(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.taken);
        self.taken -= bytes;
        self.budget.give_back(bytes);
    }

    /// Why a guest may have trapped, when it was for want of memory.
    pub fn complaint(&self) -> Option<String> {
        let refused = self.refused.load(Ordering::Relaxed);
        refused.then(|| {
            format!(
                "it reached its {} MiB of memory",
                self.budget.bytes_max >> 20
            )
        })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.take(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(fits && desired <= limits::TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        limits::TABLES_MAX
    }

    fn memories(&self) -> usize {
        limits::MEMORIES_MAX
    }
}

/// The share of CPU time of an instance, counted over short windows.
pub struct Share {
    per_window: Duration,
    began: Instant,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    window: u128,
    time: Duration,
}

impl Share {
    pub fn new(cpus: f32) -> Share {
        Share {
            // At least a tick, or nothing would ever get done.
            per_window: limits::CPU_WINDOW
                .mul_f64(f64::from(cpus.max(0.0)))
                .max(limits::TICK),
            began: Instant::now(),
            used: Mutex::default(),
        }
    }

    /// Notes that a guest has computed for `time`. How long guests should pause then, when the share is used up.
    pub fn charge(&self, time: Duration, now: Instant) -> Option<Duration> {
        let window = limits::CPU_WINDOW.as_nanos();
        let since = now.saturating_duration_since(self.began).as_nanos();
        let mut used = self.used.lock();
        if used.window != since / window {
            // What was too much in the last window is paid back in this one.
            let over = used.time.saturating_sub(self.per_window);
            used.time = over.min(limits::CPU_WINDOW);
            used.window = since / window;
        }
        // A guest is met at every tick; the rest of a longer time it has waited for a thread.
        used.time += time.min(limits::TICK);
        if used.time < self.per_window {
            return None;
        }
        let into = u64::try_from(since % window).unwrap_or(0);
        Some(limits::CPU_WINDOW - Duration::from_nanos(into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_share_the_memory_of_their_instance_and_give_it_back() {
        let budget = Arc::new(Budget::new(1));
        let mut one = Meter::new(budget.clone());
        let mut two = Meter::new(budget.clone());
        assert!(one.memory_growing(0, 600 << 10, None).unwrap());
        assert!(!two.memory_growing(0, 600 << 10, None).unwrap());
        assert!(two.complaint().unwrap().contains("1 MiB"));
        drop(one);
        assert!(two.take(600 << 10));
        two.give_back(usize::MAX);
        assert!(two.take(1 << 20) && !two.take(1));
        drop(two);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_share_of_half_a_core_pauses_for_half_the_window() {
        let share = Share::new(0.5);
        let half = limits::CPU_WINDOW / 2;
        let mut now = share.began;
        let pause = loop {
            now += limits::TICK;
            if let Some(pause) = share.charge(limits::TICK, now) {
                break pause;
            }
        };
        assert_eq!((now - share.began, pause), (half, half));
        now += pause;
        assert_eq!(share.charge(limits::TICK, now), None);
        // A long wait for a thread is no computing.
        assert_eq!(share.charge(limits::CPU_WINDOW, now), None);
    }
}
