//! The wait before another attempt to connect, and what is said about it.

use crate::error::MqttError;
use crate::limits::{AGAIN_FIRST, AGAIN_MAX, COMPLAIN_EVERY, GOOD_AFTER};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// Random enough for names and waits; nothing secret hangs on it.
pub(crate) fn dice() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Different for each connection: two that are called alike must not put each other out.
pub(crate) fn client_id(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().filter(plain).take(40).collect();
    format!("sengu-{name}-{:016x}", dice())
}

pub(crate) struct Again {
    wait: Duration,
    said: Option<(String, Instant)>,
}

impl Again {
    pub fn new() -> Again {
        Again {
            wait: AGAIN_FIRST,
            said: None,
        }
    }

    /// A connection ended that began then.
    pub fn lasted(&mut self, began: Instant) {
        if began.elapsed() >= GOOD_AFTER {
            self.wait = AGAIN_FIRST;
        }
    }

    /// Says why, unless it has just been said, and waits: longer each time, and never all at the same moment.
    pub async fn wait(&mut self, address: &str, why: &MqttError) {
        let text = why.text();
        let repeated =
            |(before, at): &(String, Instant)| *before == text && at.elapsed() < COMPLAIN_EVERY;
        if !self.said.as_ref().is_some_and(repeated) {
            tracing::warn!(address, error = text, "the MQTT broker is away");
            self.said = Some((text, Instant::now()));
        }
        let share = (dice() % 1_000) as f64 / 1_000.0;
        tokio::time::sleep(self.wait.mul_f64(0.5 + share)).await;
        self.wait = (self.wait * 2).min(AGAIN_MAX);
    }
}
