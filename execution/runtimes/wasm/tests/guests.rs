//! What becomes of guests that misbehave, and what a guest can learn and keep.

mod guest;

use guest::{Live, Place, SPEAKER, component, nowhere};
use sengu_execution::runtime::Runtime;
use sengu_model::TaskId;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn live(place: &Place) -> (sengu_runtime_wasm::WasmRuntime, Live) {
    let runtime = place.runtime();
    let live = Live::start(&runtime, place.image()).await;
    (runtime, live)
}

fn failed(outcome: &Value) -> (&str, &str) {
    assert_eq!(outcome["status"], "failed", "{outcome}");
    let text = |key: &str| outcome[key].as_str().unwrap_or_default();
    (text("code"), text("message"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_traps_costs_its_own_task_and_says_why() {
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    let trap = live.call("trap", json!({}), nowhere()).await;
    let (code, message) = failed(&trap);
    assert_eq!(code, "crashed");
    assert!(message.contains("unreachable"), "{message}");
    assert!(live.logs.pop().unwrap().contains("trapped"));
    // Not declared, so as bad as can be; but nothing was sent to the target, so nothing can have happened there.
    let words = live.call("words", json!({}), nowhere()).await;
    assert_eq!(failed(&words), ("crashed", "on purpose"));
    let allocate = live.call("allocate", json!({}), nowhere()).await;
    let (code, message) = failed(&allocate);
    assert_eq!(code, "crashed");
    assert!(message.contains("64 MiB"), "{message}");
    let deep = live.call("deep", json!({}), nowhere()).await;
    let (code, message) = failed(&deep);
    assert_eq!(code, "crashed");
    assert!(message.contains("stack"), "{message}");
    let junk = live.call("junk", json!({}), nowhere()).await;
    assert_eq!(failed(&junk).0, "bad_reply");
    let fine = live.call("mirror", json!(1), nowhere()).await;
    assert_eq!(fine["result"], 1);
    assert_eq!(live.call("log", json!(1), nowhere()).await["result"], 1);
    assert_eq!(live.logs.pop().unwrap(), "one line of a log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_given_back_and_shared_by_the_tasks_of_an_instance() {
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    for _ in 0..20 {
        let allocate = live.call("allocate", json!({}), nowhere()).await;
        assert_eq!(failed(&allocate).0, "crashed");
    }
    // Each holds half a megabyte twice and more; eight of them are within what the instance may have.
    let large = json!("x".repeat(400 << 10));
    for _ in 0..8 {
        live.begin("mirror", large.clone(), nowhere()).await;
    }
    for _ in 0..8 {
        assert_eq!(live.outcome().await["status"], "done");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_waits_hears_the_cancel_and_its_deadline() {
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    let begun = Instant::now();
    let id = live.begin("wait", json!({}), nowhere()).await;
    live.say(&json!({"type": "cancel", "id": TaskId(id)})).await;
    assert_eq!(live.outcome().await["result"], json!([false]));
    live.begin_for("wait", json!({}), nowhere(), 300).await;
    let outcome = live.outcome().await;
    assert_eq!(outcome["result"], json!([false]), "it had time to say so");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_compute_leave_room_for_others() {
    let place = Place::new(&component(SPEAKER));
    let (runtime, mut live) = live(&place).await;
    // More of them than threads.
    for _ in 0..7 {
        live.begin("spin", json!({}), nowhere()).await;
    }
    for n in 0..20 {
        let answer = live.call("mirror", json!(n), nowhere()).await;
        assert_eq!(answer["result"], n);
    }
    let one_more = Live::start(&runtime, place.image()).await;
    runtime.stop(one_more.handle.clone()).await.unwrap();
    let handle = live.handle.clone();
    tokio::time::timeout(Duration::from_secs(20), runtime.stop(handle))
        .await
        .expect("stopped in time")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_kept_for_its_target_and_its_instance() {
    let place = Place::new(&component(SPEAKER));
    let (runtime, mut live) = live(&place).await;
    let other = json!({"name": "two", "address": "127.0.0.1:1"});
    let kept = |outcome: Value| outcome["result"].clone();
    assert_eq!(
        kept(live.call("keep", json!({}), nowhere()).await),
        Value::Null
    );
    assert_eq!(
        kept(live.call("keep", json!({}), nowhere()).await),
        json!({"n": 1})
    );
    assert_eq!(kept(live.call("keep", json!({}), other).await), Value::Null);
    let mut second = Live::start(&runtime, place.image()).await;
    assert_eq!(
        kept(second.call("keep", json!({}), nowhere()).await),
        Value::Null
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_kept_and_a_drained_instance_takes_nothing_more() {
    let place = Place::new(&component(SPEAKER));
    let (_runtime, mut live) = live(&place).await;
    let mut last = 0;
    for _ in 0..8 {
        last = live.begin("wait", json!({}), nowhere()).await;
    }
    let refused = live.call("mirror", json!(1), nowhere()).await;
    assert_eq!(failed(&refused), ("busy", "all slots are in use"));
    live.say(&json!({"type": "drain"})).await;
    let refused = live.call("mirror", json!(1), nowhere()).await;
    assert_eq!(failed(&refused), ("busy", "draining"));
    for id in 1..=last {
        live.say(&json!({"type": "cancel", "id": TaskId(id)})).await;
    }
    for _ in 0..8 {
        assert_eq!(live.outcome().await["result"], json!([false]));
    }
    assert!(live.attached.exit.await.clean);
}
