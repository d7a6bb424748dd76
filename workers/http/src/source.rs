//! What is read from a target: paths, and what in their answers becomes a reading or a fact.
//!
//! Declarations are checked when the record is read, so that a slip is told by its place and not as missing values.

use crate::address::valid_path;
use crate::limits;
use crate::outcome::Reading;
use crate::pointer::Pointer;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One path and what it gives.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: String,
    pub format: Format,
    pub any_content_type: bool,
    pub headers: Vec<(String, String)>,
    /// On every reading of this source.
    pub labels: BTreeMap<String, String>,
    /// JSON: where the next page is named.
    pub next: Option<Pointer>,
    pub rules: Vec<Rule>,
    pub facts: Vec<(String, Pointer)>,
    /// Prometheus: names or globs that are kept; empty = all.
    pub only: Vec<String>,
    pub metric_facts: Vec<(String, MetricLabel)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Json,
    Prometheus,
}

/// One declared reading.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub pointer: Pointer,
    pub unit: String,
    pub scale: f64,
    pub offset: f64,
    /// Words of the device to values.
    pub values: BTreeMap<String, f64>,
    pub labels: Vec<(String, Label)>,
    /// Finding nothing is no problem.
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// What the n-th wildcard stood for, from 0.
    Wildcard(usize),
    /// What is found where the wildcards stand for the same.
    At(Pointer),
    Fixed(String),
}

/// A fact that is a label of a metric.
#[derive(Debug, Clone)]
pub struct MetricLabel {
    pub metric: String,
    pub label: String,
}

