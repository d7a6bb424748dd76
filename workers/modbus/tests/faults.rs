//! The worker against its twin with every fault: bounded, honest, and never written twice.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{LONG, code, fleet, fleet_of, none, observe, set, set_within, worker, writes};
use sengu_sdk::{FailureCode, Outcome};
use serde_json::json;
use std::time::Duration;

#[test]
fn each_fault_of_a_read_has_its_outcome_and_passes() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    use FailureCode::{BadReply, Busy, Unreachable};
    let table = [
        ("refuse", Unreachable),
        ("hang", Unreachable),
        ("cut", Unreachable),
        ("garbage", BadReply),
        ("wrong_unit", BadReply),
        ("short", BadReply),
        ("busy", Busy),
        ("failure", BadReply),
    ];
    for (fault, expected) in table {
        twin.fault(&unit.name, fault, None, None);
        let ended = observe(&mut worker, unit);
        assert_eq!(code(&ended), Some(expected), "{fault}: {ended:?}");
        let ended = set(&mut worker, unit, "supply_setpoint", json!(22));
        assert_eq!(code(&ended), Some(expected), "{fault}: {ended:?}");
        twin.clear();
        let ended = observe(&mut worker, unit);
        assert!(
            matches!(ended.outcome, Outcome::Done(_)),
            "after {fault}: {ended:?}"
        );
    }
    assert_eq!(writes(&mut twin, unit), 0);
}

#[test]
fn one_lost_answer_is_asked_for_again_on_a_new_connection() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    for fault in ["hang", "cut", "garbage", "wrong_unit", "short"] {
        twin.fault(&fleet[0].name, fault, None, Some(1));
        let ended = observe(&mut worker, &fleet[0]);
        assert!(
            matches!(ended.outcome, Outcome::Done(_)),
            "{fault}: {ended:?}"
        );
        assert_eq!(
            ended.reading("cooling_supply_temperature_celsius"),
            Some(21.2)
        );
    }
}

#[test]
fn an_answer_to_an_earlier_request_is_thrown_away() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    twin.fault("*", "stale", None, None);
    for _ in 0..3 {
        let ended = observe(&mut worker, &fleet[0]);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
        assert_eq!(
            ended.reading("cooling_supply_temperature_celsius"),
            Some(21.2)
        );
        assert_eq!(ended.reading("cooling_supply_setpoint_celsius"), Some(21.0));
    }
    let ended = set(&mut worker, &fleet[0], "supply_setpoint", json!(22));
    assert_eq!(ended.outcome, Outcome::changed(json!(21), json!(22)));
    assert_eq!(twin.report()[&fleet[0].name].sessions_max, 1);
}

#[test]
fn a_slow_answer_after_its_time_is_never_taken_for_the_next_one() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    unit.config["requestTimeoutMs"] = json!(300);
    unit.config["retries"] = json!(0);
    twin.fault(&unit.name, "slow", Some(600), Some(1));
    let ended = observe(&mut worker, &unit);
    assert_eq!(code(&ended), Some(FailureCode::Unreachable), "{ended:?}");
    // The late answer was of inputs; this one is of another unit and table.
    let ended = worker.call(
        &fleet[1],
        &none(),
        "point.read",
        json!({"points": ["fan_minimum"]}),
        LONG,
    );
    let Outcome::Done(done) = &ended.outcome else {
        panic!("{ended:?}")
    };
    assert_eq!(
        done.result.as_ref().unwrap()["values"]["fan_minimum"]["value"],
        0.4
    );
}

