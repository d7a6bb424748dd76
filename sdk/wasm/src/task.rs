//! What a worker's code sees of one task.

use crate::bindings;
use crate::bindings::sengu::worker::{clock, http, memory, random, report};
use crate::{Connection, Request, Response, TcpFailure, Trouble};
use sengu_model::wire::worker::{Level, Reading};
use sengu_model::{Failure, FailureCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// One task in hand: what is to be done, on what, until when, and the way back.
pub struct Task {
    pub id: String,
    pub action: String,
    /// Valid against the action's params schema.
    pub params: Value,
    /// Name of the Target record.
    pub target: String,
    pub address: String,
    /// The target's `spec.config`.
    pub config: Value,
    pub identity: BTreeMap<String, String>,
    /// For a probe read: since when, in RFC 3339, and the last checkpoint of the lost attempt.
    pub probe: Option<(String, Option<Value>)>,
    secrets: BTreeMap<String, String>,
}

impl Task {
    pub(crate) fn new(task: bindings::Task) -> Result<Task, serde_json::Error> {
        let probe = match task.probe {
            None => None,
            Some(probe) => {
                let checkpoint = probe.checkpoint.as_deref().map(serde_json::from_str);
                Some((probe.since, checkpoint.transpose()?))
            }
        };
        Ok(Task {
            id: task.id,
            action: task.action,
            params: serde_json::from_str(&task.params)?,
            target: task.target.name,
            address: task.target.address,
            config: serde_json::from_str(&task.target.config)?,
            identity: task.target.identity.into_iter().collect(),
            probe,
            secrets: task.secrets.into_iter().collect(),
        })
    }

    /// A value of the target's Secret: never to be put into logs, messages or results.
    pub fn secret(&self, key: &str) -> Option<&str> {
        self.secrets.get(key).map(String::as_str)
    }

    /// All values of the target's Secret.
    pub fn secrets(&self) -> &BTreeMap<String, String> {
        &self.secrets
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
        let config = match &self.config {
            Value::Null => Value::Object(serde_json::Map::new()),
            config => config.clone(),
        };
        serde_json::from_value(config)
            .map_err(|e| Failure::new(FailureCode::Refused, format!("target config: {e}")))
    }

    /// What is left until the deadline. At zero every call fails, and soon after the instance is ended.
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(clock::remaining_ms())
    }

    /// Stop only where stopping is safe, and say what is so.
    pub fn is_cancelled(&self) -> bool {
        clock::cancelled()
    }

    /// Waits. False when it was cut short by a cancel or the deadline.
    pub fn sleep(&self, time: Duration) -> bool {
        clock::sleep_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    /// Since some moment before the task began.
    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(clock::monotonic_ns())
    }

    /// Random bytes of the operating system, at most 4096.
    pub fn random(&self, count: u32) -> Vec<u8> {
        random::bytes(count)
    }

    pub fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => report::Level::Debug,
            Level::Info => report::Level::Info,
            Level::Warn => report::Level::Warn,
            Level::Error => report::Level::Error,
            Level::Stdout => report::Level::Stdout,
            Level::Stderr => report::Level::Stderr,
        };
        report::log(level, message);
    }

    pub fn progress(&self, message: &str) {
        report::progress(None, Some(message));
    }

    /// Leaves behind what a later probe needs to tell whether the effect took place. Call it before the effect.
    pub fn checkpoint(&self, value: &Value) {
        report::checkpoint(&value.to_string());
    }

    /// One measured value.
    pub fn reading(&self, name: &str, value: f64, unit: &str) {
        self.observed(vec![Reading::new(name, value, unit)], &BTreeMap::new());
    }

    /// Many measured values and facts (vendor, model, serial, firmware ...) at once: prefer this to single ones.
    pub fn observed(&self, readings: Vec<Reading>, facts: &BTreeMap<String, Value>) {
        if !readings.is_empty() {
            let readings: Vec<report::Reading> = readings
                .into_iter()
                .map(|reading| report::Reading {
                    name: reading.name,
                    value: reading.value,
                    unit: reading.unit,
                    labels: reading.labels.into_iter().collect(),
                })
                .collect();
            report::readings(&readings);
        }
        if !facts.is_empty() {
            // Keys are text, so this is always JSON.
            report::facts(&serde_json::to_string(facts).unwrap_or_default());
        }
    }

    /// One request to the target, whose address and record say where and with which TLS.
    ///
    /// # Errors
    /// By whether it was sent.
    pub fn http(&self, request: &Request) -> Result<Response, Trouble> {
        http::send(request)
    }

    /// A TCP connection to the target, whose address must name a port.
    ///
    /// # Errors
    /// When there is none within `timeout`.
    pub fn connect(&self, timeout: Duration) -> Result<Connection, TcpFailure> {
        Connection::open(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
    }

    /// Keeps bytes for later tasks on this target by this instance of the worker. They may be gone at any time.
    pub fn remember(&self, key: &str, value: &[u8], keep: Duration) -> bool {
        let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        memory::put(key, value, keep_ms)
    }

    pub fn recall(&self, key: &str) -> Option<Vec<u8>> {
        memory::get(key)
    }

    pub fn forget(&self, key: &str) {
        memory::remove(key);
    }
}
