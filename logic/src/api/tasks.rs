//! Tasks over HTTP.

use super::{Answer, Body, Page, Params, Refusal, json, page_limit};
use crate::catalog::clip;
use crate::core::Logic;
use crate::records::{not_found, store_problem};
use crate::tasks::{CreatedTask, TaskRequest};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use sengu_model::outcome::Status;
use sengu_model::problem::{Code, Problem};
use sengu_model::quantity::Duration;
use sengu_model::task::{TaskState, TaskView};
use sengu_model::wire::envelope::LogLine;
use sengu_model::{TaskId, limits};
use sengu_store::TaskQuery;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;

/// Longest `wait` of one request.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// Log entries read at once.
const LOG_PAGE: usize = 256;
/// What is appended wakes every follower, whosever log it is; bursts are read as one.
const LOG_SETTLE: std::time::Duration = std::time::Duration::from_millis(50);

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CreatedTasks {
    pub tasks: Vec<CreatedTask>,
}

/// Creates one task per target; they are durable when this answers.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = TaskRequest,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = CreatedTasks), (status = "4XX", description = "problem", content_type = "application/problem+json")))]
pub(super) async fn create(
    State(logic): State<Arc<Logic>>,
    Body(request): Body<TaskRequest>,
) -> Answer<Response> {
    let tasks = logic.create_tasks(request).await?;
    Ok(json(StatusCode::ACCEPTED, CreatedTasks { tasks }))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Name of a target.
    target: Option<String>,
    /// A run.
    run: Option<String>,
    /// Comma-separated: done, failed, unknown, cancelled, expired.
    status: Option<String>,
    /// `open`: not ended.
    state: Option<String>,
    /// Worker kind.
    kind: Option<String>,
    action: Option<String>,
    /// Who asked: `person`, `run`, `schedule`.
    origin: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists tasks, newest first. With `kind`, `action` or `origin` a page may be short and still have a next one.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(ListParams), responses((status = 200, body = Page<TaskView>)))]
pub(super) async fn list(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<TaskView>>> {
    let target = match &params.target {
        None => None,
        Some(name) => {
            let inventory = logic.shared.inventory.read();
            let target = inventory
                .target(name)
                .ok_or_else(|| not_found("Target", name))?;
            Some(target.uid)
        }
    };
    let wrong =
        |what: String, hint: &str| Refusal(Problem::new(Code::InvalidField, what).hint(hint));
    let run = match params.run.as_deref().map(str::parse) {
        None => None,
        Some(Ok(run)) => Some(run),
        Some(Err(e)) => return Err(wrong(format!("run: {e}"), "sengu get runs")),
    };
    let open = match params.state.as_deref() {
        None => false,
        Some("open") => true,
        Some(other) => return Err(wrong(format!("state {:?}", clip(other)), "known: open")),
    };
    let status = statuses(params.status.as_deref())?;
    let before: Option<TaskId> = match params.cursor.as_deref().map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(wrong("cursor".to_owned(), "give back the cursor as it was")),
    };
    let limit = page_limit(params.limit);
    let wanted = |task: &TaskView| {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|w| w == text);
        is(&params.kind, &task.kind)
            && is(&params.action, &task.action)
            && is(&params.origin, &task.origin)
    };
    let filtered = params.kind.is_some() || params.action.is_some() || params.origin.is_some();
    // These are not columns of the store: what does not fit is read and left out, up to a limit.
    let page = if filtered { limits::PAGE_MAX } else { limit };
    let (mut items, mut before, mut looked_at) = (Vec::new(), before, 0);
    let more = loop {
        let query = TaskQuery {
            target,
            run,
            status: status.clone(),
            open,
            before,
            limit: page,
        };
        let read = logic.list_tasks(query).await?;
        let whole = read.len() < page;
        looked_at += read.len();
        let mut full = false;
        for task in read {
            full = items.len() == limit;
            if full {
                break;
            }
            before = Some(task.id);
            if wanted(&task) {
                items.push(task);
            }
        }
        full |= items.len() == limit;
        if full || whole || looked_at >= limits::TASK_SCAN_MAX {
            // Full at the very end: the next page is empty, and says so.
            break full || !whole;
        }
    };
    let cursor = before.filter(|_| more).map(|id| id.to_string());
    Ok(Json(Page {
        items,
        cursor,
        revision: *logic.shared.revision.borrow(),
    }))
}

pub(super) fn statuses(text: Option<&str>) -> Answer<Vec<Status>> {
    let words = text
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|w| !w.is_empty());
    words
        .map(|word| {
            word.parse().map_err(|()| {
                let what = format!("status {:?} is not known", clip(word));
                let known = Status::ALL.map(Status::as_str).join(", ");
                Refusal(Problem::new(Code::InvalidField, what).hint(format!("known: {known}")))
            })
        })
        .collect()
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct WaitParams {
    /// Answer when it has ended, or after this time (at most 60s).
    #[param(value_type = Option<String>)]
    pub wait: Option<Duration>,
}