#[test]
fn a_deadline_in_the_middle_of_a_read_closes_the_connection() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    unit.config["requestTimeoutMs"] = json!(20_000);
    twin.fault(&unit.name, "slow", Some(1_500), Some(1));
    let limit = Duration::from_millis(500);
    let ended = worker.call(&unit, &none(), "observe", json!({}), limit);
    assert_eq!(code(&ended), Some(FailureCode::Timeout), "{ended:?}");
    // The gateway is still at the slow request, so that this one waits behind it.
    let mut meter = fleet[3].clone();
    meter.config["requestTimeoutMs"] = json!(20_000);
    let ended = observe(&mut worker, &meter);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    assert_eq!(ended.reading("meter_voltage_volts"), Some(230.4));
    let ended = observe(&mut worker, &unit);
    assert_eq!(
        ended.reading("cooling_supply_temperature_celsius"),
        Some(21.2)
    );
}

#[test]
fn a_lost_answer_to_a_write_is_settled_by_reading_back_and_never_by_writing_again() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    let faults = [
        "drop_reply_of_write",
        "cut_reply_of_write",
        "no_answer",
        "write_acknowledge",
        "write_failure",
    ];
    let mut before = json!(21);
    for (at, fault) in (1..).zip(faults) {
        let after = json!(21 + at);
        twin.fault(&unit.name, fault, None, None);
        let ended = set(&mut worker, unit, "supply_setpoint", after.clone());
        assert_eq!(
            ended.outcome,
            Outcome::changed(before, after.clone()),
            "{fault}"
        );
        assert_eq!(writes(&mut twin, unit), at, "{fault}: written once");
        before = after;
    }
}

#[test]
fn a_write_that_got_lost_is_unknown_and_was_sent_once() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    for fault in ["drop_write", "ignore_write"] {
        twin.fault(&unit.name, fault, None, None);
        let limit = Duration::from_secs(6);
        let ended = set_within(&mut worker, unit, "supply_setpoint", json!(23), limit);
        let Outcome::Unknown { why } = &ended.outcome else {
            panic!("{fault}: {ended:?}")
        };
        assert!(why.contains("it reads 21"), "{why}");
        assert!(ended.checkpoint.is_some());
        assert_eq!(writes(&mut twin, unit), 0, "{fault}");
        twin.clear();
    }
}

#[test]
fn a_write_that_the_device_denies_was_not_done() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    for (fault, expected) in [
        ("write_illegal", FailureCode::Refused),
        ("write_busy", FailureCode::Busy),
    ] {
        twin.fault(&unit.name, fault, None, None);
        let ended = set(&mut worker, unit, "supply_setpoint", json!(23));
        assert_eq!(code(&ended), Some(expected), "{fault}: {ended:?}");
        assert_eq!(writes(&mut twin, unit), 0, "{fault}");
    }
}

#[test]
fn a_device_that_takes_another_value_is_named_with_it() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    twin.fault(&unit.name, "clamp_write", None, None);
    let ended = set(&mut worker, unit, "supply_setpoint", json!(24));
    let Outcome::Failed(failure) = &ended.outcome else {
        panic!("{ended:?}")
    };
    assert_eq!(failure.code, FailureCode::Refused);
    let expected = json!({"before": 21, "wanted": 24, "after": 23});
    assert_eq!(failure.detail.as_ref(), Some(&expected));
    assert_eq!(writes(&mut twin, unit), 1);
}

#[test]
fn a_gateway_without_room_for_a_connection_is_unreachable_and_left_in_peace() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    twin.fault("*", "session_full", None, None);
    let ended = observe(&mut worker, &fleet[0]);
    assert_eq!(code(&ended), Some(FailureCode::Unreachable), "{ended:?}");
    let ended = set(&mut worker, &fleet[1], "supply_setpoint", json!(22));
    assert_eq!(code(&ended), Some(FailureCode::Unreachable), "{ended:?}");
    twin.clear();
    let ended = observe(&mut worker, &fleet[0]);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
}

#[test]
fn all_units_of_a_gateway_share_one_connection_whatever_comes_at_once() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut begun = Vec::new();
    for round in 0..4 {
        for target in &fleet {
            begun.push(worker.begin(target, &none(), "observe", json!({}), LONG));
        }
        let value = json!(21.5 + f64::from(round) * 0.5);
        let params = json!({"point": "supply_setpoint", "value": value});
        begun.push(worker.begin(&fleet[0], &none(), "point.set", params, LONG));
    }
    for id in begun {
        let ended = worker.wait(id, LONG);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    }
    assert_eq!(twin.report()[&fleet[0].name].sessions_max, 1);
}

