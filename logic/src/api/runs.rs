//! Runs over HTTP.

use super::{Answer, Body, Page, Params, Refusal, json, page_limit};
use crate::core::Logic;
use crate::records::{not_found, store_problem};
use crate::service::control::RunPreview;
use crate::why::Why;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use sengu_model::kinds::{RunSpec, RunStatus};
use sengu_model::outcome::Status;
use sengu_model::problem::{Code, Problem};
use sengu_model::task::{Ending, Priority, TaskState};
use sengu_model::{Outcome, Record, RunId, TaskId};
use sengu_store::{RunTask, Stand};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct CreateParams {
    /// Check, and show what would be touched.
    dry_run: bool,
}

/// Creates a run with all its tasks and begins its first batch.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", params(CreateParams, ("Idempotency-Key" = Option<String>, Header)),
    request_body = RunSpec, responses((status = 202, body = Record), (status = 200, body = RunPreview)))]
pub(super) async fn create(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<CreateParams>,
    Body(spec): Body<RunSpec>,
) -> Answer<Response> {
    if params.dry_run {
        return Ok(json(StatusCode::OK, logic.preview_run(&spec)?));
    }
    Ok(json(StatusCode::ACCEPTED, logic.create_run(spec).await?))
}

/// One run as it stands.
#[utoipa::path(get, path = "/v1/runs/{name}", tag = "runs", params(("name" = String, Path), super::tasks::WaitParams),
    responses((status = 200, body = Record)))]
pub(super) async fn get(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
    Params(params): Params<super::tasks::WaitParams>,
) -> Answer<Json<Record>> {
    let mut revisions = logic.shared.revision.subscribe();
    let mut record = logic.run(&name).await?;
    if let Some(limit) = params.limit() {
        let end = tokio::time::Instant::now() + limit;
        while !over(&record) {
            match tokio::time::timeout_at(end, revisions.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break,
            }
            record = logic
                .record("Run", &name)
                .ok_or_else(|| not_found("Run", &name))?;
        }
        record = logic.run(&name).await?;
    }
    Ok(Json(record))
}

fn over(record: &Record) -> bool {
    serde_json::from_value::<RunStatus>(record.status.clone()).is_ok_and(|s| s.phase.over())
}

/// Ends a run: nothing further begins.
#[utoipa::path(post, path = "/v1/runs/{name}/cancel", tag = "runs", params(("name" = String, Path)),
    responses((status = 202, body = Record)))]
pub(super) async fn cancel(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Response> {
    Ok(json(StatusCode::ACCEPTED, logic.cancel_run(&name).await?))
}

/// Holds a run: what is in hand ends, and nothing further begins until it is resumed. Survives restarts.
#[utoipa::path(post, path = "/v1/runs/{name}/pause", tag = "runs", params(("name" = String, Path)),
    responses((status = 202, body = Record)))]
pub(super) async fn pause(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Response> {
    Ok(json(StatusCode::ACCEPTED, logic.pause_run(&name).await?))
}

/// Goes on with a run that was paused.
#[utoipa::path(post, path = "/v1/runs/{name}/resume", tag = "runs", params(("name" = String, Path)),
    responses((status = 202, body = Record)))]
pub(super) async fn resume(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Response> {
    Ok(json(StatusCode::ACCEPTED, logic.resume_run(&name).await?))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RetryParams {
    /// Also those that are unknown after an action that must not be repeated: a person has looked.
    unknown_too: bool,
}

/// Does a run again for those targets that are not done.
#[utoipa::path(post, path = "/v1/runs/{name}/retry", tag = "runs", params(("name" = String, Path), RetryParams),
    responses((status = 202, body = Record)))]
pub(super) async fn retry(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
    Params(params): Params<RetryParams>,
) -> Answer<Response> {
    let record = logic.retry_run(&name, params.unknown_too).await?;
    Ok(json(StatusCode::ACCEPTED, record))
}

/// Where one target of a run stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunTarget {
    pub target: String,
    pub task: TaskId,
    pub batch: u32,
    pub state: TaskState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub changed: bool,
    pub attempt: u32,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TargetParams {
    /// Comma-separated: done, failed, unknown, cancelled, expired.
    status: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The targets of a run and where each stands.
#[utoipa::path(get, path = "/v1/runs/{name}/targets", tag = "runs", params(("name" = String, Path), TargetParams),
    responses((status = 200, body = Page<RunTarget>)))]
