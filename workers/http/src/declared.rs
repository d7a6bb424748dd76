//! Declared requests: what may be asked of a target, what it does to it, and what proves that it was done.
//!
//! A request that changes something says how it is proven: by a read-back, or by its status alone. There is no default,
//! since 202 and 204 are promises.

use crate::address::valid_path;
use crate::limits;
use crate::params::{self, Param, RESERVED};
use crate::pointer::Pointer;
use crate::source::{header_name, headers};
use crate::template::{self, Text, Values};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a request does to the target, as for actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Read,
    Idempotent,
    /// Must happen once, and a value that changes with it tells whether it did.
    Probe,
    /// Must happen once, and nothing can tell.
    Once,
}

impl Effect {
    /// The action by which a request of this effect runs with the right care when contact is lost.
    pub fn action(self) -> &'static str {
        match self {
            Effect::Read => "request.read",
            Effect::Idempotent => "request.set",
            Effect::Probe => "request.change",
            Effect::Once => "request.run",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Probe => "probe",
            Effect::Once => "once",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Declared {
    pub effect: Effect,
    method: String,
    path: Text,
    headers: Vec<(String, Text)>,
    body: Body,
    params: BTreeMap<String, Param>,
    expect: Vec<u16>,
    read_back: Option<ReadBack>,
    if_match: bool,
    idempotency_key: bool,
    pick: Option<Pointer>,
    any_content_type: bool,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Json(Value),
    Form(Vec<(String, Text)>),
}

#[derive(Debug, Clone)]
struct ReadBack {
    path: Text,
    pointer: Pointer,
    /// A JSON template; none = the value has to change.
    equals: Option<Value>,
    settle_ms: u64,
}

/// A request with its parameters in place.
#[derive(Debug, Clone)]
pub struct Planned {
    pub name: String,
    pub effect: Effect,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    pub expect: Vec<u16>,
    pub look: Option<Look>,
    pub if_match: bool,
    pub idempotency_key: bool,
    pub pick: Option<Pointer>,
    pub any_content_type: bool,
}

/// Where to see that it was done.
#[derive(Debug, Clone)]
pub struct Look {
    pub path: String,
    pub pointer: Pointer,
    pub want: Want,
    /// How long after the request its effect may still come.
    pub settle_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    Equals(Value),
    Changes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    method: String,
    path: String,
    effect: Effect,
    #[serde(default)]
    #[allow(dead_code, reason = "for people and consoles")]
    description: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    form: Option<BTreeMap<String, String>>,
    #[serde(default)]
    params: BTreeMap<String, Param>,
    #[serde(default)]
    expect: Vec<u16>,
    #[serde(default)]
    read_back: Option<RawReadBack>,
    #[serde(default)]
    proof: Option<Proof>,
    #[serde(default)]
    if_match: bool,
    #[serde(default)]
    idempotency_key: bool,
    #[serde(default)]
    pick: Option<String>,
    #[serde(default)]
    any_content_type: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Proof {
    Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawReadBack {
    path: String,
    pointer: String,
    #[serde(default, deserialize_with = "some")]
    equals: Option<Value>,
    #[serde(default)]
    changes: bool,
    #[serde(default)]
    settle_ms: Option<u64>,
}

/// `equals: null` is a wish, too.
fn some<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

impl Declared {
    /// # Errors
    /// With what to write instead.
    pub fn parse(name: &str, value: &Value) -> Result<Declared, String> {
        let raw = Raw::deserialize(value).map_err(|e| e.to_string())?;
        let method = raw.method.to_ascii_uppercase();
        if !matches!(
            method.as_str(),
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE"
        ) {
            return Err(format!(
                "method {method:?}: GET, HEAD, POST, PUT, PATCH or DELETE"
            ));
        }
        if raw.params.contains_key(RESERVED) {
            return Err(format!(
                "params.{RESERVED}: the action itself takes this name"
            ));
        }
        for (param, declared) in &raw.params {
            declared.check_declaration(param)?;
        }
        if let Some(status) = raw.expect.iter().find(|s| !(200..500).contains(*s)) {
            return Err(format!("expect: {status} is not from 200 to 499"));
        }
        let body = match (raw.body, raw.form) {
            (Some(_), Some(_)) => return Err("body or form, not both".to_owned()),
            (Some(body), None) => Body::Json(body),
            (None, Some(form)) => Body::Form(texts(form)?),
            (None, None) => Body::None,
        };
        if matches!(method.as_str(), "GET" | "HEAD") && !matches!(body, Body::None) {
            return Err(format!("{method} takes no body"));
        }
        let mut plain = BTreeMap::new();
        for (header, value) in &raw.headers {
            header_name(header)?;
            plain.insert(header.clone(), Text::parse(value)?.sample());
        }
        headers(plain)?;
        let declared = Declared {
            effect: raw.effect,
            method,
            path: path(&raw.path)?,
            headers: texts(raw.headers)?,
            body,
            expect: raw.expect,
            read_back: raw.read_back.map(|r| r.check(raw.effect)).transpose()?,
            if_match: raw.if_match,
            idempotency_key: raw.idempotency_key,
            pick: raw.pick.as_deref().map(Pointer::parse).transpose()?,
            params: raw.params,
            any_content_type: raw.any_content_type,
        };
        declared.check_proof(raw.proof)?;
        declared.check_places(name)?;
        Ok(declared)
    }

    fn check_proof(&self, proof: Option<Proof>) -> Result<(), String> {
        let by_status = proof.is_some();
        match (self.effect, &self.read_back) {
            (Effect::Read, None) if !by_status && !self.if_match && !self.idempotency_key => {
                match self.method.as_str() {
                    "GET" | "HEAD" | "POST" => Ok(()),
                    other => Err(format!("effect read does not go with {other}")),
                }
            }
            (Effect::Read, _) => {
                Err("readBack, proof, ifMatch and idempotencyKey: not with effect read".to_owned())
            }
            (Effect::Probe, Some(ReadBack { equals: None, .. })) if !by_status => Ok(()),
            (Effect::Probe, _) => Err(
                "effect probe wants readBack with changes: true, a value that changes with every such request"
                    .to_owned(),
            ),
            (_, Some(_)) if by_status => Err("readBack or proof, not both".to_owned()),
            (_, Some(_)) => Ok(()),
            (_, None) if by_status => Ok(()),
            (_, None) => Err(
                "say what proves that it was done: readBack, or proof: status if the status alone does".to_owned(),
            ),
        }
    }

    fn check_places(&self, name: &str) -> Result<(), String> {
        let texts = self.headers.iter().chain(match &self.body {
            Body::Form(pairs) => pairs.as_slice(),
            _ => &[],
        });
        let mut places: Vec<&str> = self.path.places().collect();
        places.extend(texts.flat_map(|(_, text)| text.places()));
        if let Body::Json(template) = &self.body {
            places.extend(template::places_in(template));
        }
        if let Some(look) = &self.read_back {
            places.extend(look.path.places());
            places.extend(look.equals.iter().flat_map(template::places_in));
        }
        match places
            .iter()
            .find(|place| !self.params.contains_key(**place))
        {
            Some(place) => Err(format!(
                "{place} is used and not declared in requests.{name}.params"
            )),
            None => Ok(()),
        }
    }

    /// Puts the given parameters in place.
    ///
    /// # Errors
    /// When they are not as declared, or one cannot stand in its place.
    pub fn plan(&self, name: &str, given: &Map<String, Value>) -> Result<Planned, String> {
        let values = params::check(&self.params, given)?;
        let path = checked(self.path.path(&values)?)?;
        let mut headers = Vec::new();
        for (header, text) in &self.headers {
            headers.push((header.clone(), text.header(&values)?));
        }
        let (body, media) = match &self.body {
            Body::None => (None, None),
            Body::Json(template) => {
                let text = template::json(template, &values).to_string();
                (Some(text.into_bytes()), Some("application/json"))
            }
            Body::Form(pairs) => {
                let mut filled = Vec::new();
                for (key, text) in pairs {
                    // A pair whose optional parameter is not given is left out, as in JSON.
                    if text.places().all(|place| values.contains_key(place)) {
                        filled.push((key.as_str(), text.plain(&values)?));
                    }
                }
                let text = template::form(filled.into_iter());
                (
                    Some(text.into_bytes()),
                    Some("application/x-www-form-urlencoded"),
                )
            }
        };
        if body
            .as_ref()
            .is_some_and(|b| b.len() > limits::REQUEST_BYTES_MAX)
        {
            return Err(format!(
                "the body is over {} bytes",
                limits::REQUEST_BYTES_MAX
            ));
        }
        let typed = headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case("content-type"));
        if let Some(media) = media.filter(|_| !typed) {
            headers.push(("content-type".to_owned(), media.to_owned()));
        }
        let look = match &self.read_back {
            None => None,
            Some(look) => Some(look.plan(&values)?),
        };
        Ok(Planned {
            name: name.to_owned(),
            effect: self.effect,
            method: self.method.clone(),
            path,
            headers,
            body,
            expect: self.expect.clone(),
            look,
            if_match: self.if_match,
            idempotency_key: self.idempotency_key,
            pick: self.pick.clone(),
            any_content_type: self.any_content_type,
        })
    }
}

impl RawReadBack {
    fn check(self, effect: Effect) -> Result<ReadBack, String> {
        let equals = match (self.equals, self.changes) {
            (Some(equals), false) => Some(equals),
            (None, true) if effect == Effect::Idempotent => {
                return Err(
                    "readBack.changes: with effect probe or once; idempotent wants equals"
                        .to_owned(),
                );
            }
            (None, true) => None,
            _ => return Err("readBack: either equals or changes: true".to_owned()),
        };
        let settle_ms = self.settle_ms.unwrap_or(limits::SETTLE_MS);
        if settle_ms > limits::SETTLE_MAX_MS {
            return Err(format!(
                "readBack.settleMs: at most {}",
                limits::SETTLE_MAX_MS
            ));
        }
        let pointer = Pointer::parse(&self.pointer)?;
        if pointer.wildcards() > 0 {
            return Err("readBack.pointer: no wildcard here".to_owned());
        }
        Ok(ReadBack {
            path: path(&self.path)?,
            pointer,
            equals,
            settle_ms,
        })
    }
}

impl ReadBack {
    fn plan(&self, values: &Values) -> Result<Look, String> {
        Ok(Look {
            path: checked(self.path.path(values)?)?,
            pointer: self.pointer.clone(),
            want: match &self.equals {
                Some(template) => Want::Equals(template::json(template, values)),
                None => Want::Changes,
            },
            settle_ms: self.settle_ms,
        })
    }
}

fn path(text: &str) -> Result<Text, String> {
    let path = Text::parse(text)?;
    match valid_path(&path.sample()) {
        true => Ok(path),
        false => Err(format!(
            "path {text:?}: it begins with / and is percent-encoded"
        )),
    }
}

fn checked(path: String) -> Result<String, String> {
    match valid_path(&path) {
        true => Ok(path),
        false => Err(format!("the path is over {} bytes", limits::PATH_BYTES_MAX)),
    }
}

fn texts(raw: BTreeMap<String, String>) -> Result<Vec<(String, Text)>, String> {
    let text = |(name, text): (String, String)| Ok((name, Text::parse(&text)?));
    raw.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fan(more: Value) -> Value {
        let mut request = json!({
            "method": "put", "path": "/fans/{unit}", "effect": "idempotent",
            "body": {"mode": {"$param": "mode"}, "by": "sengu"},
            "params": {"unit": {"type": "integer"}, "mode": {"type": "string"}},
            "readBack": {"path": "/fans/{unit}", "pointer": "/mode", "equals": {"$param": "mode"}},
        });
        let object = request.as_object_mut().unwrap();
        for (key, value) in more.as_object().unwrap() {
            match value {
                Value::Null => object.remove(key),
                value => object.insert(key.clone(), value.clone()),
            };
        }
        request
    }

    #[test]
    fn a_change_says_what_proves_it() {
        let changes = json!({"path": "/state", "pointer": "/boots", "changes": true});
        let read = json!({"effect": "read", "method": "GET", "body": null, "readBack": null});
        let table = [
            (fan(json!({})), ""),
            (fan(json!({"readBack": null})), "say what proves"),
            (fan(json!({"readBack": null, "proof": "status"})), ""),
            (fan(json!({"proof": "status"})), "not both"),
            (fan(json!({"proof": "hope"})), "unknown variant"),
            (fan(json!({"effect": "probe"})), "changes: true"),
            (fan(json!({"effect": "probe", "readBack": changes})), ""),
            (fan(json!({"effect": "once", "readBack": changes})), ""),
            (fan(json!({"readBack": changes})), "idempotent wants equals"),
            (
                fan(json!({"readBack": {"path": "/x", "pointer": ""}})),
                "either equals or changes",
            ),
            (
                fan(json!({"readBack": {"path": "/x", "pointer": "/a", "equals": null}})),
                "",
            ),
            (
                fan(json!({"readBack": {"path": "/x", "pointer": "/*", "equals": 1}})),
                "no wildcard",
            ),
            (
                fan(
                    json!({"readBack": {"path": "/x", "pointer": "/a", "equals": {"$param": "z"}}}),
                ),
                "z is used and not declared",
            ),
            (fan(json!({"effect": "read"})), "not with effect read"),
            (fan(read), ""),
            (
                fan(json!({"effect": "read", "readBack": null})),
                "does not go with PUT",
            ),
            (fan(json!({"method": "GET"})), "takes no body"),
            (fan(json!({"method": "BREW"})), "GET, HEAD"),
            (fan(json!({"form": {"a": "b"}})), "not both"),
            (fan(json!({"path": "fans"})), "begins with /"),
            (
                fan(json!({"path": "/fans/{nr}"})),
                "nr is used and not declared",
            ),
            (fan(json!({"path": "/fans/{unit"})), "write {name}"),
            (fan(json!({"headers": {"Cookie": "a={mode}"}})), ""),
            (
                fan(json!({"headers": {"Host": "evil"}})),
                "set by the worker",
            ),
            (fan(json!({"headers": {"X": "{z}"}})), "z is used"),
            (fan(json!({"expect": [200, 503]})), "not from 200 to 499"),
            (
                fan(json!({"params": {"request": {"type": "string"}}})),
                "takes this name",
            ),
            (
                fan(json!({"params": {"unit": {"type": "integer", "default": "x"}}})),
                "a whole number",
            ),
        ];
        for (value, want) in table {
            match Declared::parse("fan", &value) {
                Ok(_) => assert_eq!(want, "", "{value}"),
                Err(e) => assert!(!want.is_empty() && e.contains(want), "{value}: {e}"),
            }
        }
    }

    #[test]
    fn parameters_are_put_in_place() {
        let declared =
            Declared::parse("fan", &fan(json!({"headers": {"X-Unit": "n{unit}"}}))).unwrap();
        let given = json!({"unit": 7, "mode": "a\"b"});
        let planned = declared.plan("fan", given.as_object().unwrap()).unwrap();
        assert_eq!(
            (planned.method.as_str(), planned.path.as_str()),
            ("PUT", "/fans/7")
        );
        assert_eq!(
            planned.headers,
            [
                ("X-Unit".to_owned(), "n7".to_owned()),
                ("content-type".to_owned(), "application/json".to_owned()),
            ]
        );
        assert_eq!(
            planned.body.as_deref(),
            Some(br#"{"by":"sengu","mode":"a\"b"}"#.as_slice())
        );
        assert_eq!(planned.look.unwrap().want, Want::Equals(json!("a\"b")));
        assert!(
            declared
                .plan("fan", &Map::new())
                .unwrap_err()
                .contains("missing")
        );

        let form = json!({
            "method": "POST", "path": "/cmd", "effect": "once", "proof": "status", "form": {"relay": "{n}", "note": "{note}"},
            "params": {"n": {"type": "integer"}, "note": {"type": "string", "optional": true}},
        });
        let declared = Declared::parse("relay", &form).unwrap();
        let planned = declared
            .plan("relay", json!({"n": 2}).as_object().unwrap())
            .unwrap();
        assert_eq!(planned.body.as_deref(), Some(b"relay=2".as_slice()));
    }
}