#[test]
fn a_silent_gateway_does_not_hold_up_another() {
    let (mut twin, fleet) = fleet_of("9");
    let mut worker = worker();
    let mut silent = fleet[0].clone();
    silent.config["requestTimeoutMs"] = json!(20_000);
    twin.fault(&silent.name, "hang", None, None);
    let limit = Duration::from_secs(10);
    let waiting = worker.begin(&silent, &none(), "observe", json!({}), limit);
    let ended = observe(&mut worker, &fleet[8]);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    let ended = worker.wait(waiting, LONG);
    assert_eq!(code(&ended), Some(FailureCode::Timeout), "{ended:?}");
}

#[test]
fn a_dead_gateway_fails_all_its_targets_at_once() {
    let mut worker = worker();
    // Nobody listens there.
    let address = "127.0.0.1:1".to_owned();
    let mut begun = Vec::new();
    for unit in 1..=30 {
        let config = json!({"unit": unit, "profile": "eastron-sdm630", "reconnectMs": 20_000});
        let target = common::target(&format!("m-{unit}"), &address, config);
        begun.push(worker.begin(
            &target,
            &none(),
            "observe",
            json!({}),
            Duration::from_secs(15),
        ));
    }
    for id in begun {
        let ended = worker.wait(id, LONG);
        assert_eq!(code(&ended), Some(FailureCode::Unreachable), "{ended:?}");
    }
}

#[test]
fn deadline_and_cancel_come_before_the_write_or_not_at_all() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    let mut patient = unit.clone();
    patient.config["requestTimeoutMs"] = json!(20_000);
    // The first read is slower than the deadline.
    twin.fault(&unit.name, "slow", Some(5_000), Some(1));
    let limit = Duration::from_millis(700);
    let ended = set_within(&mut worker, &patient, "supply_setpoint", json!(22), limit);
    assert_eq!(code(&ended), Some(FailureCode::Timeout), "{ended:?}");
    // Asked to stop while the first read is on its way.
    twin.fault(&unit.name, "slow", Some(700), Some(1));
    let params = json!({"point": "supply_setpoint", "value": 22});
    let id = worker.begin(&patient, &none(), "point.set", params, LONG);
    worker.cancel(id);
    let ended = worker.wait(id, LONG);
    assert!(
        matches!(ended.outcome, Outcome::Cancelled { .. }),
        "{ended:?}"
    );
    assert_eq!(writes(&mut twin, unit), 0);
}

#[test]
fn points_that_the_device_refuses_do_not_take_the_others_along_and_are_remembered() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    // 40 is not there, nor is what lies between the blocks.
    unit.config["gap"] = json!(125);
    unit.config["map"] = json!({"points": [
        {"name": "gone", "table": "input", "address": 40, "reading": "gone"},
        {"name": "rare", "table": "input", "address": 41, "reading": "rare", "optional": true},
    ]});
    let ended = observe(&mut worker, &unit);
    let Outcome::Done(done) = &ended.outcome else {
        panic!("{ended:?}")
    };
    let incomplete = &done.result.as_ref().unwrap()["incomplete"];
    assert_eq!(incomplete[0]["points"], json!(["gone"]), "{incomplete}");
    assert_eq!(ended.reading("modbus_points_incomplete"), Some(1.0));
    assert_eq!(
        ended.reading("cooling_supply_temperature_celsius"),
        Some(21.2)
    );
    assert_eq!(ended.reading("cooling_supply_setpoint_celsius"), Some(21.0));
    let first = twin.report()[&unit.name].requests;
    let ended = observe(&mut worker, &unit);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    let second = twin.report()[&unit.name].requests - first;
    assert!(
        second <= 8,
        "the second round knows: {second} after {first}"
    );
}