/// What one answer gave.
#[derive(Debug, Default)]
pub struct Found {
    pub readings: Vec<Reading>,
    pub facts: BTreeMap<String, Value>,
    /// What was declared and not found, or is not what it should be.
    pub problems: Vec<String>,
    /// There was more than the limit.
    pub cut: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSource {
    path: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    any_content_type: bool,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    readings: Vec<RawRule>,
    #[serde(default)]
    facts: BTreeMap<String, String>,
    #[serde(default)]
    only: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    name: String,
    pointer: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    offset: f64,
    #[serde(default)]
    values: BTreeMap<String, f64>,
    #[serde(default)]
    labels: BTreeMap<String, RawLabel>,
    #[serde(default)]
    optional: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Gauge,
    Counter,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawLabel {
    Wildcard(usize),
    Pointer(String),
    Fixed { text: String },
}

fn one() -> f64 {
    1.0
}

impl Source {
    /// Reads `sources[index]` of a target's config.
    ///
    /// # Errors
    /// With the place and what to write.
    pub fn parse(index: usize, value: &Value) -> Result<Source, String> {
        let raw = RawSource::deserialize(value).map_err(|e| format!("sources[{index}]: {e}"))?;
        let at = format!("sources[{index}] ({})", raw.path);
        Source::check(raw).map_err(|e| format!("{at}: {e}"))
    }

    fn check(raw: RawSource) -> Result<Source, String> {
        if !valid_path(&raw.path) {
            return Err("path: it begins with / and is percent-encoded".to_owned());
        }
        let json = raw.format == Format::Json;
        if json && !raw.only.is_empty() {
            return Err("only: with format prometheus".to_owned());
        }
        if !json && (!raw.readings.is_empty() || raw.next.is_some()) {
            return Err("readings and next: with format json; prometheus has only".to_owned());
        }
        if json && raw.readings.is_empty() && raw.facts.is_empty() {
            return Err("readings or facts are wanted".to_owned());
        }
        if raw.readings.len().max(raw.facts.len()).max(raw.only.len()) > limits::RULES_MAX {
            return Err(format!("at most {} entries", limits::RULES_MAX));
        }
        raw.labels.keys().try_for_each(|name| label_name(name))?;
        let mut source = Source {
            path: raw.path,
            format: raw.format,
            any_content_type: raw.any_content_type,
            headers: headers(raw.headers)?,
            labels: raw.labels,
            next: raw.next.as_deref().map(plain_pointer).transpose()?,
            rules: raw
                .readings
                .into_iter()
                .map(Rule::check)
                .collect::<Result<_, _>>()?,
            facts: Vec::new(),
            only: raw.only,
            metric_facts: Vec::new(),
        };
        for (name, of) in raw.facts {
            label_name(&name)?;
            if json {
                source.facts.push((name, plain_pointer(&of)?));
                continue;
            }
            let (metric, label) = of.split_once('/').ok_or_else(|| {
                format!("facts.{name}: write metric/label, such as plant_info/version")
            })?;
            let (metric, label) = (metric.to_owned(), label.to_owned());
            source
                .metric_facts
                .push((name, MetricLabel { metric, label }));
        }
        Ok(source)
    }
}

impl Rule {
    fn check(raw: RawRule) -> Result<Rule, String> {
        let at = |what: &str| format!("reading {:?}: {what}", raw.name);
        metric_name(&raw.name)?;
        if raw.name == "http_source_up" || raw.name == "http_response_seconds" {
            return Err(at("this name is the worker's own"));
        }
        // A reading carries no kind on the wire; its name says it.
        if (raw.kind == Kind::Counter) != raw.name.ends_with("_total") {
            return Err(at("names of counters, and only those, end in _total"));
        }
        if !raw.scale.is_finite()
            || !raw.offset.is_finite()
            || raw.values.values().any(|v| !v.is_finite())
        {
            return Err(at("scale, offset and values are finite numbers"));
        }
        let pointer = Pointer::parse(&raw.pointer).map_err(|e| at(&e))?;
        let wildcards = pointer.wildcards();
        let mut labels = Vec::new();
        for (name, label) in raw.labels {
            label_name(&name)?;
            let label = match label {
                RawLabel::Wildcard(n) if (1..=wildcards).contains(&n) => Label::Wildcard(n - 1),
                RawLabel::Wildcard(n) => {
                    return Err(format!(
                        "reading {:?}: label {name}: the pointer has no wildcard number {n}",
                        raw.name
                    ));
                }
                RawLabel::Pointer(text) => {
                    let other = Pointer::parse(&text)?;
                    if other.wildcards() > wildcards {
                        return Err(format!(
                            "reading {:?}: label {name}: more wildcards than the reading's pointer",
                            raw.name
                        ));
                    }
                    Label::At(other)
                }
                RawLabel::Fixed { text } => Label::Fixed(text),
            };
            labels.push((name, label));
        }
        // Without labels of its own, what matched has to be told apart somehow.
        let told_apart = labels.iter().any(|(_, l)| !matches!(l, Label::Fixed(_)));
        if !told_apart {
            labels.extend((0..wildcards).map(|n| {
                let name = match wildcards {
                    1 => "index".to_owned(),
                    _ => format!("index{}", n + 1),
                };
                (name, Label::Wildcard(n))
            }));
        }
        Ok(Rule {
            pointer,
            labels,
            name: raw.name,
            unit: raw.unit,
            scale: raw.scale,
            offset: raw.offset,
            values: raw.values,
            optional: raw.optional,
        })
    }
}

fn plain_pointer(text: &str) -> Result<Pointer, String> {
    let pointer = Pointer::parse(text)?;
    match pointer.wildcards() {
        0 => Ok(pointer),
        _ => Err(format!("pointer {text:?}: no wildcard here")),
    }
}

fn metric_name(name: &str) -> Result<(), String> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    match first && name.chars().all(ok) && name.len() <= 128 {
        true => Ok(()),
        false => Err(format!("reading {name:?}: small letters, digits and _")),
    }
}

fn label_name(name: &str) -> Result<(), String> {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match first && name.chars().all(ok) && name.len() <= 64 {
        true => Ok(()),
        false => Err(format!(
            "{name:?} is no name for a label or fact: letters, digits and _"
        )),
    }
}

/// Headers that a record may set: none of those that say who asks or where the message ends.
///
/// # Errors
/// For a name or value that cannot be a header, or must not be set.
pub fn headers(raw: BTreeMap<String, String>) -> Result<Vec<(String, String)>, String> {
    if raw.len() > limits::HEADERS_MAX {
        return Err(format!("headers: at most {}", limits::HEADERS_MAX));
    }
    for (name, value) in &raw {
        header_name(name)?;
        if !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Err(format!("headers.{name}: visible ASCII only"));
        }
    }
    Ok(raw.into_iter().collect())
}

