//! Finds the values of a task's secrets in whatever leaves its worker, and puts `***` in their place. It must never let
//! a value through because of how it is written: escapes are undone before the search.

use serde_json::Value;
use std::borrow::Cow;

/// What stands in the place of a secret.
pub const MARK: &str = "***";
/// Shorter values would turn up everywhere by chance.
pub const SECRET_BYTES_MIN: usize = 4;

/// The values of one task's secrets.
#[derive(Default)]
pub struct Redactor {
    /// Longest first, so that a value within another does not spoil it.
    values: Vec<String>,
}

impl Redactor {
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Redactor {
        let mut own = Redactor::default();
        own.add(values);
        own
    }

    pub fn add<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        for value in values {
            // A key of many lines may leave line by line.
            for part in std::iter::once(value).chain(value.lines()) {
                let part = part.trim();
                if part.len() >= SECRET_BYTES_MIN && !self.values.iter().any(|v| v == part) {
                    self.values.push(part.to_owned());
                }
            }
        }
        self.values.sort_by_key(|v| std::cmp::Reverse(v.len()));
    }

    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for value in &self.values {
            if memchr::memmem::find(text.as_bytes(), value.as_bytes()).is_some() {
                text = Cow::Owned(text.replace(value.as_str(), MARK));
            }
        }
        text
    }

    /// JSON text of any form, redacted. What is found in a number turns it into text.
    pub fn json<'a>(&self, json: &'a str) -> Cow<'a, str> {
        if !self.may_hold(json) {
            return Cow::Borrowed(json);
        }
        match serde_json::from_str::<Value>(json) {
            Ok(mut value) => {
                self.value(&mut value);
                Cow::Owned(value.to_string())
            }
            // It came out of a parser, so it is JSON but for its depth or a number out of range.
            Err(_) => Cow::Owned(format!("\"{MARK}\"")),
        }
    }

    /// An outcome, redacted. Its own fields keep their names, and `status`, `code` and the like their values, so that it
    /// stays an outcome whatever the secrets are.
    pub fn outcome<'a>(&self, json: &'a str) -> Cow<'a, str> {
        const FREE: [&str; 6] = ["before", "after", "result", "detail", "why", "message"];
        if !self.may_hold(json) {
            return Cow::Borrowed(json);
        }
        let Ok(Value::Object(mut outcome)) = serde_json::from_str::<Value>(json) else {
            return self.json(json);
        };
        for field in FREE {
            if let Some(value) = outcome.get_mut(field) {
                self.value(value);
            }
        }
        let known = ["status", "code", "changed", "retry_after_ms"];
        outcome.retain(|key, _| FREE.contains(&key.as_str()) || known.contains(&key.as_str()));
        Cow::Owned(Value::Object(outcome).to_string())
    }

    /// Whether a closer look is needed: a value is there as it is, or escapes may hide one.
    fn may_hold(&self, json: &str) -> bool {
        if self.values.is_empty() {
            return false;
        }
        memchr::memchr(b'\\', json.as_bytes()).is_some()
            || self
                .values
                .iter()
                .any(|value| memchr::memmem::find(json.as_bytes(), value.as_bytes()).is_some())
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if let Cow::Owned(redacted) = self.text(&text) {
                    *value = Value::String(redacted);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => {
                for field in fields.values_mut() {
                    self.value(field);
                }
                let hit = |key: &String| matches!(self.text(key), Cow::Owned(_));
                if fields.keys().any(hit) {
                    let old = std::mem::take(fields);
                    fields.extend(
                        old.into_iter()
                            .map(|(k, v)| (self.text(&k).into_owned(), v)),
                    );
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} values)", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_any_writing() {
        let redactor = Redactor::new(["hun\"ter2", "1234567", "abc", "line one\nline two"]);
        let table = [
            (r#""my hun\"ter2!""#, r#""my ***!""#),
            (r#""\u0068un\u0022ter2""#, r#""***""#),
            (
                r#"{"hun\"ter2":[1234567,{"a":"x1234567"}]}"#,
                r#"{"***":["***",{"a":"x***"}]}"#,
            ),
            (r#"{"a":"abc"}"#, r#"{"a":"abc"}"#),
            (r#"["line one\nline two","line two"]"#, r#"["***","***"]"#),
            (r#"{"n":1.50}"#, r#"{"n":1.50}"#),
        ];
        for (json, want) in table {
            assert_eq!(redactor.json(json), want, "{json}");
        }
        assert_eq!(
            redactor.text("say hun\"ter2 twice: hun\"ter2"),
            "say *** twice: ***"
        );
    }

    #[test]
    fn an_outcome_stays_an_outcome() {
        let redactor = Redactor::new(["done", "true", "status", "failed", "busy"]);
        let table = [
            (
                r#"{"status":"done","changed":true,"result":"all done"}"#,
                r#"{"changed":true,"result":"all ***","status":"done"}"#,
            ),
            (
                r#"{"status":"failed","code":"busy","message":"busy","busy":1}"#,
                r#"{"code":"busy","message":"***","status":"failed"}"#,
            ),
        ];
        for (json, want) in table {
            assert_eq!(redactor.outcome(json), want, "{json}");
            serde_json::from_str::<sengu_model::Outcome>(want).unwrap();
        }
    }

    #[test]
    fn without_a_hit_nothing_is_copied() {
        let redactor = Redactor::new(["hunter2"]);
        assert!(matches!(redactor.json(r#"{"a":1}"#), Cow::Borrowed(_)));
        assert!(matches!(
            Redactor::default().json(r#"{"a":"\n"}"#),
            Cow::Borrowed(_)
        ));
        assert_eq!(format!("{redactor:?}"), "Redactor(1 values)");
    }
}
