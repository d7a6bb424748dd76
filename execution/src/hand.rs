//! One task in the hands of an instance: what must be kept of it until its outcome.

use crate::lease::{Fence, Lease};
use crate::redact::Redactor;
use sengu_model::wire::envelope::{LogLine, Way};
use sengu_model::wire::worker::Level;
use sengu_model::{Effect, FailureCode, Time, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

pub struct InHand {
    pub instance: u64,
    pub fence: Fence,
    pub lease: Lease,
    pub handed_at: Time,
    pub effect: Effect,
    pub volatile: bool,
    /// Its frames are wanted in its log.
    pub frames: bool,
    /// Only for tasks that were given secrets.
    pub redactor: Option<Box<Redactor>>,
    pub readings: Collected,
    pub facts: Collected,
    /// Bytes of `reading` frames so far.
    pub reading_bytes: usize,
    pub logs: Option<Box<Logs>>,
    pub progress: Option<Box<Progress>>,
}

impl InHand {
    pub fn has_something_to_say(&self) -> bool {
        let talks = self
            .logs
            .as_ref()
            .is_some_and(|logs| !logs.pending.is_empty());
        let moves = |p: &Progress| p.line.is_some() || p.checkpoint.is_some();
        talks || self.progress.as_deref().is_some_and(moves)
    }
}

/// How far a task is, as it says itself. Only the newest counts, and it goes out with the next tick.
#[derive(Debug, Default)]
pub struct Progress {
    pub line: Option<String>,
    /// JSON text.
    pub checkpoint: Option<String>,
    /// Checkpoints so far: the first ones go out at once.
    pub checkpoints: u32,
}

/// Readings or facts of one task, as JSON text.
#[derive(Debug, Default)]
pub struct Collected(pub Vec<u8>);

impl Collected {
    /// Appends the items of a JSON array.
    pub fn add_array(&mut self, json: &str) {
        if self.0.is_empty() {
            self.0.extend_from_slice(json.as_bytes());
            return;
        }
        let inner = json.trim_start_matches('[').trim_end_matches(']').trim();
        if inner.is_empty() {
            return;
        }
        self.0.pop();
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        // Cut by one bracket only, since an item may begin or end with one.
        self.0.extend_from_slice(&json.as_bytes()[1..]);
    }

    /// Merges the fields of a JSON object; later ones win.
    pub fn add_object(&mut self, json: &str) {
        if self.0.is_empty() {
            self.0.extend_from_slice(json.as_bytes());
            return;
        }
        type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;
        let merged = {
            let old: Result<Fields, _> = serde_json::from_slice(&self.0);
            let new: Result<Fields, _> = serde_json::from_str(json);
            let (Ok(mut old), Ok(new)) = (old, new) else {
                return;
            };
            old.extend(new);
            serde_json::to_vec(&old)
        };
        if let Ok(merged) = merged {
            self.0 = merged;
        }
    }
}

/// Log lines of a task that are not out yet, and what it has used of its limits.
#[derive(Debug, Default)]
pub struct Logs {
    /// Items of a JSON array, with commas between.
    pub pending: Vec<u8>,
    lines: u32,
    bytes: usize,
    full: bool,
}

/// What became of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    Kept,
    /// It and all that follow are over the task's limit. The first time a mark is left.
    Dropped {
        first: bool,
    },
}

impl Logs {
    pub fn add(&mut self, at: Time, level: Level, message: &str) -> Logged {
        self.line(at, level, None, message)
    }

    /// A frame of the worker protocol, redacted; it counts as a line like any other.
    pub fn add_frame(&mut self, at: Time, way: Way, frame: &str) {
        self.line(at, Level::Debug, Some(way), frame);
    }

    fn line(&mut self, at: Time, level: Level, frame: Option<Way>, message: &str) -> Logged {
        if self.full {
            return Logged::Dropped { first: false };
        }
        // What counts is what is kept: a frame may have 1 MiB.
        let message = cut(message, limits::LOG_LINE_BYTES_MAX);
        if self.lines >= limits::TASK_LOG_LINES_MAX
            || self.bytes + message.len() > limits::TASK_LOG_BYTES_MAX
        {
            self.full = true;
            let mark = "further log lines of this task are dropped".to_owned();
            self.push(at, Level::Warn, None, mark);
            return Logged::Dropped { first: true };
        }
        self.lines += 1;
        self.bytes += message.len();
        self.push(at, level, frame, message);
        Logged::Kept
    }

    fn push(&mut self, at: Time, level: Level, frame: Option<Way>, message: String) {
        if !self.pending.is_empty() {
            self.pending.push(b',');
        }
        let line = LogLine {
            at,
            level,
            frame,
            message,
        };
        // A Vec takes all writes.
        let _ = serde_json::to_writer(&mut self.pending, &line);
    }
}

fn cut(message: &str, bytes_max: usize) -> String {
    if message.len() <= bytes_max {
        return message.to_owned();
    }
    let mut end = bytes_max;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} (cut, {} bytes in all)", &message[..end], message.len())
}

pub fn level(text: &str) -> Level {
    match text {
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        "stdout" => Level::Stdout,
        "stderr" => Level::Stderr,
        _ => Level::Info,
    }
}

