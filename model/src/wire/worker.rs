//! Worker protocol v1: one JSON object per line on stdin and stdout, the same in every runtime.
//!
//! To worker: `task`, `cancel`, `drain`. From worker: `hello`, `log`, `progress`, `reading`, `outcome`, `beat`.
//! Unknown fields are ignored by both sides; unknown frame types are ignored by workers and reported by the host.
//! The published JSON Schema is `docs/reference/worker-protocol.schema.json`.

use crate::{Outcome, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap};

/// The protocol version that this code speaks.
pub const PROTOCOL: u32 = 1;

/// A line to a worker, as the worker reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker {
    Task(Box<TaskFrame>),
    /// End this task as soon as that is safe; an `outcome` is still owed.
    Cancel {
        id: TaskId,
    },
    /// Take no more tasks, end those in hand, close device sessions, exit 0.
    Drain,
}

/// One task with all that is needed to do it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskFrame {
    pub id: TaskId,
    /// `epoch.attempt`, given back unchanged in the outcome.
    pub fence: String,
    pub action: String,
    /// Valid against the action's params schema.
    #[serde(default)]
    pub params: Value,
    pub target: TargetFrame,
    /// Values of the target's Secret. Only ever here: never in environment, arguments, logs or errors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The work must be over within this many milliseconds from receipt.
    pub timeout_ms: u64,
    /// For a probe read: what the probed attempt left behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeFrame>,
}

/// What a probe read may use to tell whether the lost attempt took effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeFrame {
    /// When the lost attempt was handed to its worker (RFC 3339).
    pub since: crate::Time,
    /// The last checkpoint that the lost attempt sent, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
}

/// The device to work on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetFrame {
    /// Name of the Target record.
    pub name: String,
    /// Where it is; the form is the kind's (`https://host:443`, `host:22`).
    pub address: String,
    /// Kind-specific settings, valid against the manifest's `target.config` schema.
    #[serde(default)]
    pub config: Value,
    /// Who it must be: certificate fingerprint, host key, engine id. Kind-specific keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity: BTreeMap<String, String>,
}

/// A line from a worker, as the host reads it. Large parts stay raw: the host forwards them.
#[derive(Debug, Deserialize)]
pub struct FromWorker<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// All but `hello` and `beat` name their task.
    #[serde(default)]
    pub id: Option<TaskId>,
    #[serde(default, borrow)]
    pub fence: Option<Cow<'a, str>>,
    // hello
    #[serde(default)]
    pub protocol: Option<u32>,
    #[serde(default, borrow)]
    pub worker: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub version: Option<Cow<'a, str>>,
    #[serde(default)]
    pub slots: Option<u32>,
    // log, progress
    #[serde(default, borrow)]
    pub level: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub message: Option<Cow<'a, str>>,
    #[serde(default)]
    pub percent: Option<f64>,
    #[serde(default, borrow)]
    pub checkpoint: Option<&'a RawValue>,
    // reading
    #[serde(default, borrow)]
    pub readings: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub facts: Option<&'a RawValue>,
    // outcome
    #[serde(default, borrow)]
    pub outcome: Option<&'a RawValue>,
}

/// A line from a worker, as a worker writes it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerLine {
    /// First line of an instance, before any task is given.
    Hello {
        protocol: u32,
        worker: String,
        version: String,
        slots: u32,
    },
    Log {
        id: TaskId,
        level: Level,
        message: String,
    },
    Progress {
        id: TaskId,
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// What a later probe read needs to tell whether the effect took place; sent before the effect.
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Value>,
    },
    /// May come several times per task; readings add up, facts are merged.
    Reading {
        id: TaskId,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        readings: Vec<Reading>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        facts: BTreeMap<String, Value>,
    },
    /// Last line of a task.
    Outcome {
        id: TaskId,
        fence: String,
        outcome: Outcome,
    },
    /// "I am alive": at least every `BEAT_MS` milliseconds.
    Beat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
    /// Output of what ran on the target.
    Stdout,
    Stderr,
}

/// One measured value. Names and units as declared in worker.toml; units are UCUM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub name: String,
    pub value: f64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Reading {
    pub fn new(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
            labels: BTreeMap::new(),
        }
    }

    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_lines_of_v1_are_read() {
        let task: ToWorker = serde_json::from_str(include_str!("golden/v1-task.json")).unwrap();
        let ToWorker::Task(task) = task else {
            panic!("task")
        };
        assert_eq!(
            (task.action.as_str(), task.timeout_ms),
            ("power.set", 30_000)
        );
        for line in include_str!("golden/v1-from-worker.jsonl").lines() {
            serde_json::from_str::<FromWorker>(line).unwrap();
        }
    }
}
