//! Devices that are slow, refuse, hang, cut, answer garbage, are full or doubt us: bounded in time, named by the right
//! code, and no burden for the others.

use sengu_e2e::{Fleet, Instance, Value, json, s, until};
use std::collections::BTreeMap;

fn ms_between(task: &Value, from: &str, to: &str) -> u64 {
    let at = |path: &str| {
        let text = task.pointer(path).and_then(Value::as_str);
        time_ms(text.unwrap_or_else(|| panic!("{path} of {task}")))
    };
    at(to).saturating_sub(at(from))
}

/// Milliseconds of the day; these tests do not run at midnight for an hour.
fn time_ms(text: &str) -> u64 {
    let clock = text.split('T').nth(1).unwrap().trim_end_matches('Z');
    let parts: Vec<f64> = clock.split(':').map(|p| p.parse().unwrap()).collect();
    ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1000.0) as u64
}

#[test]
fn each_fault_ends_within_its_deadline_by_the_right_code_and_the_others_do_not_notice() {
    let sengu = Instance::start();
    let mut fleet = Fleet::new()
        .with("redfish", 40, &[])
        .with("ssh", 16, &[])
        .with("snmp", 8, &[]);
    fleet.apply(&sengu);
    // Sessions are there before anything goes wrong.
    let run = sengu.run(&json!({"action": "observe", "selector": "name"}));
    assert_eq!(sengu.over(&run, s(20))["status"]["counts"]["done"], 64);
    // Fault, its milliseconds, and the codes that are right for a read; empty = done all the same.
    let bmc: [(&str, Option<u64>, &[&str]); 9] = [
        ("slow", Some(100), &[]),
        ("refuse", None, &["unreachable"]),
        ("hang", None, &["timeout"]),
        ("cut", None, &["unreachable", "bad_reply"]),
        ("garbage", None, &["bad_reply"]),
        ("busy", Some(1_000), &["busy"]),
        ("auth", None, &["auth_failed"]),
        ("wrong_cert", None, &["identity_mismatch"]),
        ("sessions_full", None, &[]),
    ];
    let host: [(&str, Option<u64>, &[&str]); 8] = [
        ("slow", Some(100), &[]),
        ("refuse", None, &["unreachable"]),
        ("hang", None, &["timeout", "unreachable"]),
        ("cut", None, &["unreachable"]),
        ("garbage", None, &["bad_reply", "unreachable"]),
        ("auth", None, &["auth_failed"]),
        ("host_key", None, &["identity_mismatch"]),
        ("sessions_full", None, &["busy"]),
    ];
    let pdu: [(&str, Option<u64>, &[&str]); 3] = [
        ("hang", None, &["timeout", "unreachable"]),
        ("garbage", None, &["bad_reply", "timeout", "unreachable"]),
        ("slow", Some(100), &[]),
    ];
    let mut expected: BTreeMap<String, (&str, &[&str])> = BTreeMap::new();
    let tables = [
        ("redfish", &bmc[..], 1),
        ("ssh", &host[..], 2),
        ("snmp", &pdu[..], 1),
    ];
    for (kind, table, width) in tables {
        for (n, (fault, ms, codes)) in table.iter().enumerate() {
            let name = format!("{kind}-{:0width$}", n + 1);
            fleet.twin(kind).fault(&name, fault, *ms, None);
            expected.insert(name, (fault, codes));
        }
    }
    // Side by side. The healthy have the time that they have otherwise: with all of them on a slow machine a second may
    // be too short for one.
    let faulty: Vec<&String> = expected.keys().collect();
    let hasty = json!({"action": "observe", "targets": faulty, "timeout": "1s"});
    let healthy = json!({"action": "observe", "selector": "name", "exclude": faulty});
    let runs = [hasty, healthy].map(|spec| sengu.run(&spec));
    let counts = runs
        .each_ref()
        .map(|run| sengu.over(run, s(60))["status"]["counts"].clone());
    let mut slowest = 0;
    for target in runs.iter().flat_map(|run| sengu.run_targets(run)) {
        let name = target["target"].as_str().unwrap();
        let task = sengu
            .api
            .get(&format!("/v1/tasks/{}", target["task"].as_str().unwrap()));
        let code = target["code"].as_str().unwrap_or_default();
        let took = ms_between(&task, "/createdAt", "/ending/endedAt");
        match expected.get(name) {
            None => {
                assert_eq!(target["status"], "done", "{name}: {target}");
                slowest = slowest.max(took);
            }
            Some((fault, codes)) => {
                println!(
                    "{name} {fault}: {} {code} after {took} ms, {} attempts: {}",
                    target["status"], target["attempt"], target["message"]
                );
                match codes {
                    [] => assert_eq!(target["status"], "done", "{name} {fault}: {target}"),
                    codes => assert!(codes.contains(&code), "{name} {fault}: {target}"),
                }
                // Five attempts of a second with a little grace, and the rests between them.
                assert!(took < 30_000, "{name} {fault}: {took} ms");
            }
        }
    }
    println!("slowest of the healthy: {slowest} ms; {counts:?}");
    assert!(slowest < 20_000, "{slowest} ms");
    for (name, (fault, _)) in &expected {
        let quarantined = sengu.condition(name, "Quarantined")["status"] == "True";
        let wanted = matches!(*fault, "auth" | "wrong_cert" | "host_key");
        assert_eq!(quarantined, wanted, "{name} {fault}");
        if matches!(*fault, "refuse" | "hang") {
            let reachable = sengu.condition(name, "Reachable");
            assert_eq!(reachable["status"], "False", "{name} {fault}");
            assert!(
                !reachable["message"].as_str().unwrap().is_empty(),
                "{reachable}"
            );
        }
    }
}

