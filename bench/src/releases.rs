//! Versions of workers: pushed by the CLI as a user does, moved over the API.

use crate::http::Client;
use crate::server::Server;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// From a push until tasks can be created for it.
const KNOWN_MAX: Duration = Duration::from_secs(30);

/// `sengu worker push FOLDER`; how long it took.
pub fn push(server: &Server, folder: &Path) -> Result<Duration> {
    let started = Instant::now();
    let output = server
        .cli()
        .args(["worker", "push", "-o", "name"])
        .arg(folder)
        .stderr(Stdio::piped())
        .output()
        .context("run sengu worker push")?;
    let took = started.elapsed();
    ensure!(
        output.status.success(),
        "push {}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(took)
}

/// Moves all targets of a kind to a version, unwatched, whatever else is on its way.
pub fn flip(client: &mut Client, kind: &str, version: &str) -> Result<()> {
    let wanted = json!({"version": version, "unguarded": true, "replace": true});
    client
        .post_json(&format!("/v1/releases/{kind}/promote"), &wanted)
        .with_context(|| format!("flip to {kind}@{version}"))?;
    Ok(())
}

/// Changes the pool of a kind in its Release; a null goes back to what worker.toml says.
pub fn set_pool(client: &mut Client, kind: &str, pool: &Value) -> Result<()> {
    let release = client.get(&format!("/v1/records/Release/{kind}"))?;
    let mut spec = release["spec"].clone();
    spec["pool"] = pool.clone();
    let record = json!({"apiVersion": "sengu/v1", "kind": "Release", "metadata": {"name": kind}, "spec": spec});
    client.call(
        "POST",
        "/v1/apply",
        "application/yaml",
        format!("{record}\n").as_bytes(),
    )?;
    Ok(())
}

/// Started instances of a kind, all versions and execution environments together.
pub fn instances(client: &mut Client, kind: &str) -> Result<u64> {
    let workers = client.get("/v1/workers")?;
    let all = workers.as_array().context("workers are a list")?;
    let of_kind = all.iter().filter(|w| w["kind"] == kind);
    Ok(of_kind.filter_map(|w| w["instances"].as_u64()).sum())
}

pub fn wait_instances(client: &mut Client, kind: &str, number: u64) -> Result<()> {
    let end = Instant::now() + KNOWN_MAX;
    let mut seen = 0;
    while Instant::now() < end {
        seen = instances(client, kind)?;
        if seen == number {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let workers = client.get("/v1/workers")?;
    let of_kind = workers.as_array().into_iter().flatten();
    let of_kind: Vec<&Value> = of_kind.filter(|w| w["kind"] == kind).collect();
    bail!("{kind} has {seen} instances and not {number} after {KNOWN_MAX:?}: {of_kind:?}")
}

/// Creates one task and waits for its end: the ended task, and the time from before the request to the answer.
pub fn task(
    client: &mut Client,
    target: &str,
    action: &str,
    params: &Value,
) -> Result<(Value, Duration)> {
    let asked = Instant::now();
    let request = json!({"targets": [target], "action": action, "params": params});
    let created = client.post_json("/v1/tasks", &request)?;
    let id = created["tasks"][0]["id"]
        .as_str()
        .context("a task has an id")?;
    let task = client.get(&format!("/v1/tasks/{id}?wait=60s"))?;
    let took = asked.elapsed();
    ensure!(
        task["ending"]["outcome"]["status"] == "done",
        "the task was not done: {task}"
    );
    Ok((task, took))
}
