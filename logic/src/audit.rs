//! Who did what: one entry per act of a person, or of sengu where it acts for one, such as a guard that takes a version
//! back. An entry is committed together with what it tells of, or before it; never after. It must never hold a secret.

use crate::clock;
use crate::core::Shared;
use crate::records::{HIDDEN, store_problem};
use sengu_model::problem::Problem;
use sengu_model::{Record, limits};
use sengu_store::{AUDIT, Op};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Fields of one entry; a change of more is cut.
const FIELDS_MAX: usize = 50;
/// Bytes of one value as JSON; a longer one is cut.
const VALUE_BYTES_MAX: usize = 500;
const DEPTH_MAX: usize = 20;
/// Targets named in one entry.
const TARGETS_MAX: usize = 20;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// `operator`, or `sengu` for what it does by itself.
    pub role: String,
    /// As whom the caller gave itself out. All operators have the same token, so nobody proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `token`, or `cookie` for the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

impl Actor {
    fn sengu() -> Actor {
        Actor {
            role: "sengu".to_owned(),
            name: None,
            via: None,
        }
    }
}

tokio::task_local! {
    static ACTOR: Actor;
}

/// Whatever `future` does is done by `actor`, until it begins something beside itself.
pub async fn acting<T>(actor: Actor, future: impl Future<Output = T>) -> T {
    ACTOR.scope(actor, future).await
}

/// A place in a record that has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Such as `spec.address`.
    pub path: String,
    /// Absent: it was not there. Secret values are `***`; long ones are cut and end with `…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub after: Option<Value>,
}

/// What was done to what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    pub by: Actor,
    /// What was asked for and accepted, in one word: `created`, `configured`, `deleted`, `promoted`, `cancelled`, ...
    pub what: String,
    /// Kind of the record, or `Task`, or `Store`.
    pub kind: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Names of the first targets of a task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Changed>,
    /// More fields have changed than are named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl Act {
    pub fn new(what: &str, kind: &str, name: &str) -> Act {
        Act {
            by: ACTOR
                .try_with(Actor::clone)
                .unwrap_or_else(|_| Actor::sengu()),
            what: what.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            note: String::new(),
            targets: Vec::new(),
            fields: Vec::new(),
            cut: false,
        }
    }

    pub fn note(mut self, note: impl Into<String>) -> Act {
        self.note = note.into();
        self
    }

    pub fn targets<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Act {
        let names = names.into_iter().take(TARGETS_MAX);
        self.targets = names.map(str::to_owned).collect();
        self
    }

    /// What people declare of a record: its specification, labels and annotations.
    pub fn fields(mut self, before: Option<&Record>, after: Option<&Record>) -> Act {
        let secret = self.kind == "Secret";
        let mut found = Vec::new();
        let declared = |record: Option<&Record>| record.map(declared);
        let (before, after) = (declared(before), declared(after));
        compare("", before.as_ref(), after.as_ref(), 0, &mut found);
        self.cut = found.len() > FIELDS_MAX;
        found.truncate(FIELDS_MAX);
        for field in &mut found {
            for value in [&mut field.before, &mut field.after].into_iter().flatten() {
                if secret && field.path.starts_with("spec") {
                    *value = Value::String(HIDDEN.to_owned());
                } else {
                    clip(value);
                }
            }
        }
        self.fields = found;
        self
    }

    /// To be committed with what it tells of.
    pub fn op(&self) -> Op {
        Op::Append {
            stream: AUDIT.to_owned(),
            key: 0,
            at: clock::now(),
            body: serde_json::to_vec(self).unwrap_or_default().into(),
        }
    }
}

impl Shared {
    /// Keeps an act that is then done. Where this fails it must not be.
    ///
    /// # Errors
    /// The store's.
    pub async fn will(&self, act: Act) -> Result<(), Problem> {
        let committed = self.store.commit(vec![act.op()].into()).await;
        committed.map(drop).map_err(store_problem)
    }
}

/// A name that somebody gives himself: one line of printable text.
pub fn valid_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.len() <= limits::ACTOR_NAME_BYTES_MAX
        && !name.chars().any(char::is_control)
}

/// `action on 3 targets`
pub fn on_targets(action: &str, count: usize) -> String {
    match count {
        1 => format!("{action} on 1 target"),
        count => format!("{action} on {count} targets"),
    }
}

fn declared(record: &Record) -> Value {
    serde_json::json!({
        "labels": record.metadata.labels,
        "annotations": record.metadata.annotations,
        "spec": record.spec,
    })
}

