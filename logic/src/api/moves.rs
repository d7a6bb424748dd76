//! The move of the store into another one, over HTTP.

use super::{Answer, Body, Refusal, json};
use crate::audit::Act;
use crate::core::Logic;
use crate::service::moving::{self, Last, MoveTo};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sengu_model::Time;
use sengu_model::problem::{Code, Problem};
use sengu_store::moving::Part;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveRequest {
    pub to: MoveTo,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveStatus {
    pub id: String,
    pub from: String,
    pub to: String,
    pub state: MoveState,
    /// `preparing`, `copying`, `catchingUp`, `images`, `verifying`, `changingOver` or `moved`.
    pub phase: String,
    #[schema(value_type = String)]
    pub began_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Time>,
    pub parts: Vec<MovePart>,
    /// Images copied.
    pub images: u64,
    /// Rows copied again, since they were touched after they had been copied.
    pub caught_up: u64,
    /// Change-overs that were tried.
    pub pauses: u32,
    /// How long commits were held by the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
    /// Why the last change-over was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the configuration file must say at the next start.
    pub config: String,
}

#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MoveState {
    Running,
    Moved,
    Failed,
    Cancelled,
}

/// The move that is on or was the last one; or that there was none.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum LastMove {
    Begun(Box<MoveStatus>),
    None(NoMove),
}

/// No move was begun since sengu started.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NoMove {
    pub state: NoMoveState,
}

#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoMoveState {
    None,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovePart {
    pub part: String,
    /// Rows copied, and how many there were at the start where that is known.
    pub copied: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Rows found equal in both stores, and the SHA-256 over them: the same in both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Rows that changed while they were compared: copied and compared again after.
    pub again: u64,
}

/// Begins to move the store into another one, while everything goes on.
#[utoipa::path(post, path = "/v1/store/move", tag = "system", request_body = MoveRequest, responses((status = 202, body = MoveStatus)))]
pub(super) async fn begin(
    State(logic): State<Arc<Logic>>,
    Body(request): Body<MoveRequest>,
) -> Answer<Response> {
    moving::begin(&logic.shared, request.to).await?;
    Ok(json(StatusCode::ACCEPTED, status(&logic)?))
}

/// The move that is on, or the last one since sengu was started; `{"state":"none"}` when there was none.
#[utoipa::path(get, path = "/v1/store/move", tag = "system", responses((status = 200, body = LastMove)))]
pub(super) async fn get(State(logic): State<Arc<Logic>>) -> Json<LastMove> {
    let state = NoMoveState::None;
    Json(match logic.shared.moves.last() {
        Some(last) => LastMove::Begun(Box::new(shown(&last))),
        None => LastMove::None(NoMove { state }),
    })
}

/// Ends the move that is on, unless it has changed over already.
#[utoipa::path(delete, path = "/v1/store/move", tag = "system", responses((status = 202, body = MoveStatus)))]
pub(super) async fn cancel(State(logic): State<Arc<Logic>>) -> Answer<Response> {
    if logic
        .shared
        .moves
        .last()
        .is_some_and(|last| last.end.is_none())
    {
        let act = Act::new("move-cancelled", "Store", "store");
        logic.shared.will(act).await?;
    }
    if !logic.shared.moves.cancel() {
        return Err(Refusal(Problem::new(Code::WrongState, "no move is on")));
    }
    Ok(json(StatusCode::ACCEPTED, status(&logic)?))
}

fn status(logic: &Logic) -> Result<MoveStatus, Refusal> {
    let last = logic.shared.moves.last();
    let none = || {
        Refusal(Problem::new(
            Code::NotFound,
            "no move was begun since sengu started",
        ))
    };
    Ok(shown(&last.ok_or_else(none)?))
}

fn shown(last: &Last) -> MoveStatus {
    let told = last.progress.borrow();
    let state = match &last.end {
        None => MoveState::Running,
        Some(end) if end.cancelled => MoveState::Cancelled,
        Some(end) if end.error.is_some() => MoveState::Failed,
        Some(_) => MoveState::Moved,
    };
    let parts = Part::ALL.iter().filter_map(|part| {
        let found = told.parts.get(part)?;
        Some(MovePart {
            part: part.as_str().to_owned(),
            copied: found.copied,
            total: found.total,
            rows: found.compared.as_ref().map(|digest| digest.rows),
            sha256: found.compared.as_ref().map(|digest| digest.sha256.clone()),
            again: found.again,
        })
    });
    MoveStatus {
        id: last.id.clone(),
        from: last.from.clone(),
        to: last.to.clone(),
        state,
        phase: told.phase.as_str().to_owned(),
        began_at: last.began_at,
        ended_at: last.end.as_ref().map(|end| end.at),
        parts: parts.collect(),
        images: told.images,
        caught_up: told.caught_up,
        pauses: told.pauses,
        pause_ms: (told.pause).map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
        undone: told.undone.clone(),
        error: last.end.as_ref().and_then(|end| end.error.clone()),
        config: last.config.clone(),
    }
}
