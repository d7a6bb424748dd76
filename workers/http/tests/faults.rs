//! What servers do wrong, and what is said about it.

mod support;

use sengu_sdk::{FailureCode, Outcome};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{BASIC, Bench, HEADER, NONE, SHORT, changed, code, message, result, unknown};

fn acknowledge() -> Value {
    json!({"request": "acknowledge"})
}

fn setpoint(celsius: f64) -> Value {
    json!({"request": "setpoint", "unit": 0, "celsius": celsius})
}

/// What observe and a request whose proof is its status say under each fault, and how often it took effect.
#[test]
fn every_fault_has_its_outcome() {
    use FailureCode::{AuthFailed, BadReply, IdentityMismatch, Refused, Timeout, Unreachable};
    let mut bench = Bench::start(1);
    // None = unknown.
    let table = [
        ("refuse", Unreachable, Some(Unreachable), 0),
        ("cut", Unreachable, None, 0),
        ("auth", AuthFailed, Some(AuthFailed), 0),
        ("forbidden", AuthFailed, Some(AuthFailed), 0),
        ("redirect", Refused, Some(Refused), 0),
        ("redirect_loop", Refused, None, 0),
        ("html", BadReply, Some(BadReply), 0),
        ("garbage", BadReply, Some(BadReply), 0),
        ("huge", BadReply, None, 0),
        ("bomb", BadReply, Some(BadReply), 0),
        ("wrong_cert", IdentityMismatch, Some(IdentityMismatch), 0),
        ("hang", Timeout, None, 0),
    ];
    for (fault, read, change, effects) in table {
        // Refused credentials rest a moment, so each fault gets an instance of its own.
        bench.worker = Some(support::worker());
        bench.fault(1, fault, None, None);
        let within = if fault == "hang" {
            SHORT
        } else {
            support::LONG
        };
        let observed = bench.call_within(1, "observe", json!({}), within);
        assert_eq!(code(&observed), read, "{fault}: {observed:?}");
        bench.worker = Some(support::worker());
        let ran = bench.call_within(1, "request.run", acknowledge(), within);
        match change {
            None => assert!(unknown(&ran), "{fault}: {ran:?}"),
            // A 200 that was expected is proof here, whatever its body.
            Some(BadReply) => assert!(changed(&ran), "{fault}: {ran:?}"),
            Some(want) => assert_eq!(code(&ran), want, "{fault}: {ran:?}"),
        }
        bench.twin.clear();
        assert_eq!(bench.effects(1, "alarm.ack"), effects, "{fault}");
    }
    bench.drain();
}

#[test]
fn a_slow_server_is_waited_for_and_no_longer_than_the_deadline() {
    let mut bench = Bench::start(1);
    bench.fault(1, "slow", Some(700), None);
    assert_eq!(result(&bench.observe(1)), Value::Null);
    bench.twin.clear();
    bench.fault(1, "hang", None, None);
    let began = Instant::now();
    let ended = bench.call_within(1, "observe", json!({}), Duration::from_secs(2));
    assert_eq!(code(&ended), FailureCode::Timeout);
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    bench.drain();
}

#[test]
fn a_source_that_fails_does_not_cost_the_others() {
    let mut bench = Bench::start(1);
    bench.config(1)["sources"][1]["path"] = json!("/none");
    let ended = bench.observe(1);
    let result = result(&ended);
    assert_eq!(result["partial"], true);
    assert_eq!(result["missing"], json!(["GET /none: 404: no such thing"]));
    assert!(ended.reading("plant_power_watts").is_some());
    let up = |source: &str| {
        let found = ended
            .readings
            .iter()
            .find(|r| r.name == "http_source_up" && r.labels["source"] == source);
        found.map(|r| r.value)
    };
    assert_eq!((up("/api/v1/status"), up("/none")), (Some(1.0), Some(0.0)));
    bench.drain();
}

