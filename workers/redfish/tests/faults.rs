//! Every fault gives its own code, costs only its own target, and leaves nothing behind.

mod support;

use sengu_sdk::{FailureCode, Outcome};
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Bench, changed, code, message, power, result};

#[test]
fn read_faults_have_their_codes() {
    // (fault, cold code, code when a session and a connection are open)
    let table = [
        ("refuse", FailureCode::Unreachable, FailureCode::Unreachable),
        ("cut", FailureCode::Unreachable, FailureCode::Unreachable),
        ("garbage", FailureCode::BadReply, FailureCode::BadReply),
        ("busy", FailureCode::Busy, FailureCode::Busy),
        ("auth", FailureCode::AuthFailed, FailureCode::AuthFailed),
        (
            "wrong_cert",
            FailureCode::IdentityMismatch,
            FailureCode::IdentityMismatch,
        ),
        ("hang", FailureCode::Timeout, FailureCode::Timeout),
    ];
    let count = table.len();
    let mut bench = Bench::start(2 * count as u32);
    // The second half is warm.
    for n in count + 1..=2 * count {
        changed(&bench.call(n, "observe", power()));
    }
    for (i, (fault, cold, warm)) in table.into_iter().enumerate() {
        for (n, want) in [(i + 1, cold), (i + 1 + count, warm)] {
            bench.twin.fault(&format!("bmc-{n}"), fault, None, None);
            let before = bench.report(n);
            for (action, params) in [("observe", power()), ("power.set", json!({"state": "off"}))] {
                let within = match fault {
                    "hang" => Duration::from_secs(2),
                    _ => support::LONG,
                };
                let ended = bench.call_within(n, action, params, within);
                assert_eq!(code(&ended), want, "{fault} {action} on {n}: {ended:?}");
            }
            let after = bench.report(n);
            assert_eq!(after.effects.get("reset"), None, "{fault}");
            if fault == "auth" {
                let tried = after.auth_failures - before.auth_failures;
                assert!(tried <= 2, "{tried} attempts would lock the account");
            }
            if fault == "wrong_cert" {
                assert_eq!(
                    after.requests, before.requests,
                    "nothing is said to a stranger"
                );
            }
        }
    }
    // Logging out is tried twice at the most and must work once the fault is over.
    bench.twin.clear();
    bench.drain();
}

#[test]
fn busy_tells_when_to_come_back_wherever_the_bmc_says_it() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        changed(&bench.call(n, "observe", power()));
        bench
            .twin
            .fault(&format!("bmc-{n}"), "busy", Some(7_000), None);
        let ended = bench.call(n, "power.set", json!({"state": "off"}));
        let Outcome::Failed(failure) = &ended.outcome else {
            panic!("{ended:?}")
        };
        assert_eq!(
            (failure.code, failure.retry_after_ms),
            (FailureCode::Busy, Some(7_000))
        );
        assert_eq!(bench.effects(n, "reset"), 0);
    }
    bench.twin.clear();
    bench.drain();
}

#[test]
fn a_busy_bmc_is_waited_out_while_reading_back() {
    let mut bench = Bench::start(1);
    changed(&bench.call(1, "observe", power()));
    let id = bench.begin(1, "power.set", json!({"state": "off"}), support::LONG);
    support::wait_for("the reset", || bench.effects(1, "reset") == 1);
    bench.twin.fault("bmc-1", "busy", Some(1_000), Some(2));
    assert!(changed(&bench.worker().wait(id, support::LONG)));
    assert_eq!(bench.effects(1, "reset"), 1);
    bench.drain();
}

#[test]
fn full_sessions_are_busy_and_tried_once() {
    let mut bench = Bench::start(1);
    bench.twin.fault("bmc-1", "sessions_full", None, None);
    let ids: Vec<u64> = (0..10)
        .map(|_| bench.begin(1, "observe", power(), support::LONG))
        .collect();
    for id in ids {
        let ended = bench.worker().wait(id, support::LONG);
        assert_eq!(code(&ended), FailureCode::Busy);
        let Outcome::Failed(failure) = &ended.outcome else {
            panic!("{ended:?}")
        };
        assert!(
            failure.retry_after_ms.is_some_and(|ms| ms >= 10_000),
            "{failure:?}"
        );
    }
    // The root and one login.
    assert_eq!(bench.report(1).requests, 2);
    bench.twin.clear();
    support::wait_for("a session", || {
        let ended = bench.call(1, "observe", power());
        matches!(ended.outcome, Outcome::Done(_))
    });
    bench.drain();
}

