//! What can be done: the worker kinds that were offered, with their schemas compiled once.

use crate::rollout::choose::Routes;
use jsonschema::Validator;
use sengu_model::manifest::{ActionDecl, LaneLimits};
use sengu_model::problem::{Code, Fault};
use sengu_model::wire::envelope::WorkerOffer;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// All kinds by name. Replaced as a whole when a version comes or goes, or a Release moves.
#[derive(Default, Clone)]
pub struct Catalog {
    /// Each kind in the version that its Release names for whatever no rule matches.
    pub kinds: BTreeMap<String, Arc<Kind>>,
    /// Which version does which task, with all versions that are known.
    pub routes: BTreeMap<String, Arc<Routes>>,
}

impl Catalog {
    pub fn version(&self, kind: &str, version: &str) -> Option<&Arc<Kind>> {
        self.routes.get(kind)?.versions.get(version)
    }
}

/// One version of a worker kind.
pub struct Kind {
    pub offer: WorkerOffer,
    /// `kind@version`.
    pub full_name: Arc<str>,
    pub actions: BTreeMap<String, Arc<Action>>,
    config: Option<Validator>,
    address: Option<Validator>,
}

/// One action of a kind.
pub struct Action {
    pub decl: ActionDecl,
    /// Absent: takes no parameters.
    params: Option<Validator>,
}

/// A manifest whose schemas cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("worker {worker}: schema of {part}: {what}")]
pub struct CatalogError {
    pub worker: String,
    pub part: String,
    pub what: String,
}

impl Kind {
    /// # Errors
    /// When a schema of the manifest is no JSON Schema.
    pub fn new(offer: WorkerOffer) -> Result<Kind, CatalogError> {
        let worker = offer.manifest.name.clone();
        let compile = |part: String, schema: &Value| {
            jsonschema::validator_for(schema).map_err(|e| CatalogError {
                worker: worker.clone(),
                part,
                what: e.to_string(),
            })
        };
        let target = &offer.manifest.target;
        let config = match &target.config {
            Value::Null => None,
            schema => Some(compile("target.config".to_owned(), schema)?),
        };
        let address = match &target.address_pattern {
            None => None,
            Some(p) => Some(compile(
                "target.address_pattern".to_owned(),
                &json!({"type": "string", "pattern": p}),
            )?),
        };
        let mut actions = BTreeMap::new();
        for decl in &offer.manifest.actions {
            let params = match &decl.params {
                None => None,
                Some(schema) => Some(compile(format!("action {}", decl.name), schema)?),
            };
            actions.insert(
                decl.name.clone(),
                Arc::new(Action {
                    decl: decl.clone(),
                    params,
                }),
            );
        }
        let full_name = format!("{worker}@{}", offer.manifest.version).into();
        Ok(Kind {
            actions,
            config,
            address,
            offer,
            full_name,
        })
    }

    pub fn version(&self) -> &str {
        &self.offer.manifest.version
    }

    pub fn name(&self) -> &str {
        &self.offer.manifest.name
    }

    /// Limits of one target: the kind's, narrowed by the target's own.
    pub fn lane_limits(&self, own: Option<&sengu_model::kinds::TargetLimits>) -> LaneLimits {
        let mut limits = self.offer.manifest.limits;
        if let Some(own) = own {
            if let Some(sessions) = own.sessions {
                limits.sessions = limits.sessions.min(sessions.max(1));
            }
            if let Some(rate) = own.rate_per_s
                && rate > 0.0
                && (limits.rate_per_s == 0.0 || rate < limits.rate_per_s)
            {
                limits.rate_per_s = rate;
            }
        }
        limits
    }

    /// What is wrong with a target of this kind.
    pub fn target_faults(&self, spec: &sengu_model::kinds::TargetSpec) -> Vec<Fault> {
        let mut faults = Vec::new();
        let target = &self.offer.manifest.target;
        if let Some(address) = &self.address
            && !address.is_valid(&Value::String(spec.address.clone()))
        {
            faults.push(Fault {
                place: "spec.address".to_owned(),
                code: Code::InvalidField,
                message: format!(
                    "{:?} is no address of kind {}",
                    clip(&spec.address),
                    self.name()
                ),
                hint: Some(format!("write {}", target.address)),
            });
        }
        let empty = json!({});
        let config = if spec.config.is_null() {
            &empty
        } else {
            &spec.config
        };
        if let Some(schema) = &self.config {
            schema_faults(
                schema,
                config,
                "spec.config",
                Code::InvalidField,
                &mut faults,
            );
            for fault in &mut faults {
                let hint = || format!("sengu explain {}", self.name());
                fault.hint.get_or_insert_with(hint);
            }
        } else if config.as_object().is_none_or(|o| !o.is_empty()) {
            faults.push(Fault {
                place: "spec.config".to_owned(),
                code: Code::InvalidField,
                message: format!("kind {} takes no config", self.name()),
                hint: Some("leave config out".to_owned()),
            });
        }
        for key in spec.identity.keys() {
            if !target.identity.contains(key) {
                faults.push(Fault {
                    place: format!("spec.identity.{}", clip(key)),
                    code: Code::InvalidField,
                    message: format!("kind {} knows no identity {:?}", self.name(), clip(key)),
                    hint: Some(format!("known: {}", target.identity.join(", "))),
                });
            }
        }
        faults
    }
}

impl Action {
    /// What is wrong with these parameters.
    pub fn param_faults(&self, params: &Value) -> Vec<Fault> {
        let mut faults = Vec::new();
        match &self.params {
            Some(schema) => {
                schema_faults(schema, params, "params", Code::InvalidParams, &mut faults);
            }
            None if params.as_object().is_some_and(|o| !o.is_empty()) => faults.push(Fault {
                place: "params".to_owned(),
                code: Code::InvalidParams,
                message: format!("action {} takes no parameters", self.decl.name),
                hint: None,
            }),
            None => {}
        }
        faults
    }
}

const FAULTS_PER_VALUE_MAX: usize = 10;

fn schema_faults(schema: &Validator, value: &Value, at: &str, code: Code, out: &mut Vec<Fault>) {
    if schema.is_valid(value) {
        return;
    }
    for error in schema.iter_errors(value).take(FAULTS_PER_VALUE_MAX) {
        let path = error.instance_path().to_string().replace('/', ".");
        let message: String = error.to_string().chars().take(300).collect();
        out.push(Fault {
            place: format!("{at}{path}"),
            code,
            message,
            hint: None,
        });
    }
}

/// Hostile text is shown, but not at any length.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
