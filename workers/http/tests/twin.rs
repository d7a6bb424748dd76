//! The worker against its own twin: what is read, what is done, and that it is done once.

mod support;

use sengu_sdk::{FailureCode, Outcome};
use serde_json::{Value, json};
use support::{
    BASIC, BEARER, Bench, HEADER, NONE, OAUTH, SHORT, changed, code, message, result, retry_after,
    unknown,
};

fn setpoint(unit: u32, celsius: f64) -> Value {
    json!({"request": "setpoint", "unit": unit, "celsius": celsius})
}

fn restart() -> Value {
    json!({"request": "restart"})
}

#[test]
fn observe_reads_whoever_asks_for_what() {
    let mut bench = Bench::start(5);
    for n in [BASIC, BEARER, OAUTH, HEADER, NONE] {
        let ended = bench.observe(n);
        assert!(!changed(&ended));
        assert_eq!(result(&ended), Value::Null, "nothing is missing: {ended:?}");
        assert!(
            ended
                .reading("plant_power_watts")
                .is_some_and(|w| (900.0..1300.0).contains(&w))
        );
        assert_eq!(ended.reading("plant_running"), Some(1.0));
        assert!(ended.reading("plant_energy_joules_total").is_some());
        assert!(ended.reading("plant_info").is_none(), "only what is listed");
        let supply: Vec<_> = ended
            .readings
            .iter()
            .filter(|r| r.name == "supply_temperature_celsius")
            .map(|r| (r.labels["unit"].as_str(), r.value, r.unit.as_str()))
            .collect();
        assert_eq!(supply.len(), 4);
        assert_eq!(supply[1], ("unit-1", 18.75, "Cel"));
        assert_eq!(ended.reading("http_source_up"), Some(1.0));
        assert_eq!(ended.facts["vendor"], "Contoso Cooling");
        assert!(
            ended.facts["firmware"]
                .as_str()
                .is_some_and(|f| f.starts_with("2."))
        );
        assert_eq!(bench.report(n).auth_failures, 0);
    }
    bench.drain();
}

#[test]
fn a_token_is_asked_for_once_and_renewed_when_refused() {
    let mut bench = Bench::start(3);
    let many: Vec<u64> = (0..8)
        .map(|_| bench.begin(OAUTH, "observe", json!({}), support::LONG))
        .collect();
    for id in many {
        let ended = bench.worker().wait(id, support::LONG);
        assert_eq!(result(&ended), Value::Null);
    }
    assert_eq!(bench.effects(OAUTH, "token"), 1);
    bench.fault(OAUTH, "token_lost", None, None);
    assert_eq!(result(&bench.observe(OAUTH)), Value::Null);
    assert_eq!(bench.effects(OAUTH, "token"), 2);
    assert_eq!(bench.report(OAUTH).auth_failures, 1);
    // A change that was refused with the old token is made with the new one, once.
    bench.fault(OAUTH, "token_lost", None, None);
    assert!(changed(&bench.call(OAUTH, "request.change", restart())));
    assert_eq!(bench.effects(OAUTH, "restart"), 1);
    // A fresh token that is refused, too, is no token to ask for again.
    bench.fault(OAUTH, "auth", None, None);
    let before = bench.effects(OAUTH, "token");
    assert_eq!(code(&bench.observe(OAUTH)), FailureCode::AuthFailed);
    assert_eq!(bench.effects(OAUTH, "token"), before + 1);
    bench.drain();
}

#[test]
fn a_denied_client_is_auth_failed_at_once() {
    let mut bench = Bench::start(3);
    bench.fault(OAUTH, "token_denied", None, None);
    let denied = bench.observe(OAUTH);
    assert_eq!(code(&denied), FailureCode::AuthFailed);
    assert!(message(&denied).contains("invalid_client"), "{denied:?}");
    assert_eq!(bench.report(OAUTH).auth_failures, 1);
    // The same credentials rest a moment: tasks in hand must not lock the account.
    assert_eq!(code(&bench.observe(OAUTH)), FailureCode::AuthFailed);
    assert_eq!(bench.report(OAUTH).auth_failures, 1);
    bench.drain();
}

#[test]
fn refused_credentials_are_tried_once() {
    let mut bench = Bench::start(1);
    let (_, secrets) = &mut bench.targets[0];
    secrets.insert("password".to_owned(), "wrong-password".to_owned());
    for _ in 0..3 {
        let ended = bench.observe(BASIC);
        assert_eq!(code(&ended), FailureCode::AuthFailed);
        assert!(!format!("{ended:?}").contains("wrong-password"));
    }
    assert_eq!(bench.report(BASIC).auth_failures, 1);
    bench.drain();
}

