//! What happens is told to those who follow: each result at least once, over restarts and while their broker is away.

mod support;

use sengu_logic::Follower;
use sengu_model::wire::envelope::Event;
use sengu_model::{Class, TaskId};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use support::followers::MemoryFollowers;
use support::{Bench, done, target, until};

fn follower(name: &str, to: &MemoryFollowers) -> Follower {
    Follower {
        name: name.to_owned(),
        to: Arc::new(to.clone()),
    }
}

async fn followed(targets: usize) -> (Bench, MemoryFollowers) {
    let to = MemoryFollowers::new();
    let bench = Bench::followed(100, targets, vec![follower("broker", &to)]).await;
    (bench, to)
}

/// Has the targets do one task each; their ids in the order in which they ended.
async fn work(bench: &mut Bench, targets: &[&str]) -> Vec<TaskId> {
    bench.create("set", targets).await;
    let mut ended = Vec::new();
    for _ in targets {
        let sent = bench.take(Class::Control).await;
        bench.end(&sent, &done()).await;
        assert_eq!(bench.ended(sent.task).await, "done");
        ended.push(sent.task);
    }
    ended
}

fn tasks(told: &[(String, Value)]) -> Vec<String> {
    let id =
        |(_, event): &(String, Value)| event["data"]["id"].as_str().unwrap_or_default().to_owned();
    told.iter().map(id).collect()
}

/// Waits until so many different results were told, and gives their tasks.
async fn results(to: &MemoryFollowers, count: usize) -> Vec<String> {
    let all = || tasks(&to.below("sengu/v1/result/"));
    until("all results are told", async || {
        all().into_iter().collect::<HashSet<_>>().len() >= count
    })
    .await;
    all()
}

/// Has the target observed, with these readings.
async fn observe(bench: &mut Bench, target: &str, readings: Value) {
    bench.create("observe", &[target]).await;
    let sent = bench.take(Class::Observe).await;
    let ended = json!({"outcome": done(), "readings": readings});
    bench.report(&sent, Event::Ended, ended).await;
    assert_eq!(bench.ended(sent.task).await, "done");
}

