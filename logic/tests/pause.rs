//! Runs that are paused: what is in hand ends, nothing further begins, and all of it outlives a restart.

mod support;

use sengu_model::Class;
use sengu_model::problem::Code;
use serde_json::{Value, json};
use support::{Bench, done};

async fn run(bench: &Bench, spec: Value) -> String {
    let spec = serde_json::from_value(spec).expect("a spec");
    bench
        .logic
        .create_run(spec)
        .await
        .expect("a run")
        .metadata
        .name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_ends_what_is_in_hand_and_begins_nothing() {
    let mut bench = Bench::new(2, 6).await;
    let name = run(
        &bench,
        json!({"action": "set", "selector": "kind=toy", "batch": "4"}),
    )
    .await;
    let (first, second) = (
        bench.take(Class::Control).await,
        bench.take(Class::Control).await,
    );
    let paused = bench.logic.pause_run(&name).await.unwrap();
    assert_eq!(paused.status["phase"], "Paused");
    assert_eq!(paused.status["counts"]["active"], 2);
    // Of no run: it passes by what is held back.
    let single = bench.create("set", &[&second.target]).await[0];
    bench.end(&first, &done()).await;
    bench.end(&second, &done()).await;
    let other = bench.take(Class::Control).await;
    assert_eq!(other.task, single);
    bench.end(&other, &done()).await;
    bench.takes_nothing(Class::Control).await;
    let status = bench.logic.run(&name).await.unwrap().status;
    assert_eq!(
        (&status["phase"], &status["counts"]["done"]),
        (&json!("Paused"), &json!(2))
    );
    let why = bench.logic.why_run(&name).await.unwrap();
    assert!(why.sentence.contains("paused"), "{}", why.sentence);

    bench.logic.resume_run(&name).await.unwrap();
    for _ in 0..4 {
        let sent = bench.take(Class::Control).await;
        bench.end(&sent, &done()).await;
    }
    let status = bench.run_when(&name, &["Succeeded"]).await;
    assert_eq!(status["counts"]["done"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_it_paused() {
    let bench = Bench::new(0, 40).await;
    let name = run(&bench, json!({"action": "set", "selector": "kind=toy"})).await;
    bench.logic.pause_run(&name).await.unwrap();
    let mut bench = bench.restart().await;
    bench.announce("default", 64).await;
    bench.takes_nothing(Class::Control).await;
    bench.run_when(&name, &["Paused"]).await;
    bench.logic.resume_run(&name).await.unwrap();
    for _ in 0..40 {
        let sent = bench.take(Class::Control).await;
        bench.end(&sent, &done()).await;
    }
    bench.run_when(&name, &["Succeeded"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_run_can_be_cancelled_and_retried() {
    let mut bench = Bench::new(8, 5).await;
    let name = run(
        &bench,
        json!({"action": "set", "selector": "kind=toy", "batch": "1"}),
    )
    .await;
    let sent = bench.take(Class::Control).await;
    bench.logic.pause_run(&name).await.unwrap();
    bench.end(&sent, &done()).await;
    bench.logic.cancel_run(&name).await.unwrap();
    let status = bench.run_when(&name, &["Cancelled"]).await;
    assert_eq!(status["counts"]["cancelled"], 4);
    bench.logic.retry_run(&name, false).await.unwrap();
    for _ in 0..4 {
        let sent = bench.take(Class::Control).await;
        bench.end(&sent, &done()).await;
    }
    bench.run_when(&name, &["Succeeded"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_is_tried_again_and_a_run_that_is_over_cannot_be_paused() {
    let mut bench = Bench::new(1, 2).await;
    let name = run(&bench, json!({"action": "set", "selector": "kind=toy"})).await;
    let sent = bench.take(Class::Control).await;
    bench.logic.pause_run(&name).await.unwrap();
    bench.logic.pause_run(&name).await.unwrap(); // is paused already
    bench.lose(&sent).await;
    let again = bench.take(Class::Control).await;
    assert_eq!((again.task, again.attempt), (sent.task, 2));
    bench.end(&again, &done()).await;
    bench.takes_nothing(Class::Control).await;
    bench.logic.resume_run(&name).await.unwrap();
    bench.logic.resume_run(&name).await.unwrap();
    let sent = bench.take(Class::Control).await;
    bench.end(&sent, &done()).await;
    bench.run_when(&name, &["Succeeded"]).await;
    for refused in [
        bench.logic.pause_run(&name).await,
        bench.logic.resume_run(&name).await,
    ] {
        assert_eq!(refused.unwrap_err().code, Code::WrongState);
    }
    let unknown = bench.logic.pause_run("r-0000000000001").await;
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
}
