//! Claims: of several execution environments that were delivered the same attempt, one may begin it.

mod support;

use sengu_model::wire::envelope::{Event, WeeCommand};
use sengu_model::{Class, Effect, Outcome, TaskId};
use serde_json::json;
use support::{Bench, LIMIT, Sent, WEE, done};

const OTHER: (&str, u64) = ("wee-other", 5);

async fn sent(bench: &mut Bench, action: &str) -> (TaskId, Sent) {
    let id = bench.create(action, &["t0"]).await[0];
    let sent = bench.take_unclaimed(Class::Control, LIMIT).await;
    let sent = sent.expect("a task is sent");
    assert_eq!(sent.task, id);
    (id, sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_that_claims_may_begin_and_nobody_else() {
    let mut bench = Bench::new(1, 1).await;
    for action in ["fire", "cycle"] {
        let (id, sent) = sent(&mut bench, action).await;
        assert!(bench.claim_as(WEE, &sent).await);
        assert!(!bench.claim_as(OTHER, &sent).await);
        assert!(bench.claim_as(WEE, &sent).await, "the answer may be lost");
        let (name, life) = WEE;
        let later_life = (name, life + 1);
        assert!(
            !bench.claim_as(later_life, &sent).await,
            "it knows nothing of what the earlier one began"
        );
        // What the others say of their copies is nothing of this one.
        let word = json!({"why": "no slot became free"});
        for other in [OTHER, later_life] {
            let cancelled = json!({"outcome": Outcome::Cancelled { why: "w".to_owned() }});
            for (event, more) in [
                (Event::Rejected, word.clone()),
                (Event::Lost, word.clone()),
                (Event::Ended, cancelled),
            ] {
                bench.report_as(other, &sent, event, more).await;
            }
        }
        bench.end(&sent, &done()).await;
        assert_eq!(bench.ended(id).await, "done");
        let ending = bench.logic.task(id).await.unwrap().ending.unwrap();
        assert_eq!((ending.attempts, ending.wee.as_deref()), (1, Some(WEE.0)));
        assert!(!bench.claim_as(WEE, &sent).await, "it has ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_what_is_over_is_refused() {
    let mut bench = Bench::new(1, 1).await;
    let (id, first) = sent(&mut bench, "fire").await;
    // One had no slot for its copy, so the task goes again, and the other copy is worth nothing.
    bench
        .report_as(OTHER, &first, Event::Rejected, json!({"why": "w"}))
        .await;
    let second = bench.take_unclaimed(Class::Control, LIMIT).await.unwrap();
    assert!(!bench.claim_as(WEE, &first).await);
    let of_an_earlier_life = Sent {
        epoch: second.epoch - 1,
        ..second.clone()
    };
    let unknown = Sent {
        task: TaskId(1),
        ..second.clone()
    };
    for over in [of_an_earlier_life, unknown] {
        assert!(!bench.claim_as(WEE, &over).await, "{over:?}");
    }
    assert!(bench.claim_as(OTHER, &second).await);
    bench
        .report_as(OTHER, &second, Event::Ended, json!({"outcome": done()}))
        .await;
    assert_eq!(bench.ended(id).await, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cancelled_before_its_claim_is_never_begun() {
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = sent(&mut bench, "fire").await;
    bench.logic.cancel_task(id).await.unwrap();
    assert!(!bench.claim_as(WEE, &sent).await);
    assert_eq!(bench.ended(id).await, "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_after_the_grant_goes_to_the_one_that_has_it() {
    use sengu_interconnect::{Broker, Queue};
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = sent(&mut bench, "fire").await;
    assert!(bench.claim_as(WEE, &sent).await);
    bench.logic.cancel_task(id).await.unwrap();
    let queue = Queue::wee(WEE.0);
    let mut commands = bench.broker.subscribe(queue, 10).await.unwrap();
    let received = tokio::time::timeout(LIMIT, commands.receive(1)).await;
    let cancel = received.expect("a cancel").unwrap().remove(0);
    let cancel: WeeCommand = serde_json::from_slice(&cancel.body).unwrap();
    assert!(matches!(cancel, WeeCommand::Cancel { task, .. } if task == id));
    drop(commands);
    assert!(
        bench.claim_as(WEE, &sent).await,
        "it may be in a worker's hands already"
    );
    bench.end(&sent, &done()).await;
    assert_eq!(bench.ended(id).await, "done", "it was as good as over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_needs_no_claim_and_the_next_attempt_a_new_one() {
    let mut bench = Bench::new(1, 1).await;
    let (id, first) = sent(&mut bench, "cycle").await;
    assert!(bench.claim_as(WEE, &first).await);
    bench.lose(&first).await;
    let probe = bench.take_unclaimed(Class::Control, LIMIT).await.unwrap();
    assert_eq!((probe.probe, probe.effect), (true, Effect::Read));
    let not = Outcome::result(false, json!({"happened": false}));
    bench
        .report_as(OTHER, &probe, Event::Ended, json!({"outcome": not}))
        .await;
    let second = bench.take_unclaimed(Class::Control, LIMIT).await.unwrap();
    assert!(!second.probe);
    assert!(!bench.claim_as(WEE, &first).await);
    assert!(bench.claim_as(OTHER, &second).await);
    bench
        .report_as(OTHER, &second, Event::Ended, json!({"outcome": done()}))
        .await;
    assert_eq!(bench.ended(id).await, "done");
}
