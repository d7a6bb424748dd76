//! The worker against its twin, as it should go.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{LONG, code, fleet, none, observe, set, worker, writes};
use sengu_sdk::{FailureCode, Outcome};
use serde_json::json;

#[test]
fn each_family_gives_its_readings_and_facts() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let cooling = observe(&mut worker, &fleet[0]);
    assert!(matches!(cooling.outcome, Outcome::Done(_)), "{cooling:?}");
    assert_eq!(
        cooling.reading("cooling_supply_temperature_celsius"),
        Some(21.2)
    );
    assert_eq!(
        cooling.reading("cooling_return_temperature_celsius"),
        Some(30.0)
    );
    assert_eq!(cooling.reading("cooling_humidity_ratio"), Some(0.45));
    assert_eq!(
        cooling.reading("cooling_rack_temperature_celsius"),
        None,
        "no probe"
    );
    assert_eq!(
        cooling.reading("cooling_runtime_seconds_total"),
        Some(12_345.0 * 3_600.0)
    );
    assert_eq!(cooling.reading("cooling_power_watts"), Some(8_400.0));
    assert_eq!(cooling.reading("cooling_power_limit_watts"), Some(12_000.0));
    assert_eq!(cooling.reading("cooling_unit_running"), Some(1.0));
    assert_eq!(cooling.reading("modbus_points_incomplete"), None);
    let alarms = cooling
        .readings
        .iter()
        .filter(|r| r.name == "cooling_alarm");
    assert_eq!(alarms.count(), 3);
    let facts = ["vendor", "model", "firmware", "mode", "profile"];
    assert_eq!(
        facts.map(|name| cooling.facts[name].as_str().unwrap()),
        [
            "Example Cooling",
            "CoolUnit 30",
            "1.4.2",
            "cooling",
            "cooling-unit"
        ]
    );
    assert!(cooling.facts["serial"].as_str().unwrap().starts_with("CU"));

    let eastron = observe(&mut worker, &fleet[2]);
    assert!(matches!(eastron.outcome, Outcome::Done(_)), "{eastron:?}");
    assert_eq!(eastron.reading("meter_voltage_volts"), Some(230.4));
    assert_eq!(eastron.reading("meter_power_watts"), Some(7_190.5));
    assert_eq!(eastron.reading("meter_frequency_hertz"), Some(50.02));
    assert_eq!(
        eastron.reading("meter_energy_export_joules_total"),
        Some(5_400_000.0)
    );
    assert_eq!(eastron.facts["vendor"], "Eastron");
    assert!(eastron.facts["serial"].is_number());

    let sunspec = observe(&mut worker, &fleet[3]);
    assert!(matches!(sunspec.outcome, Outcome::Done(_)), "{sunspec:?}");
    assert_eq!(sunspec.reading("meter_voltage_volts"), Some(230.4));
    assert_eq!(sunspec.reading("meter_current_amperes"), Some(10.5));
    assert_eq!(sunspec.reading("meter_power_watts"), Some(7_190.0));
    assert_eq!(sunspec.reading("meter_power_factor_ratio"), Some(0.985));
    assert_eq!(
        sunspec.reading("meter_reactive_power_vars"),
        None,
        "not implemented"
    );
    assert_eq!(
        sunspec.reading("meter_energy_export_joules_total"),
        None,
        "not accumulated"
    );
    assert!(sunspec.reading("meter_energy_import_joules_total").unwrap() >= 4_444_200_000.0);
    let facts = ["vendor", "model", "firmware"];
    assert_eq!(
        facts.map(|name| sunspec.facts[name].as_str().unwrap()),
        ["Example Meters", "TM-3", "2.11"]
    );
    let report = twin.report();
    let requests = |at: usize| report[&fleet[at].name].requests;
    // 41 registers and 4 bits in 4 tables: two blocks of inputs, one each of coils and discretes, three of holding
    // registers, and the identification.
    assert_eq!(requests(0), 8, "as few requests as the map allows");
    // One block, neutral current, serial.
    assert!(requests(2) <= 3, "{}", requests(2));
    assert_eq!(
        report[&fleet[0].name].sessions_max, 1,
        "one connection for all"
    );
}

