//! The worker against its own twin: what is done, and that it is done once.

mod support;

use sengu_sdk::FailureCode;
use serde_json::{Value, json};
use support::{Bench, changed, code, message, power, result};

#[test]
fn observe_reads_all_families() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        let ended = bench.call(n, "observe", json!({}));
        assert!(!changed(&ended));
        assert_eq!(result(&ended), Value::Null, "nothing is missing: {ended:?}");
        assert_eq!(ended.reading("power_on"), Some(1.0));
        assert_eq!(ended.reading("health_ok"), Some(1.0));
        for name in ["power_watts", "temperature_celsius", "fan_speed_rpm"] {
            assert!(
                ended.reading(name).is_some_and(|v| v > 10.0),
                "{n} {name}: {ended:?}"
            );
        }
        for fact in [
            "vendor",
            "model",
            "serial",
            "uuid",
            "bios_version",
            "bmc_version",
            "firmware",
        ] {
            assert!(
                ended.facts[fact].as_str().is_some_and(|t| !t.is_empty()),
                "{fact}"
            );
        }
        assert_eq!(ended.facts["power_state"], "On");
        let inventory = &ended.facts["firmware_inventory"];
        assert_eq!(inventory["BIOS"], ended.facts["bios_version"]);
    }
    bench.drain();
}

#[test]
fn a_warm_power_sweep_is_one_request() {
    let mut bench = Bench::start(1);
    let first = bench.call(1, "observe", power());
    assert_eq!(first.reading("power_on"), Some(1.0));
    // Root, login, systems, system.
    assert_eq!(bench.report(1).requests, 4);
    for _ in 0..5 {
        changed(&bench.call(1, "observe", power()));
    }
    let report = bench.report(1);
    assert_eq!((report.requests, report.effects["session.open"]), (9, 1));
    bench.drain();
}

#[test]
fn power_is_set_once_and_read_back() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        assert!(changed(&bench.call(
            n,
            "power.set",
            json!({"state": "off"})
        )));
        assert!(!changed(&bench.call(
            n,
            "power.set",
            json!({"state": "off"})
        )));
        assert!(!changed(&bench.call(
            n,
            "power.set",
            json!({"state": "forceOff"})
        )));
        assert!(changed(&bench.call(n, "power.set", json!({"state": "on"}))));
        assert!(changed(&bench.call(
            n,
            "power.set",
            json!({"state": "forceOff"})
        )));
        assert_eq!(
            bench.call(n, "observe", power()).reading("power_on"),
            Some(0.0)
        );
        let effects = bench.report(n).effects;
        let count = |name: &str| effects.get(name).copied().unwrap_or(0);
        assert_eq!(
            (
                count("power.off"),
                count("power.on"),
                count("power.forceOff"),
                count("reset")
            ),
            (1, 1, 1, 3)
        );
    }
    bench.drain();
}

#[test]
fn power_cycle_shows_its_evidence() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        let ended = bench.call(n, "power.cycle", json!({}));
        assert!(changed(&ended));
        assert_eq!(result(&ended)["resetType"], "PowerCycle");
        assert_eq!(result(&ended)["evidence"], "lastResetTime");
        let checkpoint = ended.checkpoint.expect("sent before the reset");
        assert!(checkpoint["lastResetTime"].is_string());
        assert_eq!(bench.effects(n, "power.cycle"), 1);
    }
    changed(&bench.call(1, "power.set", json!({"state": "forceOff"})));
    let off = bench.call(1, "power.cycle", json!({}));
    assert_eq!(code(&off), FailureCode::Refused);
    bench.drain();
}

#[test]
fn the_probe_settles_a_lost_cycle() {
    let mut bench = Bench::start(2);
    bench.twin.fault("bmc-1", "lost_reply", None, Some(1));
    let since = now();
    let lost = bench.call(1, "power.cycle", json!({}));
    assert!(
        matches!(lost.outcome, sengu_sdk::Outcome::Unknown { .. }),
        "{lost:?}"
    );
    assert_eq!(bench.effects(1, "power.cycle"), 1);
    let probe = json!({"since": since, "checkpoint": lost.checkpoint});
    assert_eq!(ask_probe(&mut bench, 1, probe), json!(true));
    // Without a checkpoint the clocks are compared.
    assert_eq!(
        ask_probe(&mut bench, 1, json!({"since": since})),
        json!(true)
    );
    assert_eq!(bench.effects(1, "power.cycle"), 1);

    // A cut before anything was done: the worker cannot know, the probe can.
    bench.call(2, "observe", power());
    let (target, secrets) = bench.targets[1].clone();
    let observed = bench.call(2, "observe", json!({}));
    let checkpoint =
        json!({"lastResetTime": observed.facts["last_reset"], "resetType": "PowerCycle"});
    let probe = json!({"since": now(), "checkpoint": checkpoint});
    let worker = bench.worker();
    let none = json!({});
    let id = worker.begin_probe(
        &target,
        &secrets,
        "power.cycle.probe",
        none,
        support::LONG,
        probe,
    );
    let ended = worker.wait(id, support::LONG);
    assert_eq!(result(&ended)["happened"], json!(false));

    bench.twin.fault("bmc-2", "no_reset_time", None, None);
    let probe = json!({"since": since, "checkpoint": checkpoint});
    assert_eq!(ask_probe(&mut bench, 2, probe), Value::Null);
    bench.drain();
}

