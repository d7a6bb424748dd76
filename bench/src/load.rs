//! A steady load: tasks are created at fixed moments, whether earlier ones have ended or not, and each is timed from its
//! moment, so that a server that stands still for a while does not look fast.

use crate::server::Server;
use crate::targets::name;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Tasks of one request.
const EACH: usize = 10;
/// Between two requests of one connection.
const EVERY: Duration = Duration::from_millis(20);
/// Connections per action; 2 * 10 tasks every 20 ms are 1,000 a second, and there are two actions.
const CONNECTIONS: usize = 2;
/// Long tasks a second, which are in hand when a version goes.
const LONG_EVERY: Duration = Duration::from_millis(100);
const LONG_MS: u64 = 300;

/// One task that was created.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: String,
    /// When it should have been created.
    pub at: Instant,
    /// What went on then.
    pub phase: usize,
    /// May not be run twice.
    pub once: bool,
    /// Sleeps, so its time says nothing.
    pub long: bool,
}

/// Tells what is going on, and when it is over.
#[derive(Debug, Default)]
pub struct Conductor {
    pub phase: AtomicUsize,
    pub stop: AtomicBool,
}

/// Reads and changes, as many of each, on the first `targets` targets, and long changes on the ten after them, until it
/// is told to stop.
pub fn run(server: &Server, targets: usize, conductor: &Conductor) -> Result<Vec<Asked>> {
    let begin = Instant::now() + EVERY;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..CONNECTIONS {
            for (action, shift) in [("observe", 0), ("once", 1)] {
                // Evenly over the time between two requests.
                let first = begin + EVERY * (2 * number + shift) as u32 / (2 * CONNECTIONS) as u32;
                let place = number * targets / CONNECTIONS;
                threads.push(scope.spawn(move || {
                    let batch = |n: usize| {
                        let numbers = (0..EACH).map(|i| name((place + n * EACH + i) % targets));
                        let names: Vec<String> = numbers.collect();
                        json!({"targets": names, "action": action, "priority": "batch"})
                    };
                    let once = action == "once";
                    create(server, conductor, first, EVERY, once, false, batch)
                }));
            }
        }
        threads.push(scope.spawn(move || {
            let batch = |n: usize| {
                let target = name(targets + n % 10);
                json!({"targets": [target], "action": "once", "priority": "batch", "params": {"sleep_ms": LONG_MS}})
            };
            create(server, conductor, begin, LONG_EVERY, true, true, batch)
        }));
        let mut asked = Vec::new();
        let mut result = Ok(());
        for thread in threads {
            match thread.join() {
                Ok(Ok(more)) => asked.extend(more),
                Ok(Err(error)) => result = Err(error),
                Err(_) => result = Err(anyhow::anyhow!("a thread of the load panicked")),
            }
        }
        result.map(|()| asked)
    })
}

fn create(
    server: &Server,
    conductor: &Conductor,
    first: Instant,
    every: Duration,
    once: bool,
    long: bool,
    batch: impl Fn(usize) -> Value,
) -> Result<Vec<Asked>> {
    let mut client = server.client()?;
    let mut asked = Vec::new();
    for n in 0.. {
        let at = first + every * u32::try_from(n).unwrap_or(u32::MAX);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if conductor.stop.load(Ordering::SeqCst) {
            break;
        }
        let phase = conductor.phase.load(Ordering::SeqCst);
        let created = client.post_json("/v1/tasks", &batch(n))?;
        let tasks = created["tasks"].as_array().context("tasks are a list")?;
        for task in tasks {
            let id = task["id"].as_str().context("a task has an id")?.to_owned();
            asked.push(Asked {
                id,
                at,
                phase,
                once,
                long,
            });
        }
    }
    Ok(asked)
}