#[test]
fn a_set_point_is_written_once_and_read_back() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    let table = [
        ("supply_setpoint", json!(21), json!(23.5)),
        ("fan_minimum", json!(0.4), json!(0.75)),
        ("power_limit", json!(12_000), json!(9_500)),
        ("unit_on", json!(true), json!(false)),
        // The command goes to one register, and another shows what came of it.
        ("mode", json!(1), json!(2)),
    ];
    for (at, (point, before, after)) in (1..).zip(table) {
        let ended = set(&mut worker, unit, point, after.clone());
        assert_eq!(
            ended.outcome,
            Outcome::changed(before, after.clone()),
            "{point}"
        );
        assert_eq!(
            ended.checkpoint.unwrap()["wanted"],
            after,
            "left before the write"
        );
        assert_eq!(writes(&mut twin, unit), at);
        let again = set(&mut worker, unit, point, after.clone());
        assert_eq!(again.outcome, Outcome::already(after), "{point}");
        assert_eq!(writes(&mut twin, unit), at, "{point}: nothing to write");
    }
    let neighbour = &fleet[1];
    assert_eq!(
        writes(&mut twin, neighbour),
        0,
        "another unit of the same gateway"
    );
    // A point that the device wants to be told again and again.
    for _ in 0..2 {
        let ended = set(&mut worker, unit, "remote_demand", json!(0.5));
        assert!(
            matches!(&ended.outcome, Outcome::Done(done) if !done.changed),
            "{ended:?}"
        );
    }
    assert_eq!(writes(&mut twin, unit), 7);
}

#[test]
fn what_is_out_of_bounds_is_refused_before_anything_is_sent() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    let table = [
        ("supply_setpoint", json!(15.5), "under the least"),
        ("supply_setpoint", json!(31), "over the most"),
        ("supply_setpoint", json!(21.25), "no step"),
        ("mode", json!(3), "none of"),
        ("unit_on", json!(1), "true or false"),
        ("supply_temperature", json!(20), "cannot be set"),
        ("nothing", json!(20), "the map has no"),
    ];
    for (point, value, why) in table {
        let ended = set(&mut worker, unit, point, value);
        assert_eq!(code(&ended), Some(FailureCode::Refused), "{ended:?}");
        assert!(format!("{:?}", ended.outcome).contains(why), "{ended:?}");
        assert!(ended.checkpoint.is_none());
    }
    assert_eq!(twin.report()[&unit.name].requests, 0, "nothing was sent");
    // This needs the present value, and nothing is written either.
    let ended = set(&mut worker, unit, "supply_setpoint", json!(25.5));
    assert_eq!(code(&ended), Some(FailureCode::Refused), "{ended:?}");
    assert_eq!(writes(&mut twin, unit), 0);
}

#[test]
fn a_point_with_an_interval_is_not_written_more_often() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    unit.config["map"] = json!({"points": [{
        "name": "fan_minimum", "table": "holding", "address": 101, "scale": 0.001,
        "set": {"min": 0.3, "max": 1, "interval_s": 3600},
    }]});
    assert!(matches!(
        set(&mut worker, &unit, "fan_minimum", json!(0.5)).outcome,
        Outcome::Done(_)
    ));
    let ended = set(&mut worker, &unit, "fan_minimum", json!(0.6));
    let Outcome::Failed(failure) = &ended.outcome else {
        panic!("{ended:?}")
    };
    assert_eq!(failure.code, FailureCode::Busy);
    assert!(failure.retry_after_ms.unwrap() > 3_500_000);
    assert_eq!(writes(&mut twin, &unit), 1);
}

