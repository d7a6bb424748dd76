//! What is told, as topics and CloudEvents: pure, so that their form is a table of tests. It must never say more than
//! the API does, and never make a level or a wildcard out of a name.

use crate::changes::Shown;
use bytes::Bytes;
use sengu_interconnect::events::{Keep, Told, Topic};
use sengu_model::task::TaskView;
use sengu_model::wire::worker::Reading;
use sengu_model::{Outcome, Record, Time};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// First level of every topic: the form of topics and bodies.
const VERSION: &str = "v1";
/// A level longer than this is cut and ends with a digest of the whole: labels are as long as a device likes.
const LEVEL_BYTES_MAX: usize = 200;
/// In the place of a level that nobody knows any more.
const NOTHING: &str = "-";

/// The envelope of all events: CloudEvents 1.0 in its JSON form.
#[derive(Serialize)]
pub struct CloudEvent<'a, T> {
    specversion: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    id: String,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
    datacontenttype: &'static str,
    /// The broker takes no more: the large parts were left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    data: T,
}

fn event<'a, T>(kind: &'static str, id: String, subject: &'a str, data: T) -> CloudEvent<'a, T> {
    CloudEvent {
        specversion: "1.0",
        kind,
        source: "/sengu",
        id,
        subject,
        time: None,
        datacontenttype: "application/json",
        truncated: false,
        data,
    }
}

/// The end of a task: what `GET /v1/results` streams.
pub fn task_ended(position: u64, task: &TaskView) -> CloudEvent<'_, &TaskView> {
    let id = format!("{}-{position}", task.id);
    CloudEvent {
        time: task.ending.as_ref().map(|e| e.ended_at),
        ..event("sengu.task.ended.v1", id, &task.target, task)
    }
}

/// None when even what is left of it is more than `bytes_max`.
pub fn result(position: u64, mut task: TaskView, zone: &str, bytes_max: usize) -> Option<Told> {
    let levels = ["result", &task.kind, zone, &task.target].map(level);
    let topic = topic(&levels);
    let body = bytes(&task_ended(position, &task));
    if body.len() <= bytes_max {
        return told(topic, Keep::No, body, bytes_max);
    }
    task.params = Value::Null;
    if let Some(ending) = &mut task.ending {
        (ending.readings, ending.facts) = (None, None);
        if let Outcome::Done(done) = &mut ending.outcome {
            (done.before, done.after, done.result) = (None, None, None);
        }
    }
    let short = CloudEvent {
        truncated: true,
        ..task_ended(position, &task)
    };
    let body = bytes(&short);
    told(topic, Keep::No, body, bytes_max)
}

/// A change of a record. None when even what is left of it is more than `bytes_max`.
pub fn record(shown: Shown, bytes_max: usize) -> Option<Told> {
    let Shown {
        kind,
        name,
        revision,
        record,
    } = shown;
    let topic = topic(&["record", &kind.to_ascii_lowercase(), &name].map(level));
    let (id, subject) = (format!("revision-{revision}"), format!("{kind}/{name}"));
    let Some(mut record) = record else {
        let gone = json!({"kind": kind, "metadata": {"name": name}});
        let body = bytes(&event("sengu.record.delete.v1", id, &subject, gone));
        return told(topic, Keep::No, body, bytes_max);
    };
    without_readings(&mut record);
    const PUT: &str = "sengu.record.put.v1";
    let body = bytes(&event(PUT, id.clone(), &subject, &record));
    if body.len() <= bytes_max {
        return told(topic, Keep::No, body, bytes_max);
    }
    (record.spec, record.status) = (Value::Null, Value::Null);
    let short = CloudEvent {
        truncated: true,
        ..event(PUT, id, &subject, &record)
    };
    told(topic, Keep::No, bytes(&short), bytes_max)
}

/// They are told one by one.
fn without_readings(record: &mut Record) {
    if record.kind == "Target"
        && let Value::Object(status) = &mut record.status
    {
        status.remove("readings");
    }
}

/// Changes from `after` up to `oldest` are no longer kept, so nobody can be told them.
pub fn gap(after: u64, oldest: u64) -> Told {
    let data = json!({"of": "record", "after": after, "oldest": oldest});
    let id = format!("gap-{after}-{oldest}");
    Told {
        topic: topic(&["gap", "record"].map(str::to_owned)),
        keep: Keep::No,
        body: bytes(&event("sengu.gap.v1", id, "record", data)),
    }
}

/// Whose readings they are.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub uid: sengu_model::Uid,
    pub target: &'a str,
    pub kind: &'a str,
    pub zone: &'a str,
    pub at: Time,
}

/// The latest value of one reading.
pub fn reading(of: Of, reading: &Reading) -> Told {
    #[derive(Serialize)]
    struct Data<'a> {
        target: &'a str,
        kind: &'a str,
        zone: &'a str,
        #[serde(flatten)]
        reading: &'a Reading,
    }
    let last = reading_level(reading);
    let id = format!("{}-{}-{last}", of.uid.0, of.at.0);
    let data = Data {
        target: of.target,
        kind: of.kind,
        zone: of.zone,
        reading,
    };
    let event = CloudEvent {
        time: Some(of.at),
        ..event("sengu.reading.v1", id, of.target, data)
    };
    Told {
        topic: reading_topic(of.kind, of.zone, of.target, &last),
        keep: Keep::Latest,
        body: bytes(&event),
    }
}

/// There no longer is such a reading.
pub fn no_reading(kind: &str, zone: &str, target: &str, last: &str) -> Told {
    Told {
        topic: reading_topic(kind, zone, target, last),
        keep: Keep::Latest,
        body: Bytes::new(),
    }
}

fn reading_topic(kind: &str, zone: &str, target: &str, last: &str) -> Topic {
    topic(&["reading", kind, zone, target, last].map(level))
}

/// A reading's name with its labels as one level: `temperature_celsius{sensor=cpu1}`.
pub fn reading_level(reading: &Reading) -> String {
    let mut text = String::with_capacity(reading.name.len());
    escape(&reading.name, &mut text);
    for (n, (key, value)) in reading.labels.iter().enumerate() {
        text.push(if n == 0 { '{' } else { ',' });
        escape(key, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    if !reading.labels.is_empty() {
        text.push('}');
    }
    level(&text)
}

/// So that two readings never have one level.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if matches!(c, '{' | '}' | ',' | '=' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
}

/// A name as a level: never empty, never too long.
fn level(name: &str) -> String {
    match name.len() {
        0 => NOTHING.to_owned(),
        1..=LEVEL_BYTES_MAX => name.to_owned(),
        _ => {
            let mut cut = name[..name.floor_char_boundary(LEVEL_BYTES_MAX - 17)].to_owned();
            cut.push('~');
            for byte in &Sha256::digest(name.as_bytes())[..8] {
                let _ = write!(cut, "{byte:02x}");
            }
            cut
        }
    }
}

fn topic<const N: usize>(levels: &[String; N]) -> Topic {
    let levels: Vec<&str> = [VERSION]
        .into_iter()
        .chain(levels.iter().map(String::as_str))
        .collect();
    Topic::new(&levels)
}

fn told(topic: Topic, keep: Keep, body: Bytes, bytes_max: usize) -> Option<Told> {
    (body.len() <= bytes_max).then_some(Told { topic, keep, body })
}

fn bytes<T: Serialize>(event: &T) -> Bytes {
    serde_json::to_vec(event).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
