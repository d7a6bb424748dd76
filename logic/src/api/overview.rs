//! The overview, once and followed.

use super::{Answer, Refusal};
use crate::core::Logic;
use crate::glance::overview::Overview;
use axum::extract::State;
use axum::response::Response;
use sengu_model::problem::{Code, Problem};
use std::sync::Arc;

/// How everything stands. Computed at most once a second, for all who ask.
#[utoipa::path(get, path = "/v1/overview", tag = "overview", responses((status = 200, body = Overview)))]
pub(super) async fn get(State(_logic): State<Arc<Logic>>) -> Answer<Response> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}

/// The same as server-sent events `overview`: at most one a second, and only when something changed.
#[utoipa::path(get, path = "/v1/overview/watch", tag = "overview",
    responses((status = 200, description = "server-sent events", body = Overview, content_type = "text/event-stream")))]
pub(super) async fn watch(State(_logic): State<Arc<Logic>>) -> Answer<Response> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}
