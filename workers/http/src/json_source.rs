//! JSON to readings and facts, by declared pointers.

use crate::limits;
use crate::outcome::Reading;
use crate::pointer::Match;
use crate::source::{Found, Label, Rule, Source, clip};
use serde_json::Value;
use std::collections::BTreeMap;

/// What `document` gives. Whatever is not as declared is named, and the rest counts.
pub fn extract(document: &Value, source: &Source) -> Found {
    let mut found = Found::default();
    for rule in &source.rules {
        readings(document, rule, source, &mut found);
    }
    for (name, pointer) in &source.facts {
        match pointer.one(document) {
            Some(Value::Null) | None => {
                let at = pointer.as_str();
                found.problems.push(format!("fact {name}: nothing at {at}"));
            }
            Some(value) => match fact(value) {
                Some(value) => {
                    found.facts.insert(name.clone(), value);
                }
                None => {
                    let at = pointer.as_str();
                    let what =
                        format!("fact {name}: what is at {at} is no scalar or list of scalars");
                    found.problems.push(what);
                }
            },
        }
    }
    found
}

fn readings(document: &Value, rule: &Rule, source: &Source, found: &mut Found) {
    let (places, more) = rule.pointer.all(document);
    found.cut |= more;
    let (mut given, mut wrong) = (0, None);
    for place in &places {
        let value = match number(place.value, rule) {
            Ok(Some(value)) => value * rule.scale + rule.offset,
            Ok(None) => continue,
            Err(shown) => {
                wrong.get_or_insert(shown);
                continue;
            }
        };
        if found.readings.len() >= limits::READINGS_MAX {
            found.cut = true;
            return;
        }
        given += 1;
        found.readings.push(Reading {
            name: rule.name.clone(),
            value,
            unit: rule.unit.clone(),
            labels: labels(document, place, rule, source),
        });
    }
    let at = rule.pointer.as_str();
    match wrong {
        Some(shown) => found
            .problems
            .push(format!("{}: {shown} at {at} is no number", rule.name)),
        None if given == 0 && !rule.optional => {
            found
                .problems
                .push(format!("{}: nothing at {at}", rule.name));
        }
        None => {}
    }
}

/// None for null: devices say so when a sensor is absent.
fn number(value: &Value, rule: &Rule) -> Result<Option<f64>, String> {
    let shown = |v: &Value| v.to_string().chars().take(40).collect::<String>();
    let word = match value {
        Value::Null => return Ok(None),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Array(_) => return Err("an array".to_owned()),
        Value::Object(_) => return Err("an object".to_owned()),
    };
    if let Some(number) = rule.values.get(&word) {
        return Ok(Some(*number));
    }
    let number = match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Number(n) => n.as_f64(),
        // "NaN" and "infinity" are numbers to Rust and none to an operator.
        _ => word.parse::<f64>().ok(),
    };
    match number.filter(|n| n.is_finite()) {
        Some(number) => Ok(Some(number)),
        None => Err(shown(value)),
    }
}

