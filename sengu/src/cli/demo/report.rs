//! What the demo saw, as data. Programs read it (`--json`), so names stay as they are.

use super::fleet::Group;
use serde::Serialize;
use serde_json::Value;

/// All that was seen, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Every claim held.
    pub honest: bool,
    pub seconds: f64,
    pub targets: u64,
    pub server: Value,
    pub records_applied: u64,
    pub apply_ms: u64,
    pub sweep: RunTold,
    pub change: RunTold,
    pub killed: Option<Killed>,
    pub retry: Option<RunTold>,
    pub schedule: Option<ScheduleTold>,
    pub released: Option<Released>,
    pub claims: Vec<Claim>,
    pub fleet: Vec<Group>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunTold {
    pub run: String,
    pub command: String,
    pub selector: String,
    pub phase: String,
    pub targets: u64,
    pub batches: u64,
    pub done: u64,
    pub changed: u64,
    pub failed: u64,
    pub unknown: u64,
    pub ms: u64,
    pub tasks_per_second: f64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Why attempts were repeated, most frequent first.
    pub retried: Vec<Retried>,
    pub failures: Vec<Value>,
}

#[derive(Debug, Serialize)]
pub struct Retried {
    /// One of the reasons that are alike.
    pub reason: String,
    pub count: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Killed {
    pub program: String,
    pub pid: u32,
    pub batch: u64,
    pub tasks_in_hand: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleTold {
    pub every: String,
    pub ms: u64,
    pub targets_seen: u64,
    pub tasks_ended: u64,
}

/// A version that was bad on one firmware.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    pub version: String,
    /// Tasks that it ended, and those of them that failed.
    pub tasks: u64,
    pub failed: u64,
    /// Servers with that firmware.
    pub affected: u64,
    /// What went back, and why.
    pub rolled_back: Vec<String>,
    pub ms: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    pub claim: String,
    pub holds: bool,
}
