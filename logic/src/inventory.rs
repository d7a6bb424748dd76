//! All records in memory, compact: 100,000 targets must fit in 150 MB and a page must be had in milliseconds.
//!
//! It must never be the truth: the store is. Records get here only after they were committed.

use crate::catalog::Kind;
use crate::glance::counts::{Counts, Standing};
use crate::glance::marks::Marks;
use parking_lot::Mutex;
use sengu_model::kinds::{Condition, TargetSpec};
use sengu_model::record::API_VERSION;
use sengu_model::{Metadata, Record, Selector, Time, Uid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Short texts that repeat (label keys and values, vendors, models): kept once.
#[derive(Default)]
pub struct Texts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    texts: HashSet<Arc<str>>,
    /// At this many, those that nobody uses any more go.
    tidy_at: usize,
}

/// Texts kept before it is worth looking for those that nobody uses.
const TEXTS_MIN: usize = 16_384;

impl Texts {
    pub fn intern(&self, text: &str) -> Arc<str> {
        let mut kept = self.0.lock();
        if let Some(known) = kept.texts.get(text) {
            return known.clone();
        }
        if kept.texts.len() >= kept.tidy_at.max(TEXTS_MIN) {
            // Facts such as an uptime are new every time.
            kept.texts.retain(|text| Arc::strong_count(text) > 1);
            kept.tidy_at = kept.texts.len() * 2;
        }
        let new: Arc<str> = text.into();
        kept.texts.insert(new.clone());
        new
    }
}

type Pairs = Box<[(Arc<str>, Arc<str>)]>;

/// One Target record and what is known of the device.
pub struct Target {
    pub name: Arc<str>,
    pub uid: Uid,
    pub revision: u64,
    pub kind: Arc<str>,
    pub zone: Arc<str>,
    pub secret: Option<Arc<str>>,
    pub labels: Pairs,
    pub maintenance: Option<Box<str>>,
    pub limits: Option<Box<sengu_model::kinds::TargetLimits>>,
    pub created_at: Option<Time>,
    pub annotations: Option<Box<BTreeMap<String, String>>>,
    /// The spec as JSON. The rest of the record is in the fields above: nothing is kept twice.
    spec: Box<str>,
    /// `TargetFrame` as workers get it, made when first driven.
    frame: OnceLock<Box<RawValue>>,
    pub live: Mutex<Live>,
}

/// What was observed. Readings are the latest only.
#[derive(Default)]
pub struct Live {
    pub facts: Pairs,
    /// Facts as JSON, as observed.
    pub facts_json: Option<Box<str>>,
    /// JSON array of readings.
    pub readings: Option<Box<RawValue>>,
    pub observed_at: Option<Time>,
    pub reachable: Reachable,
    /// Failed observations in a row.
    pub failures: u32,
    pub next_observe: Time,
    pub quarantine: Option<Box<Quarantine>>,
    /// Its last attempt did not end well.
    pub failing: bool,
    /// A change of it is in hand.
    pub busy: bool,
    /// As what it is counted; None while it is in no inventory.
    counted: Option<Standing>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum Reachable {
    #[default]
    Unknown,
    Yes(Time),
    No {
        since: Time,
        reason: &'static str,
        message: Box<str>,
    },
}

/// Why a target is left alone until a person has looked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantine {
    pub reason: String,
    pub message: String,
    pub since: Time,
}

/// What is kept of `Live` over restarts, as the body of a `TargetStatus` record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<(bool, Time, String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

/// Codes that say why a target does not answer, as stable words.
pub fn reason_word(code: &str) -> &'static str {
    match code {
        "unreachable" => "Unreachable",
        "timeout" => "Timeout",
        "auth_failed" => "AuthFailed",
        "identity_mismatch" => "IdentityMismatch",
        "busy" => "Busy",
        "bad_reply" => "BadReply",
        _ => "Failed",
    }
}