fn labels(
    document: &Value,
    place: &Match<'_>,
    rule: &Rule,
    source: &Source,
) -> BTreeMap<String, String> {
    let mut labels = source.labels.clone();
    for (name, label) in &rule.labels {
        let text = match label {
            Label::Wildcard(n) => place.keys.get(*n).cloned(),
            Label::Fixed(text) => Some(text.clone()),
            // What has no name keeps its place apart by where it stood.
            Label::At(pointer) => pointer
                .at(document, &place.keys)
                .and_then(text)
                .or_else(|| Some(place.keys.join("."))),
        };
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            labels.insert(name.clone(), clip(&text));
        }
    }
    labels
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn fact(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => Some(Value::String(clip(text))),
        Value::Number(_) | Value::Bool(_) => Some(value.clone()),
        Value::Array(list) if list.len() <= limits::FACTS_MAX => {
            let scalar = |v: &Value| fact(v).filter(|v| !v.is_array());
            list.iter()
                .map(scalar)
                .collect::<Option<Vec<_>>>()
                .map(Value::Array)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(source: Value, document: &Value) -> (Vec<String>, Value, Vec<String>) {
        let found = extract(document, &Source::parse(0, &source).unwrap());
        let readings = found.readings.iter().map(|r| {
            let labels: Vec<String> = r.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{}{{{}}} {} {}", r.name, labels.join(","), r.value, r.unit)
        });
        (readings.collect(), json!(found.facts), found.problems)
    }

    #[test]
    fn pointers_become_readings_with_labels() {
        let document = json!({"plant": {"power": {"mW": 1_250_000}}, "units": [
            {"name": "crah-1", "supply": "18.5", "fan": true, "state": "RUN", "coils": {"a": 1, "b": 2}},
            {"name": "crah-2", "supply": null, "fan": false, "state": "ALARM", "coils": {"a": 3}},
            {"supply": 19, "state": "RUN"},
        ]});
        let source = json!({"path": "/x", "labels": {"hall": "7"}, "readings": [
            {"name": "power_watts", "pointer": "/plant/power/mW", "unit": "W", "scale": 0.001},
            {"name": "supply_celsius", "pointer": "/units/*/supply", "unit": "Cel", "labels": {"unit": "/units/*/name"}},
            {"name": "supply_kelvin", "pointer": "/units/0/supply", "unit": "K", "offset": 273.15, "labels": {"a": {"text": "b"}}},
            {"name": "fan_on", "pointer": "/units/*/fan"},
            {"name": "ok", "pointer": "/units/*/state", "values": {"RUN": 1, "ALARM": 0}},
            {"name": "coil", "pointer": "/units/*/coils/*", "labels": {"coil": 2, "unit": 1}},
            {"name": "coil_all", "pointer": "/units/1/coils/*"},
        ]});
        let (readings, _, problems) = shown(source, &document);
        assert_eq!(
            readings,
            [
                "power_watts{hall=7} 1250 W",
                "supply_celsius{hall=7,unit=crah-1} 18.5 Cel",
                "supply_celsius{hall=7,unit=2} 19 Cel",
                "supply_kelvin{a=b,hall=7} 291.65 K",
                "fan_on{hall=7,index=0} 1 ",
                "fan_on{hall=7,index=1} 0 ",
                "ok{hall=7,index=0} 1 ",
                "ok{hall=7,index=1} 0 ",
                "ok{hall=7,index=2} 1 ",
                "coil{coil=a,hall=7,unit=0} 1 ",
                "coil{coil=b,hall=7,unit=0} 2 ",
                "coil{coil=a,hall=7,unit=1} 3 ",
                "coil_all{hall=7,index=a} 3 ",
            ]
        );
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn what_is_not_as_declared_is_named() {
        let document = json!({"a": "many", "b": [1, "x", {}], "c": "NaN", "deep": {"x": {"y": 1}}, "list": ["a", 1], "odd": [[1]]});
        let source = json!({"path": "/x", "readings": [
            {"name": "a", "pointer": "/a"}, {"name": "b", "pointer": "/b/*"}, {"name": "c", "pointer": "/c"},
            {"name": "d", "pointer": "/d"}, {"name": "e", "pointer": "/e/*/f", "optional": true},
        ], "facts": {"x": "/deep/x/y", "list": "/list", "odd": "/odd", "none": "/none", "tree": "/deep"}});
        let (readings, facts, problems) = shown(source, &document);
        assert_eq!(readings, ["b{index=0} 1 "]);
        assert_eq!(facts, json!({"x": 1, "list": ["a", 1]}));
        assert_eq!(
            problems,
            [
                "a: \"many\" at /a is no number",
                "b: \"x\" at /b/* is no number",
                "c: \"NaN\" at /c is no number",
                "d: nothing at /d",
                "fact none: nothing at /none",
                "fact odd: what is at /odd is no scalar or list of scalars",
                "fact tree: what is at /deep is no scalar or list of scalars",
            ]
        );
    }
}
