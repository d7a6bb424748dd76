//! Creating tasks in bulk, counting those that ended, and runs that are waited for.

use crate::http::Client;
use crate::server::Server;
use crate::targets::name;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest time without a single task ending.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Longest time of one run of a suite.
const RUN_MAX: Duration = Duration::from_secs(600);

/// A request that creates one task of batch priority on each of `numbers`.
pub fn request(action: &str, numbers: impl Iterator<Item = usize>) -> Vec<u8> {
    let targets: Vec<String> = numbers.map(name).collect();
    json!({"targets": targets, "action": action, "priority": "batch"})
        .to_string()
        .into_bytes()
}

/// The requests that go once over all targets, `each` at a time.
pub fn requests(action: &str, targets: usize, each: usize) -> Vec<Vec<u8>> {
    let starts = (0..targets).step_by(each);
    starts
        .map(|s| request(action, s..(s + each).min(targets)))
        .collect()
}

/// Posts `count` requests, round and round over `requests`, on several connections at once.
pub fn create(
    server: &Server,
    requests: &[Vec<u8>],
    count: usize,
    connections: usize,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = server.client()?;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        client.post("/v1/tasks", &requests[number % requests.len()])?;
                    }
                })
            })
            .collect();
        join(threads)
    })
    .context("create tasks")
}

/// Waits for threads; the first error goes up.
pub fn join(threads: Vec<std::thread::ScopedJoinHandle<'_, Result<()>>>) -> Result<()> {
    let mut result = Ok(());
    for thread in threads {
        let ended = thread
            .join()
            .unwrap_or_else(|_| bail!("a thread of the bench panicked"));
        result = result.and(ended);
    }
    result
}

/// Tasks ended since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub all: u64,
    pub done: u64,
}

pub fn ended(client: &mut Client) -> Result<Ended> {
    let text = client.get_text("/metrics")?;
    let mut ended = Ended { all: 0, done: 0 };
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("sengu_tasks_ended_total{status=\"") else {
            continue;
        };
        let (status, count) = rest
            .split_once("\"} ")
            .context("read sengu_tasks_ended_total")?;
        let count: u64 = count
            .trim()
            .parse()
            .context("read sengu_tasks_ended_total")?;
        ended.all += count;
        if status == "done" {
            ended.done += count;
        }
    }
    Ok(ended)
}

/// A counter or gauge without labels.
pub fn metric(client: &mut Client, name: &str) -> Result<u64> {
    let text = client.get_text("/metrics")?;
    let value = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("/metrics has no {name}"))
}

/// Waits until `count` more tasks than `before` have ended, asking seldom while many are left.
///
/// # Errors
/// When none ends for a minute, or one did not end as done.
pub fn wait_ended(client: &mut Client, before: Ended, count: u64) -> Result<()> {
    let started = Instant::now();
    let (mut last, mut moved) = (before.all, Instant::now());
    loop {
        let now = ended(client)?;
        let over = now.all - before.all;
        if over >= count {
            let failed = over - (now.done - before.done);
            ensure!(failed == 0, "{failed} of {over} tasks were not done");
            return Ok(());
        }
        if now.all != last {
            (last, moved) = (now.all, Instant::now());
        }
        ensure!(
            moved.elapsed() < STALL_MAX,
            "no task ended for {STALL_MAX:?}, {} are left",
            count - over
        );
        let rate = over as f64 / started.elapsed().as_secs_f64().max(0.001);
        let left_s = (count - over) as f64 / rate.max(1.0);
        std::thread::sleep(Duration::from_secs_f64((left_s / 4.0).clamp(0.005, 0.2)));
    }
}

/// Creates a run and waits until it is over; gives back its counts.
///
/// # Errors
/// When a target of it was not done.
pub fn run(client: &mut Client, spec: &Value) -> Result<Value> {
    let created = client.post_json("/v1/runs", spec)?;
    let name = created["metadata"]["name"]
        .as_str()
        .context("a run has a name")?
        .to_owned();
    let end = Instant::now() + RUN_MAX;
    while Instant::now() < end {
        let run = client.get(&format!("/v1/runs/{name}?wait=10s"))?;
        let status = &run["status"];
        let phase = status["phase"].as_str().unwrap_or_default();
        if phase == "Succeeded" {
            return Ok(status["counts"].clone());
        }
        if phase == "Failed" || phase == "Cancelled" {
            let why = client.get(&format!(
                "/v1/runs/{name}/targets?status=failed,unknown,expired&limit=1"
            ))?;
            bail!(
                "run {phase}: {}; first: {}",
                status["counts"],
                why["items"][0]
            );
        }
    }
    bail!("run {name} is not over within {RUN_MAX:?}")
}