fn yes_no(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

impl Target {
    /// Takes a committed record apart.
    pub fn new(record: &Record, spec: &TargetSpec, texts: &Texts) -> Target {
        let labels = record.metadata.labels.iter();
        Target {
            name: record.metadata.name.as_str().into(),
            uid: record.metadata.uid.unwrap_or_default(),
            revision: record.metadata.revision.unwrap_or_default(),
            kind: texts.intern(&spec.kind),
            zone: texts.intern(&spec.zone),
            secret: spec.secret.as_deref().map(|s| texts.intern(s)),
            labels: labels
                .map(|(k, v)| (texts.intern(k), texts.intern(v)))
                .collect(),
            maintenance: spec.maintenance.as_deref().map(Into::into),
            limits: spec.limits.clone().map(Box::new),
            created_at: record.metadata.created_at,
            annotations: Some(&record.metadata.annotations)
                .filter(|a| !a.is_empty())
                .map(|a| Box::new(a.clone())),
            spec: record.spec.to_string().into(),
            frame: OnceLock::new(),
            live: Mutex::new(Live::default()),
        }
    }

    /// Empty when there is no such label.
    pub fn label(&self, key: &str) -> Arc<str> {
        let label = self.labels.iter().find(|(k, _)| **k == *key);
        label.map_or_else(|| "".into(), |(_, value)| value.clone())
    }

    /// Value of a selector key: label, field, then fact.
    pub fn value<'a>(&'a self, live: &'a Live, key: &str) -> Option<Cow<'a, str>> {
        if let Some((_, v)) = self.labels.iter().find(|(k, _)| **k == *key) {
            return Some(Cow::Borrowed(v));
        }
        match key {
            "name" => return Some(Cow::Borrowed(&self.name)),
            "kind" => return Some(Cow::Borrowed(&self.kind)),
            "zone" => return Some(Cow::Borrowed(&self.zone)),
            "reachable" => {
                let word = match live.reachable {
                    Reachable::Unknown => "unknown",
                    Reachable::Yes(_) => "true",
                    Reachable::No { .. } => "false",
                };
                return Some(Cow::Borrowed(word));
            }
            "quarantined" => return Some(Cow::Borrowed(yes_no(live.quarantine.is_some()))),
            "maintenance" => return Some(Cow::Borrowed(yes_no(self.maintenance.is_some()))),
            "failing" => return Some(Cow::Borrowed(yes_no(live.failing))),
            _ => {}
        }
        live.facts
            .iter()
            .find(|(k, _)| **k == *key)
            .map(|(_, v)| Cow::Borrowed(&**v))
    }

    pub fn matches(&self, selector: &Selector) -> bool {
        if selector.is_empty() {
            return true;
        }
        let live = self.live.lock();
        selector.matches(|key| self.value(&live, key))
    }

    /// The record with the server's fields and the status.
    pub fn record(&self) -> Record {
        Record {
            api_version: API_VERSION.to_owned(),
            kind: "Target".to_owned(),
            metadata: Metadata {
                name: self.name.to_string(),
                labels: self
                    .labels
                    .iter()
                    .map(|(k, v)| (k.to_string(), v.to_string()))
                    .collect(),
                annotations: self.annotations.as_deref().cloned().unwrap_or_default(),
                uid: Some(self.uid),
                revision: Some(self.revision),
                created_at: self.created_at,
            },
            spec: self.spec(),
            status: self.status(),
        }
    }

    fn spec(&self) -> Value {
        serde_json::from_str(&self.spec).expect("the spec was a Value when it was taken in")
    }

    pub fn status(&self) -> Value {
        let live = self.live.lock();
        let mut conditions = Vec::new();
        let condition = |kind: &str, status: &str, reason: &str, message: &str, at| Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: at,
        };
        match &live.reachable {
            Reachable::Unknown => {}
            Reachable::Yes(at) => {
                conditions.push(condition("Reachable", "True", "Answers", "", *at));
            }
            Reachable::No {
                since,
                reason,
                message,
            } => {
                conditions.push(condition("Reachable", "False", reason, message, *since));
            }
        }
        if let Some(q) = &live.quarantine {
            conditions.push(condition(
                "Quarantined",
                "True",
                &q.reason,
                &q.message,
                q.since,
            ));
        }
        let mut status = serde_json::Map::new();
        let mut put = |key: &str, value: Value| {
            status.insert(key.to_owned(), value);
        };
        if !conditions.is_empty() {
            put(
                "conditions",
                serde_json::to_value(conditions).unwrap_or_default(),
            );
        }
        if let Some(facts) = &live.facts_json {
            put("facts", serde_json::from_str(facts).unwrap_or_default());
        }
        if let Some(readings) = &live.readings {
            put(
                "readings",
                serde_json::from_str(readings.get()).unwrap_or_default(),
            );
        }
        if let Some(at) = live.observed_at {
            put("observedAt", Value::String(at.to_string()));
        }
        if live.failures > 0 {
            let mut observe = serde_json::Map::new();
            observe.insert("failures".to_owned(), live.failures.into());
            observe.insert("nextAt".to_owned(), live.next_observe.to_string().into());
            put("observe", Value::Object(observe));
        }
        if status.is_empty() {
            Value::Null
        } else {
            Value::Object(status)
        }
    }

    /// The `TargetFrame` that workers get.
    pub fn frame(&self) -> &RawValue {
        self.frame.get_or_init(|| {
            let mut spec = self.spec();
            let mut take = |key: &str| spec.get_mut(key).map(Value::take).unwrap_or_default();
            let frame = serde_json::json!({
                "name": &*self.name,
                "address": take("address"),
                "config": match take("config") { Value::Null => serde_json::json!({}), c => c },
                "identity": match take("identity") { Value::Null => serde_json::json!({}), i => i },
            });
            serde_json::value::to_raw_value(&frame).expect("a Value is JSON")
        })
    }

    pub fn lane_limits(&self, kind: &Kind) -> sengu_model::manifest::LaneLimits {
        kind.lane_limits(self.limits.as_deref())
    }

    /// What must outlive a restart.
    pub fn kept(&self) -> KeptStatus {
        let live = self.live.lock();
        KeptStatus {
            facts: live
                .facts_json
                .as_deref()
                .and_then(|f| serde_json::from_str(f).ok()),
            reachable: match &live.reachable {
                Reachable::Unknown => None,
                Reachable::Yes(at) => Some((true, *at, String::new(), String::new())),
                Reachable::No {
                    since,
                    reason,
                    message,
                } => Some((false, *since, (*reason).to_owned(), message.to_string())),
            },
            quarantine: live.quarantine.as_deref().cloned(),
        }
    }

    pub fn restore(&self, kept: &KeptStatus, texts: &Texts) {
        let mut live = self.live.lock();
        if let Some(Value::Object(facts)) = &kept.facts {
            live.set_facts(facts, texts);
        }
        live.reachable = match &kept.reachable {
            None => Reachable::Unknown,
            Some((true, at, ..)) => Reachable::Yes(*at),
            Some((false, at, reason, message)) => Reachable::No {
                since: *at,
                reason: [
                    "Unreachable",
                    "Timeout",
                    "AuthFailed",
                    "IdentityMismatch",
                    "Busy",
                    "BadReply",
                ]
                .into_iter()
                .find(|r| r == reason)
                .unwrap_or("Failed"),
                message: message.as_str().into(),
            },
        };
        live.quarantine = kept.quarantine.clone().map(Box::new);
    }
}

