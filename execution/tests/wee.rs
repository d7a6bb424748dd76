//! The WEE with the real echo worker: the way of a task from its envelope to its report.

mod common;

use common::{House, Said, echo, sealed};
use sengu_interconnect::parked::Parked;
use sengu_interconnect::{Broker, Queue};
use sengu_model::wire::envelope::{Event, LogLine, Way};
use sengu_model::{Done, Effect, FailureCode, Outcome, Time};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_to_a_worker_and_its_outcome_comes_back() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let noop = house.ask("echo", "noop", Effect::Idempotent);
    let ended = house.run(&noop).await;
    assert_eq!(ended.event, Event::Ended);
    let done = Done {
        changed: true,
        ..Done::default()
    };
    assert_eq!(ended.outcome, Some(Outcome::Done(done)));
    assert_eq!(ended.instance.as_deref(), Some("echo@1.0.0/1"));
    assert!(ended.text.contains("sha256:1") && ended.text.contains("started_at"));

    let observe = house.ask("echo", "observe", Effect::Read);
    let ended = house.run(&observe).await;
    assert_eq!(
        ended.readings,
        Some(json!([{"name": "echo_up", "value": 1.0, "unit": "1"}]))
    );
    assert_eq!(ended.facts, Some(json!({"vendor": "echo"})));

    let mut say = house.ask("echo", "say", Effect::Read);
    say.params = json!({"text": "a\nb"});
    let ended = house.run(&say).await;
    assert_eq!(ended.outcome, Some(Outcome::result(false, json!("a\nb"))));
    assert_eq!(house.logs(say.task)[0].message, "a\nb");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_end_once_each_and_in_their_own_fence() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut asks = Vec::new();
    for n in 0..3_000 {
        let mut ask = house.ask("echo", "noop", Effect::Idempotent);
        ask.attempt = 1 + n % 7;
        house.send(&ask).await;
        asks.push(ask);
    }
    let count = asks.len();
    let all = move |said: &[common::Said]| {
        (said.iter().filter(|s| s.event == Event::Ended).count() >= count).then_some(())
    };
    house.until("3000 ends", all).await;
    let mut ended: Vec<_> = house
        .said
        .iter()
        .filter(|s| s.event == Event::Ended)
        .map(|s| (s.task, s.fence))
        .collect();
    ended.sort_unstable();
    let asked: Vec<_> = asks
        .iter()
        .map(|a| (a.task, (a.epoch, a.attempt)))
        .collect();
    assert_eq!(ended, asked);
    let pool = house.pool_until("echo", |p| p.ended == 3_000).await;
    assert_eq!((pool.failed, pool.slots_busy, pool.slots_max), (0, 0, 512));
    assert_eq!((pool.complaints.len(), pool.restarts), (0, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_or_an_older_fence_is_not_begun_again() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "noop", Effect::Idempotent);
    ask.attempt = 2;
    house.send(&ask).await;
    house.send(&ask).await;
    ask.attempt = 1;
    house.send(&ask).await;
    ask.attempt = 2;
    house.end(&ask).await;
    let last = house.ask("echo", "noop", Effect::Idempotent);
    house.run(&last).await;
    let ends = house.said.iter().filter(|s| s.task == ask.task).count();
    assert_eq!(ends, 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_attempt_ends_the_older_one_first() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "once", Effect::Once);
    ask.params = json!({"sleep_ms": 30_000});
    house.send(&ask).await;
    started(&mut house, &ask).await;
    let mut newer = house.ask("echo", "once", Effect::Once);
    newer.task = ask.task;
    newer.attempt = 2;
    let ended = house.run(&newer).await;
    assert!(matches!(ended.outcome, Some(Outcome::Done(_))), "{ended:?}");
    let older = house.end(&ask).await;
    assert!(
        matches!(older.outcome, Some(Outcome::Cancelled { .. })),
        "{older:?}"
    );
    house.close().await;
}

