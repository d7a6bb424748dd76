//! What nobody could make sense of, over HTTP.

use super::{Answer, Page, Params, Refusal, page_limit};
use crate::core::Logic;
use crate::records::store_problem;
use crate::service::parked::STREAM;
use axum::Json;
use axum::extract::State;
use sengu_interconnect::parked::Parked;
use sengu_model::Time;
use sengu_model::problem::{Code, Problem};
use sengu_store::Entry;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Parked messages on one page: each is 90 KB at most.
const PAGE_MAX: usize = 200;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParkedMessage {
    pub position: u64,
    /// When it was put aside.
    #[schema(value_type = String)]
    pub at: Time,
    /// The queue that it came by.
    pub queue: String,
    pub reason: String,
    /// Length of the whole body.
    pub bytes: u64,
    /// The first 64 KiB of it, in base64.
    pub body: String,
}

/// Messages that nobody could make sense of, oldest first. Their bodies are as they came: whatever was in them is shown.
#[utoipa::path(get, path = "/v1/parked", tag = "system", params(ListParams), responses((status = 200, body = Page<ParkedMessage>)))]
pub(super) async fn list(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<ListParams>,
) -> Answer<Json<Page<ParkedMessage>>> {
    let after = match params.cursor.as_deref().map(str::parse::<u64>) {
        None => 0,
        Some(Ok(position)) => position,
        Some(Err(_)) => {
            let problem = Problem::new(Code::InvalidField, "cursor");
            return Err(Refusal(problem.hint("give back the cursor as it was")));
        }
    };
    let limit = page_limit(params.limit).min(PAGE_MAX);
    let entries = logic.shared.store.entries(STREAM, 0, after, limit).await;
    let entries = entries.map_err(store_problem)?;
    let last = entries.last().filter(|_| entries.len() == limit);
    Ok(Json(Page {
        cursor: last.map(|entry| entry.position.to_string()),
        items: entries.iter().filter_map(shown).collect(),
        revision: *logic.shared.revision.borrow(),
    }))
}

fn shown(entry: &Entry) -> Option<ParkedMessage> {
    let parked: Parked = serde_json::from_slice(&entry.body).ok()?;
    Some(ParkedMessage {
        position: entry.position,
        at: Time(parked.at),
        queue: parked.queue.into_owned(),
        reason: parked.reason.into_owned(),
        bytes: parked.bytes,
        body: parked.body.into_owned(),
    })
}
