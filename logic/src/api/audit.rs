//! Who did what, newest first.

use super::{Answer, Page, Params, Refusal, page_limit};
use crate::audit::Act;
use crate::core::Logic;
use crate::records::store_problem;
use axum::Json;
use axum::extract::State;
use sengu_model::problem::{Code, Problem};
use sengu_model::{Time, limits};
use sengu_store::{AUDIT, Entry};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Entries read at once.
const STEP: usize = 500;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    limit: Option<usize>,
    /// As the page before gave it; absent = from the newest.
    cursor: Option<String>,
    /// Only of this kind: of a record, or `Task`, or `Store`.
    kind: Option<String>,
    /// Only of what has this name, or was done to a target of this name.
    name: Option<String>,
    /// Only what was done so: `deleted`, `promoted`, ...
    what: Option<String>,
    /// Only by this role or this name.
    by: Option<String>,
}

/// One act.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub position: u64,
    #[schema(value_type = String)]
    pub at: Time,
    #[serde(flatten)]
    pub act: Act,
}

/// Who did what, newest first: what people asked for and was accepted, and what sengu decided by itself about Releases.
/// A page may be short, even empty, and still have a next one.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditParams), responses((status = 200, body = Page<AuditEntry>)))]
pub(super) async fn list(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<AuditParams>,
) -> Answer<Json<Page<AuditEntry>>> {
    let mut before = match params.cursor.as_deref().map(str::parse::<u64>) {
        None => u64::MAX,
        Some(Ok(position)) => position,
        Some(Err(_)) => {
            let problem = Problem::new(Code::InvalidField, "cursor");
            return Err(Refusal(problem.hint("give back the cursor as it was")));
        }
    };
    let limit = page_limit(params.limit);
    let (mut items, mut looked, mut more) = (Vec::new(), 0, true);
    while more && items.len() < limit && looked < limits::TASK_SCAN_MAX {
        let entries = logic.shared.store.entries_back(AUDIT, before, STEP).await;
        let entries = entries.map_err(store_problem)?;
        more = entries.len() == STEP;
        for entry in &entries {
            if items.len() == limit {
                more = true;
                break;
            }
            looked += 1;
            before = entry.position;
            items.extend(shown(entry).filter(|entry| params.wants(&entry.act)));
        }
    }
    Ok(Json(Page {
        cursor: more.then(|| before.to_string()),
        items,
        revision: *logic.shared.revision.borrow(),
    }))
}

impl AuditParams {
    fn wants(&self, act: &Act) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
        let named = |wanted: &str| act.name == wanted || act.targets.iter().any(|t| t == wanted);
        let done_by =
            |wanted: &str| act.by.role == wanted || act.by.name.as_deref() == Some(wanted);
        is(&self.kind, &act.kind)
            && is(&self.what, &act.what)
            && self.name.as_deref().is_none_or(named)
            && self.by.as_deref().is_none_or(done_by)
    }
}

fn shown(entry: &Entry) -> Option<AuditEntry> {
    let act = serde_json::from_slice(&entry.body).ok()?;
    Some(AuditEntry {
        position: entry.position,
        at: entry.at,
        act,
    })
}