/// Whether `json` is an outcome that logic can read; gives whether it stands for a failure.
///
/// # Errors
/// What is wrong with it.
pub fn check_outcome(json: &str) -> Result<Ended, String> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow)]
        status: Cow<'a, str>,
        #[serde(default)]
        changed: Option<bool>,
        #[serde(default)]
        code: Option<FailureCode>,
        #[serde(default, borrow)]
        message: Option<Cow<'a, str>>,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        #[serde(default, borrow)]
        why: Option<Cow<'a, str>>,
    }
    let shape: Shape = serde_json::from_str(json).map_err(|e| e.to_string())?;
    // Only their types matter here.
    let _ = (shape.changed, &shape.message, shape.retry_after_ms);
    match (shape.status.as_ref(), shape.code, shape.why) {
        ("done", ..) => Ok(Ended::Well),
        ("failed", Some(_), _) => Ok(Ended::Badly),
        ("failed", None, _) => Err("failed without a code".to_owned()),
        ("cancelled" | "expired", _, Some(_)) => Ok(Ended::Well),
        ("unknown", _, Some(_)) => Ok(Ended::Badly),
        ("cancelled" | "expired" | "unknown", _, None) => {
            Err(format!("{} without why", shape.status))
        }
        (status, ..) => Err(format!("unknown status {status:?}")),
    }
}

/// How a task ended, for the pool's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Well,
    Badly,
}

/// Whether `json` is an array of readings that logic can read.
///
/// # Errors
/// What is wrong with it.
pub fn check_readings(json: &str) -> Result<(), String> {
    // Only there to be read into.
    #[allow(dead_code)]
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        value: f64,
        #[serde(default, borrow)]
        unit: Option<Cow<'a, str>>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    }
    serde_json::from_str::<Vec<Shape>>(json)
        .map(|_| ())
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_add_up_and_facts_merge() {
        let mut readings = Collected::default();
        for json in ["[]", "[[1],2]", "[ ]", "[3,[4]]"] {
            readings.add_array(json);
        }
        assert_eq!(String::from_utf8(readings.0).unwrap(), "[[1],2,3,[4]]");
        let mut facts = Collected::default();
        for json in [r#"{"a":1}"#, r#"{"b":{"c":2},"a":3}"#] {
            facts.add_object(json);
        }
        assert_eq!(
            String::from_utf8(facts.0).unwrap(),
            r#"{"a":3,"b":{"c":2}}"#
        );
    }

    #[test]
    fn the_log_of_a_task_is_bounded_with_one_mark() {
        let mut logs = Logs::default();
        let long = "x".repeat(limits::LOG_LINE_BYTES_MAX + 1);
        assert_eq!(logs.add(Time(0), Level::Info, &long), Logged::Kept);
        assert!(String::from_utf8_lossy(&logs.pending).contains("(cut, 16385 bytes in all)"));
        // A line longer than the whole log may be is cut as well, and the log goes on after it.
        let long = "z".repeat(limits::TASK_LOG_BYTES_MAX + 1);
        assert_eq!(logs.add(Time(0), Level::Info, &long), Logged::Kept);
        let mut dropped = Vec::new();
        for _ in 0..limits::TASK_LOG_LINES_MAX + 2 {
            match logs.add(Time(0), Level::Info, "y") {
                Logged::Kept => {}
                Logged::Dropped { first } => dropped.push(first),
            }
        }
        assert_eq!(dropped, [true, false, false, false]);
        let all = format!("[{}]", String::from_utf8(logs.pending).unwrap());
        let all: Vec<LogLine> = serde_json::from_str(&all).unwrap();
        assert_eq!(all.len(), limits::TASK_LOG_LINES_MAX as usize + 1);
        assert!(all.last().unwrap().message.contains("dropped"));
    }

    #[test]
    fn outcomes_are_checked_as_the_model_reads_them() {
        let good = [
            r#"{"status":"done"}"#,
            r#"{"status":"done","changed":true,"result":{"a":[1]}}"#,
            r#"{"status":"failed","code":"busy","retry_after_ms":5}"#,
            r#"{"status":"unknown","why":"w"}"#,
            r#"{"status":"cancelled","why":"w"}"#,
        ];
        let bad = [
            "1",
            "{}",
            r#"{"status":"fine"}"#,
            r#"{"status":"failed"}"#,
            r#"{"status":"failed","code":"tired"}"#,
            r#"{"status":"done","changed":"yes"}"#,
            r#"{"status":"unknown"}"#,
            r#"{"status":"failed","code":"busy","retry_after_ms":-1}"#,
        ];
        for json in good {
            assert!(check_outcome(json).is_ok(), "{json}");
            serde_json::from_str::<sengu_model::Outcome>(json).unwrap();
        }
        for json in bad {
            assert!(check_outcome(json).is_err(), "{json}");
            assert!(
                serde_json::from_str::<sengu_model::Outcome>(json).is_err(),
                "{json}"
            );
        }
        assert!(check_readings(r#"[{"name":"a","value":1,"labels":{"b":"c"}}]"#).is_ok());
        assert!(check_readings(r#"[{"name":"a"}]"#).is_err());
        assert!(check_readings(r#"{}"#).is_err());
    }
}
