//! Records over HTTP: apply, list, get, put, delete.

use super::{Answer, Page, Params, Refusal, json, page_limit, read_body};
use crate::catalog::clip;
use crate::core::Logic;
use crate::documents::{self, KINDS, Source};
use crate::records::{Applied, SELECTOR_HINT, hide, not_found};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sengu_model::problem::{Code, Problem};
use sengu_model::{Record, Selector};
use serde::{Deserialize, Serialize};
use std::ops::Bound;
use std::sync::Arc;

/// Documents to apply as one set.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    pub sources: Vec<Source>,
    /// Check and compare only.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApplyAnswer {
    pub results: Vec<Applied>,
    pub revision: u64,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ApplyParams {
    /// Check and compare only; so does `dryRun` of a JSON body.
    dry_run: bool,
}

/// Applies a set of documents: all of them or none.
///
/// The body is either JSON with named sources or plain YAML of one or many documents.
#[utoipa::path(post, path = "/v1/apply", tag = "records", params(ApplyParams),
    request_body(content((ApplyRequest = "application/json"), (String = "application/yaml"))),
    responses((status = 200, body = ApplyAnswer), (status = "4XX", description = "problem", content_type = "application/problem+json")))]
pub(super) async fn apply(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<ApplyParams>,
    request: Request,
) -> Answer<Response> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let yaml = kind.is_some_and(|k| k.contains("yaml"));
    let body = read_body(request, &()).await?;
    let request = if yaml {
        let text = String::from_utf8(body.into())
            .map_err(|_| Refusal(Problem::new(Code::Syntax, "the body is not UTF-8")))?;
        let sources = vec![Source {
            name: "body".to_owned(),
            text,
        }];
        ApplyRequest {
            sources,
            dry_run: false,
        }
    } else {
        serde_json::from_slice(&body).map_err(|e| {
            let hint =
                "send {\"sources\":[{\"name\",\"text\"}]} as application/json, or application/yaml";
            Refusal(Problem::new(Code::Syntax, format!("body: {e}")).hint(hint))
        })?
    };
    // Said in either place it must hold: a dry run that writes is the worst of answers.
    let dry_run = params.dry_run || request.dry_run;
    let documents = read_documents(request.sources).await?;
    let (results, revision) = logic.apply(documents, dry_run).await?;
    Ok(json(StatusCode::OK, ApplyAnswer { results, revision }))
}

/// Reads the sources on a thread of their own: a large set takes seconds of CPU that belong to others, and what it
/// allocates goes back to the system when the thread ends, which a pool's thread would keep.
async fn read_documents(sources: Vec<Source>) -> Answer<Vec<documents::Document>> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("read-documents".to_owned());
    let started = thread.spawn(move || {
        // The caller may have gone away; then nobody wants it.
        let _ = reply.send(documents::read(&sources));
    });
    let failed = || {
        Refusal(Problem::new(
            Code::Internal,
            "the documents could not be read",
        ))
    };
    started.map_err(|e| {
        tracing::error!(error = %e, "no thread to read documents");
        failed()
    })?;
    Ok(answer.await.map_err(|_| failed())??)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Selector over labels, fields and facts (targets) or labels (other kinds).
    selector: Option<String>,
    /// Only names with this prefix.
    name: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

fn known_kind(kind: &str) -> Answer<()> {
    if KINDS.contains(&kind) {
        return Ok(());
    }
    let what = format!("there is no kind {:?}", clip(kind));
    Err(Refusal(
        Problem::new(Code::UnknownKind, what).hint(format!("known: {}", KINDS.join(", "))),
    ))
}

/// Lists records of a kind in name order.
#[utoipa::path(get, path = "/v1/records/{kind}", tag = "records", params(("kind" = String, Path), ListParams),
    responses((status = 200, body = Page<Record>)))]
