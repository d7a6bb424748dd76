//! A run as a grid, once and followed.

use super::{Answer, Refusal};
use crate::core::Logic;
use crate::glance::grid::{GridChanged, RunGrid};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use sengu_model::kinds::RunStatus;
use sengu_model::problem::{Code, Problem};
use std::sync::Arc;

/// Each target of a run as one letter.
#[utoipa::path(get, path = "/v1/runs/{name}/grid", tag = "runs", params(("name" = String, Path)),
    responses((status = 200, body = RunGrid)))]
pub(super) async fn get(
    State(_logic): State<Arc<Logic>>,
    Path(_name): Path<String>,
) -> Answer<Json<RunGrid>> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}

/// The same as server-sent events: `grid` with all of it, then `changed` with what changed, at most two a second, and
/// `run` with the status of the run whenever that changed.
#[utoipa::path(get, path = "/v1/runs/{name}/grid/watch", tag = "runs", params(("name" = String, Path)),
    responses((status = 200, description = "server-sent events `grid`, `changed`, `run`", body = GridEvent, content_type = "text/event-stream")))]
pub(super) async fn watch(
    State(_logic): State<Arc<Logic>>,
    Path(_name): Path<String>,
) -> Answer<Response> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}

/// Data of one event of `/v1/runs/{name}/grid/watch`.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum GridEvent {
    Grid(RunGrid),
    Changed(GridChanged),
    Run(RunStatus),
}