#[test]
fn a_lost_session_is_renewed_once_without_a_word() {
    let mut bench = Bench::start(1);
    changed(&bench.call(1, "observe", power()));
    bench.twin.fault("bmc-1", "session_lost", None, None);
    assert!(changed(&bench.call(
        1,
        "power.set",
        json!({"state": "off"})
    )));
    assert_eq!(bench.effects(1, "session.open"), 2);
    assert_eq!(bench.effects(1, "reset"), 1);
    bench.drain();
}

#[test]
fn wrong_passwords_are_not_repeated() {
    let mut bench = Bench::start(1);
    let password = bench.targets[0]
        .1
        .insert("password".to_owned(), "wrong".to_owned());
    let ids: Vec<u64> = (0..10)
        .map(|_| bench.begin(1, "observe", power(), support::LONG))
        .collect();
    for id in ids {
        let ended = bench.worker().wait(id, support::LONG);
        assert_eq!(code(&ended), FailureCode::AuthFailed);
        assert!(!format!("{ended:?}").contains("wrong\""), "{ended:?}");
    }
    assert_eq!(bench.report(1).auth_failures, 1, "ten tasks, one attempt");
    // The right password is another matter at once.
    bench.targets[0]
        .1
        .extend(password.map(|p| ("password".to_owned(), p)));
    changed(&bench.call(1, "observe", power()));
    bench.drain();
}

#[test]
fn without_a_session_service_basic_is_used() {
    let mut bench = Bench::start(2);
    bench.twin.fault("*", "no_sessions", None, None);
    assert_eq!(
        bench.call(1, "observe", power()).reading("power_on"),
        Some(1.0)
    );
    assert!(changed(&bench.call(
        1,
        "power.set",
        json!({"state": "off"})
    )));
    assert_eq!(bench.report(1).auth_failures, 0);
    bench.targets[1].0.config = json!({"auth": "session"});
    let refused = bench.call(2, "observe", power());
    assert_eq!(code(&refused), FailureCode::Refused);
    bench.targets[1].0.config = json!({"auth": "basic"});
    changed(&bench.call(2, "observe", power()));
    bench.twin.clear();
    bench.drain();
}

#[test]
fn a_lost_answer_is_read_back_and_never_sent_again() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        changed(&bench.call(n, "observe", power()));
        bench
            .twin
            .fault(&format!("bmc-{n}"), "lost_reply", None, Some(1));
        assert!(changed(&bench.call(
            n,
            "power.set",
            json!({"state": "off"})
        )));
        assert_eq!(bench.effects(n, "reset"), 1);
        bench
            .twin
            .fault(&format!("bmc-{n}"), "lost_reply", None, Some(1));
        assert!(changed(&bench.call(
            n,
            "boot.set",
            json!({"device": "Pxe"})
        )));
        assert_eq!(bench.effects(n, "boot.set"), 1);
    }
    bench.drain();
}

#[test]
fn a_request_that_vanished_is_unknown() {
    let mut bench = Bench::start(2);
    for n in 1..=2 {
        changed(&bench.call(n, "observe", power()));
    }
    bench.twin.fault("bmc-1", "cut_change", None, None);
    let ended = bench.call(1, "power.cycle", json!({}));
    assert!(
        matches!(ended.outcome, Outcome::Unknown { .. }),
        "{ended:?}"
    );
    assert!(ended.checkpoint.is_some());
    // What may be repeated is read back until the deadline, and stays unknown.
    let off = json!({"state": "off"});
    let ended = bench.call_within(1, "power.set", off, Duration::from_secs(3));
    assert!(
        matches!(ended.outcome, Outcome::Unknown { .. }),
        "{ended:?}"
    );
    assert_eq!(bench.effects(1, "reset"), 0);

    bench.twin.fault("bmc-2", "deaf_reset", None, None);
    let ended = bench.call_within(2, "power.cycle", json!({}), Duration::from_secs(4));
    let Outcome::Unknown { why } = &ended.outcome else {
        panic!("{ended:?}")
    };
    assert!(why.contains("no restart was seen"), "{why}");
    // An off that is taken and ignored is known: still On.
    let ended = bench.call_within(
        2,
        "power.set",
        json!({"state": "off"}),
        Duration::from_secs(4),
    );
    assert_eq!(code(&ended), FailureCode::Timeout);
    assert!(
        message(&ended).contains("forceOff was not tried"),
        "{ended:?}"
    );
    assert_eq!(bench.effects(2, "power.forceOff"), 0);
    bench.drain();
}

