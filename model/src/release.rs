//! `kind: Release`: which version of a worker kind drives which targets. The only mutable pointer there is: canary,
//! rollback, partial update and cut-over are moves of a Release.

use crate::Time;
use crate::manifest::PoolDecl;
use crate::quantity::{Duration, Share};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A Release bears the name of its worker kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseSpec {
    /// For whatever no rule matches.
    pub version: String,
    /// The first rule that matches a task wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<ReleaseRule>,
    /// Wins over the pool that worker.toml declares; takes effect at once, without a new instance.
    #[serde(default, skip_serializing_if = "PoolPatch::is_empty")]
    pub pool: PoolPatch,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseRule {
    /// Unique within the Release.
    pub name: String,
    pub version: String,
    /// Selector over labels, fields and facts of the target (`vendor`, `model`, `firmware`, `site`, ...) and `action`.
    /// Empty: every task.
    #[serde(default, rename = "where", skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Part of the targets, always the same ones for one version; a percentage.
    #[serde(default = "all")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub share: Share,
    /// Shares that follow by themselves, each after a good window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub steps: Vec<Share>,
    /// Absent: nobody watches, and the share counts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Do nothing but run read actions beside the version in use, and compare.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
}

fn all() -> Share {
    Share::Percent(100.0)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_false(flag: &bool) -> bool {
    !flag
}

/// When a version that is being released is called good or bad. It is compared with the version that it replaces, for
/// each cell of vendor, model, firmware and action, and over all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Guard {
    /// Tasks that must have ended well enough before the next step.
    pub window: u32,
    /// And this long each step lasts at least.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub hold: Duration,
    /// Fewer failures than this never roll back.
    pub min_failures: u32,
    /// Failures borne beyond those of the version that is replaced, as a part of the tasks.
    pub max_failures: f64,
    /// Times the latency (90 of 100 tasks) of the version that is replaced.
    pub max_latency: f64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            window: 50,
            hold: Duration { ms: 30_000 },
            min_failures: 3,
            max_failures: 0.02,
            max_latency: 2.0,
        }
    }
}

/// Fields of a pool that are set otherwise than the manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolPatch {
    /// Slots kept free of observation, for changes and for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<u32>,
    /// Instances kept started even when idle, in each execution environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// An instance above `warm` leaves after this long without a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idle: Option<Duration>,
    /// An instance is renewed after this many tasks; 0 = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tasks: Option<u64>,
    /// An instance is renewed after this long; 0s = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub max_age: Option<Duration>,
}

impl PoolPatch {
    pub fn is_empty(&self) -> bool {
        *self == PoolPatch::default()
    }

    pub fn over(&self, decl: PoolDecl) -> PoolDecl {
        PoolDecl {
            warm: self.warm.unwrap_or(decl.warm),
            max: self.max.unwrap_or(decl.max),
            idle_ms: self.idle.map_or(decl.idle_ms, |d| d.ms),
            max_tasks: self.max_tasks.unwrap_or(decl.max_tasks),
            max_age_ms: self.max_age.map_or(decl.max_age_ms, |d| d.ms),
            reserve: self.reserve.unwrap_or(decl.reserve),
        }
    }
}

/// Where versions are compared: tasks of one action on like devices. `-`: not known of the target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Cell {
    pub vendor: String,
    pub model: String,
    pub firmware: String,
    pub action: String,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell {
            vendor,
            model,
            firmware,
            action,
        } = self;
        write!(
            f,
            "vendor={vendor},model={model},firmware={firmware},action={action}"
        )
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseStatus {
    /// Nobody has moved this Release by hand: it follows the version that comes with sengu.
    pub follows_bundled: bool,
    pub rules: Vec<RuleStatus>,
    /// Cells that are kept off a version, newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldCell>,
    /// What was before the rollout that is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<ReleaseSpec>>,
    /// What `rollback` goes back to when nothing is on its way: what was before the last move that came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<ReleaseSpec>>,
    /// What was moved, newest last, the last 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<ReleaseEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RulePhase {
    /// On its way: watched, and stepping up.
    #[default]
    Rolling,
    /// At its last share, with a good window behind it.
    Settled,
    /// Compares only.
    Shadow,
    /// Nobody watches.
    Unguarded,
}

/// How one rule stands, since its last step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RuleStatus {
    pub name: String,
    pub version: String,
    /// The version it is compared with.
    pub replaces: String,
    pub phase: RulePhase,
    pub started_at: Time,
    pub step_at: Time,
    /// What it waits for, in a sentence.
    pub waits_for: String,
    pub seen: Sample,
    pub replaced: Sample,
    /// Tasks of it that ended well in earlier steps.
    pub proven: u64,
    /// Cells with tasks of it, the worst first, at most 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowStatus>,
}

impl RuleStatus {
    /// A new step: its window counts from nothing, but for cells that only failed.
    pub fn begin_step(&mut self, now: Time) {
        self.step_at = now;
        self.proven += self.seen.tasks.saturating_sub(self.seen.failed);
        self.seen = Sample::default();
        self.cells
            .retain(|c| c.held || c.seen.tasks == c.seen.failed);
        for cell in self.cells.iter().filter(|c| !c.held) {
            self.seen.tasks += cell.seen.tasks;
            self.seen.failed += cell.seen.failed;
        }
    }
}

/// Tasks of one version that were counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Sample {
    pub tasks: u64,
    pub failed: u64,
    /// Milliseconds from hand-over to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct CellStatus {
    pub cell: Cell,
    pub seen: Sample,
    pub replaced: Sample,
    pub held: bool,
}

/// A cell that was rolled back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeldCell {
    pub version: String,
    pub cell: Cell,
    /// With the numbers.
    pub why: String,
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReleaseEvent {
    pub at: Time,
    /// `promoted`, `stepped`, `settled`, `cell-rolled-back`, `rolled-back`, `edited`.
    pub what: String,
    pub version: String,
    pub message: String,
}

/// What a shadow has found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ShadowStatus {
    /// Tasks run a second time by the new version and compared.
    pub compared: u64,
    /// Of those, without any difference.
    pub same: u64,
    /// Reads that were not repeated, since as many were out as may be.
    pub skipped: u64,
    /// Differences by field and cell, the most frequent first, at most 100.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// `reading temperature_celsius{sensor="CPU1"}`, `fact firmware`, `result.partial`, `outcome`.
    pub field: String,
    pub cell: Cell,
    pub count: u64,
    /// One example, as each version gave it.
    pub stable: String,
    pub candidate: String,
    pub target: String,
}
