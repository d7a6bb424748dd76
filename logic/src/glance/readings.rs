//! What readings were, kept in memory within one budget for the whole fleet.
//!
//! Each target keeps as many observations as its part of the budget bears. When they are full, every second one goes
//! and they are taken half as often from then on, until they span an hour: so there is something to see after a minute,
//! and an hour after an hour. Observations that are not taken are not even parsed.

use parking_lot::Mutex;
use sengu_model::{Time, Uid, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// Earlier values of a target's readings. Nothing of it outlives this life of sengu.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadingHistory {
    /// Values kept of each reading, at most: fewer, the larger the fleet is.
    pub points_max: u32,
    pub readings: Vec<ReadingSeries>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadingSeries {
    /// With its labels, such as `temperature_celsius{sensor="CPU1"}`.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Oldest first.
    pub at: Vec<Time>,
    pub value: Vec<f64>,
}

/// A reading as workers give it; its texts are borrowed.
#[derive(Deserialize)]
pub struct Reading<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub value: f64,
    #[serde(default, borrow)]
    pub unit: Cow<'a, str>,
    #[serde(default, borrow)]
    pub labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl Reading<'_> {
    /// Name and labels.
    pub fn series(&self) -> String {
        let mut text = self.name.to_string();
        for (n, (key, value)) in self.labels.iter().enumerate() {
            let open = if n == 0 { '{' } else { ',' };
            let _ = write!(text, "{open}{key}={value:?}");
        }
        if !self.labels.is_empty() {
            text.push('}');
        }
        text
    }
}

/// First time between two observations that are kept.
const EVERY_FIRST_MS: u64 = 2_000;
/// What is kept spans this, once there was time.
const SPAN_MS: u64 = 3_600_000;
/// Readings kept of one target; more are left out.
const SERIES_MAX: usize = 256;
/// Fewer would show nothing.
const POINTS_MIN: usize = 2;
/// Of what is kept once per target and per reading, in bytes: names, units and tables.
const TARGET_BYTES: usize = 128;
const SERIES_BYTES: usize = 48;

#[derive(Default)]
pub struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    targets: HashMap<Uid, Observations>,
    /// Names with their units: most targets have the same ones.
    names: HashMap<(Box<str>, Box<str>), Name>,
    texts: Vec<(Box<str>, Box<str>)>,
    /// Bytes of all targets' observations, as reckoned by `Observations::bytes`.
    bytes: usize,
}

type Name = u32;

#[derive(Default)]
struct Observations {
    at: Vec<Time>,
    /// Per reading, one value for each of `at`; NaN where there was none.
    series: Vec<(Name, Vec<f32>)>,
    every_ms: u64,
}

/// Names over all targets; beyond these, new ones are not kept.
const NAMES_MAX: usize = 16_384;

impl Kept {
    /// Takes what was observed of a target, if its turn has come.
    pub fn observed(&self, target: Uid, readings: &RawValue, fleet: usize, now: Time) {
        let mut inner = self.0.lock();
        if let Some(known) = inner.targets.get(&target)
            && let Some(last) = known.at.last()
            && *last <= now
            && now.ms_since(*last) < known.every_ms
        {
            return;
        }
        let Ok(all) = serde_json::from_str::<Vec<Reading>>(readings.get()) else {
            return;
        };
        if all.is_empty() {
            return;
        }
        let inner = &mut *inner;
        let mut seen: Vec<(Name, f32)> = Vec::with_capacity(all.len().min(SERIES_MAX));
        for reading in all.iter().take(SERIES_MAX) {
            let Some(name) = inner.name(reading) else {
                continue;
            };
            seen.push((name, reading.value as f32));
        }
        let before = inner.targets.get(&target).map_or(0, Observations::bytes);
        let known = inner.targets.entry(target).or_default();
        known.add(&seen, now);
        let share = limits::READING_HISTORY_BYTES_MAX / fleet.max(1);
        known.fit(share);
        inner.bytes = inner.bytes + known.bytes() - before;
        // A fleet that has grown: those that were kept for fewer targets give back what is too much. Targets that are no
        // more are the first to go.
        if inner.bytes > limits::READING_HISTORY_BYTES_MAX {
            inner.shrink(share);
        }
    }

