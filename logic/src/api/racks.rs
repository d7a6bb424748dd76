//! Where targets stand and how they are: racks, tiles, and what readings were.

use super::{Answer, Params, Refusal};
use crate::core::Logic;
use crate::glance::racks::Racks;
use crate::glance::readings::ReadingHistory;
use crate::glance::tiles::{Tiles, TilesChanged};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use sengu_model::problem::{Code, Problem};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RackParams {
    /// Selector of targets; empty = all.
    selector: String,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TileParams {
    /// Selector of targets; empty = all.
    selector: String,
    /// `state` (default), a label, field or fact that a selector knows, or else the name of a reading.
    colour: Option<String>,
    /// At most 20,000.
    limit: Option<usize>,
}

/// Racks and how the targets in each are.
#[utoipa::path(get, path = "/v1/racks", tag = "racks", params(RackParams), responses((status = 200, body = Racks)))]
pub(super) async fn racks(
    State(_logic): State<Arc<Logic>>,
    Params(_params): Params<RackParams>,
) -> Answer<Json<Racks>> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}

/// Targets as tiles.
#[utoipa::path(get, path = "/v1/tiles", tag = "racks", params(TileParams), responses((status = 200, body = Tiles)))]
pub(super) async fn tiles(
    State(_logic): State<Arc<Logic>>,
    Params(_params): Params<TileParams>,
) -> Answer<Json<Tiles>> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}

/// The same as server-sent events: `tiles` with all of them, then `changed` with those that changed, at most two a
/// second. `stale`: other targets match now, ask again.
#[utoipa::path(get, path = "/v1/tiles/watch", tag = "racks", params(TileParams),
    responses((status = 200, description = "server-sent events `tiles`, `changed`, `stale`", body = TileEvent, content_type = "text/event-stream")))]
pub(super) async fn watch_tiles(
    State(_logic): State<Arc<Logic>>,
    Params(_params): Params<TileParams>,
) -> Answer<Response> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}

/// Data of one event of `/v1/tiles/watch`.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum TileEvent {
    Tiles(Tiles),
    Changed(TilesChanged),
}

/// What readings of a target were. Kept in memory since the start of this life of sengu, within a budget for the whole
/// fleet: the more targets there are, the fewer values are kept of each.
#[utoipa::path(get, path = "/v1/targets/{name}/history", tag = "racks", params(("name" = String, Path)),
    responses((status = 200, body = ReadingHistory)))]
pub(super) async fn history(
    State(_logic): State<Arc<Logic>>,
    Path(_name): Path<String>,
) -> Answer<Json<ReadingHistory>> {
    Err(Refusal(Problem::new(Code::Unavailable, "not yet")))
}
