//! What a new version reads otherwise than the version in use. Pure: two ends of one read go in, differences come out.

use sengu_model::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;

/// Numbers move between two reads: this part of the greater one is no difference.
const BORNE: f64 = 0.2;
/// Nor is this much, in the unit of the reading.
const BORNE_ABSOLUTE: f64 = 1.0;
/// Differences of one comparison; a version that reads something else altogether needs no thousand to be seen.
const DIFFERENCES_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 120;

/// How one read ended.
pub struct Seen<'a> {
    pub outcome: &'a Outcome,
    /// JSON array of readings, as reported.
    pub readings: Option<&'a str>,
    /// JSON object of facts.
    pub facts: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Different {
    pub field: String,
    pub stable: String,
    pub candidate: String,
}

/// Field by field, in the order of the fields' names.
pub fn compare(stable: &Seen, candidate: &Seen) -> Vec<Different> {
    let mut found = Vec::new();
    match (stable.outcome, candidate.outcome) {
        (Outcome::Done(a), Outcome::Done(b)) => {
            let (a, b) = (
                fields("result", a.result.as_ref()),
                fields("result", b.result.as_ref()),
            );
            differ(&a, &b, &mut found);
        }
        (a, b) if a.status() == b.status() && a.code() == b.code() => {}
        (a, b) => found.push(Different {
            field: "outcome".to_owned(),
            stable: word(a),
            candidate: word(b),
        }),
    }
    let facts = |seen: &Seen| {
        let value: Option<Value> = seen.facts.and_then(|f| serde_json::from_str(f).ok());
        fields("fact", value.as_ref())
    };
    differ(&facts(stable), &facts(candidate), &mut found);
    differ(&readings(stable), &readings(candidate), &mut found);
    found.truncate(DIFFERENCES_MAX);
    found
}

fn word(outcome: &Outcome) -> String {
    let text = match outcome {
        Outcome::Failed(f) => format!("failed ({}): {}", f.code, f.message),
        other => other.status().as_str().to_owned(),
    };
    clip(&text)
}

fn clip(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Leaves of a JSON value by their path.
fn fields(name: &str, value: Option<&Value>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    if let Some(value) = value {
        leaves(name, value, &mut found);
    }
    found
}

fn leaves(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                leaves(&format!("{path}.{}", clip(key)), value, found);
            }
        }
        Value::Null => {}
        value => {
            found.insert(path.to_owned(), value.clone());
        }
    }
}

/// Readings by name and labels: their value, and what they are measured in.
fn readings(seen: &Seen) -> BTreeMap<String, Value> {
    let all: Vec<Value> = seen
        .readings
        .and_then(|r| serde_json::from_str(r).ok())
        .unwrap_or_default();
    let mut found = BTreeMap::new();
    for reading in &all {
        let Some(name) = reading.get("name").and_then(Value::as_str) else {
            continue;
        };
        let labels: Vec<String> = reading
            .get("labels")
            .and_then(Value::as_object)
            .map(|labels| {
                let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                labels
                    .iter()
                    .map(|(k, v)| format!("{k}={:?}", text(v)))
                    .collect()
            })
            .unwrap_or_default();
        let key = match labels.is_empty() {
            true => format!("reading {}", clip(name)),
            false => format!("reading {}{{{}}}", clip(name), clip(&labels.join(","))),
        };
        if let Some(unit) = reading.get("unit").filter(|u| !u.is_null()) {
            found.insert(format!("{key} unit"), unit.clone());
        }
        let value = reading.get("value").cloned().unwrap_or_default();
        found.insert(key, value);
    }
    found
}

fn differ(
    stable: &BTreeMap<String, Value>,
    candidate: &BTreeMap<String, Value>,
    found: &mut Vec<Different>,
) {
    const NOT_THERE: &str = "(not there)";
    let text = |value: Option<&Value>| match value {
        None => NOT_THERE.to_owned(),
        Some(Value::String(text)) => clip(text),
        Some(value) => clip(&value.to_string()),
    };
    let mut names: Vec<&String> = stable.keys().chain(candidate.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (a, b) = (stable.get(name), candidate.get(name));
        if same(a, b) {
            continue;
        }
        found.push(Different {
            field: name.clone(),
            stable: text(a),
            candidate: text(b),
        });
    }
}

fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else {
                return a == b;
            };
            // On or off is no measure.
            let flag = |x: f64| x == 0.0 || x == 1.0;
            if flag(a) && flag(b) {
                return a == b;
            }
            (a - b).abs() <= (BORNE * a.abs().max(b.abs())).max(BORNE_ABSOLUTE)
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sengu_model::{Done, FailureCode};
    use serde_json::json;

    fn done(result: Value) -> Outcome {
        Outcome::Done(Done {
            result: Some(result),
            ..Done::default()
        })
    }

    fn said(stable: (&Outcome, &str, &str), candidate: (&Outcome, &str, &str)) -> String {
        let seen =
            |(outcome, readings, facts): (&'static Outcome, &'static str, &'static str)| Seen {
                outcome,
                readings: Some(readings),
                facts: Some(facts),
            };
        // Leaked, since a test's table is easier to read with literals.
        let keep = |(o, r, f): (&Outcome, &str, &str)| {
            let outcome: &'static Outcome = Box::leak(Box::new(o.clone()));
            let r: &'static str = Box::leak(r.to_owned().into_boxed_str());
            let f: &'static str = Box::leak(f.to_owned().into_boxed_str());
            seen((outcome, r, f))
        };
        let found = compare(&keep(stable), &keep(candidate));
        let lines: Vec<String> = found
            .iter()
            .map(|d| format!("{}: {} / {}", d.field, d.stable, d.candidate))
            .collect();
        lines.join("; ")
    }

    #[test]
    fn differences_are_named_by_field() {
        let none = done(Value::Null);
        let refused = Outcome::failed(FailureCode::BadReply, "no Chassis");
        let cpu = r#"[{"name":"temperature_celsius","labels":{"sensor":"CPU1"},"value":50,"unit":"Cel"}]"#;
        let warm = cpu.replace("50", "58");
        let hot = cpu.replace("50", "90");
        let kelvin = cpu.replace("Cel", "K");
        let on = r#"[{"name":"power_on","value":1}]"#;
        let off = r#"[{"name":"power_on","value":0}]"#;
        let table = [
            ((&none, "[]", "{}"), (&none, "[]", "{}"), ""),
            ((&none, cpu, "{}"), (&none, warm.as_str(), "{}"), ""),
            (
                (&none, cpu, "{}"),
                (&none, hot.as_str(), "{}"),
                "reading temperature_celsius{sensor=\"CPU1\"}: 50 / 90",
            ),
            (
                (&none, cpu, "{}"),
                (&none, kelvin.as_str(), "{}"),
                "reading temperature_celsius{sensor=\"CPU1\"} unit: Cel / K",
            ),
            (
                (&none, on, "{}"),
                (&none, off, "{}"),
                "reading power_on: 1 / 0",
            ),
            (
                (&none, on, "{}"),
                (&none, "[]", "{}"),
                "reading power_on: 1 / (not there)",
            ),
            (
                (&none, "[]", r#"{"firmware":"1.9","a":{"b":1}}"#),
                (&none, "[]", r#"{"firmware":"2.0"}"#),
                "fact.a.b: 1 / (not there); fact.firmware: 1.9 / 2.0",
            ),
            (
                (&none, "[]", "{}"),
                (&refused, "[]", "{}"),
                "outcome: done / failed (bad_reply): no Chassis",
            ),
            ((&refused, "[]", "{}"), (&refused, "[]", "{}"), ""),
            (
                (&done(json!({"partial": false})), "[]", "{}"),
                (&done(json!({"partial": true})), "[]", "{}"),
                "result.partial: false / true",
            ),
        ];
        for (stable, candidate, expected) in table {
            assert_eq!(said(stable, candidate), expected);
        }
    }
}
