//! Retention: what is old goes, in small steps, so that the store does not grow for ever.

use crate::{clock, core::Shared};
use sengu_model::Time;
use sengu_store::Retention;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(600);
/// Record changes kept for watchers that come back.
const CHANGES_KEPT: u64 = 100_000;

pub async fn run(shared: Arc<Shared>) {
    let mut turn = tokio::time::interval(EVERY);
    turn.tick().await; // the first comes at once, and a start has better things to do
    loop {
        turn.tick().await;
        shared.waiters.tidy();
        let now = clock::now().0;
        let ago = |ms: u64| Time(now.saturating_sub_unsigned(ms));
        let before = ago(shared.config.retention_ms);
        let retention = Retention {
            tasks_before: before,
            entries_before: before,
            audit_before: ago(shared.config.audit_retention_ms),
            changes_kept: CHANGES_KEPT,
        };
        match shared.store.retain(retention).await {
            Ok(rows) if rows > 0 => tracing::info!(rows, "retention"),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "retention");
            }
        }
    }
}
