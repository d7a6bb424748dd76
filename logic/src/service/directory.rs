//! What logic says in the retained directory: which versions may be run, what is wanted of each execution environment,
//! and that it lives itself, in which epoch. All of it is said again whenever the interconnect was away, since it may
//! have come back empty, and what an earlier life left there is taken away.

use super::wees;
use crate::clock;
use crate::core::Shared;
use bytes::Bytes;
use sengu_interconnect::BrokerError;
use sengu_interconnect::contact::Contact;
use sengu_model::limits;
use sengu_model::wire::envelope::{LOGIC, LogicAnnouncement, VERSION};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Where versions are offered.
const WORKERS: &str = "worker/";
/// The directory is looked at after this long, in milliseconds, and what is not there is said again: a version that a
/// broker has mislaid would be offered to nobody until the next release.
const LOOK_EVERY_MS: u64 = 60_000;

pub async fn run(shared: Arc<Shared>) {
    let mut contact = shared.broker.contact();
    let mut beat = tokio::time::interval(Duration::from_millis(limits::BEAT_MS));
    let mut said = false;
    let mut look_at = Instant::now();
    loop {
        if *contact.borrow_and_update() == Contact::There {
            let told = async {
                if !said || Instant::now() >= look_at {
                    say_all(&shared, said).await?;
                    look_at = Instant::now() + Duration::from_millis(LOOK_EVERY_MS);
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

/// Says all, or, when all was `said` before, what is not there as it should be; takes away what is not said any more.
async fn say_all(shared: &Arc<Shared>, said: bool) -> Result<(), BrokerError> {
    let mut there: BTreeMap<String, Option<Bytes>> = BTreeMap::new();
    for prefix in [WORKERS, wees::SPECS] {
        let mut directory = shared.broker.directory(prefix.to_owned()).await?;
        there.extend(directory.next().await?);
    }
    let mut keys: BTreeSet<String> = there.keys().cloned().collect();
    keys.extend(shared.offered.lock().keys().cloned());
    {
        let inventory = shared.inventory.read();
        let wees = inventory.others_of("Wee");
        keys.extend(wees.map(|(name, _)| format!("{}{name}", wees::SPECS)));
    }
    for key in keys {
        // As it is now: it may be said anew by others meanwhile.
        let wanted = match key.strip_prefix(wees::SPECS) {
            Some(name) => wees::said(wees::spec_of(shared, name)),
            None => shared.offered.lock().get(&key).cloned(),
        };
        let stands = there.get(&key).cloned().flatten() == wanted;
        if stands && (said || wanted.is_none()) {
            continue;
        }
        if wanted.is_none() {
            tracing::info!(key, "left by an earlier life; taken away");
        }
        shared.broker.retain(key, wanted).await?;
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
