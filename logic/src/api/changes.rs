//! What was changed, newest first: the audit of the records.

use super::{Answer, Params, Refusal, page_limit};
use crate::changes::shown;
use crate::core::Logic;
use crate::documents::KINDS;
use crate::records::store_problem;
use axum::Json;
use axum::extract::State;
use sengu_model::problem::{Code, Problem};
use sengu_model::{Record, limits};
use sengu_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Revisions read at once: each is at most one change.
const STEP: u64 = 500;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ChangesParams {
    /// Changes before this revision, as `cursor` gave it; absent = from the newest.
    before: Option<u64>,
    limit: Option<usize>,
    /// Only of this kind.
    kind: Option<String>,
    /// Only of records of this name.
    name: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangesPage {
    pub items: Vec<ChangeSeen>,
    /// Give it back as `before` for the next page, which there may be even when this one is short; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// Changes before this revision are no longer kept.
    pub oldest: u64,
    /// The newest revision when it was listed, whatever was asked for: what comes after it is told by
    /// `GET /v1/watch?from=` this.
    pub revision: u64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSeen {
    pub revision: u64,
    pub kind: String,
    pub name: String,
    pub op: ChangeOp,
    /// As it is now, or was last; secret values are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeOp {
    Put,
    Delete,
}

/// What was changed, newest first. Of several changes of one record close together only the last may be listed.
#[utoipa::path(get, path = "/v1/changes", tag = "watch", params(ChangesParams), responses((status = 200, body = ChangesPage)))]
pub(super) async fn list(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<ChangesParams>,
) -> Answer<Json<ChangesPage>> {
    if let Some(unknown) = params.kind.as_deref().filter(|k| !KINDS.contains(k)) {
        let what = format!("there is no kind {:?}", crate::catalog::clip(unknown));
        return Err(Refusal(Problem::new(Code::UnknownKind, what)));
    }
    let store = &*logic.shared.store;
    let oldest = oldest(store).await.map_err(store_problem)?;
    // Everything above this is kept.
    let gone = oldest.saturating_sub(1);
    let newest = *logic.shared.revision.borrow();
    let wanted = |kind: &str, name: &str| {
        params.kind.as_deref().is_none_or(|k| k == kind)
            && params.name.as_deref().is_none_or(|n| n == name)
    };
    let limit = page_limit(params.limit);
    let end = params.before.unwrap_or(u64::MAX).min(newest + 1);
    let last_looked_at = end.saturating_sub(limits::TASK_SCAN_MAX as u64);
    let (mut before, mut items) = (end, Vec::new());
    'pages: while before > gone + 1 && before > last_looked_at {
        let from = before.saturating_sub(STEP + 1).max(gone);
        let read = match store.changes(from, STEP as usize).await {
            Ok(read) => read,
            // Retention went on meanwhile.
            Err(StoreError::Compacted { .. }) => {
                before = gone + 1;
                break;
            }
            Err(error) => return Err(Refusal(store_problem(error))),
        };
        let older = read.changes.iter().rev().filter(|c| c.revision < before);
        for change in older {
            let Some(seen) = shown(&logic.shared, change) else {
                continue;
            };
            if !wanted(&seen.kind, &seen.name) {
                continue;
            }
            items.push(ChangeSeen {
                revision: change.revision,
                op: match seen.record {
                    Some(_) => ChangeOp::Put,
                    None => ChangeOp::Delete,
                },
                kind: seen.kind,
                name: seen.name,
                record: seen.record,
            });
            if items.len() == limit {
                before = change.revision;
                break 'pages;
            }
        }
        before = from + 1;
    }
    Ok(Json(ChangesPage {
        items,
        cursor: Some(before).filter(|before| *before > gone + 1),
        oldest,
        revision: newest,
    }))
}

/// The first revision from which on all changes are kept.
async fn oldest(store: &dyn Store) -> Result<u64, StoreError> {
    match store.changes(0, 1).await {
        Ok(_) => Ok(1),
        Err(StoreError::Compacted { oldest }) => Ok(oldest),
        Err(error) => Err(error),
    }
}
