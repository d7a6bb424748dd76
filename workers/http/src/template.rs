//! Declared texts and JSON with places for parameters.
//!
//! A parameter's value must never be able to change what stands around it: in a path it is percent-encoded, in a form
//! likewise, in JSON it is a value of its own (`{"$param": "name"}`), in a header it may hold no line ending.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Values by parameter name, checked against their declarations.
pub type Values = BTreeMap<String, Value>;

/// The member that marks a place in a JSON template.
const PLACE: &str = "$param";

/// A text with `{name}` in it; `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Plain(String),
    Place(String),
}

impl Text {
    /// # Errors
    /// When a brace stands alone.
    pub fn parse(text: &str) -> Result<Text, String> {
        let wrong =
            || format!("{text:?}: write {{name}} for a parameter, {{{{ and }}}} for braces");
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.peek() == Some(&c) => {
                    rest.next();
                    plain.push(c);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(c) if c.is_ascii_alphanumeric() || "_-".contains(c) => {
                                name.push(c)
                            }
                            _ => return Err(wrong()),
                        }
                    }
                    if name.is_empty() {
                        return Err(wrong());
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Plain(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Place(name));
                }
                '}' => return Err(wrong()),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Plain(plain));
        }
        Ok(Text(parts))
    }

    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(name) => Some(name.as_str()),
            Part::Plain(_) => None,
        })
    }

    /// With an example in every place, to check what stands around.
    pub fn sample(&self) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Plain(text) => text.as_str(),
                Part::Place(_) => "0",
            })
            .collect()
    }

    /// As a path: values percent-encoded, so that none of them can be a separator, a query or a step up.
    ///
    /// # Errors
    /// When a value would be empty, `.` or `..`, or is no scalar.
    pub fn path(&self, values: &Values) -> Result<String, String> {
        let path = self.fill(values, |name, value| {
            let text = scalar(name, value)?;
            if matches!(text.as_str(), "" | "." | "..") {
                return Err(format!("parameter {name}: {text:?} cannot stand in a path"));
            }
            Ok(percent(&text))
        })?;
        Ok(path)
    }

    /// As the value of a header.
    ///
    /// # Errors
    /// When a value holds anything but visible ASCII and spaces, or is no scalar.
    pub fn header(&self, values: &Values) -> Result<String, String> {
        self.fill(values, |name, value| {
            let text = scalar(name, value)?;
            match text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
                true => Ok(text),
                false => Err(format!(
                    "parameter {name}: only visible ASCII can stand in a header"
                )),
            }
        })
    }

    /// As it is, for forms, whose encoding comes after.
    ///
    /// # Errors
    /// When a value is no scalar.
    pub fn plain(&self, values: &Values) -> Result<String, String> {
        self.fill(values, scalar)
    }

    fn fill(
        &self,
        values: &Values,
        encode: impl Fn(&str, &Value) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Place(name) => text.push_str(&encode(name, given(name, values)?)?),
            }
        }
        Ok(text)
    }
}

fn given<'a>(name: &str, values: &'a Values) -> Result<&'a Value, String> {
    values
        .get(name)
        .ok_or_else(|| format!("parameter {name} is needed here"))
}

fn scalar(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!(
            "parameter {name}: only text, a number or a boolean can stand here"
        )),
    }
}

/// All but the unreserved characters of RFC 3986.
pub fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// `a=1&b=2`, as application/x-www-form-urlencoded.
pub fn form<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    let pair = |(name, value): (&str, String)| format!("{}={}", percent(name), percent(&value));
    pairs.map(pair).collect::<Vec<_>>().join("&")
}

/// The parameters that a JSON template names.
pub fn places_in(template: &Value) -> Vec<&str> {
    match template {
        Value::Object(members) => match place(members) {
            Some(name) => vec![name],
            None => members.values().flat_map(places_in).collect(),
        },
        Value::Array(list) => list.iter().flat_map(places_in).collect(),
        _ => Vec::new(),
    }
}

