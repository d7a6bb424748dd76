//! What this WEE cannot make sense of is put aside for people, beside all other work.
//!
//! It is said once and without waiting: best effort must never hold up a task, and a broker that is away must not make
//! it pile up.

use crate::shell::{Event, Shell};
use sengu_interconnect::parked::parked_body;
use sengu_interconnect::{Message, Queue};
use std::time::Duration;

/// Messages on their way at once; more are only logged.
const OUT_MAX: usize = 16;
/// What the broker has not taken by then is given up.
const WAIT_MAX: Duration = Duration::from_secs(10);

impl Shell {
    pub fn put_aside(&mut self, queue: &Queue, reason: &str, body: &[u8]) {
        tracing::error!(%queue, reason, bytes = body.len(), "a message is not understood");
        if self.parking >= OUT_MAX {
            return;
        }
        self.parking += 1;
        let message = Message {
            queue: Queue::parked(),
            body: parked_body(queue.as_str(), reason, self.now.0, body),
        };
        let broker = self.broker.clone();
        self.source(async move {
            match tokio::time::timeout(WAIT_MAX, broker.publish(vec![message])).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "it was not put aside"),
                Err(_) => tracing::warn!("it was not put aside in time"),
            }
            Event::Parked
        });
    }
}
