//! The specs of the record kinds that sengu itself knows. Fields are camelCase in YAML; unknown fields are refused.

use crate::{
    Effect,
    quantity::{Duration, Share},
    task::Priority,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `kind: Target`: one device, host or service that is driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// Worker kind that drives it (`redfish`, `ssh`, `snmp`).
    pub kind: String,
    /// Where it is; the form is the kind's.
    pub address: String,
    /// WEEs of this zone reach it.
    #[serde(default = "default_zone", skip_serializing_if = "is_default_zone")]
    pub zone: String,
    /// Name of the Secret with its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Who it must be (certificate fingerprint, host key, engine id); keys by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity: BTreeMap<String, String>,
    /// Settings by kind.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TargetLimits>,
    /// Not driven at all while set; the reason is mandatory and shown by `why`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
}

/// Narrows the kind's limits for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<f64>,
}

pub const DEFAULT_ZONE: &str = "default";
fn default_zone() -> String {
    DEFAULT_ZONE.to_owned()
}
fn is_default_zone(zone: &str) -> bool {
    zone == DEFAULT_ZONE
}

/// `kind: Secret`: values that only workers see, sealed at rest. Reading one back gives the keys, never the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    pub data: BTreeMap<String, String>,
}

/// `kind: Schedule`: observes a selector again and again. Its tasks are volatile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Selector of targets; empty = all.
    #[serde(default)]
    pub selector: String,
    /// Time between two observations of one target, at least 1s.
    pub every: Duration,
    /// Share of `every` by which each target's turn is moved, spread evenly (default 10%).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Share>,
    /// A read action of the target's kind; default `observe`.
    #[serde(default = "default_observe")]
    pub action: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    #[serde(default)]
    pub paused: bool,
}

fn default_observe() -> String {
    "observe".to_owned()
}

/// `kind: Run`: one action over many targets, in batches, with a failure budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunSpec {
    pub action: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// Selector of targets, frozen into a list when the run is created.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Named targets; may be combined with the selector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// At most this many targets, in name order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Targets per batch; the next begins when the last is over and the budget holds. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Share>,
    /// Targets of the whole run that may fail (or be unknown) before it stops. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fail: Option<Share>,
    /// For actions that let the caller declare the effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Version of the worker that must do it, whatever the Release says; refused where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Keep the frames between workers and their hosts in the tasks' logs, without secrets; of at most 100 targets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frames: bool,
    /// Refuse a selector that matches nothing (default) or let the run end at once.
    #[serde(default)]
    pub allow_empty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RunPhase {
    Running,
    /// Held on request: what is in hand ends, nothing further begins.
    Paused,
    /// Asked to end; tasks in hand are still ending.
    Cancelling,
    /// The budget is spent; tasks in hand are still ending.
    Stopping,
    /// Every target done.
    Succeeded,
    /// Over, and not every target done.
    Failed,
    Cancelled,
}

impl RunPhase {
    pub fn over(self) -> bool {
        matches!(
            self,
            RunPhase::Succeeded | RunPhase::Failed | RunPhase::Cancelled
        )
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    pub phase: RunPhase,
    pub targets: u32,
    /// Kind of the targets' worker, when they are of one.
    #[serde(default)]
    pub batches: u32,
    /// First batch of this round; a retry begins a new one.
    #[serde(default)]
    pub first_batch: u32,
    /// Number of the batch in hand, from 1.
    #[serde(default)]
    pub batch: u32,
    pub counts: RunCounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fail: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<crate::Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<crate::Time>,
    /// One line: why it is in this phase.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Targets of a run by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RunCounts {
    /// Their batch has not begun.
    pub held: u32,
    pub waiting: u32,
    /// Sent or started.
    pub active: u32,
    pub done: u32,
    /// Of those done, how many were changed.
    pub changed: u32,
    pub failed: u32,
    pub unknown: u32,
    pub cancelled: u32,
    pub expired: u32,
    /// Attempts beyond the first.
    pub retries: u32,
}

/// `status.conditions` of any record, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One CamelCase word.
    pub reason: String,
    #[serde(default)]
    pub message: String,
    pub last_transition_time: crate::Time,
}