/// # Errors
/// For a name that is no token, or is the worker's own.
pub fn header_name(name: &str) -> Result<(), String> {
    const OWN: [&str; 10] = [
        "authorization",
        "proxy-authorization",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "host",
        "upgrade",
        "te",
        "expect",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("headers: {name:?} is no header name"));
    }
    match OWN.contains(&name.to_ascii_lowercase().as_str()) {
        true => Err(format!(
            "headers: {name} is set by the worker; credentials belong to auth"
        )),
        false => Ok(()),
    }
}

/// At most `limits::TEXT_BYTES_MAX` bytes.
pub fn clip(text: &str) -> String {
    let mut end = text.len().min(limits::TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slips_are_told_by_their_place() {
        let reading = |more: Value| {
            let mut rule = json!({"name": "power_watts", "pointer": "/p/*/q"});
            rule.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({"path": "/x", "readings": [rule]})
        };
        let table = [
            (
                json!({"path": "x", "facts": {"a": "/a"}}),
                "path: it begins with /",
            ),
            (
                json!({"path": "/x y", "facts": {"a": "/a"}}),
                "percent-encoded",
            ),
            (json!({"path": "/x"}), "readings or facts"),
            (json!({"path": "/x", "factz": {}}), "unknown field `factz`"),
            (
                json!({"path": "/x", "only": ["a"], "facts": {"a": "/a"}}),
                "only: with format prometheus",
            ),
            (
                json!({"path": "/x", "format": "prometheus", "next": "/n"}),
                "prometheus has only",
            ),
            (
                json!({"path": "/x", "format": "prometheus", "facts": {"a": "/a"}}),
                "",
            ),
            (
                json!({"path": "/x", "format": "prometheus", "facts": {"a": "a"}}),
                "write metric/label",
            ),
            (json!({"path": "/x", "facts": {"a": "a"}}), "begins with /"),
            (
                json!({"path": "/x", "facts": {"a": "/*/b"}}),
                "no wildcard here",
            ),
            (json!({"path": "/x", "facts": {"a b": "/b"}}), "no name"),
            (
                json!({"path": "/x", "facts": {"a": "/b"}, "headers": {"Authorization": "x"}}),
                "belong to auth",
            ),
            (
                json!({"path": "/x", "facts": {"a": "/b"}, "headers": {"X-A": "a\nb"}}),
                "visible ASCII",
            ),
            (reading(json!({"name": "Power"})), "small letters"),
            (
                reading(json!({"name": "http_source_up"})),
                "the worker's own",
            ),
            (reading(json!({"kind": "counter"})), "end in _total"),
            (reading(json!({"name": "a_total"})), "end in _total"),
            (reading(json!({"name": "a_total", "kind": "counter"})), ""),
            (reading(json!({"labels": {"a": 2}})), "no wildcard number 2"),
            (reading(json!({"labels": {"a": 0}})), "no wildcard number 0"),
            (
                reading(json!({"labels": {"a": 1, "b": "/p/*/n", "c": {"text": "x"}}})),
                "",
            ),
            (
                reading(json!({"labels": {"b": "/p/*/*"}})),
                "more wildcards",
            ),
        ];
        for (given, want) in table {
            match Source::parse(3, &given) {
                Ok(_) => assert_eq!(want, "", "{given}"),
                Err(e) => {
                    assert!(!want.is_empty() && e.contains(want), "{given}: {e}");
                    assert!(e.starts_with("sources[3]"), "{e}");
                }
            }
        }
    }
}
