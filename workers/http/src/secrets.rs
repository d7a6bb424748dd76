//! The values of a target's Secret, and how they are kept out of whatever is said.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

/// Shorter values cannot be told from ordinary text; the control plane draws the line there, too.
const VALUE_BYTES_MIN: usize = 4;

/// Secret values by key, and what was derived from them. Debug shows nothing.
pub struct Secrets {
    values: BTreeMap<String, String>,
    derived: Mutex<Vec<String>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    pub fn new(values: BTreeMap<String, String>) -> Secrets {
        let mut derived = Vec::new();
        if let (Some(username), Some(password)) = (values.get("username"), values.get("password")) {
            derived.push(BASE64.encode(format!("{username}:{password}")));
        }
        Secrets {
            values,
            derived: Mutex::new(derived),
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A value that came of the secrets (an access token) is as secret as they are.
    pub fn also(&self, value: &str) {
        let mut derived = crate::memory::lock(&self.derived);
        if !derived.iter().any(|known| known == value) {
            derived.push(value.to_owned());
        }
    }

    /// `text` without any secret. User names are no secret: they help to see which account was refused.
    pub fn scrub(&self, text: &str) -> String {
        let derived = crate::memory::lock(&self.derived).clone();
        let named = self.values.iter().filter(|(key, _)| !names_who(key));
        let mut all: Vec<&String> = named.map(|(_, value)| value).chain(&derived).collect();
        // The longest first, or a part of one would be left behind another.
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mut text = text.to_owned();
        for value in all {
            if value.len() >= VALUE_BYTES_MIN && text.contains(value.as_str()) {
                text = text.replace(value.as_str(), "[secret]");
            }
        }
        text
    }

    /// As `scrub`, for every text in `value`, names of members too.
    pub fn scrub_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.scrub(&text)),
            Value::Array(list) => list.into_iter().map(|v| self.scrub_value(v)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(k, v)| (self.scrub(&k), self.scrub_value(v)))
                .collect(),
            other => other,
        }
    }
}

fn names_who(key: &str) -> bool {
    matches!(key, "username" | "clientId")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_and_what_comes_of_them_are_scrubbed() {
        let values = [
            ("username", "operator"),
            ("password", "hunter2"),
            ("token", "hunter2-and-more"),
            ("short", "abc"),
        ];
        let secrets = Secrets::new(values.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        secrets.also("at-9");
        let basic = BASE64.encode("operator:hunter2");
        let said = json!({"echo": format!("operator Basic {basic}"), "hunter2": ["hunter2-and-more", "abc", "at-9!", 7]});
        assert_eq!(
            secrets.scrub_value(said),
            json!({"echo": "operator Basic [secret]", "[secret]": ["[secret]", "abc", "[secret]!", 7]})
        );
        assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    }
}
