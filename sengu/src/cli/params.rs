//! Parameters of an action from `key=value` words, typed by the action's schema where there is one.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

/// Types a word by the schema of its parameter: a string stays a string even if it looks like a number.
///
/// # Errors
/// When the schema wants a number, boolean, array or object and the word is none.
pub fn typed(key: &str, word: &str, schema: Option<&Value>) -> anyhow::Result<Value> {
    let property = schema.and_then(|s| s.get("properties")?.get(key));
    let json = || serde_json::from_str::<Value>(word).ok();
    let types: Vec<&str> = match property.and_then(|p| p.get("type")) {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |value: &Value, kind: &str| match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    };
    if let Some(value) = json()
        && types.iter().any(|kind| fits(&value, kind))
    {
        return Ok(value);
    }
    if types.contains(&"string") {
        return Ok(Value::String(word.to_owned()));
    }
    if let Some(kind) = types.first() {
        // A list of words is easier to type than a JSON array.
        if *kind == "array" && !word.starts_with('[') {
            let items = word
                .split(',')
                .map(|w| Value::String(w.to_owned()))
                .collect();
            return Ok(Value::Array(items));
        }
        bail!("parameter {key}: wanted {kind}, got {word:?}");
    }
    // Without a declared type only what is obvious is taken as more than text.
    Ok(json()
        .filter(|v| !v.is_string())
        .unwrap_or_else(|| Value::String(word.to_owned())))
}

/// Splits the words of `run` into parameters (`key=value`) and target names.
pub fn split(words: &[String]) -> (Vec<(&str, &str)>, Vec<String>) {
    let mut params = Vec::new();
    let mut targets = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => params.push((key, value)),
            _ => targets.push(word.strip_prefix("target/").unwrap_or(word).to_owned()),
        }
    }
    (params, targets)
}

/// The params object from `--params` and the words; a word wins over the same key of `--params`.
pub fn object(
    json: Option<&str>,
    words: &[(&str, &str)],
    schema: Option<&Value>,
) -> anyhow::Result<Value> {
    let mut params = match json {
        None => Map::new(),
        Some(text) => match read(text)? {
            Value::Object(map) => map,
            _ => bail!("--params: wanted a JSON object"),
        },
    };
    for (key, word) in words {
        params.insert((*key).to_owned(), typed(key, word, schema)?);
    }
    // Null, not {}: "no parameters were given".
    Ok(if params.is_empty() {
        Value::Null
    } else {
        Value::Object(params)
    })
}

fn read(text: &str) -> anyhow::Result<Value> {
    let text = match text.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("read --params {path}"))?
        }
        None => text.to_owned(),
    };
    serde_json::from_str(&text).context("--params is no JSON")
}

/// The whole schema is in `sengu explain <kind>.<action>`.
const SUMMARY_CHARS_MAX: usize = 60;

/// `state=on|off|forceOff [delay]`: required ones plain, others in brackets.
pub fn summary(schema: Option<&Value>) -> String {
    let Some(properties) = schema.and_then(|s| s.get("properties")?.as_object()) else {
        return "-".to_owned();
    };
    let required: Vec<&str> = schema
        .and_then(|s| s.get("required")?.as_array())
        .map(|r| r.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut words: Vec<(bool, String)> = Vec::new();
    for (key, property) in properties {
        let values: Vec<String> = property
            .get("enum")
            .and_then(Value::as_array)
            .map(|e| e.iter().map(super::views::scalar).collect())
            .unwrap_or_default();
        let kind = super::views::text(property, "/type");
        let value = if !values.is_empty() {
            values.join("|")
        } else {
            kind.to_uppercase()
        };
        let word = if value.is_empty() {
            key.clone()
        } else {
            format!("{key}={value}")
        };
        let needed = required.contains(&key.as_str());
        words.push((!needed, if needed { word } else { format!("[{word}]") }));
    }
    words.sort();
    let words: Vec<String> = words.into_iter().map(|(_, word)| word).collect();
    let mut line = words.join(" ");
    if line.chars().count() > SUMMARY_CHARS_MAX {
        line = line.chars().take(SUMMARY_CHARS_MAX - 1).collect();
        line.push('…');
    }
    if line.is_empty() {
        "-".to_owned()
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_typed_by_the_schema_when_there_is_one() {
        let schema = json!({"properties": {
            "name": {"type": "string"}, "n": {"type": "integer"}, "b": {"type": "boolean"},
            "x": {"type": ["integer", "string"]}, "list": {"type": "array"}, "any": {},
        }});
        let table = [
            ("name", "12", json!("12")),
            ("n", "12", json!(12)),
            ("b", "true", json!(true)),
            ("x", "12", json!(12)),
            ("x", "a", json!("a")),
            ("list", "a,b", json!(["a", "b"])),
            ("list", "[1]", json!([1])),
            ("any", "1.5", json!(1.5)),
            ("undeclared", "off", json!("off")),
            ("undeclared", "null", json!(null)),
            ("undeclared", "\"q\"", json!("\"q\"")),
        ];
        for (key, word, expected) in table {
            assert_eq!(
                typed(key, word, Some(&schema)).unwrap(),
                expected,
                "{key}={word}"
            );
        }
        assert!(typed("n", "twelve", Some(&schema)).is_err());
        assert!(typed("n", "1.5", Some(&schema)).is_err());
    }

    #[test]
    fn words_with_an_equals_sign_are_parameters() {
        let words: Vec<String> = ["state=off", "bmc-1", "target/bmc-2", "command=a=b"]
            .map(str::to_owned)
            .to_vec();
        let (params, targets) = split(&words);
        assert_eq!(params, [("state", "off"), ("command", "a=b")]);
        assert_eq!(targets, ["bmc-1", "bmc-2"]);
        let both = object(Some(r#"{"state":"on","n":1}"#), &params, None).unwrap();
        assert_eq!(both, json!({"state":"off","n":1,"command":"a=b"}));
        assert_eq!(object(None, &[], None).unwrap(), Value::Null);
        assert!(object(Some("[]"), &[], None).is_err());
    }

    #[test]
    fn schemas_are_summed_up() {
        let schema = json!({"required":["state"],"properties":{
            "delay":{"type":"integer"},"state":{"enum":["on","off"]}}});
        assert_eq!(summary(Some(&schema)), "state=on|off [delay=INTEGER]");
        assert_eq!(summary(None), "-");
    }
}
