//! What can be explained: the kinds of records, the kinds of targets and their actions.

use super::{Answer, Page, Refusal};
use crate::catalog::{Kind, clip};
use crate::core::Logic;
use axum::Json;
use axum::extract::{Path, State};
use sengu_model::manifest::ActionDecl;
use sengu_model::problem::{Code, Problem};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// What a kind of record, a kind of target or one of its actions is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    pub kind: String,
    pub description: String,
    pub fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub actions: Vec<ActionDecl>,
    /// YAML to start from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub example: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub description: String,
}

/// All that can be explained.
#[utoipa::path(get, path = "/v1/kinds", tag = "system", responses((status = 200, body = Page<Explained>)))]
pub(super) async fn kinds(State(logic): State<Arc<Logic>>) -> Json<Page<Explained>> {
    let catalog = logic.shared.catalog.read().clone();
    let mut items: Vec<Explained> = RECORD_KINDS.iter().map(record_kind).collect();
    items.extend(catalog.kinds.values().map(|k| worker_kind(k)));
    Json(Page {
        items,
        cursor: None,
        revision: *logic.shared.revision.borrow(),
    })
}

/// Explains `Target`, `redfish` or `redfish.power.set`.
#[utoipa::path(get, path = "/v1/kinds/{name}", tag = "system", params(("name" = String, Path)),
    responses((status = 200, body = Explained)))]
pub(super) async fn kind(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<Explained>> {
    let catalog = logic.shared.catalog.read().clone();
    if let Some(found) = RECORD_KINDS
        .iter()
        .find(|k| k.name.eq_ignore_ascii_case(&name))
    {
        return Ok(Json(record_kind(found)));
    }
    if let Some(found) = catalog.kinds.get(&name) {
        return Ok(Json(worker_kind(found)));
    }
    let action = name.split_once('.').and_then(|(kind, action)| {
        let kind = catalog.kinds.get(kind)?;
        Some((kind, kind.actions.get(action)?))
    });
    if let Some((kind, action)) = action {
        let decl = &action.decl;
        let mut fields = Vec::new();
        schema_fields(
            "params",
            decl.params.as_ref().unwrap_or(&Value::Null),
            &mut fields,
        );
        schema_fields(
            "result",
            decl.result.as_ref().unwrap_or(&Value::Null),
            &mut fields,
        );
        return Ok(Json(Explained {
            kind: format!("{}.{}", kind.name(), decl.name),
            description: format!(
                "{} Effect: {}. Timeout: {} ms.",
                decl.description,
                decl.effect.as_str(),
                decl.timeout_ms
            ),
            fields,
            actions: Vec::new(),
            example: String::new(),
        }));
    }
    let mut known: Vec<&str> = RECORD_KINDS.iter().map(|k| k.name).collect();
    known.extend(catalog.kinds.keys().map(String::as_str));
    let what = format!("nothing is called {:?}", clip(&name));
    let hint = format!(
        "known: {}; or kind.action, such as redfish.power.set",
        known.join(", ")
    );
    Err(Refusal(Problem::new(Code::NotFound, what).hint(hint)))
}

fn worker_kind(kind: &Kind) -> Explained {
    let manifest = &kind.offer.manifest;
    let mut fields = vec![Field {
        path: "spec.address".to_owned(),
        kind: "string".to_owned(),
        required: true,
        description: manifest.target.address.clone(),
    }];
    schema_fields("spec.config", &manifest.target.config, &mut fields);
    for key in &manifest.target.identity {
        fields.push(Field {
            path: format!("spec.identity.{key}"),
            kind: "string".to_owned(),
            required: false,
            description: "who the device must be".to_owned(),
        });
    }
    for key in &manifest.target.secrets {
        fields.push(Field {
            path: format!("Secret: data.{key}"),
            kind: "string".to_owned(),
            required: false,
            description: "looked for in the target's Secret".to_owned(),
        });
    }
    Explained {
        kind: manifest.name.clone(),
        description: format!(
            "{} (worker {} {})",
            manifest.description, manifest.name, manifest.version
        ),
        fields,
        actions: manifest
            .actions
            .iter()
            .filter(|a| !a.internal)
            .cloned()
            .collect(),
        example: String::new(),
    }
}

const FIELDS_MAX: usize = 200;

fn schema_fields(at: &str, schema: &Value, out: &mut Vec<Field>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (name, property) in properties {
        if out.len() >= FIELDS_MAX {
            return;
        }
        let kind = match (property.get("enum"), property.get("type")) {
            (Some(values), _) => {
                let words = values.as_array().cloned().unwrap_or_default();
                words
                    .iter()
                    .map(|v| v.as_str().map_or(v.to_string(), str::to_owned))
                    .collect::<Vec<_>>()
                    .join("|")
            }
            (None, Some(Value::String(t))) => t.clone(),
            (None, Some(t)) => t.to_string(),
            (None, None) => "any".to_owned(),
        };
        let text = property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        out.push(Field {
            path: format!("{at}.{name}"),
            kind,
            required: required.iter().any(|r| r == name),
            description: text.to_owned(),
        });
        schema_fields(&format!("{at}.{name}"), property, out);
    }
}

struct RecordKind {
    name: &'static str,
    description: &'static str,
    /// Path, type, required, description.
    fields: &'static [(&'static str, &'static str, bool, &'static str)],
    example: &'static str,
}