impl Live {
    /// Takes new facts over the old ones; true when something changed.
    ///
    /// Those that are not in `facts` stay: a quick look at the power state must not make the model unknown.
    pub fn set_facts(&mut self, facts: &serde_json::Map<String, Value>, texts: &Texts) -> bool {
        let old = self
            .facts_json
            .as_deref()
            .and_then(|old| serde_json::from_str(old).ok());
        let mut all: serde_json::Map<String, Value> = old.unwrap_or_default();
        for (key, value) in facts {
            let room = all.len() < sengu_model::limits::FACTS_PER_TARGET_MAX;
            if room || all.contains_key(key) {
                all.insert(key.clone(), value.clone());
            }
        }
        let facts = &all;
        let json = serde_json::to_string(facts).unwrap_or_default();
        if self.facts_json.as_deref() == Some(&json) {
            return false;
        }
        self.facts = facts
            .iter()
            .filter_map(|(k, v)| {
                let text = match v {
                    Value::String(s) => Cow::Borrowed(s.as_str()),
                    Value::Number(_) | Value::Bool(_) => Cow::Owned(v.to_string()),
                    _ => return None,
                };
                Some((texts.intern(k), texts.intern(&text)))
            })
            .collect();
        self.facts_json = Some(json.into());
        true
    }
}

