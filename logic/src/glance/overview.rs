//! What the overview says.

use crate::saying::Saying;
use sengu_model::kinds::{RunCounts, RunPhase};
use sengu_model::release::RulePhase;
use sengu_model::task::TaskState;
use sengu_model::{RunId, TaskId, Time};
use serde::Serialize;

/// How the whole installation stands.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub at: Time,
    /// Newest revision of the records.
    pub revision: u64,
    pub targets: TargetsSeen,
    pub tasks: TasksSeen,
    pub history: TaskHistory,
    /// In progress, newest first, at most 50.
    pub runs: Vec<RunSeen>,
    /// On their way, or taken back within the last hour.
    pub rollouts: Vec<RolloutSeen>,
    /// In hand or waiting for longer than expected, worst first, at most 20. Only what is in memory is looked at: of a
    /// long backlog, its front.
    pub slow: Vec<SlowTask>,
    /// How many there are.
    pub slow_total: u64,
    pub wees: Vec<WeeSeen>,
    pub zones: Vec<ZoneSeen>,
    /// What a person should know of, worst first.
    pub trouble: Vec<Trouble>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetsSeen {
    #[serde(flatten)]
    pub all: TargetCounts,
    pub by_kind: Vec<KindCounts>,
    pub by_zone: Vec<ZoneCounts>,
}

/// Targets by how they stand. One may be counted under several: a quarantined one may be unreachable too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    pub total: u64,
    pub reachable: u64,
    pub unreachable: u64,
    /// Not asked yet.
    pub unknown: u64,
    pub quarantined: u64,
    pub maintenance: u64,
    /// Their last task did not end well.
    pub failing: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KindCounts {
    pub kind: String,
    #[serde(flatten)]
    pub counts: TargetCounts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneCounts {
    pub zone: String,
    #[serde(flatten)]
    pub counts: TargetCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TasksSeen {
    /// Not ended and not out, the backlog in the store included.
    pub waiting: u64,
    pub sent: u64,
    pub started: u64,
    /// Since the start of this life of sengu.
    pub ended: u64,
    /// Of those: not done.
    pub not_done: u64,
    /// Ended per second, over the last seconds.
    pub per_second: f64,
    pub not_done_per_second: f64,
    /// Observations by schedules that ended per second, over the last seconds. They are not stored, and counted nowhere
    /// else here; those that failed are seen by their targets.
    pub observed_per_second: f64,
}

/// Ends of tasks over the last hour. What was before the start of this life of sengu is zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskHistory {
    pub step_seconds: u32,
    /// Start of the oldest step.
    pub from: Time,
    /// Ended in each step, oldest first.
    pub ended: Vec<u64>,
    pub not_done: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSeen {
    pub name: RunId,
    pub phase: RunPhase,
    pub action: String,
    pub targets: u32,
    pub counts: RunCounts,
    pub batch: u32,
    pub batches: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    pub message: String,
}

/// A version on its way, or one that was taken back.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSeen {
    pub kind: String,
    pub version: String,
    pub phase: RolloutPhase,
    /// Part of the targets, such as `10%`; empty once it was taken back.
    pub share: String,
    /// Cells that are kept off it.
    pub held: u64,
    /// What it waits for, or why it was taken back.
    pub message: String,
    /// Tasks of it that failed in this step.
    pub failures: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub enum RolloutPhase {
    Rolling,
    Shadow,
    /// Runs on a part of the targets, and nobody watches.
    Unguarded,
    RolledBack,
}

impl RolloutPhase {
    /// None once it has settled.
    pub fn of(phase: RulePhase) -> Option<RolloutPhase> {
        match phase {
            RulePhase::Rolling => Some(RolloutPhase::Rolling),
            RulePhase::Shadow => Some(RolloutPhase::Shadow),
            RulePhase::Unguarded => Some(RolloutPhase::Unguarded),
            RulePhase::Settled => None,
        }
    }
}

/// A task that takes longer than expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowTask {
    pub task: TaskId,
    pub target: String,
    pub action: String,
    pub state: TaskState,
    /// In this state since then.
    pub since: Time,
    pub expected_ms: u64,
    /// Why that is longer than expected, in a sentence.
    pub why: String,
    /// The same as data.
    #[serde(flatten)]
    pub saying: Saying,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeeSeen {
    pub name: String,
    pub zone: String,
    pub state: WeeState,
    pub slots_used: u64,
    pub slots: u64,
    /// Version of sengu.
    pub version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeeState {
    Ready,
    /// Begins nothing new.
    Cordoned,
    /// Begins nothing new and lets all workers go.
    Draining,
    /// It was there, and says nothing any more.
    Silent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneSeen {
    pub zone: String,
    pub targets: u64,
    /// Execution environments that speak.
    pub wees: u64,
    pub slots: u64,
    pub slots_used: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    pub level: Level,
    pub text: String,
    /// The same as data.
    #[serde(flatten)]
    pub saying: Saying,
    /// What it is about, such as `target/bmc-1` or `wee/rack-7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
}