fn record_kind(kind: &RecordKind) -> Explained {
    let fields = kind
        .fields
        .iter()
        .map(|(path, kind, required, description)| Field {
            path: (*path).to_owned(),
            kind: (*kind).to_owned(),
            required: *required,
            description: (*description).to_owned(),
        });
    Explained {
        kind: kind.name.to_owned(),
        description: kind.description.to_owned(),
        fields: fields.collect(),
        actions: Vec::new(),
        example: kind.example.to_owned(),
    }
}

const RECORD_KINDS: [RecordKind; 7] = [
    RecordKind {
        name: "Target",
        description: "One device, host or service that is driven.",
        fields: &[
            ("metadata.name", "string", true, "1 to 128 of a-z 0-9 . - _"),
            ("metadata.labels", "map", false, "what selectors select by"),
            (
                "spec.kind",
                "string",
                true,
                "the worker kind that drives it; sengu get workers",
            ),
            (
                "spec.address",
                "string",
                true,
                "where it is; the form is the kind's",
            ),
            (
                "spec.zone",
                "string",
                false,
                "execution environments of this zone reach it; default: default",
            ),
            (
                "spec.secret",
                "string",
                false,
                "name of the Secret with its credentials",
            ),
            (
                "spec.identity",
                "map",
                false,
                "who it must be: certificate fingerprint, host key, engine id",
            ),
            (
                "spec.config",
                "object",
                false,
                "settings by kind; sengu explain <kind>",
            ),
            (
                "spec.limits.sessions",
                "integer",
                false,
                "tasks in hand at once; narrows the kind's limit",
            ),
            (
                "spec.limits.ratePerS",
                "number",
                false,
                "tasks begun per second; narrows the kind's limit",
            ),
            (
                "spec.maintenance",
                "string",
                false,
                "not driven while set; say why",
            ),
        ],
        example: "apiVersion: sengu/v1\nkind: Target\nmetadata:\n  name: web-01\n  labels: {site: tyo1, rack: r12}\nspec:\n  kind: ssh\n  address: 192.0.2.10:22\n  secret: ops\n  identity: {hostKey: \"SHA256:...\"}\n",
    },
    RecordKind {
        name: "Secret",
        description: "Credentials. Values are sealed at rest, shown to workers only, and never read back.",
        fields: &[(
            "spec.data",
            "map",
            true,
            "keys by kind: username, password, privateKey, community ...",
        )],
        example: "apiVersion: sengu/v1\nkind: Secret\nmetadata: {name: ops}\nspec:\n  data: {username: ops, password: change-me}\n",
    },
    RecordKind {
        name: "Schedule",
        description: "Observes a selector again and again; what does not answer is asked less often.",
        fields: &[
            ("spec.selector", "string", false, "targets; empty = all"),
            ("spec.every", "duration", true, "such as 30s; at least 1s"),
            ("spec.jitter", "percentage", false, "of every; default 10%"),
            (
                "spec.action",
                "string",
                false,
                "a read action; default observe",
            ),
            ("spec.params", "object", false, "its parameters"),
            ("spec.paused", "boolean", false, "default false"),
        ],
        example: "apiVersion: sengu/v1\nkind: Schedule\nmetadata: {name: sweep}\nspec: {selector: site=tyo1, every: 30s}\n",
    },
    RecordKind {
        name: "Release",
        description: "Which version of a worker kind drives which targets; it bears the kind's name. Moved by sengu promote and rollback.",
        fields: &[
            ("spec.version", "string", true, "for what no rule matches"),
            (
                "spec.rules",
                "list",
                false,
                "the first that matches a task wins",
            ),
            (
                "spec.rules[].name",
                "string",
                true,
                "unique within the Release",
            ),
            ("spec.rules[].version", "string", true, "sengu get workers"),
            (
                "spec.rules[].where",
                "string",
                false,
                "selector over labels, fields, facts and action; empty = all",
            ),
            (
                "spec.rules[].share",
                "percentage",
                false,
                "of the targets, always the same ones; default 100%",
            ),
            (
                "spec.rules[].steps",
                "list",
                false,
                "greater shares that follow by themselves",
            ),
            (
                "spec.rules[].guard.window",
                "integer",
                false,
                "tasks that must have ended well before the next step; default 50",
            ),
            (
                "spec.rules[].guard.hold",
                "duration",
                false,
                "a step lasts at least this long; default 30s",
            ),
            (
                "spec.rules[].guard.minFailures",
                "integer",
                false,
                "fewer failures never roll back; default 3",
            ),
            (
                "spec.rules[].guard.maxFailures",
                "number",
                false,
                "borne beyond those of the version in use; default 0.02",
            ),
            (
                "spec.rules[].guard.maxLatency",
                "number",
                false,
                "times that of the version in use; 0 = not watched; default 2",
            ),
            (
                "spec.rules[].shadow",
                "boolean",
                false,
                "only repeat reads, and compare; default false",
            ),
            (
                "spec.pool.reserve",
                "integer",
                false,
                "slots kept free of observation",
            ),
            (
                "spec.pool.warm",
                "integer",
                false,
                "instances kept started, per execution environment",
            ),
            (
                "spec.pool.max",
                "integer",
                false,
                "instances at most, per execution environment",
            ),
            (
                "spec.pool.idle",
                "duration",
                false,
                "an instance above warm leaves after this long without a task",
            ),
            (
                "spec.pool.maxTasks",
                "integer",
                false,
                "an instance is renewed after this many; 0 = never",
            ),
            (
                "spec.pool.maxAge",
                "duration",
                false,
                "an instance is renewed after this long; 0s = never",
            ),
        ],
        example: "apiVersion: sengu/v1\nkind: Release\nmetadata: {name: redfish}\nspec:\n  version: 1.4.0\n  rules:\n  - {name: canary, version: 1.5.0, where: vendor=Contoso, share: 10%, steps: [50%, 100%], guard: {}}\n",
    },
    RecordKind {
        name: "Run",
        description: "One action over many targets, in batches, with a failure budget. Made by sengu run.",
        fields: &[
            ("spec.action", "string", true, "sengu explain <kind>"),
            (
                "spec.params",
                "object",
                false,
                "valid against the action's schema",
            ),
            (
                "spec.selector",
                "string",
                false,
                "frozen into a list when the run is created",
            ),
            (
                "spec.targets",
                "list",
                false,
                "names, beside or instead of the selector",
            ),
            ("spec.exclude", "list", false, "names left out"),
            (
                "spec.limit",
                "integer",
                false,
                "at most this many, in name order",
            ),
            (
                "spec.batch",
                "share",
                false,
                "10 or 10%; default: all at once",
            ),
            (
                "spec.maxFail",
                "share",
                false,
                "of the whole run; default: no limit",
            ),
            ("spec.timeout", "duration", false, "per target"),
            (
                "spec.effect",
                "string",
                false,
                "for actions that let the caller declare it",
            ),
        ],
        example: "",
    },
    RecordKind {
        name: "Worker",
        description: "A version of a worker kind: what it drives and can do. Made by sengu worker push.",
        fields: &[],
        example: "",
    },
    RecordKind {
        name: "Wee",
        description: "A worker execution environment: its pools, slots and what its workers did wrong. Kept by sengu.",
        fields: &[
            (
                "spec.cordoned",
                "boolean",
                false,
                "takes nothing new; sengu cordon wee/<name>",
            ),
            (
                "spec.drained",
                "boolean",
                false,
                "and lets its instances go; sengu drain wee/<name>",
            ),
        ],
        example: "",
    },
];
