//! The worker against its twin: both families, both versions, every fault.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{LONG, impatient, twin, worker};
use sengu_sdk::testing::{Ended, Instance, TwinProcess};
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

type Target = (TargetFrame, BTreeMap<String, String>);

/// One APC and one Eaton over v2c, one of any family over v3.
fn fleet() -> (TwinProcess, BTreeMap<&'static str, Target>) {
    let twin = twin(&["--count", "12", "--prefix", "pdu", "--seed", "7"]);
    let label = |name: &str, key: &str| {
        let record = twin
            .records
            .iter()
            .find(|r| r.metadata.name == name)
            .unwrap();
        record.metadata.labels[key].clone()
    };
    let mut picked = BTreeMap::new();
    for target in twin.targets() {
        let v3 = target.0.config["version"] == "v3";
        let key = match (v3, label(&target.0.name, "family").as_str()) {
            (true, _) => "v3",
            (false, "apc") => "apc",
            (false, _) => "eaton",
        };
        picked.entry(key).or_insert(target);
    }
    assert_eq!(picked.len(), 3, "both families and both versions");
    (twin, picked)
}

fn set(worker: &mut Instance, target: &Target, outlet: u32, state: &str) -> Ended {
    let params = json!({"outlet": outlet, "state": state});
    worker.call(&target.0, &target.1, "outlet.set", params, LONG)
}

fn observe(worker: &mut Instance, target: &Target) -> Ended {
    worker.call(&target.0, &target.1, "observe", json!({}), LONG)
}

fn code(ended: &Ended) -> Option<FailureCode> {
    ended.outcome.code()
}

/// The reading of one outlet.
fn outlet_on(ended: &Ended, outlet: u32) -> Option<f64> {
    let found = ended
        .readings
        .iter()
        .find(|r| r.name == "pdu_outlet_on" && r.labels.get("outlet") == Some(&outlet.to_string()));
    found.map(|r| r.value)
}

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
fn silence_and_garbage_are_bounded_and_told_apart_from_refusal() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    for fault in ["refuse", "hang", "cut", "garbage"] {
        twin.fault("*", fault, None, None);
        for (which, target) in &fleet {
            let target = (impatient(&target.0), target.1.clone());
            let begun = Instant::now();
            let ended = observe(&mut worker, &target);
            assert_eq!(
                code(&ended),
                Some(FailureCode::Unreachable),
                "{which} {fault}: {ended:?}"
            );
            assert!(begun.elapsed() < LONG, "{which} {fault}");
            let ended = set(&mut worker, &target, 1, "off");
            assert_eq!(
                code(&ended),
                Some(FailureCode::Unreachable),
                "{which} {fault}"
            );
        }
        twin.clear();
    }
    // It comes back by itself.
    for target in fleet.values() {
        let ended = observe(&mut worker, target);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    }
    for seen in twin.report().values() {
        assert!(seen.effects.is_empty(), "nothing was switched");
    }
}

#[test]
fn one_silent_target_does_not_slow_the_others() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let (silent, other) = (&fleet["eaton"], &fleet["apc"]);
    twin.fault(&silent.0.name, "hang", None, None);
    let waiting = worker.begin(&silent.0, &silent.1, "observe", json!({}), LONG);
    let ended = observe(&mut worker, other);
    assert!(matches!(ended.outcome, Outcome::Done(_)));
    let ended = worker.wait(waiting, LONG);
    assert_eq!(code(&ended), Some(FailureCode::Unreachable));
}

#[test]
fn a_slow_device_is_waited_for_until_the_deadline() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let target = &fleet["apc"];
    twin.fault("*", "slow", Some(400), None);
    let ended = observe(&mut worker, target);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    // Slower than the deadline.
    twin.fault("*", "slow", Some(20_000), None);
    let short = Duration::from_millis(700);
    let ended = worker.call(&target.0, &target.1, "observe", json!({}), short);
    assert_eq!(code(&ended), Some(FailureCode::Timeout), "{ended:?}");
}

#[test]
fn a_lost_request_is_sent_again() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    for (which, target) in &fleet {
        let target = (impatient(&target.0), target.1.clone());
        twin.fault(&target.0.name, "hang", None, Some(1));
        let ended = observe(&mut worker, &target);
        assert!(
            matches!(ended.outcome, Outcome::Done(_)),
            "{which}: {ended:?}"
        );
    }
}