/// A JSON template with its places filled; what is not given (an optional parameter) is left out of its object or array.
pub fn json(template: &Value, values: &Values) -> Value {
    filled(template, values).unwrap_or(Value::Null)
}

fn filled(template: &Value, values: &Values) -> Option<Value> {
    Some(match template {
        Value::Object(members) => match place(members) {
            Some(name) => return values.get(name).cloned(),
            None => Value::Object(
                members
                    .iter()
                    .filter_map(|(key, inner)| Some((key.clone(), filled(inner, values)?)))
                    .collect(),
            ),
        },
        Value::Array(list) => list.iter().filter_map(|v| filled(v, values)).collect(),
        other => other.clone(),
    })
}

fn place(members: &Map<String, Value>) -> Option<&str> {
    match members.len() {
        1 => members.get(PLACE)?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(value: Value) -> Values {
        match value {
            Value::Object(members) => members.into_iter().collect(),
            _ => panic!("an object"),
        }
    }

    #[test]
    fn a_value_cannot_leave_its_place_in_a_path() {
        let text = Text::parse("/fans/{unit}/mode?by={who}").unwrap();
        let table = [
            (json!({"unit": 3, "who": "me"}), Ok("/fans/3/mode?by=me")),
            (
                json!({"unit": "a/../b", "who": "x&y=z#?"}),
                Ok("/fans/a%2F..%2Fb/mode?by=x%26y%3Dz%23%3F"),
            ),
            (
                json!({"unit": "ü \r\n", "who": true}),
                Ok("/fans/%C3%BC%20%0D%0A/mode?by=true"),
            ),
            (
                json!({"unit": "..", "who": "x"}),
                Err("cannot stand in a path"),
            ),
            (
                json!({"unit": "", "who": "x"}),
                Err("cannot stand in a path"),
            ),
            (json!({"unit": [1], "who": "x"}), Err("only text")),
            (json!({"unit": 1}), Err("parameter who is needed")),
        ];
        for (given, want) in table {
            match (text.path(&values(given.clone())), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(e), Err(want)) => assert!(e.contains(want), "{e}"),
                (got, want) => panic!("{given}: {got:?}, not {want:?}"),
            }
        }
        for wrong in ["{", "}", "{}", "{a b}", "a}b", "{a"] {
            assert!(Text::parse(wrong).is_err(), "{wrong}");
        }
        let braces = Text::parse("{{{a}}}").unwrap();
        assert_eq!(braces.plain(&values(json!({"a": 1}))).unwrap(), "{1}");
    }

    #[test]
    fn a_value_cannot_end_a_header() {
        let text = Text::parse("mode {mode}").unwrap();
        assert_eq!(
            text.header(&values(json!({"mode": "a b"}))).unwrap(),
            "mode a b"
        );
        for wrong in ["a\r\nX-Evil: 1", "a\n", "ü", "\u{0}"] {
            assert!(
                text.header(&values(json!({"mode": wrong}))).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_value_stays_a_value_in_json() {
        let template = json!({"set": [{"$param": "mode"}, 1], "n": {"$param": "n"}, "both": {"$param": "n", "x": 1}});
        let given = values(json!({"mode": "\",\"admin\":true,\"x\":\"", "n": {"$param": "mode"}}));
        assert_eq!(
            json(&template, &given),
            json!({
                "set": ["\",\"admin\":true,\"x\":\"", 1], "n": {"$param": "mode"}, "both": {"$param": "n", "x": 1},
            })
        );
        assert_eq!(
            json(&template, &values(json!({"mode": 1})))["n"],
            Value::Null
        );
        assert_eq!(
            json(&json!({"a": {"$param": "a"}, "b": 1}), &Values::new()),
            json!({"b": 1})
        );
        assert_eq!(places_in(&template), ["n", "mode"]);
    }

    #[test]
    fn forms_are_encoded() {
        let pairs = [("a b", "1&c=2".to_owned()), ("é", "+".to_owned())];
        assert_eq!(form(pairs.into_iter()), "a%20b=1%26c%3D2&%C3%A9=%2B");
    }
}
