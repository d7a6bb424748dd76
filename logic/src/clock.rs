//! The one place where logic reads the clock.

use sengu_model::Time;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
