//! worker.toml: what a worker kind is and can do. Data, read at run time; sengu is never rebuilt for a kind.

use crate::{Effect, limits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Worker name, and the kind of target it drives unless `target.kind` says otherwise.
    pub name: String,
    /// Semantic version of this image.
    pub version: String,
    #[serde(default)]
    pub description: String,
    /// Protocol version spoken.
    pub protocol: u32,
    /// Program and arguments. The program is looked up in the worker's folder first, then on PATH if it has no slash.
    /// May be left out by a worker that runs as a WASM component only, or whose container image has an entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// How it can be run, best first. None: as a process.
    #[serde(default, rename = "runtime", skip_serializing_if = "Vec::is_empty")]
    pub runtimes: Vec<RuntimeDecl>,
    #[serde(default)]
    pub resources: Resources,
    /// Tasks one instance runs at once (1..=1024).
    pub slots: u32,
    #[serde(default)]
    pub target: TargetDecl,
    #[serde(default)]
    pub limits: LaneLimits,
    #[serde(default)]
    pub pool: PoolDecl,
    #[serde(default, rename = "action")]
    pub actions: Vec<ActionDecl>,
    #[serde(default, rename = "reading")]
    pub readings: Vec<ReadingDecl>,
    #[serde(default, rename = "alert")]
    pub alerts: Vec<AlertDecl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<TwinDecl>,
}

/// One way to run the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeDecl {
    /// `process`, `docker`, `wasm`.
    pub name: String,
    /// `docker`: a file of the folder as `docker save` writes it. None: an image is made of the folder itself, with
    /// nothing below it, so its program must be linked statically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// `wasm`: the component, a file of the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

pub const RUNTIME_PROCESS: &str = "process";
pub const RUNTIME_DOCKER: &str = "docker";
pub const RUNTIME_WASM: &str = "wasm";

/// What one instance may use. A runtime that cannot hold it to one of these says so in the WEE's announcement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Memory in MiB (16..=65536).
    pub memory_mb: u32,
    /// CPU time per second of wall clock, in cores (0.05..=64).
    pub cpus: f32,
    /// Processes and threads (1..=4096).
    pub processes: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory_mb: 512,
            cpus: 2.0,
            processes: 256,
        }
    }
}

/// What a Target record of this kind must look like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDecl {
    /// Form of `spec.address`, for people.
    #[serde(default)]
    pub address: String,
    /// Regular expression that `spec.address` must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_pattern: Option<String>,
    /// JSON Schema of `spec.config`.
    #[serde(default)]
    pub config: Value,
    /// Keys allowed in `spec.identity`.
    #[serde(default)]
    pub identity: Vec<String>,
    /// Keys looked for in the target's Secret.
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// What one target of this kind bears. A Target's `spec.limits` may narrow it, never widen it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneLimits {
    /// Tasks in hand at once on one target (device sessions).
    pub sessions: u16,
    /// Tasks begun per second on one target; 0 = no limit.
    #[serde(default)]
    pub rate_per_s: f64,
    /// Rest after `busy` without a retry-after, in milliseconds.
    #[serde(default = "limits::busy_cooldown_default_ms")]
    pub cooldown_ms: u64,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            sessions: 4,
            rate_per_s: 0.0,
            cooldown_ms: limits::busy_cooldown_default_ms(),
        }
    }
}

/// How many instances a WEE keeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolDecl {
    /// Instances kept started even when idle.
    pub warm: u32,
    pub max: u32,
    /// An instance above `warm` is drained after this long without a task, in milliseconds.
    pub idle_ms: u64,
    /// An instance is recycled after this many tasks; 0 = never.
    pub max_tasks: u64,
    /// An instance is recycled after this long, in milliseconds; 0 = never.
    pub max_age_ms: u64,
    /// Slots kept free of observation, so that changes and people find room.
    pub reserve: u32,
}