async fn started(house: &mut House, ask: &common::Ask) {
    let task = ask.task;
    house
        .until("started", move |said| {
            said.iter()
                .find(|s| s.task == task && s.event == Event::Started)
                .map(|_| ())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_task_is_reported_started_beats_and_can_be_cancelled() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "once", Effect::Once);
    ask.params = json!({"sleep_ms": 30_000});
    ask.timeout_ms = 60_000;
    house.send(&ask).await;
    let task = ask.task;
    house
        .until("a beat", move |said| {
            said.iter()
                .find(|s| s.task == task && s.event == Event::Beat)
                .map(|_| ())
        })
        .await;
    assert_eq!(house.said[0].event, Event::Started);
    assert_eq!(house.said[0].instance.as_deref(), Some("echo@1.0.0/1"));
    house.cancel(&ask).await;
    let ended = house.end(&ask).await;
    assert!(
        matches!(ended.outcome, Some(Outcome::Cancelled { .. })),
        "{ended:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_comes_first_keeps_the_task_from_starting() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    let ask = house.ask("echo", "noop", Effect::Idempotent);
    house.cancel(&ask).await;
    house.wait_for_commands().await;
    house.offer(&manifest, &folder, "sha256:1").await;
    let ended = house.run(&ask).await;
    assert!(
        matches!(ended.outcome, Some(Outcome::Cancelled { .. })),
        "{ended:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_too_late_expires_and_one_not_understood_is_rejected() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut late = house.ask("echo", "noop", Effect::Idempotent);
    late.start_by = Some(Time(1_000));
    let ended = house.run(&late).await;
    assert!(
        matches!(ended.outcome, Some(Outcome::Expired { .. })),
        "{ended:?}"
    );
    house
        .send_raw(
            Queue::tasks("default", "echo", "1.0.0", sengu_model::Class::Control),
            "not JSON".to_owned(),
        )
        .await;
    let unknown = house.ask("echo", "dance", Effect::Read);
    let ended = house.run(&unknown).await;
    assert_eq!(
        ended.outcome.and_then(|o| o.code()),
        Some(FailureCode::Refused)
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_put_aside_with_its_reason_and_work_goes_on() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let noop = house.ask("echo", "noop", Effect::Idempotent);
    assert_eq!(house.run(&noop).await.event, Event::Ended);
    let tasks = Queue::tasks("default", "echo", "1.0.0", sengu_model::Class::Control);
    let wee = Queue::wee("wee-1");
    let part = format!("{{\"type\":\"blob_part\",{}", " ".repeat(20_000));
    let garbage = [
        (tasks.clone(), "not JSON".to_owned()),
        (tasks.clone(), "{}".to_owned()),
        (wee.clone(), "{\"type\":\"dance\"}".to_owned()),
        (wee.clone(), part),
    ];
    for (queue, body) in garbage.clone() {
        house.send_raw(queue, body).await;
    }
    let mut parked = house.broker.subscribe(Queue::parked(), 10).await.unwrap();
    let mut found = Vec::new();
    while found.len() < garbage.len() {
        let received = tokio::time::timeout(Duration::from_secs(20), parked.receive(10)).await;
        for delivery in received.expect("it is put aside").unwrap() {
            let told: Parked = serde_json::from_slice(&delivery.body).unwrap();
            assert!(!told.reason.is_empty());
            found.push((told.queue.into_owned(), told.bytes));
        }
    }
    let size = |(queue, body): &(Queue, String)| (queue.to_string(), body.len() as u64);
    let mut wanted: Vec<_> = garbage.iter().map(size).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    let noop = house.ask("echo", "noop", Effect::Idempotent);
    assert_eq!(house.run(&noop).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_opened_at_the_last_hop_or_the_task_is_rejected() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "say", Effect::Read);
    ask.secrets = Some(sealed(&[("password", "hunter2")]));
    ask.params = json!({"text": "it is hunter2"});
    let ended = house.run(&ask).await;
    assert_eq!(
        ended.outcome,
        Some(Outcome::result(false, json!("it is ***")))
    );
    assert_eq!(house.logs(ask.task)[0].message, "it is ***");
    let mut other = house.ask("echo", "say", Effect::Read);
    let mut moved = sealed(&[("password", "hunter2")]);
    moved.name = "elsewhere".to_owned();
    other.secrets = Some(moved);
    let rejected = house.run(&other).await;
    assert_eq!(rejected.event, Event::Rejected);
    assert!(rejected.why.unwrap().contains("elsewhere/password"));
    house.close().await;

    let mut keyless = House::open(None).await;
    keyless.offer(&manifest, &folder, "sha256:1").await;
    let rejected = keyless.run(&ask).await;
    assert!(rejected.why.unwrap().contains("no key"));
    keyless.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_kept_where_asked_for_and_hold_no_secret() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "say", Effect::Read);
    ask.frames = true;
    ask.secrets = Some(sealed(&[("password", "hunter2")]));
    ask.params = json!({"text": "it is hunter2"});
    house.run(&ask).await;
    let logs = house.logs(ask.task);
    let ways: Vec<_> = logs.iter().map(|line| line.frame).collect();
    assert_eq!(ways, [Some(Way::ToWorker), None, Some(Way::FromWorker)]);
    let frames =
        [&logs[0], &logs[2]].map(|line| -> Value { serde_json::from_str(&line.message).unwrap() });
    assert_eq!(frames[0]["type"], "task");
    assert_eq!(frames[0]["params"]["text"], "it is ***");
    assert_eq!(frames[0]["secrets"], json!({"password": "***"}));
    assert_eq!(frames[1]["outcome"]["result"], "it is ***");
    assert!(!house.said.iter().any(|said| said.text.contains("hunter2")));

    let mut long = house.ask("echo", "once", Effect::Once);
    long.frames = true;
    long.params = json!({"sleep_ms": 30_000});
    long.timeout_ms = 60_000;
    house.send(&long).await;
    let task = long.task;
    let begun = |said: &[Said]| {
        said.iter()
            .find(|s| s.task == task && s.event == Event::Logs)
            .map(|_| ())
    };
    house.until("the first frame", begun).await;
    house.cancel(&long).await;
    house.end(&long).await;
    let logs = house.logs(task);
    let cancels =
        |line: &LogLine| line.frame == Some(Way::ToWorker) && line.message.contains("cancel");
    assert!(logs.iter().any(cancels), "{logs:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volatile_tasks_leave_no_log() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut ask = house.ask("echo", "say", Effect::Read);
    ask.volatile = true;
    ask.params = json!({"text": "hush"});
    house.run(&ask).await;
    assert!(house.logs(ask.task).is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_while_the_old_one_ends_its_task() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut long = house.ask("echo", "once", Effect::Once);
    long.params = json!({"sleep_ms": 3_000});
    house.send(&long).await;
    started(&mut house, &long).await;
    house.offer(&manifest, &folder, "sha256:2").await;
    house.pool_until("echo", |p| p.digest == "sha256:2").await;
    let next = house.ask("echo", "noop", Effect::Idempotent);
    let ended = house.run(&next).await;
    assert_eq!(ended.instance.as_deref(), Some("echo@1.0.0/2"));
    assert!(ended.text.contains("sha256:2"));
    let ended = house.end(&long).await;
    assert_eq!(ended.instance.as_deref(), Some("echo@1.0.0/1"));
    assert!(matches!(ended.outcome, Some(Outcome::Done(_))) && ended.text.contains("sha256:1"));
    house.pool_until("echo", |p| p.instances == 1).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_kind_ends_its_tasks_and_leaves_the_others_in_the_queue() {
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut long = house.ask("echo", "once", Effect::Once);
    long.params = json!({"sleep_ms": 1_000});
    house.send(&long).await;
    started(&mut house, &long).await;
    house.withdraw("echo", "1.0.0").await;
    assert_eq!(house.end(&long).await.event, Event::Ended);
    house.gone("echo").await;
    let later = house.ask("echo", "noop", Effect::Idempotent);
    house.send(&later).await;
    house.offer(&manifest, &folder, "sha256:1").await;
    assert_eq!(house.end(&later).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_instances_are_there_before_a_task_and_idle_ones_leave() {
    let mut house = House::new().await;
    let (mut manifest, folder) = echo();
    manifest.slots = 1;
    manifest.pool.warm = 1;
    manifest.pool.max = 3;
    manifest.pool.idle_ms = 300;
    house.offer(&manifest, &folder, "sha256:1").await;
    house.pool_until("echo", |p| p.instances == 1).await;
    let mut asks = Vec::new();
    for _ in 0..3 {
        let mut ask = house.ask("echo", "once", Effect::Once);
        ask.params = json!({"sleep_ms": 5_000});
        house.send(&ask).await;
        asks.push(ask);
    }
    house
        .pool_until("echo", |p| p.slots_busy == 3 && p.instances == 3)
        .await;
    for ask in &asks {
        assert_eq!(house.end(ask).await.event, Event::Ended);
    }
    house.pool_until("echo", |p| p.instances == 1).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_recycled_after_their_number_of_tasks() {
    let mut house = House::new().await;
    let (mut manifest, folder) = echo();
    manifest.pool.max_tasks = 2;
    house.offer(&manifest, &folder, "sha256:1").await;
    for n in 1..=3 {
        for _ in 0..2 {
            let ask = house.ask("echo", "noop", Effect::Idempotent);
            let ended = house.run(&ask).await;
            assert_eq!(ended.instance, Some(format!("echo@1.0.0/{n}")));
        }
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_target_stays_with_one_instance() {
    let mut house = House::new().await;
    let (mut manifest, folder) = echo();
    manifest.slots = 4;
    manifest.pool.warm = 3;
    manifest.pool.max = 3;
    house.offer(&manifest, &folder, "sha256:1").await;
    // Until all three are ready, targets of the later ones are served by the others.
    let mut used = std::collections::BTreeSet::new();
    for sticky in 0.. {
        let mut ask = house.ask("echo", "noop", Effect::Idempotent);
        ask.sticky = sticky;
        used.insert(house.run(&ask).await.instance.unwrap());
        if used.len() == 3 {
            break;
        }
    }
    for sticky in 0..10 {
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..5 {
            let mut ask = house.ask("echo", "noop", Effect::Idempotent);
            ask.sticky = sticky;
            places.insert(house.run(&ask).await.instance.unwrap());
        }
        assert_eq!(places.len(), 1, "{places:?}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_find_room_while_reads_fill_the_pool() {
    let mut house = House::new().await;
    let (mut manifest, folder) = echo();
    manifest.slots = 4;
    manifest.pool.reserve = 2;
    house.offer(&manifest, &folder, "sha256:1").await;
    for _ in 0..6 {
        let mut read = house.ask("echo", "once", Effect::Read);
        read.params = json!({"sleep_ms": 6_000});
        house.send(&read).await;
    }
    house.pool_until("echo", |p| p.slots_busy == 2).await;
    let change = house.ask("echo", "noop", Effect::Idempotent);
    house.run(&change).await;
    let reads = house
        .said
        .iter()
        .filter(|s| s.event == Event::Ended)
        .count();
    assert_eq!(reads, 1, "the change did not wait for the reads");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_run_here_is_named() {
    let mut house = House::new().await;
    let (mut manifest, folder) = echo();
    manifest.command = vec!["no-such-program".to_owned()];
    house.offer(&manifest, &folder, "sha256:1").await;
    let ask = house.ask("echo", "noop", Effect::Idempotent);
    let rejected = house.run(&ask).await;
    assert_eq!(rejected.event, Event::Rejected);
    assert!(
        rejected
            .why
            .unwrap()
            .contains("no program \"no-such-program\"")
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_tasks_end_and_takes_the_announcement_back() {
    use sengu_interconnect::Broker;
    let mut house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    let mut directory = house.broker.directory("wee/".to_owned()).await.unwrap();
    let mut long = house.ask("echo", "once", Effect::Once);
    long.params = json!({"sleep_ms": 2_000});
    house.send(&long).await;
    started(&mut house, &long).await;
    assert_eq!(directory.next().await.unwrap().len(), 1);
    house.wee.take().unwrap().drain().await;
    let ended = house.end(&long).await;
    assert!(matches!(ended.outcome, Some(Outcome::Done(_))), "{ended:?}");
    assert_eq!(
        directory.next().await.unwrap(),
        [("wee/wee-1".to_owned(), None)]
    );
    house.close().await;
}