#[test]
fn a_set_point_is_set_once_and_read_back() {
    let mut bench = Bench::start(5);
    for n in 1..=5 {
        let set = bench.call(n, "request.set", setpoint(2, 21.5));
        assert!(changed(&set));
        let Outcome::Done(done) = &set.outcome else {
            panic!()
        };
        assert_eq!(
            (done.before.clone(), done.after.clone()),
            (Some(json!(19.0)), Some(json!(21.5)))
        );
        assert_eq!(result(&set), json!({"httpStatus": 202}));
        assert!(!changed(&bench.call(n, "request.set", setpoint(2, 21.5))));
        assert!(!changed(&bench.call(n, "request.run", setpoint(2, 21.5))));
        assert_eq!(bench.effects(n, "setpoint.set"), 1);
    }
    bench.drain();
}

#[test]
fn a_restart_is_proven_by_its_counter() {
    let mut bench = Bench::start(1);
    let ended = bench.call(1, "request.change", restart());
    assert!(changed(&ended));
    let mark = ended.checkpoint.expect("sent before the request");
    assert_eq!(mark["request"], "restart");
    assert_eq!(bench.effects(1, "restart"), 1);
    let probe = json!({"since": now(), "checkpoint": mark});
    assert_eq!(ask_probe(&mut bench, probe), json!(true));
    bench.drain();
}

#[test]
fn a_lost_restart_is_settled_by_the_probe() {
    let mut bench = Bench::start(1);
    // Done, and the answer is lost: the read-back shows it.
    bench.fault(1, "lost_reply", None, Some(1));
    assert!(changed(&bench.call(1, "request.change", restart())));
    assert_eq!(bench.effects(1, "restart"), 1);
    // Not done, and the answer is lost: nobody knows until its time is over.
    bench.fault(1, "cut_change", None, Some(1));
    let since = now();
    let lost = bench.call_within(1, "request.change", restart(), SHORT);
    assert!(unknown(&lost), "{lost:?}");
    assert_eq!(bench.effects(1, "restart"), 1);
    let probe = json!({"since": since, "checkpoint": lost.checkpoint});
    assert_eq!(ask_probe(&mut bench, probe), json!(false));
    // A mark of another request, or none, tells nothing.
    assert_eq!(ask_probe(&mut bench, json!({"since": since})), Value::Null);
    let other = json!({"since": since, "checkpoint": {"request": "x", "before": 0}});
    assert_eq!(ask_probe(&mut bench, other), Value::Null);
    bench.drain();
}

fn ask_probe(bench: &mut Bench, probe: Value) -> Value {
    let (target, secrets) = bench.targets[0].clone();
    let worker = bench.worker();
    let id = worker.begin_probe(
        &target,
        &secrets,
        "request.change.probe",
        restart(),
        support::LONG,
        probe,
    );
    result(&worker.wait(id, support::LONG))["happened"].clone()
}

fn now() -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    sengu_sdk::Time(i64::try_from(since.as_millis()).expect("fits")).to_string()
}

#[test]
fn a_promise_is_no_result() {
    let mut bench = Bench::start(1);
    bench.fault(1, "deaf", None, None);
    let set = bench.call_within(1, "request.set", setpoint(0, 25.0), SHORT);
    assert_eq!(code(&set), FailureCode::Timeout);
    assert!(message(&set).contains("answered 202"), "{set:?}");
    assert!(unknown(&bench.call_within(
        1,
        "request.change",
        restart(),
        SHORT
    )));
    assert_eq!(bench.effects(1, "restart"), 0);
    bench.drain();
}

#[test]
fn a_lost_change_is_never_sent_again() {
    let mut bench = Bench::start(2);
    for (fault, done) in [("lost_reply", 1), ("server_error", 2)] {
        bench.fault(1, fault, None, Some(1));
        let acknowledged = bench.call(1, "request.run", json!({"request": "acknowledge"}));
        assert!(unknown(&acknowledged), "{fault}: {acknowledged:?}");
        assert_eq!(bench.effects(1, "alarm.ack"), done);
    }
    bench.fault(1, "cut_change", None, Some(1));
    assert!(unknown(&bench.call(
        1,
        "request.run",
        json!({"request": "acknowledge"})
    )));
    assert_eq!(bench.effects(1, "alarm.ack"), 2);
    // What can be read back settles itself.
    for fault in ["lost_reply", "server_error"] {
        let celsius = if fault == "lost_reply" { 22.0 } else { 23.0 };
        bench.fault(2, fault, None, Some(1));
        assert!(
            changed(&bench.call(2, "request.set", setpoint(1, celsius))),
            "{fault}"
        );
    }
    bench.fault(2, "cut_change", None, Some(1));
    let lost = bench.call_within(2, "request.set", setpoint(1, 24.0), SHORT);
    assert!(
        unknown(&lost) && message(&lost).contains("was last 23"),
        "{lost:?}"
    );
    assert_eq!(bench.effects(2, "setpoint.set"), 2);
    bench.drain();
}