    /// What is known of one target.
    pub fn of(&self, target: Uid) -> ReadingHistory {
        let inner = self.0.lock();
        let Some(known) = inner.targets.get(&target) else {
            return ReadingHistory {
                points_max: limits::READING_POINTS_MAX as u32,
                readings: Vec::new(),
            };
        };
        let series = known.series.iter().map(|(name, values)| {
            let (text, unit) = &inner.texts[*name as usize];
            let points = known.at.iter().zip(values).filter(|(_, v)| !v.is_nan());
            let (at, value) = points.map(|(at, v)| (*at, wide(*v))).unzip();
            ReadingSeries {
                name: text.to_string(),
                unit: Some(unit.to_string()).filter(|unit| !unit.is_empty()),
                at,
                value,
            }
        });
        let mut readings: Vec<ReadingSeries> = series.filter(|s| !s.at.is_empty()).collect();
        readings.sort_by(|a, b| a.name.cmp(&b.name));
        ReadingHistory {
            points_max: known.points_max(usize::MAX).min(limits::READING_POINTS_MAX) as u32,
            readings,
        }
    }

    /// Forgets targets that are no more.
    pub fn keep_only(&self, there: impl Fn(Uid) -> bool) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        inner.targets.retain(|uid, known| {
            let there = there(*uid);
            if !there {
                inner.bytes -= known.bytes();
            }
            there
        });
    }
}

