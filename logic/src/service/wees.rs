//! Follows what the execution environments say of themselves: it sets the windows and keeps the Wee records.

use crate::core::Shared;
use crate::dispatch::{Handle, Input};
use sengu_model::wire::envelope::WeeAnnouncement;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub async fn run(shared: Arc<Shared>, dispatch: Handle) {
    loop {
        if let Err(error) = follow(&shared, &dispatch).await {
            tracing::warn!(%error, "execution environments cannot be followed");
        }
        tokio::time::sleep(Duration::from_millis(sengu_model::limits::RETRY_FIRST_MS)).await;
    }
}

async fn follow(
    shared: &Arc<Shared>,
    dispatch: &Handle,
) -> Result<(), sengu_interconnect::BrokerError> {
    let mut directory = shared.broker.directory("wee/".to_owned()).await?;
    let mut windows = HashMap::new();
    loop {
        for (key, value) in directory.next().await? {
            let name = key.trim_start_matches("wee/").to_owned();
            let announced = value.and_then(|v| serde_json::from_slice::<WeeAnnouncement>(&v).ok());
            let before = shared.wees.read().get(&name).cloned();
            // Counters move all the time; the record is written when something of substance changed.
            let substance = |w: &WeeAnnouncement| {
                let pools = w.pools.iter();
                pools
                    .map(|p| {
                        (
                            p.kind.clone(),
                            p.version.clone(),
                            p.digest.clone(),
                            p.broken.clone(),
                            p.complaints.clone(),
                        )
                    })
                    .collect::<Vec<_>>()
            };
            let changed = before.as_ref().map(substance) != announced.as_ref().map(substance);
            match &announced {
                Some(wee) => shared.wees.write().insert(name.clone(), wee.clone()),
                None => shared.wees.write().remove(&name),
            };
            if changed {
                let status = match &announced {
                    Some(wee) => serde_json::to_value(wee).unwrap_or_default(),
                    None => serde_json::json!({ "gone": true }),
                };
                if let Err(error) = shared
                    .put_own("Wee", &name, serde_json::json!({}), status)
                    .await
                {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Wee record not written"
                    );
                }
            }
        }
        let mut now: HashMap<(String, String), u32> = HashMap::new();
        for wee in shared.wees.read().values() {
            for pool in &wee.pools {
                if pool.broken.is_none() {
                    let window = now
                        .entry((wee.zone.clone(), pool.kind.clone()))
                        .or_default();
                    *window = window.saturating_add(pool.slots_max);
                }
            }
        }
        if now != windows {
            windows = now.clone();
            dispatch.send(Input::Windows(now)).await;
        }
    }
}