#[test]
fn wrong_credentials_are_tried_once_and_the_target_rests_until_a_person_looked() {
    let sengu = Instance::start();
    let mut fleet = Fleet::new().with("redfish", 4, &[]);
    fleet.apply(&sengu);
    fleet.twin("redfish").fault("*", "auth", None, None);
    let first = sengu.task("redfish-1", "observe", json!({}), s(20));
    assert_eq!(first["ending"]["outcome"]["code"], "auth_failed", "{first}");
    let tried = fleet.twin("redfish").report()["redfish-1"].auth_failures;
    let quarantined = sengu.condition("redfish-1", "Quarantined");
    assert_eq!(quarantined["reason"], "AuthFailed", "{quarantined}");
    // Nothing more is sent: an account that is locked helps nobody.
    for _ in 0..3 {
        let ended = sengu.task("redfish-1", "power.set", json!({"state": "off"}), s(10));
        assert_ne!(ended["ending"]["outcome"]["status"], "done");
        let told = ended["ending"]["outcome"].to_string();
        assert!(
            told.contains("quarantined") && told.contains("uncordon"),
            "{told}"
        );
    }
    assert_eq!(
        fleet.twin("redfish").report()["redfish-1"].auth_failures,
        tried
    );
    let why = sengu.api.get("/v1/why/target/redfish-1");
    assert!(
        why["sentence"].as_str().unwrap().contains("quarantined"),
        "{why}"
    );

    fleet.twin("redfish").clear();
    sengu.cli(&["uncordon", "redfish-1"]).expect(0);
    assert!(sengu.condition("redfish-1", "Quarantined").is_null());
    // The worker tries no login with the same credentials for a while, so that tasks in hand lock no account.
    until("it is let in again", s(20), || {
        let ended = sengu.task("redfish-1", "observe", json!({}), s(10));
        let done = ended["ending"]["outcome"]["status"] == "done";
        if !done {
            sengu.cli(&["uncordon", "redfish-1"]).expect(0);
        }
        done.then_some(())
    });
    assert!(sengu.condition("redfish-1", "Quarantined").is_null());

    // So does a change of the record, and one of the secret.
    fleet.twin("redfish").fault("*", "auth", None, None);
    for name in ["redfish-2", "redfish-3"] {
        sengu.task(name, "observe", json!({}), s(20));
        assert_eq!(sengu.condition(name, "Quarantined")["status"], "True");
    }
    fleet.twin("redfish").clear();
    let mut target = fleet.records()[2].clone();
    assert_eq!(target.metadata.name, "redfish-2");
    target.spec["config"] = json!({"auth": "session"});
    sengu
        .api
        .yaml(&serde_json::to_string(&target).unwrap())
        .expect(200);
    assert!(sengu.condition("redfish-2", "Quarantined").is_null());
    assert_eq!(
        sengu.condition("redfish-3", "Quarantined")["status"],
        "True"
    );
    let mut secret = fleet.records()[0].clone();
    assert_eq!(secret.kind, "Secret");
    secret.spec["data"]["note"] = json!("new");
    sengu
        .api
        .yaml(&serde_json::to_string(&secret).unwrap())
        .expect(200);
    assert!(sengu.condition("redfish-3", "Quarantined").is_null());
}