/// The shortest number that is the same in single precision: 21.3, not 21.299999237.
fn wide(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

impl Inner {
    fn name(&mut self, reading: &Reading) -> Option<Name> {
        let key = (reading.series().into_boxed_str(), Box::from(&*reading.unit));
        if let Some(name) = self.names.get(&key) {
            return Some(*name);
        }
        if self.texts.len() >= NAMES_MAX {
            return None;
        }
        let name = self.texts.len() as Name;
        self.texts.push(key.clone());
        self.names.insert(key, name);
        Some(name)
    }

    fn shrink(&mut self, share: usize) {
        let mut bytes = 0;
        for known in self.targets.values_mut() {
            known.fit(share);
            bytes += known.bytes();
        }
        self.bytes = bytes;
    }
}

impl Observations {
    fn bytes(&self) -> usize {
        let point = 8 + 4 * self.series.len();
        TARGET_BYTES + SERIES_BYTES * self.series.len() + point * self.at.len()
    }

    /// Observations that so many bytes bear.
    fn points_max(&self, share: usize) -> usize {
        let point = 8 + 4 * self.series.len();
        let fixed = TARGET_BYTES + SERIES_BYTES * self.series.len();
        let points = share.saturating_sub(fixed) / point;
        points.clamp(POINTS_MIN, limits::READING_POINTS_MAX)
    }

    fn add(&mut self, seen: &[(Name, f32)], now: Time) {
        self.every_ms = self.every_ms.max(EVERY_FIRST_MS);
        let points = self.at.len();
        for (name, values) in &mut self.series {
            let value = seen.iter().find(|(n, _)| n == name);
            values.push(value.map_or(f32::NAN, |(_, v)| *v));
        }
        for (name, value) in seen {
            let known = self.series.iter().any(|(n, _)| n == name);
            if !known && self.series.len() < SERIES_MAX {
                let mut values = vec![f32::NAN; points];
                values.push(*value);
                self.series.push((*name, values));
            }
        }
        self.at.push(now);
    }

    /// Every second one goes until the rest fits; once an hour is spanned, the oldest.
    fn fit(&mut self, share: usize) {
        let most = self.points_max(share);
        let slowest = (SPAN_MS / most as u64).max(EVERY_FIRST_MS);
        while self.at.len() > most {
            if self.every_ms >= slowest {
                let too_many = self.at.len() - most;
                self.at.drain(..too_many);
                for (_, values) in &mut self.series {
                    values.drain(..too_many);
                }
            } else {
                self.every_ms = (self.every_ms * 2).min(slowest);
                thin(&mut self.at);
                for (_, values) in &mut self.series {
                    thin(values);
                }
            }
        }
        // A reading that is in none of what is left.
        self.series
            .retain(|(_, values)| !values.iter().all(|v| v.is_nan()));
    }
}

/// Every second one, the newest among them.
fn thin<T>(values: &mut Vec<T>) {
    let odd = values.len() % 2;
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        at % 2 == odd
    });
    values.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn readings(count: usize, value: f64) -> Box<RawValue> {
        let all: Vec<String> = (0..count)
            .map(|n| {
                format!(
                    r#"{{"name":"temperature_celsius","value":{value},"unit":"Cel","labels":{{"sensor":"s{n}"}}}}"#
                )
            })
            .collect();
        raw(&format!("[{}]", all.join(",")))
    }

    #[test]
    fn values_come_back_oldest_first_and_as_they_were() {
        let kept = Kept::default();
        for n in 0..10_i64 {
            let value = 20.1 + n as f64 / 10.0;
            kept.observed(Uid(1), &readings(2, value), 1, Time(n * 5_000));
        }
        let history = kept.of(Uid(1));
        assert_eq!(history.readings.len(), 2);
        let first = &history.readings[0];
        assert_eq!(first.name, r#"temperature_celsius{sensor="s0"}"#);
        assert_eq!(first.unit.as_deref(), Some("Cel"));
        assert_eq!(first.value[..3], [20.1, 20.2, 20.3]);
        assert_eq!(first.at[1], Time(5_000));
        assert!(kept.of(Uid(2)).readings.is_empty());
    }

    #[test]
    fn an_hour_is_spanned_after_an_hour_and_no_more_is_kept() {
        let kept = Kept::default();
        for n in 0..4_000_i64 {
            kept.observed(Uid(1), &readings(3, n as f64), 1, Time(n * 2_000));
        }
        let history = kept.of(Uid(1));
        let series = &history.readings[0];
        assert!(series.at.len() <= limits::READING_POINTS_MAX);
        assert!(series.at.len() > limits::READING_POINTS_MAX / 2);
        let span = series.at.last().unwrap().ms_since(series.at[0]);
        assert!((SPAN_MS / 2..=SPAN_MS * 11 / 10).contains(&span), "{span}");
        let spaced = series.at.windows(2).all(|w| w[1] > w[0]);
        assert!(spaced, "in order");
    }

    #[test]
    fn a_large_fleet_stays_within_the_budget() {
        let (kept, fleet) = (Kept::default(), 20_000);
        let all = readings(10, 1.0);
        for round in 0..30_i64 {
            for target in 0..fleet as u64 {
                // As if the fleet grew while it was observed.
                let there = if round < 3 { fleet / 10 } else { fleet };
                kept.observed(Uid(target), &all, there, Time(round * 400_000));
            }
        }
        let inner = kept.0.lock();
        let reckoned: usize = inner.targets.values().map(Observations::bytes).sum();
        assert_eq!(reckoned, inner.bytes);
        assert!(inner.bytes <= limits::READING_HISTORY_BYTES_MAX);
        assert!(inner.targets[&Uid(7)].at.len() >= POINTS_MIN);
    }

    #[test]
    fn what_is_no_reading_is_left_alone() {
        let kept = Kept::default();
        for text in ["{}", "[]", "[1]", r#"[{"name":"x"}]"#, "null"] {
            kept.observed(Uid(1), &raw(text), 1, Time(1));
        }
        assert!(kept.of(Uid(1)).readings.is_empty());
        kept.observed(Uid(1), &readings(1, 1.0), 1, Time(1));
        kept.keep_only(|_| false);
        assert!(kept.of(Uid(1)).readings.is_empty());
    }
}
