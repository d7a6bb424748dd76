//! What logic believes of execution environments: silence is only what could have been heard.

mod support;

use sengu_model::limits;
use serde_json::json;
use std::time::Duration;
use support::{Bench, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_not_listened_to_is_not_taken_for_gone() {
    let bench = Bench::new(4, 1).await;
    bench.announce("far", 4).await;
    let revision = || Some(bench.logic.record("Wee", "wee-far")?.metadata.revision);
    until("it is kept", async || revision().is_some()).await;
    let before = revision();
    // Nothing is written for longer than anybody may be silent, so that the next word is not taken in meanwhile.
    let nothing = bench.logic.shared.writes.lock().await;
    let pool = json!({"kind": "toy", "version": "1.0.0", "digest": "", "slots_max": 5, "slots_busy": 0,
        "instances": 1, "restarts": 0, "ended": 0, "failed": 0, "complaints": ["new"]});
    let pools = [pool];
    let announce = bench.announce_pools("default", &pools);
    let held = async {
        tokio::time::sleep(Duration::from_millis(limits::WEE_SILENCE_MAX_MS + 2_000)).await;
        drop(nothing);
    };
    tokio::join!(announce, held);
    until("what was said is kept", async || {
        let wee = bench.logic.record("Wee", "wee-default").unwrap();
        wee.status["pools"][0]["slots_max"] == 5
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(revision(), before, "it was never gone");
}
