//! The honest outcome: what is lost, rejected, cancelled or cut off by a restart is reported as it was.

mod support;

use sengu_model::problem::Code;
use sengu_model::task::TaskState;
use sengu_model::wire::envelope::Event;
use sengu_model::{Class, Effect, FailureCode, Outcome};
use serde_json::json;
use support::{Bench, Sent, done};

async fn take_one(bench: &mut Bench, action: &str) -> (sengu_model::TaskId, Sent) {
    let id = bench.create(action, &["t0"]).await[0];
    let sent = bench.take(Class::Control).await;
    assert_eq!(sent.task, id);
    (id, sent)
}

fn happened(yes: bool) -> Outcome {
    Outcome::result(false, json!({"happened": yes}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_nobody_could_take_keeps_its_attempts() {
    let mut bench = Bench::new(1, 1).await;
    let (id, mut sent) = take_one(&mut bench, "set").await;
    for _ in 0..5 {
        bench.reject(&sent).await;
        sent = bench.take(Class::Control).await;
    }
    let unreachable = Outcome::failed(FailureCode::Unreachable, "no route");
    bench.end(&sent, &unreachable).await;
    let again = bench.take(Class::Control).await;
    bench.end(&again, &done()).await;
    assert_eq!(bench.ended(id).await, "done");
    let ending = bench.logic.task(id).await.unwrap().ending.unwrap();
    assert_eq!(ending.attempts, 2, "{:?}", ending.history);
    assert_eq!(ending.history.len(), 2, "{:?}", ending.history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_after_a_lost_attempt_says_that_it_may_have_happened() {
    let mut bench = Bench::new(1, 1).await;
    for action in ["set", "cycle"] {
        let (id, sent) = take_one(&mut bench, action).await;
        // It is not sent again before it is cancelled.
        bench.nothing_goes_out().await;
        bench.lose(&sent).await;
        bench.task_when(id, |t| t.state == TaskState::Waiting).await;
        bench.logic.cancel_task(id).await.unwrap();
        assert_eq!(bench.ended(id).await, "unknown", "{action}");
        bench.announce("default", 1).await;
    }
    let (id, sent) = take_one(&mut bench, "set").await;
    bench.logic.cancel_task(id).await.unwrap();
    bench.lose(&sent).await;
    assert_eq!(
        bench.ended(id).await,
        "unknown",
        "lost while being cancelled"
    );
    let (id, sent) = take_one(&mut bench, "fire").await;
    bench.logic.cancel_task(id).await.unwrap();
    bench.reject(&sent).await;
    assert_eq!(bench.ended(id).await, "cancelled", "nobody had it in hand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_settles_a_lost_attempt_and_rejections_do_not_wear_it_out() {
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = take_one(&mut bench, "cycle").await;
    bench.lose(&sent).await;
    for _ in 0..6 {
        let probe = bench.take(Class::Control).await;
        assert_eq!((probe.action.as_str(), probe.probe), ("cycled", true));
        assert_eq!(probe.effect, Effect::Read);
        bench.reject(&probe).await;
    }
    let probe = bench.take(Class::Control).await;
    bench.end(&probe, &happened(false)).await;
    let second = bench.take(Class::Control).await;
    assert_eq!((second.action.as_str(), second.probe), ("cycle", false));
    bench.lose(&second).await;
    let probe = bench.take(Class::Control).await;
    bench.end(&probe, &happened(true)).await;
    assert_eq!(bench.ended(id).await, "done");
    let ending = bench.logic.task(id).await.unwrap().ending.unwrap();
    assert_eq!(ending.attempts, 2, "{:?}", ending.history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_settles_what_was_out_by_its_effect() {
    let mut bench = Bench::new(8, 4).await;
    let once = bench.create("fire", &["t0"]).await[0];
    let probed = bench.create("cycle", &["t1"]).await[0];
    let again = bench.create("set", &["t2"]).await[0];
    let silent = bench.create("fire", &["t3"]).await[0];
    let mut out = Vec::new();
    for _ in 0..4 {
        let sent = bench.take(Class::Control).await;
        bench.report(&sent, Event::Started, json!({})).await;
        out.push(sent);
    }
    let mut bench = bench.restart().await;
    bench.announce("default", 8).await;
    // What may be repeated goes again at once.
    let sent = bench.take(Class::Control).await;
    assert_eq!((sent.task, sent.probe), (again, false));
    bench.end(&sent, &done()).await;
    assert_eq!(bench.ended(again).await, "done");
    // What may not stays with whoever has it, and its word counts.
    let held = out.iter().find(|sent| sent.task == once).unwrap();
    bench.end(held, &done()).await;
    assert_eq!(bench.ended(once).await, "done");
    // For the others nobody speaks until their leases end.
    let sent = bench.take(Class::Control).await;
    assert_eq!((sent.task, sent.probe), (probed, true));
    bench.end(&sent, &happened(true)).await;
    assert_eq!(bench.ended(probed).await, "done");
    assert_eq!(bench.ended(silent).await, "unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_sent_back_before_a_restart_is_not_taken_for_sent() {
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = take_one(&mut bench, "fire").await;
    bench.nothing_goes_out().await;
    bench.reject(&sent).await;
    bench.task_when(id, |t| t.state == TaskState::Waiting).await;
    let mut bench = bench.restart().await;
    bench.announce("default", 1).await;
    let sent = bench.take(Class::Control).await;
    bench.end(&sent, &done()).await;
    assert_eq!(bench.ended(id).await, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_attempt_says_does_not_count() {
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = take_one(&mut bench, "set").await;
    bench.lose(&sent).await;
    let second = bench.take(Class::Control).await;
    bench
        .end(&sent, &Outcome::failed(FailureCode::Refused, "late"))
        .await;
    bench.end(&second, &done()).await;
    bench
        .end(&second, &Outcome::failed(FailureCode::Refused, "twice"))
        .await;
    assert_eq!(bench.ended(id).await, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_asked_for_of_few_targets_and_over_a_restart() {
    let bench = Bench::new(0, 101).await;
    let request = json!({"action": "observe", "targets": ["t0"], "frames": true});
    let id = bench.create_with(request).await[0];
    let spec = json!({"action": "observe", "selector": "name", "frames": true});
    let refused = bench
        .logic
        .create_run(serde_json::from_value(spec).unwrap())
        .await;
    assert_eq!(refused.unwrap_err().code, Code::TooManyTargets);
    let names: Vec<String> = (0..101).map(|n| format!("t{n}")).collect();
    let request = json!({"action": "observe", "targets": names, "frames": true});
    let request = serde_json::from_value(request).unwrap();
    let refused = bench.logic.create_tasks(request).await;
    assert_eq!(refused.unwrap_err().code, Code::TooManyTargets);
    let mut bench = bench.restart().await;
    bench.announce("default", 1).await;
    let sent = bench.take(Class::Observe).await;
    assert!(sent.frames);
    bench.end(&sent, &done()).await;
    assert!(
        bench
            .task_when(id, |task| task.ending.is_some())
            .await
            .frames
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_a_task_for_which_there_is_nobody() {
    let bench = Bench::new(0, 1).await;
    let request = json!({"action": "set", "targets": ["t0"], "startWithin": "50ms"});
    let id = bench.create_with(request).await[0];
    assert_eq!(bench.ended(id).await, "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_with_the_broker_cannot_begin_after_its_lease() {
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = take_one(&mut bench, "fire").await;
    let lease = i64::try_from(sengu_model::limits::LEASE_MS).unwrap();
    assert!(sent.start_by.unwrap().0 < sent.taken_at + lease);
    // The execution environment had no slot until then. Nobody asked for a deadline, so it goes again.
    let why = "it was not started in time".to_owned();
    bench.end(&sent, &Outcome::Expired { why }).await;
    let again = bench.take(Class::Control).await;
    assert_eq!(again.action, "fire");
    bench.end(&again, &done()).await;
    assert_eq!(bench.ended(id).await, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_has_no_deadline_of_the_task() {
    let mut bench = Bench::new(1, 1).await;
    let request = json!({"action": "cycle", "targets": ["t0"], "startWithin": "10s"});
    let id = bench.create_with(request).await[0];
    let sent = bench.take(Class::Control).await;
    let asked = sent.start_by.unwrap();
    bench.lose(&sent).await;
    let probe = bench.take(Class::Control).await;
    assert!(probe.start_by.unwrap() > asked);
    bench.end(&probe, &happened(true)).await;
    assert_eq!(bench.ended(id).await, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubled_delivery_that_nobody_began_says_nothing_of_the_one_that_was_begun() {
    let mut bench = Bench::new(1, 1).await;
    let (id, sent) = take_one(&mut bench, "set").await;
    bench.report(&sent, Event::Started, json!({})).await;
    bench.task_when(id, |t| t.state == TaskState::Started).await;
    let cancelled = Outcome::Cancelled {
        why: "asked to before it was started".to_owned(),
    };
    let other = ("wee-other", 0);
    for (event, more) in [
        (Event::Ended, json!({ "outcome": cancelled })),
        (Event::Rejected, json!({"why": "no slot became free"})),
    ] {
        bench.report_as(other, &sent, event, more).await;
    }
    bench.end(&sent, &done()).await;
    assert_eq!(bench.ended(id).await, "done");
}
