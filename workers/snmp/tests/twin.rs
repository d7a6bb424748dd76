//! The worker against its twin: both families, both versions, what is read and switched.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::Target;
use common::{LONG, code, fleet, impatient, observe, outlet_on, set, twin, worker};
use sengu_sdk::testing::Instance;
use sengu_sdk::{FailureCode, Outcome};
use serde_json::{Value, json};

#[test]
fn a_fleet_is_described_by_its_records() {
    let twin = twin(&["--count", "8", "--prefix", "pdu", "--label", "site=tyo1"]);
    let targets: Vec<_> = twin.records.iter().filter(|r| r.kind == "Target").collect();
    assert_eq!(targets.len(), 8);
    let v3 = targets
        .iter()
        .filter(|r| r.spec["config"]["version"] == "v3");
    assert_eq!(v3.count(), 2);
    let labels = &targets[3].metadata.labels;
    assert_eq!(
        (labels["rack"].as_str(), labels["site"].as_str()),
        ("r02", "tyo1")
    );
    assert_eq!(
        twin.records.iter().filter(|r| r.kind == "Secret").count(),
        1
    );
}

#[test]
fn observation_gives_readings_with_units_and_facts() {
    let (_twin, fleet) = fleet();
    let mut worker = worker();
    for (which, target) in &fleet {
        // The second time rows are known and read by GET; the answer is the same.
        for round in 0..2 {
            let ended = observe(&mut worker, target);
            assert!(
                matches!(ended.outcome, Outcome::Done(_)),
                "{which}: {ended:?}"
            );
            for reading in [
                "snmp_uptime_seconds",
                "pdu_power_watts",
                "pdu_phase_current_amperes",
            ] {
                let value = ended.reading(reading);
                assert!(
                    value.is_some_and(|v| v > 0.0),
                    "{which} {round}: {reading} {ended:?}"
                );
            }
            let volts = ended.reading("pdu_phase_voltage_volts").unwrap();
            assert!((229.0..231.0).contains(&volts), "{volts}");
            let on = (1..=8)
                .filter(|n| outlet_on(&ended, *n) == Some(1.0))
                .count();
            assert_eq!(on, 8, "{which} {round}");
            assert!(ended.facts["vendor"] == "APC" || ended.facts["vendor"] == "Eaton");
            for fact in ["model", "serial", "firmware", "sysName", "profile"] {
                assert!(ended.facts[fact].is_string(), "{which}: {fact}");
            }
            assert!(
                ended.facts["outlet_3_name"] == "Outlet 3",
                "{:?}",
                ended.facts
            );
        }
    }
    worker.drain();
}

#[test]
fn a_lean_profile_costs_one_request_per_observation() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let target = &fleet["apc"];
    let lean = json!({"profile": "apc-outlets"});
    let before = twin.report()[&target.0.name].requests;
    for _ in 0..5 {
        let ended = worker.call(&target.0, &target.1, "observe", lean.clone(), LONG);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
        assert_eq!(
            ended.readings.len(),
            9,
            "uptime and the eight outlets that exist"
        );
    }
    assert_eq!(twin.report()[&target.0.name].requests - before, 5);
    // The whole profile, with sysObjectID and rows known: one or two GETs.
    observe(&mut worker, target);
    let before = twin.report()[&target.0.name].requests;
    observe(&mut worker, target);
    assert!(twin.report()[&target.0.name].requests - before <= 2);
}

#[test]
fn outlets_are_switched_read_back_and_left_alone_when_already_so() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    for (which, target) in &fleet {
        let ended = set(&mut worker, target, 3, "off");
        assert_eq!(
            ended.outcome,
            Outcome::changed(json!("on"), json!("off")),
            "{which}"
        );
        let ended = set(&mut worker, target, 3, "off");
        assert_eq!(ended.outcome, Outcome::already(json!("off")), "{which}");
        let seen = observe(&mut worker, target);
        assert_eq!(
            (outlet_on(&seen, 3), outlet_on(&seen, 4)),
            (Some(0.0), Some(1.0))
        );
        let ended = set(&mut worker, target, 3, "on");
        assert_eq!(
            ended.outcome,
            Outcome::changed(json!("off"), json!("on")),
            "{which}"
        );
        let effects = &twin.report()[&target.0.name].effects;
        assert_eq!(
            (effects["outlet.off"], effects["outlet.on"]),
            (1, 1),
            "{which}"
        );
        let ended = set(&mut worker, target, 99, "on");
        assert_eq!(
            code(&ended),
            Some(FailureCode::Refused),
            "{which}: {ended:?}"
        );
    }
}

#[test]
fn a_cycle_happens_once_and_is_watched() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    for (which, target) in &fleet {
        let cycle = |worker: &mut Instance, outlet: u32| {
            let params = json!({"outlet": outlet});
            worker.call(&target.0, &target.1, "outlet.cycle", params, LONG)
        };
        let ended = cycle(&mut worker, 5);
        assert_eq!(
            ended.outcome,
            Outcome::changed(json!("on"), json!("on")),
            "{which}"
        );
        assert_eq!(twin.report()[&target.0.name].effects["outlet.cycle"], 1);
        set(&mut worker, target, 5, "off");
        assert_eq!(
            code(&cycle(&mut worker, 5)),
            Some(FailureCode::Refused),
            "{which}"
        );
    }
}

