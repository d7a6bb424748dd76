//! Several versions of one worker kind at once: each task ends on the version that it was sent to, whatever becomes of
//! the offers meanwhile.

mod common;

use common::{Ask, House, Said, offer, well};
use sengu_model::wire::envelope::{Event, PoolAnnouncement, WorkerOffer};
use sengu_model::{Effect, Outcome, TaskId};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

fn v1() -> WorkerOffer {
    offer(&well("well", "1.0.0"), "sha256:v1")
}

fn v2() -> WorkerOffer {
    offer(&well("well", "2.0.0"), "sha256:v2")
}

fn ask(house: &mut House, version: &str) -> Ask {
    let mut ask = house.ask("well", "go", Effect::Once);
    ask.version = version.to_owned();
    ask
}

/// The version that ran it, by its own word and by what the WEE says.
fn ran_on(said: &Said) -> String {
    let Some(Outcome::Done(done)) = &said.outcome else {
        panic!("{said:?}");
    };
    let version = done.result.as_ref().and_then(|v| v.as_str());
    let version = version.expect("its version");
    let instance = said.instance.as_deref().expect("an instance");
    assert!(
        instance.starts_with(&format!("well@{version}/")),
        "{said:?}"
    );
    let digest = format!("sha256:v{}", &version[..1]);
    assert!(said.text.contains(&digest), "{said:?}");
    version.to_owned()
}

async fn pool(house: &House, version: &str, fits: impl Fn(&PoolAnnouncement) -> bool) {
    let fits = |p: &PoolAnnouncement| p.version == version && fits(p);
    house.pool_until("well", fits).await;
}