impl Default for PoolDecl {
    fn default() -> Self {
        Self {
            warm: 0,
            max: 2,
            idle_ms: 60_000,
            max_tasks: 0,
            max_age_ms: 3_600_000,
            reserve: 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionDecl {
    /// `noun.verb`, or `observe`.
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub effect: Effect,
    /// With effect `once`: callers may declare a gentler effect in the request (`exec`).
    #[serde(default)]
    pub effect_by_caller: bool,
    /// With effect `probe`: the read action of this manifest that tells whether it happened. Its
    /// result is `{"happened": true | false | null, "after"?: ...}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// From hand-over to outcome, in milliseconds (a request may ask for less or more, to the limit).
    #[serde(default = "limits::action_timeout_default_ms")]
    pub timeout_ms: u64,
    /// JSON Schema of the parameters; absent = none taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// JSON Schema of `outcome.result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Not shown in lists (probe reads).
    #[serde(default)]
    pub internal: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingDecl {
    /// Prometheus conventions: base unit as suffix, `_total` for counters.
    pub name: String,
    #[serde(default)]
    pub unit: String,
    pub kind: ReadingKind,
    #[serde(default)]
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingKind {
    Gauge,
    Counter,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertDecl {
    pub name: String,
    /// Prometheus expression over the readings.
    pub expr: String,
    #[serde(default)]
    pub for_s: u64,
    #[serde(default)]
    pub severity: String,
    #[serde(default)]
    pub summary: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwinDecl {
    /// Program and arguments; `--count N` and more are appended.
    pub command: Vec<String>,
}

/// Three numbers, and perhaps a pre-release of lower case letters, digits, dots and dashes after a dash.
pub fn valid_version(version: &str) -> bool {
    let (numbers, pre) = match version.split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (version, None),
    };
    let number = |n: &str| (1..=9).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && pre.is_none_or(|pre| (1..=32).contains(&pre.len()) && pre.bytes().all(plain))
}

/// A worker.toml that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("read worker.toml: {0}")]
    Syntax(String),
    #[error("worker.toml of {worker}: {what}")]
    Rule { worker: String, what: String },
}

impl Manifest {
    /// Reads and checks worker.toml.
    ///
    /// # Errors
    /// `Syntax` with line and column, or `Rule` naming the broken rule.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest =
            toml::from_str(text).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    pub fn action(&self, name: &str) -> Option<&ActionDecl> {
        self.actions.iter().find(|a| a.name == name)
    }

    /// How it can be run, best first.
    pub fn runtimes(&self) -> Vec<RuntimeDecl> {
        if self.runtimes.is_empty() {
            return vec![RuntimeDecl {
                name: RUNTIME_PROCESS.to_owned(),
                archive: None,
                component: None,
            }];
        }
        self.runtimes.clone()
    }

    fn check_runtimes(
        &self,
        rule: &impl Fn(bool, &str) -> Result<(), ManifestError>,
    ) -> Result<(), ManifestError> {
        for (i, runtime) in self.runtimes.iter().enumerate() {
            let known = [RUNTIME_PROCESS, RUNTIME_DOCKER, RUNTIME_WASM];
            rule(
                known.contains(&runtime.name.as_str()),
                "runtime.name: process, docker or wasm",
            )?;
            let again = self.runtimes[..i].iter().any(|r| r.name == runtime.name);
            rule(!again, "runtime: each name once")?;
            rule(
                runtime.component.is_some() == (runtime.name == RUNTIME_WASM),
                "runtime.component: a file, for wasm only",
            )?;
            rule(
                runtime.archive.is_none() || runtime.name == RUNTIME_DOCKER,
                "runtime.archive: for docker only",
            )?;
            for file in [&runtime.component, &runtime.archive].into_iter().flatten() {
                let inside = !file.starts_with('/') && !file.split('/').any(|part| part == "..");
                rule(inside, "runtime: files are named within the folder")?;
            }
        }
        let needs_command = self.runtimes().iter().any(|r| {
            r.name == RUNTIME_PROCESS || (r.name == RUNTIME_DOCKER && r.archive.is_none())
        });
        rule(
            !needs_command || !self.command.is_empty(),
            "command: at least the program",
        )
    }

    fn check(&self) -> Result<(), ManifestError> {
        let rule = |ok: bool, what: &str| {
            if ok {
                Ok(())
            } else {
                Err(ManifestError::Rule {
                    worker: self.name.clone(),
                    what: what.to_owned(),
                })
            }
        };
        rule(
            crate::record::valid_name(&self.name),
            "name: lower case letters, digits, '-', '.'",
        )?;
        rule(
            valid_version(&self.version),
            "version: three numbers, like 1.0.0, and perhaps -rc.1 after them",
        )?;
        rule(
            self.protocol == crate::wire::worker::PROTOCOL,
            "protocol: only 1 is known",
        )?;
        self.check_runtimes(&rule)?;
        rule(
            (16..=65_536).contains(&self.resources.memory_mb)
                && (0.05..=64.0).contains(&self.resources.cpus)
                && (1..=4_096).contains(&self.resources.processes),
            "resources: memory_mb 16 to 65536, cpus 0.05 to 64, processes 1 to 4096",
        )?;
        rule(
            (1..=limits::SLOTS_PER_INSTANCE_MAX).contains(&self.slots),
            "slots: 1 to 1024",
        )?;
        rule(self.limits.sessions >= 1, "limits.sessions: at least 1")?;
        rule(
            self.pool.max >= 1 && self.pool.warm <= self.pool.max,
            "pool: 1 <= max, warm <= max",
        )?;
        rule(
            self.pool.max <= limits::INSTANCES_PER_POOL_MAX,
            "pool.max: at most 64",
        )?;
        for (i, action) in self.actions.iter().enumerate() {
            let unique = !self.actions[..i].iter().any(|a| a.name == action.name);
            rule(unique, &format!("action {} is declared twice", action.name))?;
            let probe_ok = match (&action.probe, action.effect) {
                (Some(p), Effect::Probe) => {
                    self.action(p).is_some_and(|a| a.effect == Effect::Read)
                }
                (None, Effect::Probe) | (Some(_), _) => false,
                (None, _) => true,
            };
            rule(
                probe_ok,
                &format!(
                    "action {}: effect probe needs probe = <a read action>",
                    action.name
                ),
            )?;
            rule(
                (1..=limits::ACTION_TIMEOUT_MAX_MS).contains(&action.timeout_ms),
                &format!(
                    "action {}: timeout_ms 1 to {}",
                    action.name,
                    limits::ACTION_TIMEOUT_MAX_MS
                ),
            )?;
        }
        Ok(())
    }
}