#[test]
fn a_quarantine_outlives_a_restart() {
    let mut sengu = Instance::start();
    let mut fleet = Fleet::new().with("ssh", 1, &[]);
    fleet.apply(&sengu);
    fleet.twin("ssh").fault("*", "auth", None, None);
    sengu.task("ssh-1", "observe", json!({}), s(20));
    // Kept within a second or so; what is not yet kept is found out anew at the next try.
    let mut events = sengu.api.events("/v1/watch?kinds=Target&from=0", &[]);
    loop {
        let event = events.next(s(30)).expect("the quarantine is kept");
        if event.data["metadata"]["revision"].as_u64() < event.id.parse().ok() {
            break;
        }
    }
    drop(events);
    sengu.kill();
    sengu.up();
    assert_eq!(
        sengu.condition("ssh-1", "Quarantined")["reason"],
        "AuthFailed"
    );
}

#[test]
fn a_schedule_asks_the_silent_less_often_keeps_asking_the_others_and_notices_recovery() {
    let sengu = Instance::start();
    let mut fleet = Fleet::new().with("redfish", 12, &[]);
    fleet.apply(&sengu);
    sengu
        .api
        .yaml("apiVersion: sengu/v1\nkind: Schedule\nmetadata: {name: sweep}\nspec: {selector: kind=redfish, every: 1s}\n")
        .expect(200);
    let status =
        |name: &str| sengu.api.get(&format!("/v1/records/Target/{name}"))["status"].clone();
    until("all were observed", s(10), || {
        let seen = (1..=12).all(|n| status(&format!("redfish-{n}"))["observedAt"].is_string());
        seen.then_some(())
    });
    // Volatile: a sweep leaves no tasks behind.
    assert_eq!(sengu.api.get("/v1/tasks")["items"], json!([]));
    fleet
        .twin("redfish")
        .fault("redfish-3", "refuse", None, None);
    let silent = until("silence is noticed", s(15), || {
        let status = status("redfish-3");
        (status["conditions"][0]["status"] == "False").then_some(status)
    });
    assert_eq!(silent["conditions"][0]["reason"], "Unreachable", "{silent}");
    let backed_off = until("it is backed off", s(10), || {
        let observe = status("redfish-3")["observe"].clone();
        (observe["failures"].as_u64()? >= 1).then_some(observe)
    });
    assert!(backed_off["nextAt"].is_string(), "{backed_off}");
    assert_eq!(sengu.api.get("/v1/top")["targets"]["unreachable"], 1);
    let listed = sengu
        .cli(&["get", "targets", "-l", "reachable=false", "-o", "name"])
        .expect(0);
    assert_eq!(listed.stdout, "target/redfish-3\n");
    // The others go on at their pace.
    for _ in 0..2 {
        let before = status("redfish-4")["observedAt"].clone();
        until("another is observed again", s(5), || {
            (status("redfish-4")["observedAt"] != before).then_some(())
        });
    }
    fleet.twin("redfish").clear();
    until("recovery is noticed", s(15), || {
        let status = status("redfish-3");
        (status["conditions"][0]["status"] == "True").then_some(())
    });
    assert!(status("redfish-3")["observe"].is_null());
}
