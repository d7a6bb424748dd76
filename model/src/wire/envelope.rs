//! Envelopes between the Logic Environment and the Worker Execution Environments, version 1.
//!
//! The header is parsed; the task's body, the target and the sealed secrets stay raw and are forwarded.

use crate::{Effect, TaskId, Time};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

pub const VERSION: u32 = 1;

/// Logic -> execution: do this.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskEnvelope<'a> {
    pub v: u32,
    pub task: TaskId,
    /// Life number of the logic role that sent it; with `attempt` it makes the fence.
    pub epoch: u64,
    pub attempt: u32,
    /// Worker kind, so also the pool.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Version of the worker that logic chose by the Release. A WEE runs this one or rejects the task.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    pub effect: Effect,
    /// From hand-over to the worker to its outcome, in milliseconds.
    pub timeout_ms: u64,
    /// Not started after this time: `Expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<Time>,
    /// Tasks of one target go to one instance where possible: device sessions live there.
    pub sticky: u64,
    #[serde(borrow)]
    pub params: &'a RawValue,
    /// A `TargetFrame`.
    #[serde(borrow)]
    pub target: &'a RawValue,
    /// A `SealedSecret`, opened at the last hop only.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<&'a RawValue>,
    /// A `ProbeFrame`, for probe reads.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub probe: Option<&'a RawValue>,
    /// Whether log lines of the task are wanted (sweeps' are not kept).
    #[serde(default)]
    pub volatile: bool,
    /// Whether what its worker and the WEE say to each other is wanted as log lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frames: bool,
}

/// The target's Secret, sealed (see `seal`; the place of each value is `<name>/<key>`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedSecret {
    pub name: String,
    pub data: std::collections::BTreeMap<String, String>,
}

/// Logic -> one WEE.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WeeCommand {
    Cancel {
        task: TaskId,
        epoch: u64,
        attempt: u32,
    },
    /// The answer to claims.
    Begin {
        /// The life of the WEE that claimed: none before or after it may go by this.
        life: u64,
        items: Vec<Grant>,
    },
    /// The answer to a `BlobRequest`.
    BlobPart {
        digest: String,
        offset: u64,
        /// Bytes of the whole blob.
        total: u64,
        /// Base64 of at most `limits::BLOB_PART_BYTES` bytes.
        #[serde(default)]
        data: String,
        /// Why there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Drain, then start again as the program that is installed now, with the same arguments.
    Upgrade,
}

/// Whether a claimed task may be handed to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub task: TaskId,
    pub epoch: u64,
    pub attempt: u32,
    /// False: another WEE has it, or it is not wanted any more. It is dropped without a word.
    pub may: bool,
}

/// WEE -> logic, in the queue of blob requests: a part of an image that is not here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlobRequest {
    pub v: u32,
    /// Who asks; the answer is a command to it.
    pub wee: String,
    /// `sha256:...` of the blob.
    pub digest: String,
    pub offset: u64,
}

/// What logic wants of a WEE, in the retained directory under `wee-spec/<name>`. None there: work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WeeSpec {
    /// Begin nothing new.
    pub cordoned: bool,
    /// Begin nothing new, and let all instances go once their tasks have ended.
    pub drained: bool,
}

/// Execution -> logic: a batch of what happened.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReportEnvelope<'a> {
    pub v: u32,
    #[serde(borrow)]
    pub wee: Cow<'a, str>,
    /// Of its announcement.
    #[serde(default)]
    pub life: u64,
    #[serde(borrow)]
    pub items: Vec<Report<'a>>,
}

/// One thing that happened to a task in a WEE.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report<'a> {
    pub task: TaskId,
    pub epoch: u64,
    pub attempt: u32,
    pub at: Time,
    pub event: Event,
    /// `Started`, `Ended`, `Lost`: the instance (`kind@version/number`).
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Cow<'a, str>>,
    /// `Started`, `Ended`: digest of the image that ran.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Cow<'a, str>>,
    /// `Ended`: when it was handed to the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// `Ended`: an `Outcome`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'a RawValue>,
    /// `Ended`: array of `Reading`s collected.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub readings: Option<&'a RawValue>,
    /// `Ended`: object of facts collected.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub facts: Option<&'a RawValue>,
    /// `Checkpoint`: the value. `Logs`: array of `LogLine`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// `Lost`, `Rejected`, `Progress`: one line.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It may not be repeated and waits for leave to begin (`WeeCommand::Begin`): the broker may have delivered it to
    /// another WEE as well.
    Claim,
    /// Handed to a worker instance; the lease runs. Not sent for `read` tasks that end within one beat.
    Started,
    /// Still in hand; renews the lease.
    Beat,
    Checkpoint,
    Progress,
    Logs,
    Ended,
    /// The instance that had it is gone: the effect may or may not have begun.
    Lost,
    /// It was never handed to a worker (drain, no instance could be started): nothing happened.
    Rejected,
}

/// One line of a task's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    pub at: Time,
    pub level: super::worker::Level,
    /// `message` is a frame of the worker protocol, and this is where it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Way>,
    pub message: String,
}

/// Between a worker and its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Way {
    ToWorker,
    FromWorker,
}

/// What a WEE says of itself in the retained directory under `wee/<name>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WeeAnnouncement {
    pub v: u32,
    pub name: String,
    pub zone: String,
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Drawn at its start: tells one life of a WEE from the next, and two of one name from each other.
    #[serde(default)]
    pub life: u64,
    /// What it was asked to be, as far as it knows.
    #[serde(default)]
    pub spec: WeeSpec,
    /// It shares the process of logic, so it cannot be upgraded alone.
    #[serde(default)]
    pub embedded: bool,
    pub sengu_version: String,
    pub runtimes: Vec<String>,
    /// What limits it enforces on workers, in words (cgroup, rlimit, none).
    pub isolation: Vec<String>,
    pub pools: Vec<PoolAnnouncement>,
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoolAnnouncement {
    pub kind: String,
    pub version: String,
    pub digest: String,
    /// Runtime that runs it here.
    #[serde(default)]
    pub runtime: String,
    /// Tasks that can be in hand at once when the pool is at its greatest.
    pub slots_max: u32,
    pub slots_busy: u32,
    pub instances: u32,
    pub restarts: u64,
    pub ended: u64,
    pub failed: u64,
    /// Last things an instance did wrong (invalid JSON, flood of logs, foreign task, left children), newest last.
    pub complaints: Vec<String>,
    /// Why no instance can be started, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// Where logic says in the retained directory that it lives.
pub const LOGIC: &str = "logic";

/// What logic says there, every beat. Execution environments refuse what comes with an older epoch than they have seen,
/// and reckon by its clock: whether a task may still be begun is its word, and theirs may be wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogicAnnouncement {
    pub v: u32,
    pub epoch: u64,
    pub sengu_version: String,
    /// When it was said.
    pub at: Time,
}

/// What the logic role publishes in the retained directory under `worker/<kind>/<version>`: what WEEs may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerOffer {
    pub v: u32,
    pub manifest: crate::manifest::Manifest,
    /// `sha256:...` over the image: a tar in the canonical form (see `docs/reference/images.md`).
    pub digest: String,
    /// Bytes of that tar.
    pub bytes: u64,
    /// The Release sends tasks to it. Otherwise it runs only what is pinned to it, and keeps nothing warm.
    #[serde(default)]
    pub active: bool,
    /// How many instances, as the Release says now (its `pool` wins over the manifest's).
    #[serde(default)]
    pub pool: crate::manifest::PoolDecl,
}