#[test]
fn what_the_record_or_secret_lacks_is_refused_with_its_name() {
    let (_twin, fleet) = fleet();
    let mut worker = worker();
    let (apc, v3) = (&fleet["apc"], &fleet["v3"]);
    let without = |target: &Target, key: &str| {
        let mut secrets = target.1.clone();
        secrets.remove(key);
        (target.0.clone(), secrets)
    };
    let mut short = v3.clone();
    short
        .1
        .insert("authPassword".to_owned(), "short".to_owned());
    let mut odd = v3.clone();
    odd.0.config["authProtocol"] = json!("ROT13");
    let mut unknown = apc.clone();
    unknown.0.config["profile"] = json!("nothing-like-it");
    let table: [(Target, &str); 6] = [
        (without(apc, "community"), "community"),
        (without(v3, "username"), "username"),
        (without(v3, "privPassword"), "privPassword"),
        (short, "authPassword"),
        (odd, "ROT13"),
        (unknown, "nothing-like-it"),
    ];
    for (mut target, expected) in table {
        if expected == "privPassword" {
            target.0.config["privProtocol"] = json!("AES");
        }
        let ended = observe(&mut worker, &target);
        let Outcome::Failed(failure) = &ended.outcome else {
            panic!("{expected}: {ended:?}")
        };
        assert_eq!(failure.code, FailureCode::Refused, "{expected}");
        assert!(failure.message.contains(expected), "{}", failure.message);
    }
}

#[test]
fn another_engine_id_is_an_identity_mismatch() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let mut target = fleet["v3"].clone();
    target
        .0
        .identity
        .insert("engineId".to_owned(), "80001f8880aabbccdd".to_owned());
    let before = twin.report()[&target.0.name].requests;
    let ended = observe(&mut worker, &target);
    assert_eq!(
        code(&ended),
        Some(FailureCode::IdentityMismatch),
        "{ended:?}"
    );
    // Discovery only: no key was used on a stranger.
    assert_eq!(twin.report()[&target.0.name].requests - before, 1);
    // With v2c the device is asked; the twin's v2c devices do not tell.
    let mut target = fleet["apc"].clone();
    target
        .0
        .identity
        .insert("engineId".to_owned(), "80001f8880aabbccdd".to_owned());
    let ended = set(&mut worker, &target, 1, "off");
    assert_eq!(
        code(&ended),
        Some(FailureCode::IdentityMismatch),
        "{ended:?}"
    );
    assert!(twin.report()[&target.0.name].effects.is_empty());
}

#[test]
fn a_changed_secret_is_noticed_at_once() {
    let (_twin, fleet) = fleet();
    let mut worker = worker();
    let good = fleet["apc"].clone();
    let mut bad = (impatient(&good.0), good.1.clone());
    bad.1.insert("community".to_owned(), "wrong".to_owned());
    assert!(matches!(
        observe(&mut worker, &good).outcome,
        Outcome::Done(_)
    ));
    assert_eq!(
        code(&observe(&mut worker, &bad)),
        Some(FailureCode::Unreachable)
    );
    assert!(matches!(
        observe(&mut worker, &good).outcome,
        Outcome::Done(_)
    ));
}

#[test]
fn a_profile_file_is_added_without_a_restart_and_a_broken_one_is_named() {
    let (_twin, fleet) = fleet();
    let target = &fleet["apc"];
    let dir = tempfile::tempdir().unwrap();
    let profiles = dir.path().join("profiles");
    std::fs::create_dir(&profiles).unwrap();
    let shipped = std::path::Path::new(common::FOLDER).join("profiles");
    for name in ["system.toml", "standard.toml", "interfaces.toml"] {
        std::fs::copy(shipped.join(name), profiles.join(name)).unwrap();
    }
    let standard = "include = [\"system\"]\nfallback = true\n";
    std::fs::write(profiles.join("standard.toml"), standard).unwrap();
    let mut worker = Instance::start(common::WORKER, dir.path().to_str().unwrap());
    assert_eq!(observe(&mut worker, target).facts["profile"], "standard");
    std::fs::write(
        profiles.join("mine.toml"),
        "match = [\"1.3.6.1.4.1.318\"]\ninclude = [\"system\"]\n\
         [[scalar]]\noid = \"1.3.6.1.4.1.318.1.1.26.6.3.1.6.1\"\nreading = \"volts\"\nunit = \"V\"\n",
    )
    .unwrap();
    std::fs::write(profiles.join("bad.toml"), "this is no TOML [").unwrap();
    let mut named = Vec::new();
    common::wait_for("the new profile is used", || {
        let ended = observe(&mut worker, target);
        named.extend(ended.logs.clone());
        (ended.reading("volts") == Some(230.0)).then_some(())
    });
    let named: Vec<_> = named
        .iter()
        .filter(|(_, m)| m.contains("bad.toml"))
        .collect();
    assert_eq!(named.len(), 1, "named once: {named:?}");
    let bad: Value = json!({"profile": "bad"});
    let ended = worker.call(&target.0, &target.1, "observe", bad, LONG);
    assert_eq!(code(&ended), Some(FailureCode::Refused), "{ended:?}");
}

#[test]
fn a_device_that_was_replaced_is_met_anew() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let known = fleet["v3"].clone();
    assert!(matches!(
        observe(&mut worker, &known).outcome,
        Outcome::Done(_)
    ));
    // Another v3 device answers at the address that the Record names, and nobody pinned an engine.
    let others = twin.targets();
    let other = others
        .iter()
        .find(|(t, _)| t.config["version"] == "v3" && t.name != known.0.name)
        .unwrap();
    let mut moved = known.clone();
    moved.0.address.clone_from(&other.0.address);
    let ended = observe(&mut worker, &moved);
    assert_eq!(
        code(&ended),
        Some(FailureCode::IdentityMismatch),
        "{ended:?}"
    );
    moved.0.identity.clear();
    let ended = observe(&mut worker, &moved);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    assert!(twin.report()[&other.0.name].requests > 1);
}
