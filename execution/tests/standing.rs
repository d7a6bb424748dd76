//! A WEE that is cordoned, drained, upgraded, or not the only one of its name: it begins nothing new, and what it has in
//! hand ends all the same.

mod common;

use common::{Ask, House, config, offer, well};
use futures::FutureExt;
use sengu_execution::{Ended, Runtime, WeeHandle};
use sengu_interconnect::{Broker, Queue};
use sengu_model::Effect;
use sengu_model::wire::envelope::{Event, WeeAnnouncement, WeeCommand, WeeSpec};
use sengu_runtime_process::ProcessRuntime;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn house() -> House {
    let house = House::new().await;
    house
        .offer_as(&offer(&well("well", "1.0.0"), "sha256:v1"))
        .await;
    house
}

fn ask(house: &mut House, sleep_ms: u64) -> Ask {
    let mut ask = house.ask("well", "go", Effect::Once);
    ask.params = json!({"sleep_ms": sleep_ms});
    ask
}

fn told(cordoned: bool, drained: bool) -> impl Fn(&WeeAnnouncement) -> bool {
    move |status| status.spec == WeeSpec { cordoned, drained }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cordoned_wee_begins_nothing_and_an_uncordoned_one_goes_on_at_once() {
    let mut house = house().await;
    // One slot is not enough for these.
    let mut long = ask(&mut house, 1_500);
    house.send(&long).await;
    house.pool_until("well", |p| p.slots_busy == 1).await;
    house.wish(true, false).await;
    house.wait_for("cordoned", told(true, false)).await;
    let later = ask(&mut house, 0);
    house.send(&later).await;
    assert_eq!(house.end(&long).await.event, Event::Ended, "it goes on");
    let queue = Queue::tasks("default", "well", "1.0.0", Effect::Once.class());
    let depth = house.broker.depth(queue).await.unwrap();
    assert_eq!(depth, 1, "the other one was not taken");
    house.pool_until("well", |p| p.instances == 1).await;
    house.wish(false, false).await;
    assert_eq!(house.end(&later).await.event, Event::Ended);
    house.wait_for("uncordoned", told(false, false)).await;
    // The key being gone says the same.
    house.wish(true, false).await;
    house.wait_for("cordoned", told(true, false)).await;
    house.retain("wee-spec/wee-1", None).await;
    long = ask(&mut house, 0);
    assert_eq!(house.run(&long).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_wee_goes_back_when_it_is_cordoned() {
    let mut house = house().await;
    let (manifest, _) = common::bad("no-hello");
    house.offer_as(&offer(&manifest, "sha256:bad")).await;
    let waiting = house.ask("no-hello", "go", Effect::Once);
    house.send(&waiting).await;
    house.pool_until("no-hello", |p| p.instances == 1).await;
    house.wish(true, false).await;
    let began = Instant::now();
    let rejected = house.end(&waiting).await;
    assert_eq!(rejected.event, Event::Rejected);
    assert!(rejected.why.unwrap().contains("cordoned"));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_wee_lets_its_instances_go_and_takes_tasks_again_later() {
    let mut house = house().await;
    let long = ask(&mut house, 4_000);
    house.send(&long).await;
    house.pool_until("well", |p| p.slots_busy == 1).await;
    house.wish(false, true).await;
    house.wait_for("drained", told(true, true)).await;
    assert_eq!(house.end(&long).await.event, Event::Ended);
    house.pool_until("well", |p| p.instances == 0).await;
    let later = ask(&mut house, 0);
    house.send(&later).await;
    house.wish(false, false).await;
    assert_eq!(house.end(&later).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wee_that_was_cordoned_before_it_started_begins_nothing() {
    let mut house = house().await;
    house.wish(true, false).await;
    house.wait_for("cordoned", told(true, false)).await;
    // New offers change nothing about it.
    house
        .offer_as(&offer(&well("well", "2.0.0"), "sha256:v2"))
        .await;
    let mut early = ask(&mut house, 0);
    early.version = "2.0.0".to_owned();
    house.send(&early).await;
    house.pool_until("well", |p| p.version == "2.0.0").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let queue = Queue::tasks("default", "well", "2.0.0", Effect::Once.class());
    assert_eq!(house.broker.depth(queue).await.unwrap(), 1);
    house.wish(false, false).await;
    assert_eq!(house.end(&early).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_lets_tasks_end_and_asks_for_a_new_start() {
    let mut house = house().await;
    let long = ask(&mut house, 4_000);
    house.send(&long).await;
    house.pool_until("well", |p| p.slots_busy == 1).await;
    let mut wee = house.wee.take().unwrap();
    assert!(wee.ended().now_or_never().is_none());
    house.command(&WeeCommand::Upgrade).await;
    let later = ask(&mut house, 0);
    let ended = tokio::time::timeout(common::LIMIT, wee.ended())
        .await
        .unwrap();
    assert_eq!(ended, Ended::Upgrade);
    assert_eq!(wee.ended().await, Ended::Upgrade, "and says so again");
    assert_eq!(house.end(&long).await.event, Event::Ended);
    // The next one finds nothing of it but the tasks that it left alone.
    house.send(&later).await;
    let mut directory = house.broker.directory("wee/".to_owned()).await.unwrap();
    assert_eq!(directory.next().await.unwrap(), []);
    house.wee = Some(start(&house, 2));
    assert_eq!(house.end(&later).await.event, Event::Ended);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_wee_refuses_an_upgrade() {
    let mut house = House::with(|config| config.embedded = true).await;
    house
        .offer_as(&offer(&well("well", "1.0.0"), "sha256:v1"))
        .await;
    house.command(&WeeCommand::Upgrade).await;
    house.wait_for_commands().await;
    let next = ask(&mut house, 0);
    assert_eq!(house.run(&next).await.event, Event::Ended);
    assert!(house.status().embedded);
    house.close().await;
}

/// Another WEE of the same name.
fn start(house: &House, life: u64) -> WeeHandle {
    let home = house.state.path().join(life.to_string());
    let runtime: Arc<dyn Runtime> = Arc::new(ProcessRuntime::new(home.clone()));
    let mut config = config("wee-1", &home);
    config.life = life;
    sengu_execution::start(config, house.broker.clone(), vec![runtime])
}

async fn announced(house: &House) -> Option<WeeAnnouncement> {
    let mut directory = house
        .broker
        .directory("wee/wee-1".to_owned())
        .await
        .expect("a directory");
    let entries = directory.next().await.expect("entries");
    let (_, value) = entries.into_iter().next()?;
    Some(serde_json::from_slice(&value?).expect("an announcement"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_wees_of_one_name_the_later_one_stays_out_until_the_first_has_left() {
    let mut house = house().await;
    let first = ask(&mut house, 0);
    assert_eq!(house.run(&first).await.event, Event::Ended);
    let second = start(&house, 2);
    let end = Instant::now() + common::LIMIT;
    while !second.status().spec.cordoned {
        assert!(Instant::now() < end, "it stays out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // All tasks and commands go to the first one, and only it announces itself.
    for _ in 0..20 {
        let ask = ask(&mut house, 0);
        assert_eq!(house.run(&ask).await.event, Event::Ended);
    }
    let ended = |status: &WeeAnnouncement| status.pools.iter().map(|p| p.ended).sum::<u64>();
    house
        .wait_for("all tasks on the first", |status| ended(status) == 21)
        .await;
    assert_eq!(announced(&house).await.unwrap().life, 1);
    let long = ask(&mut house, 20_000);
    house.send(&long).await;
    house.pool_until("well", |p| p.slots_busy == 1).await;
    house
        .command(&WeeCommand::Cancel {
            task: long.task,
            epoch: 1,
            attempt: 1,
        })
        .await;
    house.wait_for_commands().await;
    house.wee.take().unwrap().drain().await;
    house.wee = Some(second);
    let next = ask(&mut house, 0);
    assert_eq!(house.run(&next).await.event, Event::Ended);
    house
        .wait_for("the second works", |status| !status.spec.cordoned)
        .await;
    let end = Instant::now() + common::LIMIT;
    while announced(&house).await.is_none_or(|a| a.life != 2) {
        assert!(Instant::now() < end, "the second announces itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_life_left_in_the_directory_is_no_other_wee() {
    let mut house = house().await;
    // As after a kill.
    drop(house.wee.take());
    house.wee = Some(start(&house, 2));
    let next = ask(&mut house, 0);
    assert_eq!(house.run(&next).await.event, Event::Ended);
    assert!(!house.status().spec.cordoned);
    house.close().await;
}
