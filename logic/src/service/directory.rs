//! What logic says in the retained directory: which versions may be run, what is wanted of each execution environment,
//! and that it lives itself, in which epoch. All of it is said again whenever the interconnect was away, since it may
//! have come back empty, and what an earlier life left there is taken away.

use super::wees;
use crate::clock;
use crate::core::Shared;
use sengu_interconnect::BrokerError;
use sengu_interconnect::contact::Contact;
use sengu_model::limits;
use sengu_model::wire::envelope::{LOGIC, LogicAnnouncement, VERSION};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// All is said again after this long, in milliseconds: a version that a broker has mislaid would be offered to nobody
/// until the next release.
const SAY_AGAIN_MS: u64 = 60_000;

pub async fn run(shared: Arc<Shared>) {
    let mut contact = shared.broker.contact();
    let mut beat = tokio::time::interval(Duration::from_millis(limits::BEAT_MS));
    let mut said = false;
    let mut again_at = Instant::now();
    loop {
        said &= Instant::now() < again_at;
        if *contact.borrow_and_update() == Contact::There {
            let told = async {
                if !said {
                    say_all(&shared).await?;
                    again_at = Instant::now() + Duration::from_millis(SAY_AGAIN_MS);
                }
                say_alive(&shared).await
            };
            match told.await {
                Ok(()) => said = true,
                Err(error) => {
                    tracing::warn!(%error, "the execution environments cannot be told; trying on");
                    said = false;
                    tokio::time::sleep(Duration::from_millis(limits::RETRY_FIRST_MS)).await;
                    continue;
                }
            }
        } else {
            said = false;
        }
        tokio::select! {
            biased;
            Ok(()) = contact.changed() => {}
            () = shared.unsaid.notified() => said = false,
            _ = beat.tick() => {}
        }
    }
}

/// Says all, and takes away what is not said any more.
async fn say_all(shared: &Arc<Shared>) -> Result<(), BrokerError> {
    let offers = shared.offered.lock().clone();
    let mut wanted: BTreeSet<String> = offers.keys().cloned().collect();
    for (key, body) in offers {
        shared.broker.retain(key, Some(body)).await?;
    }
    let names: Vec<String> = {
        let inventory = shared.inventory.read();
        let wees = inventory.others_of("Wee");
        wees.map(|(name, _)| name.to_owned()).collect()
    };
    for name in names {
        wanted.insert(format!("{}{name}", wees::SPECS));
        wees::tell(shared, &name, wees::spec_of(shared, &name)).await?;
    }
    for prefix in ["worker/", wees::SPECS] {
        let mut directory = shared.broker.directory(prefix.to_owned()).await?;
        for (key, value) in directory.next().await? {
            // Versions may have been offered while this was read.
            let known = wanted.contains(&key) || shared.offered.lock().contains_key(&key);
            if value.is_some() && !known {
                tracing::info!(key, "left by an earlier life; taken away");
                shared.broker.retain(key, None).await?;
            }
        }
    }
    Ok(())
}

async fn say_alive(shared: &Shared) -> Result<(), BrokerError> {
    if !shared.seat.holds() {
        return Ok(());
    }
    let alive = LogicAnnouncement {
        v: VERSION,
        epoch: shared.epoch,
        sengu_version: shared.config.sengu_version.clone(),
        at: clock::now(),
    };
    // Numbers and text always serialise.
    let body = serde_json::to_vec(&alive).unwrap_or_default();
    shared
        .broker
        .retain(LOGIC.to_owned(), Some(body.into()))
        .await
}
