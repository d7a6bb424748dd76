//! Targets that are changed or deleted while tasks wait for them.

mod support;

use sengu_model::{Class, FailureCode, Outcome};
use serde_json::json;
use support::{Bench, done, target, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_follow_their_target_into_another_zone() {
    let mut bench = Bench::new(0, 1).await;
    let first = bench.create("set", &["t0"]).await[0];
    bench.create("observe", &["t0"]).await;
    // Nobody is where it was; whoever waits must not stay there, in memory or listed.
    bench.apply(&target("t0", "elsewhere", "toy")).await;
    bench.announce("default", 4).await;
    bench.takes_nothing(Class::Control).await;
    bench.apply(&target("t0", "default", "toy")).await;
    let sent = bench.take(Class::Control).await;
    assert_eq!(sent.task, first);
    bench.take(Class::Observe).await;
    bench.end(&sent, &done()).await;
    assert_eq!(bench.ended(first).await, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_for_another_kind_is_refused() {
    let bench = Bench::new(0, 1).await;
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.extend(bench.create("set", &["t0"]).await);
    }
    bench.apply(&target("t0", "default", "other")).await;
    for task in tasks {
        assert_eq!(bench.ended(task).await, "failed refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_goes_where_the_target_is_now() {
    let mut bench = Bench::new(1, 1).await;
    let id = bench.create("set", &["t0"]).await[0];
    let sent = bench.take(Class::Control).await;
    bench.apply(&target("t0", "elsewhere", "toy")).await;
    bench.announce("elsewhere", 1).await;
    let mut elsewhere = support::subscribe(&bench.broker, "elsewhere", Class::Control).await;
    bench.lose(&sent).await;
    let taken = tokio::time::timeout(support::LIMIT, elsewhere.receive(1)).await;
    assert_eq!(taken.unwrap().unwrap().len(), 1);
    let task = bench.logic.task(id).await.unwrap();
    assert_eq!(task.attempt, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observation_of_a_deleted_target_waits_no_longer() {
    let bench = Bench::new(0, 1).await;
    bench
        .apply("apiVersion: sengu/v1\nkind: Schedule\nmetadata: {name: s}\nspec: {every: 1s}\n")
        .await;
    let waiting = async || {
        let ask = |reply| sengu_logic::dispatch::Input::Overview(reply);
        bench.logic.dispatch.ask(ask).await.unwrap().waiting
    };
    until("the observation waits", async || waiting().await == 1).await;
    bench.logic.delete("Target", "t0", None).await.unwrap();
    until("nothing waits", async || waiting().await == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observations_of_a_schedule_are_counted_apart_from_tasks() {
    let mut bench = Bench::new(1, 1).await;
    bench
        .apply("apiVersion: sengu/v1\nkind: Schedule\nmetadata: {name: s}\nspec: {every: 1s}\n")
        .await;
    for _ in 0..2 {
        let sent = bench.take(Class::Observe).await;
        bench.end(&sent, &done()).await;
    }
    let totals = || bench.logic.shared.metrics.totals();
    until("both are counted", async || totals() == (0, 0, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_whole_again_after_everything_ended() {
    let mut bench = Bench::new(3, 6).await;
    let names: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tasks = bench.create("set", &names).await;
    for n in 0..tasks.len() + 2 {
        let sent = bench.take(Class::Control).await;
        match n {
            0 => bench.lose(&sent).await,
            1 => bench.reject(&sent).await,
            _ => bench.end(&sent, &done()).await,
        }
    }
    for task in tasks {
        assert_eq!(bench.ended(task).await, "done");
    }
    let ask = |reply| sengu_logic::dispatch::Input::Overview(reply);
    let overview = bench.logic.dispatch.ask(ask).await.unwrap();
    let out: Vec<_> = overview.queues.iter().map(|q| q.in_flight).collect();
    assert!(out.iter().all(|n| *n == 0), "{out:?}");
    assert_eq!(json!(overview.queues[0].window), json!(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_outlives_a_restart_that_follows_at_once() {
    let mut bench = Bench::new(1, 1).await;
    let id = bench.create("set", &["t0"]).await[0];
    let sent = bench.take(Class::Control).await;
    let outcome = Outcome::failed(FailureCode::AuthFailed, "no");
    bench.end(&sent, &outcome).await;
    assert_eq!(bench.ended(id).await, "failed auth_failed");
    let bench = bench.restart().await;
    bench.announce("default", 1).await;
    let id = bench.create("set", &["t0"]).await[0];
    assert_eq!(bench.ended(id).await, "failed refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_that_new_credentials_ended_does_not_come_back_with_a_restart() {
    let mut bench = Bench::new(1, 0).await;
    let secret = |value: &str| {
        format!(
            "apiVersion: sengu/v1\nkind: Secret\nmetadata: {{name: s}}\nspec: {{data: {{k: {value}}}}}\n"
        )
    };
    bench.apply(&secret("old")).await;
    let with_secret = target("t0", "default", "toy").replace("kind: toy,", "kind: toy, secret: s,");
    bench.apply(&with_secret).await;
    let id = bench.create("set", &["t0"]).await[0];
    let sent = bench.take(Class::Control).await;
    let outcome = Outcome::failed(FailureCode::AuthFailed, "no");
    bench.end(&sent, &outcome).await;
    assert_eq!(bench.ended(id).await, "failed auth_failed");
    bench.apply(&secret("new")).await;
    let mut bench = bench.restart().await;
    bench.announce("default", 1).await;
    bench.create("set", &["t0"]).await;
    bench.take(Class::Control).await;
}
