//! What may not be repeated is begun once: only with logic's leave, however often and wherever the broker delivers it.

mod common;

use common::{Answer, Ask, House, echo, offer};
use sengu_interconnect::{Broker, Queue};
use sengu_model::wire::envelope::{Event, WeeCommand};
use sengu_model::{Class, Effect, Outcome, Time};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long nothing must happen before it counts as not happening.
const QUIET: Duration = Duration::from_millis(500);

async fn house(answer: Answer) -> House {
    let house = House::new().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:1").await;
    house.answer(answer);
    house
}

/// With room for one task at a time.
async fn narrow_house(answer: Answer) -> House {
    let house = House::new().await;
    let (mut manifest, folder) = echo();
    manifest.slots = 1;
    house.offer(&manifest, &folder, "sha256:1").await;
    house.answer(answer);
    house
}

fn once(house: &mut House) -> Ask {
    house.ask("echo", "once", Effect::Once)
}

/// What was said of the task so far, after a while.
async fn heard(house: &mut House, ask: &Ask) -> Vec<Event> {
    let end = Instant::now() + QUIET;
    while Instant::now() < end {
        house.hear(Duration::from_millis(50)).await;
    }
    let said = house.said.iter().filter(|s| s.task == ask.task);
    said.map(|s| s.event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_handed_over_before_its_grant() {
    let mut house = narrow_house(Answer::Never).await;
    for effect in [Effect::Once, Effect::Probe] {
        let mut ask = once(&mut house);
        ask.effect = effect;
        house.send(&ask).await;
        house.claimed_times(&ask, 1).await;
        // The slot is kept for it.
        let later = house.ask("echo", "noop", Effect::Idempotent);
        house.send(&later).await;
        assert_eq!(heard(&mut house, &ask).await, []);
        assert_eq!(heard(&mut house, &later).await, []);
        house.grant(&ask, true).await;
        let ended = house.end(&ask).await;
        assert!(matches!(ended.outcome, Some(Outcome::Done(_))), "{ended:?}");
        house.end(&later).await;
        assert!(house.claimed(&later).is_empty());
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_dropped_without_a_word() {
    let mut house = narrow_house(Answer::No).await;
    let ask = once(&mut house);
    house.send(&ask).await;
    house.claimed_times(&ask, 1).await;
    let next = house.ask("echo", "noop", Effect::Idempotent);
    house.run(&next).await;
    assert_eq!(heard(&mut house, &ask).await, []);
    let queue = Queue::tasks("default", "echo", "1.0.0", Class::Control);
    let broker = house.broker.clone();
    house.close().await;
    assert_eq!(broker.depth(queue).await.unwrap(), 0, "it was acked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again_and_a_late_one_does_nothing() {
    let mut house = house(Answer::Never).await;
    let ask = once(&mut house);
    house.send(&ask).await;
    let began = Instant::now();
    house.claimed_times(&ask, 2).await;
    assert!(began.elapsed() > Duration::from_secs(1));
    house.answer(Answer::First);
    house.end(&ask).await;
    assert_eq!(house.claimed(&ask).len(), 3);
    for may in [true, false, true] {
        house.grant(&ask, may).await;
    }
    assert_eq!(heard(&mut house, &ask).await, [Event::Ended]);
    // Grants for another life are none.
    house.answer(Answer::Never);
    let other = once(&mut house);
    house.send(&other).await;
    house.claimed_times(&other, 1).await;
    let items = vec![sengu_model::wire::envelope::Grant {
        task: other.task,
        epoch: 1,
        attempt: 1,
        may: true,
    }];
    house.command(&WeeCommand::Begin { life: 2, items }).await;
    assert_eq!(heard(&mut house, &other).await, []);
    house.grant(&other, true).await;
    house.end(&other).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_without_an_answer_ends_with_the_time_to_start() {
    let mut house = house(Answer::Never).await;
    // With this done an instance is up, and the time is the claim's alone.
    let first = house.ask("echo", "noop", Effect::Idempotent);
    house.run(&first).await;
    let mut ask = once(&mut house);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    ask.start_by = Some(Time(i64::try_from(now).unwrap() + 5_000));
    let rejected = house.run(&ask).await;
    assert_eq!(rejected.event, Event::Rejected);
    assert!(rejected.why.unwrap().contains("claim"));
    assert!(house.claimed(&ask).len() > 1);
    house.grant(&ask, true).await;
    assert_eq!(heard(&mut house, &ask).await, [Event::Rejected]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_what_waits_for_its_grant() {
    let mut house = house(Answer::Never).await;
    let ask = once(&mut house);
    house.send(&ask).await;
    house.claimed_times(&ask, 1).await;
    house.cancel(&ask).await;
    let ended = house.end(&ask).await;
    let cancelled = matches!(ended.outcome, Some(Outcome::Cancelled { .. }));
    assert!(cancelled && ended.instance.is_none(), "{ended:?}");
    house.grant(&ask, true).await;
    assert_eq!(heard(&mut house, &ask).await, [Event::Ended]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drains_gives_back_what_waits_for_its_grant() {
    let mut house = house(Answer::Never).await;
    let ask = once(&mut house);
    house.send(&ask).await;
    house.claimed_times(&ask, 1).await;
    house.wish(false, true).await;
    let rejected = house.end(&ask).await;
    assert_eq!(rejected.event, Event::Rejected);
    assert!(rejected.why.unwrap().contains("drained"));
    house.grant(&ask, true).await;
    assert_eq!(heard(&mut house, &ask).await, [Event::Rejected]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_attempt_takes_the_place_of_an_older_claim() {
    let mut house = house(Answer::Never).await;
    let older = once(&mut house);
    house.send(&older).await;
    house.claimed_times(&older, 1).await;
    let mut newer = once(&mut house);
    newer.task = older.task;
    newer.attempt = 2;
    house.send(&newer).await;
    house.claimed_times(&newer, 1).await;
    house.grant(&older, true).await;
    assert_eq!(heard(&mut house, &older).await, []);
    house.answer(Answer::First);
    let ended = house.end(&newer).await;
    assert_eq!(ended.fence, (1, 2));
    house.grant(&older, true).await;
    assert_eq!(heard(&mut house, &older).await, [Event::Ended]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_finds_no_slot_is_asked_for_again() {
    let mut house = house(Answer::Never).await;
    let ask = once(&mut house);
    house.send(&ask).await;
    house.claimed_times(&ask, 1).await;
    // The instance that had the slot leaves, and the next one does not come up.
    let (mut silent, _) = common::bad("no-hello");
    silent.name = "echo".to_owned();
    house.offer_as(&offer(&silent, "sha256:bad")).await;
    house.pool_until("echo", |p| p.digest == "sha256:bad").await;
    house.grant(&ask, true).await;
    house.wait_for_commands().await;
    let (manifest, folder) = echo();
    house.offer(&manifest, &folder, "sha256:2").await;
    house.claimed_times(&ask, 2).await;
    assert_eq!(heard(&mut house, &ask).await, []);
    house.grant(&ask, true).await;
    let ended = house.end(&ask).await;
    assert!(ended.text.contains("sha256:2"), "{ended:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_attempt_delivered_to_two_wees_is_begun_once() {
    let mut house = narrow_house(Answer::Never).await;
    let other = house.another("wee-2");
    let ready = |status: &sengu_model::wire::envelope::WeeAnnouncement| {
        status.pools.iter().any(|p| p.kind == "echo")
    };
    common::until("the other has the worker", || ready(&other.status())).await;
    for round in 0..3 {
        house.answer(Answer::Never);
        let mut ask = once(&mut house);
        ask.params = json!({"sleep_ms": 300});
        house.send(&ask).await;
        let first = house.claimed_times(&ask, 1).await.remove(0);
        // The first has no room for it, so the other gets it.
        house.send(&ask).await;
        let both = common::until_some("both claim it", || {
            let claimed = house.claimed(&ask);
            claimed.iter().any(|wee| *wee != first).then_some(claimed)
        })
        .await;
        assert!(both.contains(&first));
        house.answer(Answer::First);
        let ended = house.end(&ask).await;
        assert!(matches!(ended.outcome, Some(Outcome::Done(_))), "{ended:?}");
        let said: Vec<_> = {
            heard(&mut house, &ask).await;
            house.said.iter().filter(|s| s.task == ask.task).collect()
        };
        assert!(said.iter().all(|s| s.wee == ended.wee), "{said:?}");
        let ends = said.iter().filter(|s| s.event == Event::Ended).count();
        assert_eq!(ends, 1, "in round {round}: {said:?}");
    }
    other.drain().await;
    house.close().await;
}
