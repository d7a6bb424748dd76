//! Following what changes, as server-sent events: records from a revision, results from a position.

use super::{Answer, Params, Refusal};
use crate::changes::{Shown, shown};
use crate::core::Logic;
use crate::documents::KINDS;
use crate::service;
use crate::tasks::view;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use sengu_model::problem::{Code, Problem};
use sengu_store::StoreError;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

const PAGE: usize = 500;

/// A place among the watches that may be open, freed when the stream is dropped.
pub(super) struct Place(Arc<Logic>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.watches.add_permits(1);
    }
}

pub(super) fn admit(logic: &Arc<Logic>) -> Answer<Place> {
    match logic.shared.watches.try_acquire() {
        Ok(permit) => {
            permit.forget();
            Ok(Place(logic.clone()))
        }
        Err(_) => Err(Refusal(
            Problem::new(Code::TooManyRequests, "too many watches are open")
                .hint("close some, or poll"),
        )),
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct WatchParams {
    /// Comma-separated kinds; empty = all.
    kinds: String,
    /// Changes after this revision (as lists give it); absent = from now.
    from: Option<u64>,
}

/// Changes of records as server-sent events `put` and `delete`; the event id is the revision. `gone`: list again.
#[utoipa::path(get, path = "/v1/watch", tag = "watch", params(WatchParams),
    responses((status = 200, description = "server-sent events", content_type = "text/event-stream")))]
pub(super) async fn records(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<WatchParams>,
    headers: axum::http::HeaderMap,
) -> Answer<Response> {
    let kinds: Vec<String> = params
        .kinds
        .split(',')
        .filter(|k| !k.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(unknown) = kinds.iter().find(|k| !KINDS.contains(&k.as_str())) {
        let what = format!("there is no kind {:?}", crate::catalog::clip(unknown));
        return Err(Refusal(Problem::new(Code::UnknownKind, what)));
    }
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let from = resumed
        .or(params.from)
        .unwrap_or(*logic.shared.revision.borrow());
    let place = admit(&logic)?;
    let revisions = logic.shared.revision.subscribe();
    let start = (logic, revisions, from, kinds, false, place);
    let stream = futures::stream::unfold(start, |state| async move {
        let (logic, mut revisions, mut from, kinds, gone, place) = state;
        if gone {
            return None;
        }
        loop {
            // Read before looking, so that a change in between wakes the wait below.
            let newest = *revisions.borrow_and_update();
            if newest > from {
                match logic.shared.store.changes(from, PAGE).await {
                    Ok(read) => {
                        let whole = read.changes.len() < PAGE;
                        let last = read.changes.last().map(|c| c.revision);
                        let events = record_events(&logic, read.changes, &kinds);
                        from = if whole {
                            newest.max(last.unwrap_or(0))
                        } else {
                            last.unwrap_or(newest)
                        };
                        if !events.is_empty() {
                            return Some((events, (logic, revisions, from, kinds, false, place)));
                        }
                        continue;
                    }
                    Err(StoreError::Compacted { oldest }) => {
                        let event = Event::default()
                            .event("gone")
                            .data(format!("{{\"oldest\":{oldest}}}"));
                        return Some((
                            vec![Ok(event)],
                            (logic, revisions, from, kinds, true, place),
                        ));
                    }
                    Err(_) => return None,
                }
            }
            if revisions.changed().await.is_err() {
                return None;
            }
        }
    });
    let stream = futures::StreamExt::flat_map(stream, futures::stream::iter);
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response())
}

fn record_events(
    logic: &Logic,
    changes: Vec<sengu_store::Change>,
    kinds: &[String],
) -> Vec<Result<Event, Infallible>> {
    let mut events = Vec::new();
    for change in changes {
        let kind = match change.kind.as_str() {
            "TargetStatus" => "Target",
            kind => kind,
        };
        if !kinds.is_empty() && !kinds.iter().any(|k| k == kind) {
            continue;
        }
        let Some(Shown {
            kind,
            name,
            revision,
            record,
        }) = shown(&logic.shared, &change)
        else {
            continue;
        };
        let event = Event::default().id(revision.to_string());
        let event = match record {
            Some(record) => event.event("put").json_data(record),
            None => {
                let gone = serde_json::json!({"kind": kind, "metadata": {"name": name}});
                event.event("delete").json_data(gone)
            }
        };
        events.extend(event.ok().map(Ok));
    }
    events
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ResultParams {
    /// Results after this position; absent = from now.
    from: Option<u64>,
}

/// Ended tasks as server-sent events `result` with CloudEvents JSON; the event id is the position.
#[utoipa::path(get, path = "/v1/results", tag = "watch", params(ResultParams),
    responses((status = 200, description = "server-sent events", content_type = "text/event-stream")))]
pub(super) async fn results(
    State(logic): State<Arc<Logic>>,
    Params(params): Params<ResultParams>,
    headers: axum::http::HeaderMap,
) -> Answer<Response> {
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let from = match resumed.or(params.from) {
        Some(from) => from,
        None => *logic.shared.position.borrow(),
    };
    let place = admit(&logic)?;
    let positions = logic.shared.position.subscribe();
    let stream = futures::stream::unfold((logic, positions, from, place), |state| async move {
        let (logic, mut positions, mut from, place) = state;
        loop {
            positions.borrow_and_update();
            let Ok(results) = logic.shared.store.results(from, PAGE).await else {
                return None;
            };
            if let Some((last, _)) = results.last() {
                from = *last;
                let events: Vec<Result<Event, Infallible>> = results
                    .iter()
                    .filter_map(|(position, stored)| {
                        let task = view(stored, None);
                        let event = service::events::body::task_ended(*position, &task);
                        let id = position.to_string();
                        Event::default()
                            .event("result")
                            .id(id)
                            .json_data(event)
                            .ok()
                            .map(Ok)
                    })
                    .collect();
                return Some((events, (logic, positions, from, place)));
            }
            if positions.changed().await.is_err() {
                return None;
            }
        }
    });
    let stream = futures::StreamExt::flat_map(stream, futures::stream::iter);
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response())
}