#[test]
fn wrong_data_is_named_and_never_guessed() {
    let mut bench = Bench::start(1);
    bench.fault(1, "wrong_data", None, None);
    let ended = bench.observe(1);
    let missing = result(&ended)["missing"].to_string();
    for named in [
        "plant_power_watts: ",
        "\\\"a lot\\\" at /power/mW is no number",
        "fact vendor",
        "fact model: nothing",
    ] {
        assert!(missing.contains(named), "{named}: {missing}");
    }
    assert!(ended.reading("plant_power_watts").is_none());
    assert!(
        ended.reading("plant_energy_joules_total").is_some(),
        "the other source is fine"
    );
    assert!(!ended.facts.contains_key("model") && ended.facts.contains_key("firmware"));
    bench.drain();
}

#[test]
fn credentials_go_nowhere_before_the_certificate_is_known() {
    let mut bench = Bench::start(5);
    bench.fault(BASIC, "wrong_cert", None, None);
    let changed = bench.observe(BASIC);
    assert_eq!(code(&changed), FailureCode::IdentityMismatch);
    let pinned = bench.targets[BASIC - 1].0.identity["certSha256"].clone();
    let Outcome::Failed(failure) = &changed.outcome else {
        panic!()
    };
    let seen = failure.detail.as_ref().expect("what was seen")["seen"].clone();
    assert_ne!(seen, pinned.as_str());
    assert_eq!(bench.report(BASIC).requests, 0);
    // Without a statement nothing is sent, and the message tells what was seen.
    bench.targets[HEADER - 1].0.identity.clear();
    let unstated = bench.observe(HEADER);
    assert_eq!(code(&unstated), FailureCode::Refused);
    let own = bench.twin.targets()[HEADER - 1].0.identity["certSha256"].clone();
    assert!(message(&unstated).contains(&own), "{unstated:?}");
    assert_eq!(bench.report(HEADER).requests, 0);
    // Said so, anything goes; and no credentials are sent where none are declared.
    bench.targets[NONE - 1].0.identity.clear();
    bench.config(NONE)["tls"] = json!({"insecure": true});
    assert_eq!(result(&bench.observe(NONE)), Value::Null);
    bench.drain();
}

#[test]
fn cancel_ends_a_wait_and_says_what_is_so() {
    let mut bench = Bench::start(1);
    // While reading back: it was accepted.
    bench.fault(1, "deaf", None, None);
    let before = bench.report(1).requests;
    let id = bench.begin(1, "request.set", setpoint(25.0), support::LONG);
    wait_for_requests(&mut bench, before + 3);
    bench.worker().cancel(id);
    let ended = bench.worker().wait(id, Duration::from_secs(20));
    assert!(
        unknown(&ended) && message(&ended).contains("cancelled after it was accepted"),
        "{ended:?}"
    );
    // While reading: nothing was asked for yet.
    bench.twin.clear();
    bench.fault(1, "hang", None, None);
    let before = bench.report(1).requests;
    let id = bench.begin(1, "request.set", setpoint(26.0), support::LONG);
    wait_for_requests(&mut bench, before + 1);
    bench.worker().cancel(id);
    let ended = bench.worker().wait(id, Duration::from_secs(20));
    assert!(
        matches!(ended.outcome, Outcome::Cancelled { .. }),
        "{ended:?}"
    );
    assert_eq!(bench.effects(1, "setpoint.set"), 0);
    bench.drain();
}

fn wait_for_requests(bench: &mut Bench, count: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while bench.report(1).requests < count {
        assert!(Instant::now() < end, "waited in vain for {count} requests");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn connections_stay_within_the_targets_sessions() {
    let mut bench = Bench::start(1);
    bench.fault(1, "slow", Some(50), None);
    let tasks: Vec<u64> = (0..12)
        .map(|n| match n % 4 {
            0 => bench.begin(
                1,
                "request.set",
                setpoint(20.0 + f64::from(n)),
                support::LONG,
            ),
            _ => bench.begin(1, "observe", json!({}), support::LONG),
        })
        .collect();
    for id in tasks {
        bench.worker().wait(id, support::LONG);
    }
    let report = bench.report(1);
    assert!(report.sessions_max <= 4, "{report:?}");
    bench.drain();
    let end = Instant::now() + Duration::from_secs(20);
    while bench.report(1).sessions_open > 0 {
        assert!(Instant::now() < end, "connections are left after drain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
