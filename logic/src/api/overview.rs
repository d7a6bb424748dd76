//! The overview, once and followed.

use super::follow::{self, Pace};
use super::{Answer, watch};
use crate::core::Logic;
use crate::glance::overview::Overview;
use axum::extract::State;
use axum::http::header;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use sengu_model::limits;
use std::sync::Arc;

/// How everything stands. Computed at most once a second, for all who ask.
#[utoipa::path(get, path = "/v1/overview", tag = "overview", responses((status = 200, body = Overview)))]
pub(super) async fn get(State(logic): State<Arc<Logic>>) -> Response {
    let shot = logic.overview().await;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, shot.json.to_string()).into_response()
}

/// The same as server-sent events `overview`: at most one a second, and only when something changed.
#[utoipa::path(get, path = "/v1/overview/watch", tag = "overview",
    responses((status = 200, description = "server-sent events", body = Overview, content_type = "text/event-stream")))]
pub(super) async fn watch(State(logic): State<Arc<Logic>>) -> Answer<Response> {
    let place = watch::admit(&logic)?;
    let start = (logic, Pace::new(limits::OVERVIEW_EVERY_MS), 0);
    let batches = futures::stream::unfold(start, |(logic, mut pace, told)| async move {
        loop {
            // Looked at while somebody watches only; rates and counts move with nearly every look.
            pace.turn().await;
            let shot = logic.overview().await;
            if shot.number != told {
                let event = Event::default().event("overview").data(&*shot.json);
                return Some((vec![Ok(event)], (logic, pace, shot.number)));
            }
        }
    });
    Ok(follow::answer(place, batches))
}
