//! Where targets stand and how they are: racks, tiles, and what readings were.

use super::follow::{self, Pace};
use super::{Answer, Params, watch};
use crate::core::Logic;
use crate::glance::board::{self, View};
use crate::glance::racks::Racks;
use crate::glance::readings::ReadingHistory;
use crate::glance::tiles::{Tiles, TilesChanged};
use crate::records::{not_found, selector};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use sengu_model::limits;
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

impl TileParams {
    fn view(self) -> View {
        View {
            selector: self.selector,
            colour: self.colour.unwrap_or_else(|| "state".to_owned()),
            limit: self
                .limit
                .unwrap_or(limits::TILES_MAX)
                .clamp(1, limits::TILES_MAX),
        }
    }
}

/// Racks and how the targets in each are.
#[utoipa::path(get, path = "/v1/racks", tag = "racks", params(RackParams), responses((status = 200, body = Racks)))]
pub(super) async fn racks(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<RackParams>,
) -> Answer<Json<Racks>> {
    let selector = selector(&params.selector)?;
    Ok(Json(logic.shared.racks(&selector).await))
}

/// Targets as tiles.
#[utoipa::path(get, path = "/v1/tiles", tag = "racks", params(TileParams), responses((status = 200, body = Tiles)))]
pub(super) async fn tiles(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<TileParams>,
) -> Answer<Json<Tiles>> {
    Ok(Json(board::tiles(&logic.shared, &params.view()).await?))
}

/// The same as server-sent events: `tiles` with all of them, then `changed` with those that changed, at most two a
/// second. `stale`: other targets match now, ask again.
#[utoipa::path(get, path = "/v1/tiles/watch", tag = "racks", params(TileParams),
    responses((status = 200, description = "server-sent events `tiles`, `changed`, `stale`", body = TileEvent, content_type = "text/event-stream")))]
pub(super) async fn watch_tiles(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<TileParams>,
) -> Answer<Response> {
    let place = watch::admit(&logic)?;
    let shared = &logic.shared;
    let board = shared.glance.boards.board(shared, &params.view());
    let board = board.ok_or_else(|| {
        Problem::new(
            Code::TooManyRequests,
            "too many different views of tiles are open",
        )
        .hint("close some, or look at one that is open already")
    })?;
    let woken = board.changed.subscribe();
    let (tiles, told) = board.whole(shared).await?;
    let first = follow::event("tiles", &tiles).into_iter().collect();
    let first = futures::stream::iter([first]);
    let start = Some((logic, board, woken, told, Pace::new(limits::TILES_EVERY_MS)));
    let batches = futures::stream::unfold(start, |state| async move {
        let (logic, board, mut woken, mut told, mut pace) = state?;
        loop {
            pace.turn().await;
            woken.changed().await.ok()?;
            let Some(changed) = board.difference(&logic.shared, &mut told).await else {
                let stale = follow::event("stale", &serde_json::json!({}));
                return Some((stale.into_iter().collect(), None));
            };
            if !changed.i.is_empty() {
                let changed = follow::event("changed", &changed);
                let state = Some((logic, board, woken, told, pace));
                return Some((changed.into_iter().collect(), state));
            }
        }
    });
    Ok(follow::answer(
        place,
        futures::StreamExt::chain(first, batches),
    ))
}

/// Data of one event of `/v1/tiles/watch`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // its shape is documented; each event is written from its own part
pub enum TileEvent {
    Tiles(Box<Tiles>),
    Changed(TilesChanged),
}

/// What readings of a target were. Kept in memory since the start of this life of sengu, within a budget for the whole
/// fleet: the more targets there are, the fewer values are kept of each.
#[utoipa::path(get, path = "/v1/targets/{name}/history", tag = "racks", params(("name" = String, Path)),
    responses((status = 200, body = ReadingHistory)))]
pub(super) async fn history(
    State(logic): State<Arc<Logic>>,
    Path(name): Path<String>,
) -> Answer<Json<ReadingHistory>> {
    let uid = {
        let inventory = logic.shared.inventory.read();
        let target = inventory.target(&name);
        target.ok_or_else(|| not_found("Target", &name))?.uid
    };
    Ok(Json(logic.shared.glance.readings.of(uid)))
}