impl WaitParams {
    pub fn limit(&self) -> Option<std::time::Duration> {
        self.wait
            .map(|w| std::time::Duration::from_millis(w.ms).min(WAIT_MAX))
    }
}

pub(super) fn task_id(text: &str) -> Answer<TaskId> {
    text.parse().map_err(|_| Refusal(not_found("task", text)))
}

/// One task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path), WaitParams),
    responses((status = 200, body = TaskView)))]
pub(super) async fn get(
    State(logic): State<Arc<Logic>>,
    Path(id): Path<String>,
    Params(params): Params<WaitParams>,
) -> Answer<Json<TaskView>> {
    let id = task_id(&id)?;
    if let Some(limit) = params.limit() {
        let ended = logic.shared.waiters.wait(id);
        let task = logic.task(id).await?;
        if task.state == TaskState::Ended {
            return Ok(Json(task));
        }
        // Over either way: the answer says how it stands.
        let _ = tokio::time::timeout(limit, ended).await;
    }
    Ok(Json(logic.task(id).await?))
}

/// Asks for the end of a task. What a worker has in hand ends as soon as that is safe.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = String, Path)),
    responses((status = 202, body = TaskView)))]
pub(super) async fn cancel(
    State(logic): State<Arc<Logic>>,
    Path(id): Path<String>,
) -> Answer<Response> {
    let task = logic.cancel_task(task_id(&id)?).await?;
    Ok(json(StatusCode::ACCEPTED, task))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct LogParams {
    /// Stream as server-sent events (`log`, then `end`) until the task has ended.
    follow: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Logs {
    pub items: Vec<LogLine>,
    pub ended: bool,
}

/// What a task's worker logged.
#[utoipa::path(get, path = "/v1/tasks/{id}/logs", tag = "tasks", params(("id" = String, Path), LogParams),
    responses((status = 200, body = Logs)))]
pub(super) async fn logs(
    State(logic): State<Arc<Logic>>,
    Path(id): Path<String>,
    Params(params): Params<LogParams>,
) -> Answer<Response> {
    let id = task_id(&id)?;
    if !params.follow {
        let ended = logic.task(id).await?.state == TaskState::Ended;
        let (mut items, mut after) = (Vec::new(), 0);
        loop {
            let (mut lines, last) = page(&logic, id, after).await?;
            items.append(&mut lines);
            match last {
                Some(last) if items.len() < limits::TASK_LOG_LINES_MAX as usize => after = last,
                _ => return Ok(json(StatusCode::OK, Logs { items, ended })),
            }
        }
    }
    logic.task(id).await?;
    let permit = super::watch::admit(&logic)?;
    let appended = logic.shared.position.subscribe();
    let stream = futures::stream::unfold(
        (logic, 0, false, (permit, appended)),
        move |state| async move {
            let (logic, mut after, done, (permit, mut appended)) = state;
            if done {
                return None;
            }
            let mut events: Vec<Result<Event, Infallible>> = Vec::new();
            loop {
                // Both before looking, so that what comes meanwhile ends the wait below.
                let ended = logic.shared.waiters.wait(id);
                appended.mark_unchanged();
                // A task that retention has deleted has nothing more to say either.
                let open = logic.task(id).await;
                let over = !open.is_ok_and(|t| t.state != TaskState::Ended);
                let Ok((lines, last)) = page(&logic, id, after).await else {
                    return None;
                };
                for line in &lines {
                    events.extend(Event::default().event("log").json_data(line).ok().map(Ok));
                }
                after = last.unwrap_or(after);
                if over && lines.is_empty() {
                    events.push(Ok(Event::default().event("end").data("{}")));
                    return Some((events, (logic, after, true, (permit, appended))));
                }
                if !events.is_empty() {
                    return Some((events, (logic, after, false, (permit, appended))));
                }
                tokio::select! {
                    // Its sender is dropped only when it has ended or sengu stops; either way: look.
                    _ = ended => {}
                    changed = appended.changed() => {
                        if changed.is_err() {
                            return None;
                        }
                        tokio::time::sleep(LOG_SETTLE).await;
                    }
                }
            }
        },
    );
    let stream = futures::StreamExt::flat_map(stream, futures::stream::iter);
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// Lines after a position, and the position of the last.
async fn page(logic: &Logic, id: TaskId, after: u64) -> Answer<(Vec<LogLine>, Option<u64>)> {
    let entries = logic
        .shared
        .store
        .entries(sengu_store::TASK_LOG, id.0, after, LOG_PAGE)
        .await;
    let entries = entries.map_err(store_problem)?;
    let last = entries.last().map(|e| e.position);
    let lines = entries
        .iter()
        .flat_map(|e| serde_json::from_slice::<Vec<LogLine>>(&e.body).unwrap_or_default())
        .collect();
    Ok((lines, last))
}
