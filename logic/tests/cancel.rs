//! Cancelling: what is in memory, what is in the store only, what is held, and what is on its way in between.

mod support;

use sengu_model::Class;
use serde_json::json;
use support::{Bench, done};

/// More than a line keeps in memory, so that some wait in the store only.
const MANY: usize = 4_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_ends_although_some_of_its_tasks_wait_in_the_store() {
    let bench = Bench::new(0, MANY).await;
    let spec = json!({"action": "set", "selector": "kind=toy"});
    let run = bench
        .logic
        .create_run(serde_json::from_value(spec).unwrap())
        .await
        .unwrap();
    let name = run.metadata.name;
    bench.logic.cancel_run(&name).await.unwrap();
    let status = bench.run_when(&name, &["Cancelled"]).await;
    assert_eq!(status["counts"]["cancelled"], MANY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_deleted_target_end_wherever_they_wait() {
    let bench = Bench::new(0, 1).await;
    let mut tasks = Vec::new();
    for _ in 0..40 {
        tasks.extend(bench.create("set", &["t0"]).await);
    }
    bench.logic.delete("Target", "t0", None).await.unwrap();
    for task in tasks {
        assert_eq!(bench.ended(task).await, "cancelled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_task_that_is_cancelled_does_not_count_as_one_of_the_batch_in_hand() {
    let mut bench = Bench::new(8, 4).await;
    let spec = json!({"action": "set", "selector": "kind=toy", "batch": "2"});
    let run = bench
        .logic
        .create_run(serde_json::from_value(spec).unwrap())
        .await
        .unwrap();
    let name = run.metadata.name;
    let (first, second) = (
        bench.take(Class::Control).await,
        bench.take(Class::Control).await,
    );
    let query = sengu_store::TaskQuery {
        open: true,
        limit: 10,
        ..Default::default()
    };
    let newest = bench.logic.list_tasks(query).await.unwrap().remove(0);
    bench.logic.cancel_task(newest.id).await.unwrap();
    assert_eq!(bench.ended(newest.id).await, "cancelled");
    bench.end(&first, &done()).await;
    bench.takes_nothing(Class::Control).await;
    bench.end(&second, &done()).await;
    let third = bench.take(Class::Control).await;
    bench.end(&third, &done()).await;
    let status = bench.run_when(&name, &["Failed"]).await;
    assert_eq!(
        (&status["counts"]["done"], &status["counts"]["cancelled"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_being_cancelled_is_cancelled_after_a_restart() {
    let mut bench = Bench::new(1, 3).await;
    let spec = json!({"action": "set", "selector": "kind=toy"});
    let run = bench
        .logic
        .create_run(serde_json::from_value(spec).unwrap())
        .await
        .unwrap();
    let name = run.metadata.name;
    bench.take(Class::Control).await;
    bench.logic.cancel_run(&name).await.unwrap();
    bench.run_when(&name, &["Cancelling"]).await;
    let bench = bench.restart().await;
    let status = bench.run_when(&name, &["Cancelled"]).await;
    assert_eq!(status["counts"]["cancelled"], 3);
}