pub(super) async fn list(
    State(logic): State<Arc<Logic>>,
    Path(kind): Path<String>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<Record>>> {
    known_kind(&kind)?;
    let limit = page_limit(params.limit);
    let selector: Selector = params
        .selector
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|e| {
            let problem = Problem::new(Code::InvalidSelector, format!("{e}"));
            Refusal(problem.hint(SELECTOR_HINT))
        })?;
    let prefix = params.name.unwrap_or_default();
    let after = params.cursor.unwrap_or_default();
    let revision = *logic.shared.revision.borrow();
    let mut items = Vec::new();
    let mut more = false;
    let inventory = logic.shared.inventory.read();
    if kind == "Target" {
        let from: Bound<&str> = if after.is_empty() {
            Bound::Included(prefix.as_str())
        } else {
            Bound::Excluded(after.as_str())
        };
        for (name, target) in inventory.targets.range::<str, _>((from, Bound::Unbounded)) {
            if !name.starts_with(&prefix) {
                break;
            }
            if !target.matches(&selector) {
                continue;
            }
            if items.len() == limit {
                more = true;
                break;
            }
            items.push(target.record());
        }
    } else {
        for (name, other) in inventory.others_of(&kind) {
            let labels = &other.record.metadata.labels;
            let get = |key: &str| match key {
                "name" => Some(name.into()),
                key => labels.get(key).map(|v| v.as_str().into()),
            };
            if *name <= *after && !after.is_empty()
                || !name.starts_with(&prefix)
                || !selector.matches(get)
            {
                continue;
            }
            if items.len() == limit {
                more = true;
                break;
            }
            items.push(hide(other.record.clone()));
        }
    }
    let cursor = items
        .last()
        .filter(|_| more)
        .map(|r| r.metadata.name.clone());
    Ok(Json(Page {
        items,
        cursor,
        revision,
    }))
}

/// One record.
#[utoipa::path(get, path = "/v1/records/{kind}/{name}", tag = "records",
    params(("kind" = String, Path), ("name" = String, Path)), responses((status = 200, body = Record)))]
pub(super) async fn get(
    State(logic): State<Arc<Logic>>,
    Path((kind, name)): Path<(String, String)>,
) -> Answer<Json<Record>> {
    known_kind(&kind)?;
    let record = match kind.as_str() {
        "Run" => logic.run(&name).await?,
        _ => logic
            .record(&kind, &name)
            .ok_or_else(|| not_found(&kind, &name))?,
    };
    Ok(Json(hide(record)))
}

/// Writes one record. With `metadata.revision` only if it is still at that revision.
#[utoipa::path(put, path = "/v1/records/{kind}/{name}", tag = "records",
    params(("kind" = String, Path), ("name" = String, Path)), request_body = Record,
    responses((status = 200, body = Record)))]
pub(super) async fn put(
    State(logic): State<Arc<Logic>>,
    Path((kind, name)): Path<(String, String)>,
    request: Request,
) -> Answer<Json<Record>> {
    known_kind(&kind)?;
    let body = read_body(request, &()).await?;
    let mut record: Record = serde_json::from_slice(&body)
        .map_err(|e| Refusal(Problem::new(Code::InvalidField, format!("body: {e}"))))?;
    if record.kind != kind || record.metadata.name != name {
        let what = format!(
            "the body is {}/{}, the path {kind}/{name}",
            clip(&record.kind),
            clip(&record.metadata.name)
        );
        return Err(Refusal(Problem::new(Code::InvalidField, what)));
    }
    // What was read comes back whole; the status and the uid are the server's.
    record.status = serde_json::Value::Null;
    record.metadata.uid = None;
    let text = serde_json::to_string(&record).unwrap_or_default();
    let documents = documents::read(&[Source {
        name: "body".to_owned(),
        text,
    }])?;
    logic.apply(documents, false).await?;
    let record = logic
        .record(&kind, &name)
        .ok_or_else(|| not_found(&kind, &name))?;
    Ok(Json(hide(record)))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DeleteParams {
    /// Only if it is still at this revision.
    revision: Option<u64>,
}

/// Deletes one record.
#[utoipa::path(delete, path = "/v1/records/{kind}/{name}", tag = "records",
    params(("kind" = String, Path), ("name" = String, Path), DeleteParams), responses((status = 204)))]
pub(super) async fn delete(
    State(logic): State<Arc<Logic>>,
    Path((kind, name)): Path<(String, String)>,
    Params(params): Params<DeleteParams>,
) -> Answer<Response> {
    known_kind(&kind)?;
    logic.delete(&kind, &name, params.revision).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends the quarantine of a target.
#[utoipa::path(post, path = "/v1/targets/{name}/uncordon", tag = "records",
    params(("name" = String, Path)), responses((status = 200, body = Record)))]
pub(super) async fn uncordon(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<Record>> {
    Ok(Json(logic.uncordon(&name).await?))
}