async fn gone(house: &House, version: &str) {
    let there = |p: &PoolAnnouncement| p.version == version;
    house
        .wait_for("the pool to go", |status| !status.pools.iter().any(there))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_run_side_by_side_and_each_task_on_its_own() {
    let mut house = House::new().await;
    house.offer_as(&v1()).await;
    house.offer_as(&v2()).await;
    let mut asks = Vec::new();
    for n in 0..40 {
        let version = if n % 2 == 0 { "1.0.0" } else { "2.0.0" };
        let ask = ask(&mut house, version);
        house.send(&ask).await;
        asks.push(ask);
    }
    for ask in &asks {
        assert_eq!(ran_on(&house.end(ask).await), ask.version);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_in_the_queue_of_another_version_is_rejected() {
    let mut house = House::new().await;
    house.offer_as(&v1()).await;
    let ask = ask(&mut house, "2.0.0");
    let queue = sengu_interconnect::Queue::tasks("default", "well", "1.0.0", Effect::Once.class());
    house.send_raw(queue, ask.body()).await;
    let rejected = house.end(&ask).await;
    assert_eq!(rejected.event, Event::Rejected);
    let why = rejected.why.unwrap();
    assert!(why.contains("it is for well@2.0.0"), "{why}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_withdrawn_while_it_works_ends_its_tasks_and_goes() {
    let mut house = House::new().await;
    house.offer_as(&v1()).await;
    house.offer_as(&v2()).await;
    let mut long = ask(&mut house, "1.0.0");
    long.params = json!({"sleep_ms": 5_000});
    house.send(&long).await;
    pool(&house, "1.0.0", |p| p.slots_busy == 1).await;
    house.withdraw("well", "1.0.0").await;
    let other = ask(&mut house, "2.0.0");
    assert_eq!(ran_on(&house.run(&other).await), "2.0.0");
    assert_eq!(ran_on(&house.end(&long).await), "1.0.0");
    gone(&house, "1.0.0").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inactive_version_keeps_nothing_but_runs_what_is_pinned_to_it() {
    let mut house = House::new().await;
    let mut warm = v1();
    warm.pool.warm = 1;
    house.offer_as(&warm).await;
    pool(&house, "1.0.0", |p| p.instances == 1).await;
    warm.active = false;
    house.offer_as(&warm).await;
    pool(&house, "1.0.0", |p| p.instances == 0).await;
    let pinned = ask(&mut house, "1.0.0");
    assert_eq!(ran_on(&house.run(&pinned).await), "1.0.0");
    pool(&house, "1.0.0", |p| p.instances == 0 && p.ended == 1).await;
    // One that was never active starts from nothing.
    let mut asleep = v2();
    asleep.active = false;
    house.offer_as(&asleep).await;
    for effect in [Effect::Once, Effect::Read] {
        let mut pinned = ask(&mut house, "2.0.0");
        pinned.effect = effect;
        assert_eq!(ran_on(&house.run(&pinned).await), "2.0.0");
    }
    // Once it is active there is an instance before its first task.
    asleep.active = true;
    pool(&house, "2.0.0", |p| p.instances == 0).await;
    house.offer_as(&asleep).await;
    pool(&house, "2.0.0", |p| p.instances == 1).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_pool_change_live_and_cost_no_instance_its_task() {
    let mut house = House::new().await;
    let mut offered = v1();
    offered.manifest.slots = 1;
    offered.pool.max = 4;
    house.offer_as(&offered).await;
    offered.pool.warm = 3;
    house.offer_as(&offered).await;
    pool(&house, "1.0.0", |p| p.instances == 3 && p.slots_max == 4).await;
    let mut asks = Vec::new();
    for _ in 0..2 {
        let mut long = ask(&mut house, "1.0.0");
        long.params = json!({"sleep_ms": 5_000});
        house.send(&long).await;
        asks.push(long);
    }
    pool(&house, "1.0.0", |p| p.slots_busy == 2).await;
    offered.pool.warm = 1;
    offered.pool.max = 1;
    house.offer_as(&offered).await;
    for ask in &asks {
        assert_eq!(house.end(ask).await.event, Event::Ended);
    }
    pool(&house, "1.0.0", |p| p.instances == 1 && p.slots_max == 1).await;
    let status = house.status();
    assert_eq!((status.pools[0].restarts, status.pools[0].failed), (0, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaks_is_ended_and_told() {
    // Limits are the runtime's; here the worker dies as one that was killed for its memory does.
    let mut house = House::new().await;
    let (manifest, _) = common::bad("exits");
    house.offer_as(&offer(&manifest, "sha256:bad")).await;
    let mut die = house.ask("exits", "die", Effect::Once);
    die.version = "1.0.0".to_owned();
    let lost = house.run(&die).await;
    assert_eq!(lost.event, Event::Lost);
    assert!(lost.text.contains("sha256:bad"), "{}", lost.text);
    let complaint = house.complaint("exits", "ended by itself").await;
    assert!(complaint.contains("exit status 3"), "{complaint}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_version_that_was_rolled_back_is_tried_for_a_task_only() {
    let mut house = House::new().await;
    let (manifest, _) = common::bad("stillborn");
    let mut offered = offer(&manifest, "sha256:bad");
    offered.active = false;
    house.offer_as(&offered).await;
    for restarts in 1..=2 {
        let pinned = house.ask("stillborn", "go", Effect::Once);
        let rejected = house.run(&pinned).await;
        assert_eq!(rejected.event, Event::Rejected);
        assert!(rejected.why.unwrap().contains("no licence for cheese"));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let tried = |p: &PoolAnnouncement| p.broken.is_some() && p.restarts == restarts;
        house.pool_until("stillborn", tried).await;
    }
    // Its mended bytes are taken up as they come.
    let mut mended = offer(&well("stillborn", "1.0.0"), "sha256:good");
    mended.active = false;
    house.offer_as(&mended).await;
    let pinned = house.ask("stillborn", "go", Effect::Once);
    assert_eq!(house.run(&pinned).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_crashes_at_birth_is_told_at_once() {
    let house = House::new().await;
    let (manifest, _) = common::bad("stillborn");
    let mut offered = offer(&manifest, "sha256:bad");
    offered.pool.warm = 1;
    house.offer_as(&offered).await;
    let pool = house.pool_until("stillborn", |p| p.broken.is_some()).await;
    let why = pool.broken.unwrap();
    assert!(why.contains("no licence for cheese"), "{why}");
    assert!(pool.restarts <= 2, "told long before the last try");
    house.close().await;
}

/// Sends tasks to the version that is active, and again when they are rejected, while `flip` changes the offers. In the
/// end each has ended once, on the version it was sent to last, and was given to a worker once.
async fn flips_lose_nothing(flip: impl AsyncFn(&House, usize)) {
    const FLIPS: usize = 200;
    let mut house = House::new().await;
    house.offer_as(&v1()).await;
    house.offer_as(&v2()).await;
    let mut asks: BTreeMap<TaskId, Ask> = BTreeMap::new();
    for n in 0..FLIPS {
        flip(&house, n).await;
        for _ in 0..5 {
            let version = if n % 2 == 0 { "1.0.0" } else { "2.0.0" };
            let mut ask = ask(&mut house, version);
            ask.timeout_ms = 20_000;
            ask.params = json!({"note": "given", "sleep_ms": 20});
            house.send(&ask).await;
            asks.insert(ask.task, ask);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        send_rejected_again(&mut house, &mut asks).await;
    }
    house.offer_as(&v1()).await;
    house.offer_as(&v2()).await;
    let all = asks.len();
    let ended = |said: &[Said]| said.iter().filter(|s| s.event == Event::Ended).count();
    let limit = std::time::Instant::now() + common::LIMIT;
    while ended(&house.said) < all {
        assert!(std::time::Instant::now() < limit, "{}", house.story());
        house.hear(Duration::from_millis(50)).await;
        send_rejected_again(&mut house, &mut asks).await;
    }
    assert_eq!(ended(&house.said), all, "each ends once");
    assert!(
        !house.said.iter().any(|s| s.event == Event::Lost),
        "{}",
        house.story()
    );
    for said in house.said.iter().filter(|s| s.event == Event::Ended) {
        let ask = &asks[&said.task];
        assert_eq!(said.fence, (ask.epoch, ask.attempt));
        assert_eq!(ran_on(said), ask.version);
    }
    for task in asks.keys() {
        assert_eq!(
            house.logs(*task).len(),
            1,
            "{task} was given to a worker once"
        );
    }
    house.close().await;
}

async fn send_rejected_again(house: &mut House, asks: &mut BTreeMap<TaskId, Ask>) {
    house.hear(Duration::ZERO).await;
    let mut again = Vec::new();
    for said in house.said.iter().filter(|s| s.event == Event::Rejected) {
        if asks[&said.task].attempt == said.fence.1 {
            again.push(said.task);
        }
    }
    for task in again {
        let ask = asks.get_mut(&task).expect("it was asked");
        ask.attempt += 1;
        house.send(ask).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_of_the_active_version_lose_and_double_nothing() {
    flips_lose_nothing(async |house, n| {
        let (mut a, mut b) = (v1(), v2());
        a.active = n % 2 == 0;
        b.active = n % 2 == 1;
        house.offer_as(&a).await;
        house.offer_as(&b).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_of_the_offers_lose_and_double_nothing() {
    flips_lose_nothing(async |house, n| {
        if n % 2 == 0 {
            house.offer_as(&v1()).await;
            house.withdraw("well", "2.0.0").await;
        } else {
            house.offer_as(&v2()).await;
            house.withdraw("well", "1.0.0").await;
        }
    })
    .await;
}
