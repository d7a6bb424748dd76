//! The engine and what keeps guests from holding on to it: one clock tick at a time, on threads of their own.
//!
//! Guests must never run on the threads that sengu itself works on: a guest that computes would delay everybody.

use crate::limits;
use parking_lot::{Condvar, Mutex};
use sengu_execution::runtime::RuntimeError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::{Config, Engine, OptLevel};

/// The same for the compiler and for those who run what it made; a difference makes another name in the cache.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(limits::STACK_BYTES)
        .async_stack_size(limits::FIBER_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
    config
}

/// The engine with its clock and its threads. Made when the first component comes.
pub struct Machine {
    pub engine: Engine,
    pulse: Arc<Pulse>,
    /// Taken at the end only.
    threads: Option<tokio::runtime::Runtime>,
    handle: tokio::runtime::Handle,
}

impl Machine {
    pub fn new() -> Result<Machine, RuntimeError> {
        let engine = Engine::new(&config())
            .map_err(|e| RuntimeError::Engine(format!("the WASM engine: {e:#}")))?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("wasm")
            .enable_all()
            .build()
            .map_err(RuntimeError::io("start threads for WASM"))?;
        let pulse = Arc::new(Pulse::default());
        let (clock, own) = (engine.weak(), pulse.clone());
        std::thread::Builder::new()
            .name("wasm-clock".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                while own.wait() {
                    std::thread::sleep(limits::TICK);
                    match clock.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })
            .map_err(RuntimeError::io("start a thread"))?;
        Ok(Machine {
            engine,
            pulse,
            handle: threads.handle().clone(),
            threads: Some(threads),
        })
    }

    /// Where guests and their instances run.
    pub fn threads(&self) -> &tokio::runtime::Handle {
        &self.handle
    }

    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pulse.end();
        if let Some(threads) = self.threads.take() {
            // The last owner may be within an async task, where waiting is not allowed.
            threads.shutdown_background();
        }
    }
}

/// Whether there is anybody to tick for: an idle runtime wakes nobody up.
#[derive(Default)]
pub struct Pulse {
    guests: AtomicUsize,
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Pulse {
    /// Waits for a guest. False at the end.
    fn wait(&self) -> bool {
        let mut ended = self.ended.lock();
        while !*ended && self.guests.load(Ordering::SeqCst) == 0 {
            self.changed.wait(&mut ended);
        }
        !*ended
    }

    fn end(&self) {
        *self.ended.lock() = true;
        self.changed.notify_all();
    }

    /// The clock ticks as long as what is given back lives.
    pub fn beat(self: Arc<Self>) -> Beat {
        if self.guests.fetch_add(1, Ordering::SeqCst) == 0 {
            // The clock looks at the number under this lock, so it cannot miss the change.
            let _ended = self.ended.lock();
            self.changed.notify_all();
        }
        Beat(self)
    }
}

pub struct Beat(Arc<Pulse>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}