pub(super) async fn targets(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
    Params(params): Params<TargetParams>,
) -> Answer<Json<Page<RunTarget>>> {
    let run: RunId = name.parse().map_err(|_| Refusal(not_found("Run", &name)))?;
    logic
        .record("Run", &name)
        .ok_or_else(|| not_found("Run", &name))?;
    let wanted = super::tasks::statuses(params.status.as_deref())?;
    let after: TaskId = match params.cursor.as_deref().map(str::parse) {
        None => TaskId(0),
        Some(Ok(id)) => id,
        Some(Err(_)) => return Err(Refusal(Problem::new(Code::InvalidField, "cursor"))),
    };
    let limit = page_limit(params.limit);
    let mut tasks = logic
        .shared
        .store
        .run_tasks(run)
        .await
        .map_err(store_problem)?;
    tasks.retain(|t| {
        t.id > after && (wanted.is_empty() || t.status.is_some_and(|s| wanted.contains(&s)))
    });
    tasks.sort_by_key(|t| t.id);
    let more = tasks.len() > limit;
    tasks.truncate(limit);
    let open: Vec<TaskId> = tasks
        .iter()
        .filter(|t| t.status.is_none())
        .map(|t| t.id)
        .collect();
    let asked = open.clone();
    let standings = logic
        .dispatch
        .ask(|reply| crate::dispatch::Input::Standing {
            tasks: asked,
            reply,
        })
        .await
        .unwrap_or_default();
    let standings: std::collections::HashMap<_, _> = open.into_iter().zip(standings).collect();
    let mut items = Vec::with_capacity(tasks.len());
    for task in &tasks {
        let standing = standings.get(&task.id).and_then(Option::as_ref);
        items.push(run_target(&logic, task, standing).await?);
    }
    let cursor = items
        .last()
        .filter(|_| more)
        .map(|t: &RunTarget| t.task.to_string());
    Ok(Json(Page {
        items,
        cursor,
        revision: *logic.shared.revision.borrow(),
    }))
}

async fn run_target(
    logic: &Logic,
    task: &RunTask,
    standing: Option<&crate::dispatch::Standing>,
) -> Answer<RunTarget> {
    use crate::dispatch::lanes::Stage;
    let target = logic
        .shared
        .inventory
        .read()
        .by_uid
        .get(&task.target)
        .map(|t| t.name.to_string());
    let state = match (task.status, task.priority, standing.map(|s| s.stage)) {
        (Some(_), ..) => TaskState::Ended,
        (None, Some(Priority::Held), _) => TaskState::Held,
        (None, _, Some(Stage::Started { .. })) => TaskState::Started,
        (None, _, Some(Stage::Sending | Stage::Sent { .. } | Stage::Settling)) => TaskState::Sent,
        (None, ..) => TaskState::Waiting,
    };
    let mut out = RunTarget {
        target: target.unwrap_or_else(|| format!("{} (deleted)", task.target)),
        task: task.id,
        batch: task.batch,
        state,
        status: task.status.map(|s| s.as_str().to_owned()),
        code: None,
        message: None,
        changed: task.changed,
        attempt: standing.map_or(task.attempt, |s| s.attempt),
    };
    // Only what did not go well has more to say.
    if task.status.is_some_and(|s| s != Status::Done) {
        let stored = logic
            .shared
            .store
            .task(task.id)
            .await
            .map_err(store_problem)?;
        if let Some(Stand::Ended { ending, .. }) = stored.map(|t| t.stand)
            && let Ok(ending) = serde_json::from_slice::<Ending>(&ending)
        {
            out.attempt = ending.attempts;
            out.code = ending.outcome.code().map(|c| c.as_str().to_owned());
            out.message = Some(match ending.outcome {
                Outcome::Failed(f) => f.message,
                Outcome::Unknown { why }
                | Outcome::Cancelled { why }
                | Outcome::Expired { why } => why,
                Outcome::Done(_) => String::new(),
            });
        }
    }
    Ok(out)
}

/// Why something does not progress. `object` is task, run or target.
#[utoipa::path(get, path = "/v1/why/{object}/{name}", tag = "why",
    params(("object" = String, Path), ("name" = String, Path)), responses((status = 200, body = Why)))]
pub(super) async fn why(
    State(logic): State<Arc<Logic>>,
    Path((object, name)): Path<(String, String)>,
) -> Answer<Json<Why>> {
    let why = match object.as_str() {
        "task" => {
            let id = name
                .parse()
                .map_err(|_| Refusal(not_found("task", &name)))?;
            logic.why_task(id).await?
        }
        "run" => logic.why_run(&name).await?,
        "target" => logic.why_target(&name).await?,
        _ => {
            let what = format!(
                "{:?} is none of task, run, target",
                crate::catalog::clip(&object)
            );
            return Err(Refusal(Problem::new(Code::NotFound, what)));
        }
    };
    Ok(Json(why))
}