#[test]
fn a_killed_worker_leaves_enough_for_the_probe() {
    let mut bench = Bench::start(1);
    changed(&bench.call(1, "observe", power()));
    let since = now();
    bench.begin(1, "power.cycle", json!({}), support::LONG);
    let checkpoint = loop {
        let worker = bench.worker();
        let line = worker.lines.next(support::LONG).expect("a checkpoint");
        if !line["checkpoint"].is_null() {
            break line["checkpoint"].clone();
        }
    };
    support::wait_for("the reset", || bench.effects(1, "power.cycle") == 1);
    let pid = i32::try_from(bench.worker().lines.pid()).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
    bench.worker = Some(support::worker());
    let probe = json!({"since": since, "checkpoint": checkpoint});
    assert_eq!(ask_probe(&mut bench, 1, probe), json!(true));
    assert_eq!(bench.effects(1, "power.cycle"), 1);
    // The killed one could not log out: its session ends by the BMC's own time-out.
    bench.worker.take().expect("still there").drain();
    assert_eq!(bench.report(1).sessions_open, 1);
}

fn ask_probe(bench: &mut Bench, n: usize, probe: Value) -> Value {
    let (target, secrets) = bench.targets[n - 1].clone();
    let worker = bench.worker();
    let action = "power.cycle.probe";
    let id = worker.begin_probe(&target, &secrets, action, json!({}), support::LONG, probe);
    result(&worker.wait(id, support::LONG))["happened"].clone()
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    sengu_sdk::Time(since.expect("after 1970").as_millis() as i64).to_string()
}

#[test]
fn settings_are_declared_and_read_back() {
    let mut bench = Bench::start(3);
    for n in 1..=3 {
        for (action, params, effect) in [
            ("boot.set", json!({"device": "Pxe"}), "boot.set"),
            ("led.set", json!({"state": "on"}), "led.set"),
            ("powercap.set", json!({"watts": 300}), "powercap.set"),
        ] {
            assert!(
                changed(&bench.call(n, action, params.clone())),
                "{n} {action}"
            );
            assert!(!changed(&bench.call(n, action, params)), "{n} {action}");
            assert_eq!(bench.effects(n, effect), 1, "{n} {action}");
        }
        assert!(changed(&bench.call(
            n,
            "powercap.set",
            json!({"watts": null})
        )));
        assert!(changed(&bench.call(
            n,
            "boot.set",
            json!({"device": "None"})
        )));
        let floppy = bench.call(n, "boot.set", json!({"device": "Floppy"}));
        assert_eq!(code(&floppy), FailureCode::Refused);
    }
    // Contoso has a light that blinks, Northwind has one that is on or off.
    assert!(changed(&bench.call(
        3,
        "led.set",
        json!({"state": "blinking"})
    )));
    let blinking = bench.call(1, "led.set", json!({"state": "blinking"}));
    assert_eq!(code(&blinking), FailureCode::Refused);
    let much = bench.call(1, "powercap.set", json!({"watts": 9000}));
    assert!(message(&much).contains("100 to 800"), "{much:?}");
    bench.drain();
}

#[test]
fn an_outdated_etag_is_read_again_once() {
    let mut bench = Bench::start(2);
    bench.twin.fault("bmc-2", "outdated", None, Some(1));
    assert!(changed(&bench.call(
        2,
        "boot.set",
        json!({"device": "Pxe"})
    )));
    bench.twin.fault("bmc-2", "outdated", None, None);
    let never = bench.call(2, "boot.set", json!({"device": "Hdd"}));
    assert_eq!(code(&never), FailureCode::Refused);
    assert!(message(&never).contains("config.etag"), "{never:?}");
    assert_eq!(bench.effects(2, "boot.set"), 1);
    bench.twin.clear();
    // Fabrikam wants If-Match; a record that says omit is told so by the BMC.
    bench.targets[1].0.config = json!({"etag": "omit"});
    let omitted = bench.call(2, "boot.set", json!({"device": "Hdd"}));
    assert!(message(&omitted).contains("428"), "{omitted:?}");
    bench.drain();
}

#[test]
fn tasks_of_one_bmc_share_one_session() {
    let mut bench = Bench::start(1);
    let ids: Vec<u64> = (0..40)
        .map(|_| bench.begin(1, "observe", json!({}), support::LONG))
        .collect();
    for id in ids {
        changed(&bench.worker().wait(id, support::LONG));
    }
    let report = bench.report(1);
    assert_eq!((report.sessions_open, report.sessions_max), (1, 1));
    bench.drain();
}

#[test]
fn many_bmcs_are_swept_and_left_clean() {
    let mut bench = Bench::start(100);
    let ids: Vec<u64> = (1..=100)
        .map(|n| bench.begin(n, "observe", power(), support::LONG))
        .collect();
    for id in ids {
        let ended = bench.worker().wait(id, support::LONG);
        assert_eq!(ended.reading("power_on"), Some(1.0), "{ended:?}");
    }
    bench.drain();
}