#[test]
fn status_alone_is_proof_where_the_record_says_so() {
    let mut bench = Bench::start(1);
    let done = bench.call(1, "request.run", json!({"request": "acknowledge"}));
    assert!(changed(&done));
    assert_eq!(result(&done), json!({"httpStatus": 204}));
    // 202 is a promise even then, unless the record lists it.
    bench.config(1)["requests"]["restart"] =
        json!({"method": "POST", "path": "/api/v1/restart", "effect": "once", "proof": "status"});
    assert!(unknown(&bench.call(1, "request.run", restart())));
    bench.config(1)["requests"]["restart"]["expect"] = json!([202]);
    assert!(changed(&bench.call(1, "request.run", restart())));
    bench.drain();
}

#[test]
fn reads_give_their_answer_back() {
    let mut bench = Bench::start(1);
    let events = bench.call(1, "request.read", json!({"request": "events"}));
    assert!(!changed(&events));
    let result = result(&events);
    assert_eq!(
        (
            result["httpStatus"].clone(),
            result["body"][2]["id"].clone()
        ),
        (json!(200), json!(2))
    );
    // Pages are followed by observe.
    bench.config(1)["sources"] = json!([{
        "path": "/api/v1/events", "next": "/next",
        "readings": [{"name": "event_id", "pointer": "/entries/*/id", "labels": {"event": "/entries/*/text"}}],
    }]);
    let ended = bench.observe(1);
    let ids: Vec<f64> = ended
        .readings
        .iter()
        .filter(|r| r.name == "event_id")
        .map(|r| r.value)
        .collect();
    assert_eq!(ids, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    bench.drain();
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_sent() {
    let mut bench = Bench::start(1);
    let table = [
        (
            "request.set",
            json!({"request": "setpoint", "unit": 1}),
            "celsius is missing",
        ),
        ("request.set", setpoint(1, 99.0), "above the maximum 30"),
        ("request.set", setpoint(9, 20.0), "above the maximum 3"),
        (
            "request.set",
            json!({"request": "setpoint", "unit": 1, "celsius": 20, "x": 1}),
            "unknown parameter x",
        ),
        (
            "request.set",
            json!({"request": "reboot"}),
            "declared: acknowledge, events, restart, setpoint",
        ),
        ("request.set", json!({}), "params.request"),
        ("request.set", restart(), "run it by request.change"),
        ("request.read", restart(), "run it by request.change"),
        ("request.change", setpoint(1, 20.0), "run it by request.set"),
        (
            "request.run",
            json!({"request": "events"}),
            "run it by request.read",
        ),
        ("power.set", json!({}), "unknown action"),
    ];
    for (action, params, want) in table {
        let ended = bench.call(1, action, params.clone());
        assert_eq!(code(&ended), FailureCode::Refused, "{params}");
        assert!(message(&ended).contains(want), "{params}: {ended:?}");
    }
    assert_eq!(bench.report(1).requests, 0);
    bench.drain();
}

#[test]
fn busy_says_when_to_come_back() {
    let mut bench = Bench::start(1);
    bench.fault(1, "busy", Some(7_000), None);
    for (action, params) in [("observe", json!({})), ("request.set", setpoint(0, 20.0))] {
        let ended = bench.call(1, action, params);
        assert_eq!(
            (code(&ended), retry_after(&ended)),
            (FailureCode::Busy, Some(7_000))
        );
    }
    bench.twin.clear();
    bench.fault(1, "busy_date", Some(60_000), None);
    let ended = bench.call(1, "request.run", json!({"request": "acknowledge"}));
    assert_eq!(code(&ended), FailureCode::Busy);
    assert!(
        retry_after(&ended).is_some_and(|ms| (30_000..=61_000).contains(&ms)),
        "{ended:?}"
    );
    assert_eq!(bench.effects(1, "alarm.ack"), 0);
    bench.drain();
}
