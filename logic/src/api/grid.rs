//! A run as a grid, once and followed.

use super::follow::{self, Pace};
use super::{Answer, Refusal, watch};
use crate::core::Logic;
use crate::glance::grid::{GridChanged, RunGrid};
use crate::glance::run_board::RunBoard;
use crate::records::not_found;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use sengu_model::kinds::RunStatus;
use sengu_model::limits;
use sengu_model::problem::{Code, Problem};
use std::sync::Arc;

/// Each target of a run as one letter.
#[utoipa::path(get, path = "/v1/runs/{name}/grid", tag = "runs", params(("name" = String, Path)),
    responses((status = 200, body = RunGrid)))]
pub(super) async fn get(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<RunGrid>> {
    let (grid, _) = board(&logic, &name)?.whole(&logic).await?;
    Ok(Json(grid))
}

fn board(logic: &Logic, name: &str) -> Answer<Arc<RunBoard>> {
    let missing = || Refusal(not_found("Run", name));
    let run = name.parse().map_err(|_| missing())?;
    logic.record("Run", name).ok_or_else(missing)?;
    let board = logic.shared.glance.runs.board(run);
    board.ok_or_else(|| {
        Refusal(
            Problem::new(Code::TooManyRequests, "the grids of too many runs are open")
                .hint("close some"),
        )
    })
}

/// The same as server-sent events: `grid` with all of it, then `changed` with what changed, at most two a second, and
/// `run` with the status of the run whenever that changed.
#[utoipa::path(get, path = "/v1/runs/{name}/grid/watch", tag = "runs", params(("name" = String, Path)),
    responses((status = 200, description = "server-sent events `grid`, `changed`, `run`", body = GridEvent, content_type = "text/event-stream")))]
pub(super) async fn watch(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Response> {
    let place = watch::admit(&logic)?;
    let board = board(&logic, &name)?;
    let woken = (board.subscribe(), logic.shared.revision.subscribe());
    let pace = Pace::new(limits::TILES_EVERY_MS);
    let start = (logic, board, name, woken, (None, None), pace);
    let batches = futures::stream::unfold(start, |state| async move {
        let (logic, board, name, mut woken, (mut told, mut run), mut pace) = state;
        let mut events = follow::Events::new();
        loop {
            pace.turn().await;
            // Both before looking, so that what comes meanwhile ends the wait below.
            woken.0.borrow_and_update();
            woken.1.borrow_and_update();
            match told.as_mut().and_then(|told| board.difference(told)) {
                Some(changed) if changed.i.is_empty() => {}
                Some(changed) => events.extend(follow::event("changed", &changed)),
                None => {
                    let (grid, now_told) = board.whole(&logic).await.ok()?;
                    events.extend(follow::event("grid", &grid));
                    told = Some(now_told);
                }
            }
            // A run that was deleted has nothing more to say.
            let record = logic.run(&name).await.ok()?;
            let status = serde_json::from_value::<RunStatus>(record.status).ok()?;
            if run.as_ref() != Some(&status) {
                events.extend(follow::event("run", &status));
                run = Some(status);
            }
            if !events.is_empty() {
                let state = (logic, board, name, woken, (told, run), pace);
                return Some((events, state));
            }
            tokio::select! {
                changed = woken.0.changed() => changed.ok()?,
                changed = woken.1.changed() => changed.ok()?,
            }
        }
    });
    Ok(follow::answer(place, batches))
}

/// Data of one event of `/v1/runs/{name}/grid/watch`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // its shape is documented; each event is written from its own part
pub enum GridEvent {
    Grid(RunGrid),
    Changed(GridChanged),
    Run(RunStatus),
}