async fn retained(to: &MemoryFollowers, wanted: &[&str]) {
    until("what is retained is as wanted", async || {
        to.retained() == wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_result_is_told_once_and_in_order_and_a_restart_goes_on_there() {
    let (mut bench, to) = followed(3).await;
    let mut wanted = work(&mut bench, &["t0", "t1", "t2"]).await;
    results(&to, 3).await;
    let (topic, event) = to.below("sengu/v1/result/").remove(0);
    assert_eq!(topic, "sengu/v1/result/toy/default/t0");
    assert_eq!(event["type"], "sengu.task.ended.v1");
    let mut bench = bench.restart().await;
    bench.announce("default", 100).await;
    wanted.extend(work(&mut bench, &["t1", "t0"]).await);
    let told = results(&to, 5).await;
    let wanted: Vec<String> = wanted.iter().map(TaskId::to_string).collect();
    assert_eq!(told, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_tells_nothing_of_the_past_and_no_start_skips_what_came_since() {
    let mut bench = Bench::new(100, 2).await;
    work(&mut bench, &["t0", "t1"]).await;
    let to = MemoryFollowers::new();
    let mut bench = bench.restart_with(vec![follower("broker", &to)]).await;
    bench.announce("default", 100).await;
    let first = work(&mut bench, &["t1"]).await[0].to_string();
    assert_eq!(results(&to, 1).await, std::slice::from_ref(&first));
    to.set_away(true);
    let second = work(&mut bench, &["t0"]).await[0].to_string();
    let bench = bench.restart().await;
    to.set_away(false);
    assert_eq!(results(&to, 2).await, [first, second]);
    drop(bench);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_away_is_told_all_when_it_is_back() {
    let (mut bench, to) = followed(4).await;
    work(&mut bench, &["t0"]).await;
    results(&to, 1).await;
    to.set_away(true);
    let missed = work(&mut bench, &["t1", "t2", "t3"]).await;
    observe(&mut bench, "t0", json!([{"name": "watts", "value": 1.0}])).await;
    observe(&mut bench, "t0", json!([{"name": "watts", "value": 2.0}])).await;
    // The turn that is being told may hold the first reading; the one after the next was made later.
    let tried = to.refusals();
    until("it was tried again", async || to.refusals() > tried + 1).await;
    to.set_away(false);
    let told = results(&to, 6).await;
    for task in missed {
        assert!(told.contains(&task.to_string()));
    }
    let topic = "sengu/v1/reading/toy/default/t0/watts";
    until("the latest is told", async || {
        to.retained_value(topic)
            .is_some_and(|e| e["data"]["value"] == 2.0)
    })
    .await;
    assert_eq!(to.below(topic).len(), 1, "what was superseded was not told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_follower_holds_up_no_other() {
    let (slow, quick) = (MemoryFollowers::new(), MemoryFollowers::new());
    slow.set_stuck(true);
    let both = vec![follower("slow", &slow), follower("quick", &quick)];
    let mut bench = Bench::followed(100, 2, both).await;
    let wanted: Vec<String> = work(&mut bench, &["t0", "t1"])
        .await
        .iter()
        .map(TaskId::to_string)
        .collect();
    assert_eq!(results(&quick, 2).await, wanted);
    assert!(slow.text().is_empty());
    slow.set_stuck(false);
    assert_eq!(results(&slow, 2).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_records_are_told_and_secrets_never() {
    let (bench, to) = followed(0).await;
    bench
        .apply("apiVersion: sengu/v1\nkind: Secret\nmetadata: {name: bmc}\nspec: {data: {password: hunter2-swordfish}}\n")
        .await;
    bench.apply(&target("t0", "default", "toy")).await;
    bench.logic.delete("Target", "t0", None).await.unwrap();
    bench.apply(&target("t1", "default", "toy")).await;
    let record = "sengu/v1/record/";
    until("the last change is told", async || {
        !to.below("sengu/v1/record/target/t1").is_empty()
    })
    .await;
    let secret = to.below("sengu/v1/record/secret/bmc");
    assert_eq!(secret[0].1["data"]["spec"]["data"]["password"], "***");
    let of_t0 = to.below("sengu/v1/record/target/t0");
    assert_eq!(of_t0.last().unwrap().1["type"], "sengu.record.delete.v1");
    let text = to.text();
    assert!(
        !text.contains("hunter2") && !text.contains("TargetStatus"),
        "{text}"
    );
    let sealed = bench.logic.record("Secret", "bmc").unwrap().spec["data"]["password"].clone();
    assert!(!text.contains(sealed.as_str().unwrap()), "sealed neither");
    let revisions = to.below(record);
    let revision = |(_, e): &(String, Value)| -> u64 {
        e["id"]
            .as_str()
            .unwrap()
            .trim_start_matches("revision-")
            .parse()
            .unwrap()
    };
    assert!(revisions.iter().map(revision).is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_go_with_their_sensor_and_with_their_target() {
    let (mut bench, to) = followed(2).await;
    let two = json!([{"name": "watts", "value": 1.0}, {"name": "t", "value": 2.0, "labels": {"at": "a/+#"}},
        {"no": "reading"}]);
    observe(&mut bench, "t0", two.clone()).await;
    observe(&mut bench, "t1", two).await;
    let base = "sengu/v1/reading/toy/default";
    let (t, watts) = ("t{at=a%2F%2B%23}", "watts");
    let all = [
        format!("{base}/t0/{t}"),
        format!("{base}/t0/{watts}"),
        format!("{base}/t1/{t}"),
        format!("{base}/t1/{watts}"),
    ];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    retained(&to, &all).await;
    observe(&mut bench, "t0", json!([{"name": "watts", "value": 3.0}])).await;
    retained(&to, &all[1..]).await;
    bench.logic.delete("Target", "t0", None).await.unwrap();
    retained(&to, &all[2..]).await;
    // In another life, and without having been observed in it.
    let bench = bench.restart().await;
    bench.apply(&target("t1", "elsewhere", "toy")).await;
    retained(&to, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_the_broker_is_told_shorter() {
    let (mut bench, to) = followed(1).await;
    to.set_bytes_max(3_000);
    let id = bench.create("set", &["t0"]).await[0];
    let sent = bench.take(Class::Control).await;
    let large = json!({"outcome": done(), "facts": {"x": "y".repeat(10_000)}});
    bench.report(&sent, Event::Ended, large).await;
    assert_eq!(bench.ended(id).await, "done");
    results(&to, 1).await;
    let event = to.below("sengu/v1/result/").remove(0).1;
    assert_eq!(event["truncated"], true);
    assert_eq!(event["data"]["id"], id.to_string());
    work(&mut bench, &["t0"]).await;
    results(&to, 2).await;
    let next = to.below("sengu/v1/result/").remove(1).1;
    assert_eq!(next.get("truncated"), None);
}
