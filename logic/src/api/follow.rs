//! Streams of server-sent events that say a whole first and then what changed, no faster than a screen shows.

use super::watch::Place;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;

pub(super) type Events = Vec<Result<Event, Infallible>>;

/// One event; nothing when the data is no JSON, which ours always is.
pub(super) fn event(name: &str, data: &impl Serialize) -> Option<Result<Event, Infallible>> {
    Event::default().event(name).json_data(data).ok().map(Ok)
}

/// The stream as an answer; its place among the watches is free again when it ends.
pub(super) fn answer(
    place: Place,
    batches: impl Stream<Item = Events> + Send + 'static,
) -> Response {
    let events = futures::StreamExt::flat_map(batches, move |batch| {
        let _held = &place;
        futures::stream::iter(batch)
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// Keeps what is told apart in time.
pub(super) struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    pub(super) fn new(every_ms: u64) -> Pace {
        Pace {
            every: Duration::from_millis(every_ms),
            next: Instant::now(),
        }
    }

    /// Resolves when the next may be told.
    pub(super) async fn turn(&mut self) {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + self.every;
    }
}