#[test]
fn what_was_read_before_the_deadline_is_kept() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        changed(&bench.call(n, "observe", power()));
        bench
            .twin
            .fault(&format!("bmc-{n}"), "slow", Some(700), None);
        let ended = bench.call_within(n, "observe", json!({}), Duration::from_secs(4));
        assert_eq!(ended.reading("power_on"), Some(1.0), "{ended:?}");
        assert_eq!(result(&ended)["partial"], true);
        let missing = result(&ended)["missing"].to_string();
        assert!(
            missing.contains("timeout") && missing.contains("firmware"),
            "{missing}"
        );
        assert!(ended.facts.contains_key("serial"));
    }
    bench.twin.clear();
    bench.drain();
}

#[test]
fn one_bmc_that_hangs_does_not_hold_up_the_others() {
    let mut bench = Bench::start(20);
    bench.twin.fault("bmc-1", "hang", None, None);
    let hanging = bench.begin(1, "observe", power(), Duration::from_secs(20));
    let begun = Instant::now();
    let ids: Vec<u64> = (2..=20)
        .map(|n| bench.begin(n, "observe", power(), support::LONG))
        .collect();
    for id in ids {
        changed(&bench.worker().wait(id, support::LONG));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(19),
        "{:?}",
        begun.elapsed()
    );
    bench.twin.clear();
    // Hung up on by `clear`: a GET is a GET, so its end is a plain failure or an answer.
    bench.worker().wait(hanging, support::LONG);
    bench.drain();
}

#[test]
fn tls_must_be_stated_and_is_believed_only_then() {
    let mut bench = Bench::start(1);
    let pin = bench.targets[0].0.identity.clone();
    bench.targets[0].0.identity.clear();
    let unstated = bench.call(1, "observe", power());
    assert_eq!(code(&unstated), FailureCode::Refused);
    assert!(
        message(&unstated).contains(&pin["certSha256"]),
        "{unstated:?}"
    );
    assert_eq!(bench.report(1).requests, 0, "no credentials went out");
    bench.targets[0].0.config = json!({"tls": {"insecure": true}});
    changed(&bench.call(1, "observe", power()));
    let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    bench.targets[0].0.config = json!({"tls": {"ca": other}});
    assert_eq!(
        code(&bench.call(1, "observe", power())),
        FailureCode::Refused
    );
    bench.targets[0].0.config = json!({});
    bench.targets[0].0.identity = [("certSha256".to_owned(), "00".repeat(32))].into();
    let wrong = bench.call(1, "observe", power());
    assert_eq!(code(&wrong), FailureCode::IdentityMismatch);
    // With the pin, colons and capitals do not matter.
    let loud = pin["certSha256"].to_uppercase();
    let pairs: Vec<&str> = (0..32).map(|i| &loud[2 * i..2 * i + 2]).collect();
    bench.targets[0].0.identity = [("certSha256".to_owned(), pairs.join(":"))].into();
    changed(&bench.call(1, "observe", power()));
    bench.targets[0].0.address = bench.targets[0].0.address.replace("https", "http");
    assert_eq!(
        code(&bench.call(1, "observe", power())),
        FailureCode::Refused
    );
    bench.worker.take().expect("drained once").drain();
    assert_eq!(bench.report(1).sessions_open, 0);
}

#[test]
fn idle_sessions_are_deleted_while_the_worker_lives() {
    let mut bench = Bench::start(1);
    changed(&bench.call(1, "observe", power()));
    assert_eq!(bench.report(1).sessions_open, 1);
    support::wait_for("the session to end", || bench.report(1).sessions_open == 0);
    changed(&bench.call(1, "observe", power()));
    assert_eq!(bench.effects(1, "session.open"), 2);
    bench.drain();
}

#[test]
fn the_end_of_input_leaves_no_session() {
    let mut bench = Bench::start(5);
    for n in 1..=5 {
        changed(&bench.call(n, "observe", power()));
    }
    let mut worker = bench.worker.take().expect("still there");
    assert!(worker.lines.close(Duration::from_secs(15)).success());
    for (name, target) in bench.twin.report() {
        assert_eq!(target.sessions_open, 0, "{name}");
    }
}

#[test]
fn cancel_before_the_change_sends_nothing() {
    let mut bench = Bench::start(1);
    bench.twin.fault("bmc-1", "slow", Some(500), None);
    let id = bench.begin(1, "power.set", json!({"state": "off"}), support::LONG);
    bench.worker().cancel(id);
    let ended = bench.worker().wait(id, support::LONG);
    assert!(
        matches!(ended.outcome, Outcome::Cancelled { .. }),
        "{ended:?}"
    );
    assert_eq!(bench.effects(1, "reset"), 0);
    bench.twin.clear();
    bench.drain();
}
