//! The WEE with the real echo worker: the way of a task from its envelope to its report.

mod common;

use common::{House, echo, sealed};
use sengu_model::wire::envelope::Event;
use sengu_model::{Done, Effect, FailureCode, Outcome, Time};
use serde_json::json;

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