#[test]
fn points_are_read_by_name_with_a_map_of_the_targets_own() {
    let (_twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    let params = json!({"points": ["supply_setpoint", "rack_temperature", "serial"]});
    let ended = worker.call(&unit, &none(), "point.read", params, LONG);
    let Outcome::Done(done) = &ended.outcome else {
        panic!("{ended:?}")
    };
    let values = &done.result.as_ref().unwrap()["values"];
    assert_eq!(
        values["supply_setpoint"],
        json!({"value": 21, "unit": "Cel"})
    );
    assert_eq!(
        values["rack_temperature"],
        json!({"value": null, "unit": "Cel"})
    );
    assert!(
        values["serial"]["value"]
            .as_str()
            .unwrap()
            .starts_with("CU")
    );

    unit.config = json!({"unit": 1, "map": {"points": [
        {"name": "raw", "table": "input", "address": 6, "type": "u32", "order": "cdab"},
    ]}});
    let ended = worker.call(&unit, &none(), "point.read", json!({}), LONG);
    let Outcome::Done(done) = &ended.outcome else {
        panic!("{ended:?}")
    };
    let expected = json!({"values": {"raw": {"value": 12_345}}});
    assert_eq!(done.result.as_ref(), Some(&expected));

    let table = [
        (json!({"unit": 1}), "no profile and has no map"),
        (json!({"unit": 1, "profile": "none"}), "no profile"),
        (json!({"unit": 300}), "target config"),
        (
            json!({"map": {"points": [{"name": "a", "address": 1}]}}),
            "no table",
        ),
    ];
    for (config, why) in table {
        unit.config = config;
        let ended = observe(&mut worker, &unit);
        assert_eq!(code(&ended), Some(FailureCode::Refused), "{ended:?}");
        assert!(format!("{:?}", ended.outcome).contains(why), "{ended:?}");
    }
}

#[test]
fn a_map_is_kept_from_a_device_it_is_not_for() {
    let (_twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    unit.config["map"] = json!({"checks": [{"table": "input", "address": 28, "in": [7]}]});
    for ended in [
        observe(&mut worker, &unit),
        set(&mut worker, &unit, "unit_on", json!(false)),
    ] {
        assert_eq!(code(&ended), Some(FailureCode::Refused), "{ended:?}");
        assert!(
            format!("{:?}", ended.outcome).contains("input 28 holds 1"),
            "{ended:?}"
        );
        assert!(ended.readings.is_empty());
    }
}

#[test]
fn a_pinned_identity_is_compared_before_anything_is_read_or_written() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut unit = fleet[0].clone();
    let facts = observe(&mut worker, &unit).facts;
    let serial = facts["serial"].as_str().unwrap().to_owned();
    unit.identity.insert("serial".into(), serial);
    unit.identity
        .insert("vendor".into(), "Example Cooling".into());
    let ended = observe(&mut worker, &unit);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    // The unit next to it has another serial.
    unit.config["unit"] = json!(2);
    for ended in [
        observe(&mut worker, &unit),
        set(&mut worker, &unit, "unit_on", json!(false)),
    ] {
        assert_eq!(
            code(&ended),
            Some(FailureCode::IdentityMismatch),
            "{ended:?}"
        );
        assert!(ended.readings.is_empty());
    }
    assert_eq!(writes(&mut twin, &fleet[1]), 0);
    let mut meter = fleet[2].clone();
    meter.identity.insert("model".into(), "SDM630".into());
    let ended = observe(&mut worker, &meter);
    // The profile's word is not the device's.
    assert_eq!(
        code(&ended),
        Some(FailureCode::IdentityMismatch),
        "{ended:?}"
    );
}

#[test]
fn a_probe_tells_what_became_of_a_lost_write_and_only_reads() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let unit = &fleet[0];
    set(&mut worker, unit, "supply_setpoint", json!(22));
    let table = [
        // Lost before the write: it may be done again.
        (json!(null), json!(23), json!(false)),
        (
            json!({"wanted": 22, "renewal": false}),
            json!(22),
            json!(true),
        ),
        // Not to be seen: it may still be on its way.
        (
            json!({"wanted": 23, "renewal": false}),
            json!(23),
            json!(null),
        ),
        // A renewal cannot be seen.
        (
            json!({"wanted": 22, "renewal": true}),
            json!(22),
            json!(null),
        ),
    ];
    for (checkpoint, value, happened) in table {
        let mut probe = json!({"since": "2026-01-01T00:00:00Z"});
        if !checkpoint.is_null() {
            probe["checkpoint"] = checkpoint.clone();
        }
        let params = json!({"point": "supply_setpoint", "value": value});
        let id = worker.begin_probe(unit, &none(), "point.probe", params, LONG, probe);
        let ended = worker.wait(id, LONG);
        let Outcome::Done(done) = &ended.outcome else {
            panic!("{ended:?}")
        };
        let result = done.result.as_ref().unwrap();
        assert_eq!(result["happened"], happened, "{checkpoint}");
    }
    assert_eq!(writes(&mut twin, unit), 1);
}

#[test]
fn a_drained_worker_leaves_no_connection() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    for target in &fleet {
        let ended = observe(&mut worker, target);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    }
    let seen = twin.report()[&fleet[0].name].clone();
    assert_eq!((seen.sessions_open, seen.sessions_max), (1, 1));
    worker.drain();
    let end = std::time::Instant::now() + LONG;
    while twin.report()[&fleet[0].name].sessions_open > 0 {
        assert!(std::time::Instant::now() < end, "the connection stays open");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
