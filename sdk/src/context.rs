//! What a worker's code sees of one task.

use crate::drill::Drill;
use crate::serve::Out;
use sengu_model::wire::worker::{Level, ProbeFrame, Reading, TargetFrame, TaskFrame, WorkerLine};
use sengu_model::{Failure, FailureCode, TaskId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// A secret value. It has no Display and its Debug shows nothing: take it out only where it is used.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One task in hand: what is to be done, on what, until when, and the way back.
pub struct Context {
    pub id: TaskId,
    pub action: String,
    /// Valid against the action's params schema.
    pub params: Value,
    pub target: TargetFrame,
    /// For a probe read: what the lost attempt left behind.
    pub probe: Option<ProbeFrame>,
    secrets: BTreeMap<String, Secret>,
    deadline: Instant,
    cancel: watch::Receiver<bool>,
    out: Out,
    drill: Option<Arc<Drill>>,
}

impl Context {
    pub(crate) fn new(
        frame: TaskFrame,
        cancel: watch::Receiver<bool>,
        out: Out,
        drill: Option<Arc<Drill>>,
    ) -> Self {
        Context {
            id: frame.id,
            action: frame.action,
            params: frame.params,
            target: frame.target,
            probe: frame.probe,
            secrets: frame
                .secrets
                .into_iter()
                .map(|(k, v)| (k, Secret(v)))
                .collect(),
            deadline: Instant::now() + Duration::from_millis(frame.timeout_ms),
            cancel,
            out,
            drill,
        }
    }

    /// The work must be over by then; the future is dropped at that moment.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is left until the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Resolves when the task is to be cancelled. Stop only where stopping is safe, and say what is so.
    pub async fn cancelled(&self) {
        let mut cancel = self.cancel.clone();
        if cancel.wait_for(|c| *c).await.is_err() {
            // The sender is kept until the task's outcome is out, so this is the end anyway.
            std::future::pending::<()>().await;
        }
    }

    pub fn secret(&self, key: &str) -> Option<&Secret> {
        self.secrets.get(key)
    }

    /// The secret, or the failure to return when the target has none.
    ///
    /// # Errors
    /// `refused`, with a message that names the key and not its value.
    pub fn need_secret(&self, key: &str) -> Result<&Secret, Failure> {
        self.secret(key).ok_or_else(|| {
            Failure::new(
                FailureCode::Refused,
                format!("the target's secret has no key {key:?}"),
            )
        })
    }

    /// The params as a type.
    ///
    /// # Errors
    /// `refused` when they do not fit (the schema in worker.toml should have caught it).
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_value(self.params.clone())
            .map_err(|e| Failure::new(FailureCode::Refused, format!("params: {e}")))
    }

    /// The target's `spec.config` as a type.
    ///
    /// # Errors
    /// `refused` when it does not fit.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let config = match &self.target.config {
            Value::Null => Value::Object(serde_json::Map::new()),
            config => config.clone(),
        };
        serde_json::from_value(config)
            .map_err(|e| Failure::new(FailureCode::Refused, format!("target config: {e}")))
    }

    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.out.line(&WorkerLine::Log {
            id: self.id,
            level,
            message: message.into(),
        });
    }

    pub fn progress(&self, message: impl Into<String>) {
        let message = Some(message.into());
        self.out.line(&WorkerLine::Progress {
            id: self.id,
            percent: None,
            message,
            checkpoint: None,
        });
    }

    /// Leaves behind what a later probe needs to tell whether the effect took place. Call it before the effect.
    pub fn checkpoint(&self, value: Value) {
        let checkpoint = Some(value);
        self.out.line(&WorkerLine::Progress {
            id: self.id,
            percent: None,
            message: None,
            checkpoint,
        });
    }

    /// One measured value.
    pub fn reading(&self, name: &str, value: f64, unit: &str) {
        self.observed(vec![Reading::new(name, value, unit)], BTreeMap::new());
    }

    /// Many measured values and facts (vendor, model, serial, firmware ...) at once: prefer this to single ones.
    /// Values that are no number (NaN, infinite) are left out: JSON has no form for them.
    pub fn observed(&self, mut readings: Vec<Reading>, facts: BTreeMap<String, Value>) {
        readings.retain(|r| r.value.is_finite());
        if let Some(drill) = &self.drill {
            drill.saw(&self.target.name, &facts);
        }
        self.out.line(&WorkerLine::Reading {
            id: self.id,
            readings,
            facts,
        });
    }
}