#[test]
fn wrong_credentials_are_auth_failed_with_v3_and_silence_with_v2c() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    twin.fault("*", "auth", None, None);
    let ended = observe(&mut worker, &fleet["v3"]);
    assert_eq!(code(&ended), Some(FailureCode::AuthFailed), "{ended:?}");
    let quick = (impatient(&fleet["apc"].0), fleet["apc"].1.clone());
    let ended = observe(&mut worker, &quick);
    assert_eq!(code(&ended), Some(FailureCode::Unreachable), "{ended:?}");
    let Outcome::Failed(failure) = &ended.outcome else {
        panic!("{ended:?}")
    };
    assert!(failure.message.contains("community"), "{}", failure.message);
    twin.clear();

    let v3 = &fleet["v3"];
    let table = [
        ("authPassword", "another-password"),
        ("privPassword", "another-password"),
        ("username", "nobody"),
    ];
    for (key, value) in table {
        let mut secrets = v3.1.clone();
        secrets.insert(key.to_owned(), value.to_owned());
        let target = (impatient(&v3.0), secrets);
        let ended = observe(&mut worker, &target);
        // An agent cannot tell a wrong privPassword from noise; RFC 3414 lets it stay silent.
        let expected = [
            Some(FailureCode::AuthFailed),
            Some(FailureCode::Unreachable),
        ];
        let allowed = &expected[..if key == "privPassword" { 2 } else { 1 }];
        assert!(allowed.contains(&code(&ended)), "{key}: {ended:?}");
        let shown = format!("{ended:?}");
        assert!(
            !shown.contains("another-password"),
            "a secret in the outcome"
        );
    }
    let ended = observe(&mut worker, v3);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    assert!(twin.report()[&v3.0.name].auth_failures >= 3);
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
fn a_set_that_is_not_allowed_is_refused() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    twin.fault("*", "no_access", None, None);
    for (which, target) in &fleet {
        let ended = set(&mut worker, target, 2, "off");
        assert_eq!(
            code(&ended),
            Some(FailureCode::Refused),
            "{which}: {ended:?}"
        );
        let params = json!({"outlet": 2});
        let ended = worker.call(&target.0, &target.1, "outlet.cycle", params, LONG);
        assert_eq!(
            code(&ended),
            Some(FailureCode::Refused),
            "{which}: {ended:?}"
        );
        assert!(twin.report()[&target.0.name].effects.is_empty());
    }
}

#[test]
fn a_lost_answer_to_a_set_is_settled_by_reading_back_and_not_repeated() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    twin.fault("*", "drop_reply_of_set", None, None);
    for (which, target) in &fleet {
        let ended = set(&mut worker, target, 6, "off");
        assert_eq!(
            ended.outcome,
            Outcome::changed(json!("on"), json!("off")),
            "{which}"
        );
        let params = json!({"outlet": 7});
        let limit = Duration::from_secs(8);
        let ended = worker.call(&target.0, &target.1, "outlet.cycle", params, limit);
        // The outlet is off for 2.5 s and looked at after 1.5 s of waiting: seen, unless this machine is very busy.
        let honest = ended.outcome == Outcome::changed(json!("on"), json!("on"))
            || matches!(ended.outcome, Outcome::Unknown { .. });
        assert!(honest, "{which}: {ended:?}");
        let effects = &twin.report()[&target.0.name].effects;
        assert_eq!(
            (effects["outlet.off"], effects["outlet.cycle"]),
            (1, 1),
            "{which}"
        );
    }
}

#[test]
fn a_command_without_effect_is_never_called_done() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    twin.fault("*", "ignore_set", None, None);
    let short = Duration::from_secs(3);
    let mut begun = Vec::new();
    for target in fleet.values() {
        let params = json!({"outlet": 6, "state": "off"});
        begun.push(worker.begin(&target.0, &target.1, "outlet.set", params, short));
        let params = json!({"outlet": 7});
        begun.push(worker.begin(&target.0, &target.1, "outlet.cycle", params, short));
    }
    for id in begun {
        let ended = worker.wait(id, LONG);
        assert!(
            matches!(ended.outcome, Outcome::Unknown { .. }),
            "{ended:?}"
        );
    }
}

#[test]
fn answers_too_big_are_asked_for_in_smaller_pieces() {
    let (mut twin, fleet) = fleet();
    twin.fault("*", "too_big", None, None);
    let mut worker = worker();
    for (which, target) in &fleet {
        let ended = observe(&mut worker, target);
        assert!(
            matches!(ended.outcome, Outcome::Done(_)),
            "{which}: {ended:?}"
        );
        let on = (1..=8)
            .filter(|n| outlet_on(&ended, *n) == Some(1.0))
            .count();
        assert_eq!(on, 8, "{which}: {:?}", ended.logs);
    }
}

#[test]
fn a_device_that_walks_in_circles_is_cut_off_and_said_so() {
    let (mut twin, fleet) = fleet();
    twin.fault("*", "loop", None, None);
    let mut worker = worker();
    let ended = observe(&mut worker, &fleet["apc"]);
    let Outcome::Done(done) = &ended.outcome else {
        panic!("{ended:?}")
    };
    let incomplete = done.result.as_ref().unwrap()["incomplete"].to_string();
    assert!(incomplete.contains("do not increase"), "{incomplete}");
    assert!(
        ended
            .reading("snmp_sections_incomplete")
            .is_some_and(|n| n >= 1.0)
    );
    assert!(
        ended.reading("snmp_uptime_seconds").is_some(),
        "the rest is there"
    );
}

#[test]
fn a_changed_secret_is_noticed_at_once() {
    let (_twin, fleet) = fleet();
    let mut worker = worker();
    let good = (impatient(&fleet["apc"].0), fleet["apc"].1.clone());
    let mut bad = good.clone();
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
fn a_cancelled_change_is_not_begun() {
    let (mut twin, fleet) = fleet();
    let mut worker = worker();
    let target = &fleet["apc"];
    // The first read is slow, so that the cancel arrives before the SET.
    twin.fault("*", "slow", Some(700), None);
    let params = json!({"outlet": 1, "state": "off"});
    let id = worker.begin(&target.0, &target.1, "outlet.set", params, LONG);
    worker.cancel(id);
    let ended = worker.wait(id, LONG);
    assert!(
        matches!(ended.outcome, Outcome::Cancelled { .. }),
        "{ended:?}"
    );
    assert!(twin.report()[&target.0.name].effects.is_empty());
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
    let known = (impatient(&fleet["v3"].0), fleet["v3"].1.clone());
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