fn compare(
    path: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    depth: usize,
    found: &mut Vec<Changed>,
) {
    if before == after || found.len() > FIELDS_MAX {
        return;
    }
    let nothing = Map::new();
    let inside = match (before, after) {
        _ if depth >= DEPTH_MAX => None,
        (Some(Value::Object(before)), Some(Value::Object(after))) => Some((before, after)),
        // Of a record that is new or gone each field is named.
        (None, Some(Value::Object(after))) if depth < 2 => Some((&nothing, after)),
        (Some(Value::Object(before)), None) if depth < 2 => Some((before, &nothing)),
        _ => None,
    };
    let Some((from, to)) = inside else {
        found.push(Changed {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        });
        return;
    };
    let mut keys: Vec<&String> = from.keys().chain(to.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        compare(&path, from.get(key), to.get(key), depth + 1, found);
    }
}

fn clip(value: &mut Value) {
    let text = value.to_string();
    if text.len() > VALUE_BYTES_MAX {
        let short: String = text.chars().take(VALUE_BYTES_MAX / 4).collect();
        *value = Value::String(format!("{short}…"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(kind: &str, labels: Value, spec: Value) -> Record {
        serde_json::from_value(json!({
            "apiVersion": "sengu/v1", "kind": kind,
            "metadata": {"name": "a", "labels": labels}, "spec": spec,
        }))
        .unwrap()
    }

    fn of(
        kind: &str,
        before: Option<&Record>,
        after: Option<&Record>,
    ) -> Vec<(String, Value, Value)> {
        let fields = Act::new("configured", kind, "a")
            .fields(before, after)
            .fields;
        let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
        fields
            .into_iter()
            .map(|f| (f.path, or_null(f.before), or_null(f.after)))
            .collect()
    }

    #[test]
    fn only_what_differs_is_named_with_both_sides() {
        let before = record(
            "Target",
            json!({"rack": "r1", "site": "t"}),
            json!({"address": "a", "x": {"y": 1}}),
        );
        let after = record(
            "Target",
            json!({"rack": "r2", "new": "n"}),
            json!({"address": "a", "x": {"y": [2]}}),
        );
        let found = of("Target", Some(&before), Some(&after));
        let wanted = [
            ("labels.new", Value::Null, json!("n")),
            ("labels.rack", json!("r1"), json!("r2")),
            ("labels.site", json!("t"), Value::Null),
            ("spec.x.y", json!(1), json!([2])),
        ];
        assert_eq!(found, wanted.map(|(path, b, a)| (path.to_owned(), b, a)));
        assert!(of("Target", Some(&before), Some(&before)).is_empty());
        let created = of("Target", None, Some(&before));
        assert_eq!(
            created[0],
            ("labels.rack".to_owned(), Value::Null, json!("r1"))
        );
        let gone = of("Target", Some(&before), None);
        assert_eq!(
            gone[0],
            ("labels.rack".to_owned(), json!("r1"), Value::Null)
        );
    }

    #[test]
    fn no_secret_is_told_not_even_sealed() {
        let before = record(
            "Secret",
            json!({}),
            json!({"data": {"password": "sealed-1"}}),
        );
        let after = record(
            "Secret",
            json!({}),
            json!({"data": {"password": "sealed-2", "user": "u"}}),
        );
        let found = of("Secret", Some(&before), Some(&after));
        let hidden = json!(HIDDEN);
        assert_eq!(
            found,
            [
                (
                    "spec.data.password".to_owned(),
                    hidden.clone(),
                    hidden.clone()
                ),
                ("spec.data.user".to_owned(), Value::Null, hidden.clone()),
            ]
        );
        let whole = of("Secret", None, Some(&after));
        assert!(
            whole.iter().all(|(_, _, after)| *after == hidden),
            "{whole:?}"
        );
    }

    #[test]
    fn an_entry_is_bounded() {
        let spec: serde_json::Map<String, Value> = (0..200)
            .map(|n| (format!("k{n}"), json!("x".repeat(2_000))))
            .collect();
        let after = record("Target", json!({}), Value::Object(spec));
        let act = Act::new("created", "Target", "a").fields(None, Some(&after));
        assert!(act.cut);
        assert_eq!(act.fields.len(), FIELDS_MAX);
        let bytes = serde_json::to_vec(&act).unwrap().len();
        assert!(bytes < 64 << 10, "{bytes}");
    }

    #[test]
    fn a_name_is_one_line_of_text() {
        for good in ["alice", "alice@ops1", "アリス"] {
            assert!(valid_name(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "a\nb",
            "a\u{7}",
            &"x".repeat(limits::ACTOR_NAME_BYTES_MAX + 1),
        ] {
            assert!(!valid_name(bad), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn who_acts_is_who_the_request_is_of() {
        let actor = Actor {
            role: "operator".to_owned(),
            name: Some("alice".to_owned()),
            via: Some("token".to_owned()),
        };
        let act = acting(actor.clone(), async { Act::new("deleted", "Target", "a") }).await;
        assert_eq!(act.by, actor);
        assert_eq!(Act::new("held", "Release", "a").by, Actor::sengu());
    }
}