/// A record of any other kind.
pub struct Other {
    pub uid: Uid,
    pub revision: u64,
    pub record: Record,
}

#[derive(Default)]
pub struct Inventory {
    pub targets: BTreeMap<Arc<str>, Arc<Target>>,
    pub by_uid: HashMap<Uid, Arc<Target>>,
    pub others: BTreeMap<(Arc<str>, Arc<str>), Arc<Other>>,
    pub texts: Arc<Texts>,
    /// How many targets stand how.
    pub counts: Counts,
    /// Who wants to know which of them changed.
    pub marks: Marks,
}

impl Inventory {
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.get(name)
    }

    pub fn other(&self, kind: &str, name: &str) -> Option<&Arc<Other>> {
        self.others.get(&(kind.into(), name.into()))
    }

    pub fn others_of<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Other>)> {
        let start: (Arc<str>, Arc<str>) = (kind.into(), "".into());
        self.others
            .range(start..)
            .take_while(move |((k, _), _)| **k == *kind)
            .map(|((_, name), other)| (&**name, other))
    }

    /// Puts a committed target in place of what was there; what was observed of the same life stays.
    pub fn put_target(&mut self, target: Target) -> Arc<Target> {
        if let Some(old) = self.targets.get(&target.name) {
            if old.uid == target.uid {
                let mut old_live = old.live.lock();
                self.counts.moved(old, old_live.counted.take(), None);
                let mut kept = std::mem::take(&mut *old_live);
                // A changed record is a new chance: the credentials or the identity may be right now.
                kept.quarantine = None;
                kept.next_observe = Time(0);
                *target.live.lock() = kept;
            } else {
                self.by_uid.remove(&old.uid);
                self.forget(old);
            }
        }
        let target = Arc::new(target);
        {
            let mut live = target.live.lock();
            let standing = Some(Standing::of(&target, &live));
            live.counted = standing;
            self.counts.moved(&target, None, standing);
        }
        self.marks.mark(target.uid);
        self.by_uid.insert(target.uid, target.clone());
        self.targets.insert(target.name.clone(), target.clone());
        target
    }

    pub fn remove_target(&mut self, name: &str) -> Option<Arc<Target>> {
        let target = self.targets.remove(name)?;
        self.by_uid.remove(&target.uid);
        self.forget(&target);
        Some(target)
    }

    /// It is no longer in the inventory.
    fn forget(&self, target: &Target) {
        let counted = target.live.lock().counted.take();
        self.counts.moved(target, counted, None);
        self.marks.mark(target.uid);
    }

    /// Something of `live` was changed: whoever counts or looks is told.
    pub fn changed(&self, target: &Target, live: &mut Live) {
        // One that was replaced meanwhile is not counted any more.
        let Some(before) = live.counted else { return };
        let now = Standing::of(target, live);
        if before != now {
            live.counted = Some(now);
            self.counts.moved(target, Some(before), Some(now));
        }
        self.marks.mark(target.uid);
    }

    /// Targets that a selector matches, in name order.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a Arc<Target>> {
        self.targets.values().filter(|t| t.matches(selector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_nobody_uses_any_more_go() {
        let texts = Texts::default();
        let used = texts.intern("site");
        for n in 0..TEXTS_MIN * 3 {
            texts.intern(&n.to_string());
        }
        assert!(texts.0.lock().texts.len() <= TEXTS_MIN * 2);
        assert!(Arc::ptr_eq(&used, &texts.intern("site")));
    }
}
