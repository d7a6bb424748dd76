//! Tasks as they are stored and shown.

use crate::{Effect, RunId, TaskId, Time, Uid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// Who goes first. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Waits for its run's batch; never dispatched.
    Held = 0,
    /// Somebody waits for it.
    People = 1,
    /// Large runs and bulk requests.
    Batch = 2,
    /// Periodic observation; never stored.
    Sweep = 3,
}

impl Priority {
    pub const ALL: [Priority; 4] = [
        Priority::Held,
        Priority::People,
        Priority::Batch,
        Priority::Sweep,
    ];

    pub fn from_number(n: u8) -> Option<Priority> {
        Self::ALL.into_iter().find(|p| *p as u8 == n)
    }
}

/// What a task is, fixed at creation and stored as JSON beside its narrow row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskBody {
    /// Name of the Target record.
    pub target: String,
    /// Worker kind.
    pub kind: String,
    pub action: String,
    pub effect: Effect,
    #[serde(default = "empty_object")]
    pub params: RawBody,
    pub timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<Time>,
    /// Who asked: `person`, `run`, `schedule`.
    pub origin: String,
    /// The batch of its run, from 1; 0 without a run.
    #[serde(default)]
    pub batch: u32,
    /// Version of the worker that must do it, whatever the Release says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the frames between its worker and its host are kept in its log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frames: bool,
}

/// Raw JSON that compares by its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawBody(pub Box<RawValue>);

impl PartialEq for RawBody {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl RawBody {
    /// # Panics
    /// Never: a `Value` is always JSON.
    pub fn of(value: &Value) -> RawBody {
        let raw = serde_json::value::to_raw_value(value).expect("a Value is JSON");
        RawBody(raw)
    }
}

fn empty_object() -> RawBody {
    RawBody::of(&Value::Object(serde_json::Map::new()))
}

/// Where a task stands, as shown to people and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Held,
    Waiting,
    Sent,
    Started,
    Ended,
}

/// How a task ended and who did it, as stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    pub outcome: crate::Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    pub ended_at: Time,
    pub attempts: u32,
    /// Worker Execution Environment that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wee: Option<String>,
    /// `kind@version/number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Digest of the worker image that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why that version did it: the rule of the Release, or the pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readings: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Value>,
    /// Earlier attempts, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<String>,
}

/// A task as the API gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    pub id: TaskId,
    pub state: TaskState,
    pub target: String,
    pub target_uid: Uid,
    pub kind: String,
    pub action: String,
    pub effect: Effect,
    pub params: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub origin: String,
    /// The frames between its worker and its host are kept in its log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frames: bool,
    pub priority: Priority,
    pub attempt: u32,
    pub created_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// When an id was made.
pub fn created_at(id: u64) -> Time {
    Time(i64::try_from(id >> 20).unwrap_or(0))
}
