//! Parameters of a declared request: what they may be, and the check of what was given.

use crate::template::Values;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The name that the action itself takes.
pub const RESERVED: &str = "request";

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Param {
    #[serde(rename = "type")]
    pub kind: ParamKind,
    #[serde(default, rename = "enum")]
    pub one_of: Option<Vec<Value>>,
    #[serde(default)]
    pub minimum: Option<f64>,
    #[serde(default)]
    pub maximum: Option<f64>,
    #[serde(default)]
    pub max_length: Option<usize>,
    /// Used when nothing is given.
    #[serde(default)]
    pub default: Option<Value>,
    /// Left out when nothing is given and there is no default.
    #[serde(default)]
    pub optional: bool,
    /// For people.
    #[serde(default)]
    pub description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    String,
    Integer,
    Number,
    Boolean,
    /// Any JSON: only in JSON bodies.
    Json,
}

/// A text without a declared length, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

impl Param {
    /// # Errors
    /// When the default is not what it declares.
    pub fn check_declaration(&self, name: &str) -> Result<(), String> {
        match &self.default {
            Some(default) => self.check(name, default).map(drop),
            None => Ok(()),
        }
    }

    fn check(&self, name: &str, given: &Value) -> Result<Value, String> {
        let wrong = |what: &str| format!("parameter {name}: {what}");
        let value = self.typed(given).ok_or_else(|| {
            wrong(match self.kind {
                ParamKind::String => "text is wanted",
                ParamKind::Integer => "a whole number is wanted",
                ParamKind::Number => "a number is wanted",
                ParamKind::Boolean => "true or false is wanted",
                ParamKind::Json => "JSON is wanted",
            })
        })?;
        if let Some(list) = &self.one_of
            && !list.iter().any(|v| same(v, &value))
        {
            let list: Vec<String> = list.iter().map(plain).collect();
            return Err(wrong(&format!("one of {} is wanted", list.join(", "))));
        }
        if let Some(number) = value.as_f64() {
            if let Some(minimum) = self.minimum.filter(|m| number < *m) {
                return Err(wrong(&format!("{value} is below the minimum {minimum}")));
            }
            if let Some(maximum) = self.maximum.filter(|m| number > *m) {
                return Err(wrong(&format!("{value} is above the maximum {maximum}")));
            }
        }
        if let Value::String(text) = &value {
            let most = self
                .max_length
                .unwrap_or(TEXT_BYTES_MAX)
                .min(TEXT_BYTES_MAX);
            if text.chars().count() > most {
                return Err(wrong(&format!("at most {most} characters")));
            }
        }
        Ok(value)
    }

    /// The value in its declared type. Command lines cannot tell `7` from `"7"`, so scalars become text where text is
    /// declared; nothing else is bent.
    fn typed(&self, given: &Value) -> Option<Value> {
        match (self.kind, given) {
            (ParamKind::Json, any) => Some(any.clone()),
            (ParamKind::String, Value::String(_)) => Some(given.clone()),
            (ParamKind::String, Value::Number(_) | Value::Bool(_)) => {
                Some(Value::String(given.to_string()))
            }
            (ParamKind::Boolean, Value::Bool(_)) => Some(given.clone()),
            (ParamKind::Number, Value::Number(_)) => Some(given.clone()),
            (ParamKind::Integer, Value::Number(n)) if n.is_i64() || n.is_u64() => {
                Some(given.clone())
            }
            _ => None,
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether two values are the same to a device: numbers by their value, all else as it is.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_f64(), y.as_f64()) {
            // Devices keep set points as 32-bit floats.
            (Some(x), Some(y)) => x == y || (x - y).abs() <= 1e-6 * x.abs().max(y.abs()),
            _ => x == y,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, x)| b.get(k).is_some_and(|y| same(x, y)))
        }
        (a, b) => a == b,
    }
}

/// The values to fill in: what was given, else the defaults.
///
/// # Errors
/// For a parameter that is missing, unknown, or not as declared.
pub fn check(
    declared: &BTreeMap<String, Param>,
    given: &Map<String, Value>,
) -> Result<Values, String> {
    if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
        let known: Vec<&str> = declared.keys().map(String::as_str).collect();
        let known = match known.is_empty() {
            true => "the request takes none".to_owned(),
            false => format!("known: {}", known.join(", ")),
        };
        return Err(format!("unknown parameter {name}; {known}"));
    }
    let mut values = Values::new();
    for (name, param) in declared {
        match given
            .get(name)
            .filter(|v| !v.is_null())
            .or(param.default.as_ref())
        {
            Some(value) => {
                values.insert(name.clone(), param.check(name, value)?);
            }
            None if param.optional => {}
            None => return Err(format!("parameter {name} is missing")),
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_what_they_are_declared_to_be() {
        let declared: BTreeMap<String, Param> = serde_json::from_value(json!({
            "mode": {"type": "string", "enum": ["auto", "full"]},
            "celsius": {"type": "number", "minimum": 16, "maximum": 30, "default": 21.5},
            "slot": {"type": "integer", "optional": true, "maximum": 4},
            "note": {"type": "string", "optional": true, "maxLength": 3},
            "force": {"type": "boolean", "optional": true},
        }))
        .unwrap();
        let table = [
            (
                json!({"mode": "auto"}),
                Ok(json!({"mode": "auto", "celsius": 21.5})),
            ),
            (
                json!({"mode": "full", "celsius": 30, "slot": 4, "note": 123, "force": false}),
                Ok(
                    json!({"mode": "full", "celsius": 30, "slot": 4, "note": "123", "force": false}),
                ),
            ),
            (json!({}), Err("mode is missing")),
            (json!({"mode": "off"}), Err("one of auto, full")),
            (
                json!({"mode": "auto", "celsius": 30.1}),
                Err("above the maximum 30"),
            ),
            (
                json!({"mode": "auto", "celsius": -1}),
                Err("below the minimum 16"),
            ),
            (
                json!({"mode": "auto", "celsius": "20"}),
                Err("a number is wanted"),
            ),
            (json!({"mode": "auto", "slot": 1.5}), Err("a whole number")),
            (
                json!({"mode": "auto", "note": "1234"}),
                Err("at most 3 characters"),
            ),
            (
                json!({"mode": "auto", "note": ["x"]}),
                Err("text is wanted"),
            ),
            (
                json!({"mode": "auto", "force": "yes"}),
                Err("true or false"),
            ),
            (
                json!({"mode": "auto", "fan": 1}),
                Err("unknown parameter fan; known: celsius"),
            ),
        ];
        for (given, want) in table {
            let got = check(&declared, given.as_object().unwrap());
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(json!(got), want),
                (Err(e), Err(want)) => assert!(e.contains(want), "{e}"),
                (got, want) => panic!("{given}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn numbers_are_the_same_by_value() {
        let table = [
            (json!(1), json!(1.0), true),
            (json!(21.5), json!(21.500_000_2), true),
            (json!(21.5), json!(21.6), false),
            (json!("1"), json!(1), false),
            (json!({"a": [1]}), json!({"a": [1.0]}), true),
            (json!(0), json!(0.0), true),
            (json!(null), json!(false), false),
        ];
        for (a, b, want) in table {
            assert_eq!(same(&a, &b), want, "{a} {b}");
        }
    }
}
