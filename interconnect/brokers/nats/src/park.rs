//! A message that was delivered too often and never acked goes to the queue `parked`, for people to look at.

use crate::conn::Conn;
use crate::delivery::Facts;
use crate::error::NatsError;
use crate::publish::{Untaken, no_room, publish_one};
use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use sengu_interconnect::Queue;
use sengu_interconnect::parked::parked_body;
use std::time::{SystemTime, UNIX_EPOCH};

/// Resolves when the server has it in its new place.
pub async fn park(conn: &Conn, queue: &Queue, facts: Facts, body: &[u8]) -> Result<(), NatsError> {
    let times = facts.delivered - 1;
    let reason = format!("delivered {times} times and never acked");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let at_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let parked = parked_body(queue.as_str(), &reason, at_ms, body);
    // Two that put the same one aside do it once.
    let mut headers = HeaderMap::new();
    let id = format!("parked-{}", facts.stream_seq);
    headers.insert(NATS_MESSAGE_ID, id.as_str());
    let subject = conn.names.subject(&Queue::parked());
    match publish_one(conn, subject, headers, parked).await {
        Ok(()) => Ok(()),
        Err(Untaken::Other(error)) => Err(error),
        Err(Untaken::Full) => Err(no_room("the queue is full")),
        Err(Untaken::NoRoom(why)) => Err(no_room(&why)),
    }
}
