//! The simulated store and broker keep the contracts of their ports; otherwise what is found says nothing.

use sengu_sim::broker::SimBroker;
use sengu_sim::life::Life;
use sengu_sim::store::SimStore;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn the_simulated_store_passes_the_stores_suite() {
    sengu_store::conformance::run(|| async {
        let life = Life::new("suite", 0);
        let store = SimStore::default();
        // Who reads again and again must let time pass.
        store.set_mood(|mood| mood.read_ms = 1);
        store.seen_by(&life, Arc::default())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_simulated_broker_passes_the_brokers_suite() {
    sengu_interconnect::conformance::run(|| async {
        let life = Life::new("suite", 0);
        SimBroker::default().seen_by("suite", &life)
    })
    .await;
}
