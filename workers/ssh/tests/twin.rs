//! Against the twin: every fault has its outcome, within the deadline, and touches nobody else.

mod support;

use sengu_sdk::testing::TwinProcess;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{LONG, message, result, word, worker};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sengu-worker-ssh");

fn twin(count: &str) -> TwinProcess {
    TwinProcess::start(PROGRAM, &["--count", count, "--prefix", "h"])
}

#[test]
fn a_fleet_is_described_by_its_records_and_observed() {
    let mut twin = TwinProcess::start(
        PROGRAM,
        &["--count", "45", "--prefix", "node", "--label", "site=tyo1"],
    );
    let targets: Vec<_> = twin.records.iter().filter(|r| r.kind == "Target").collect();
    assert_eq!(targets.len(), 45);
    let last = targets[44];
    assert_eq!(last.metadata.name, "node-45");
    assert_eq!(last.metadata.labels["rack"], "r03");
    assert_eq!(last.metadata.labels["site"], "tyo1");
    assert!(
        last.spec["identity"]["hostKey"]
            .as_str()
            .unwrap()
            .starts_with("ssh-ed25519 ")
    );

    let mut worker = worker();
    let tasks: Vec<u64> = twin
        .targets()
        .iter()
        .map(|(target, secrets)| worker.begin(target, secrets, "observe", json!({}), LONG))
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let ended = worker.wait(task, LONG);
        assert_eq!(word(&ended.outcome), "done", "{:?}", ended.outcome);
        assert_eq!(ended.facts["hostname"], format!("node-{:02}", n + 1));
        for fact in [
            "os",
            "os_version",
            "kernel",
            "arch",
            "boot_id",
            "cpus",
            "addresses",
            "host_key",
            "vendor",
            "model",
        ] {
            assert!(ended.facts.contains_key(fact), "{fact}");
        }
        for reading in [
            "load1",
            "uptime_seconds",
            "memory_total_bytes",
            "memory_available_bytes",
        ] {
            assert!(ended.reading(reading) > Some(0.0), "{reading}");
        }
        let mount = ended
            .readings
            .iter()
            .find(|r| r.name == "filesystem_size_bytes")
            .unwrap();
        assert_eq!(mount.labels["mount"], "/");
    }
    worker.drain();
    let report = twin.report();
    assert!(
        report
            .values()
            .all(|t| t.requests == 1 && t.effects.is_empty())
    );
    assert!(
        report
            .values()
            .all(|t| t.sessions_max == 1 && t.auth_failures == 0)
    );
}

#[test]
fn every_fault_before_the_command_has_its_code_and_nothing_runs() {
    let mut twin = twin("2");
    let targets = twin.targets();
    let (faulty, good) = (&targets[0], &targets[1]);
    // (fault, code, what the message names)
    let table = [
        ("refuse", "unreachable", "MaxStartups"),
        ("cut", "unreachable", "lost"),
        ("hang", "unreachable", "no greeting"),
        ("garbage", "bad_reply", "HTTP/1.1"),
        ("auth", "auth_failed", "publickey, password"),
        ("host_key", "identity_mismatch", "not the pinned one"),
        ("sessions_full", "busy", "no session"),
    ];
    let mut worker = worker();
    for (fault, code, named) in table {
        twin.fault("h-1", fault, None, None);
        let begun = Instant::now();
        let time = Duration::from_secs(8);
        let bad = worker.begin(
            &faulty.0,
            &faulty.1,
            "exec",
            json!({"command": "true"}),
            time,
        );
        let ok = worker.call(&good.0, &good.1, "exec", json!({"command": "true"}), LONG);
        assert_eq!(word(&ok.outcome), "done", "{fault} touches others");
        let ended = worker.wait(bad, LONG);
        assert_eq!(word(&ended.outcome), code, "{fault}: {:?}", ended.outcome);
        assert!(
            message(&ended.outcome).contains(named),
            "{fault}: {:?}",
            ended.outcome
        );
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{fault} is bounded"
        );
        twin.clear();
    }
    let report = twin.report();
    assert_eq!(
        report["h-1"].effects.get("exec"),
        None,
        "nothing was executed"
    );
    assert_eq!(
        report["h-1"].auth_failures, 2,
        "each credential was offered once"
    );
    assert_eq!(report["h-2"].effects["exec"], 7);
    // And it recovers.
    let ended = worker.call(
        &faulty.0,
        &faulty.1,
        "exec",
        json!({"command": "true"}),
        LONG,
    );
    assert_eq!(word(&ended.outcome), "done");
}

#[test]
fn a_connection_cut_after_the_command_was_sent_is_unknown_and_not_repeated() {
    let mut twin = twin("1");
    let (target, secrets) = &twin.targets()[0];
    let mut worker = worker();
    twin.fault("*", "cut_mid", None, None);
    let ended = worker.call(target, secrets, "exec", json!({"command": "reboot"}), LONG);
    assert_eq!(word(&ended.outcome), "unknown");
    assert!(message(&ended.outcome).contains("without an exit status"));
    assert_eq!(twin.report()["h-1"].effects["exec"], 1);
    twin.clear();
    let ended = worker.call(target, secrets, "exec", json!({"command": "true"}), LONG);
    assert_eq!(
        word(&ended.outcome),
        "done",
        "and the next task finds a new connection"
    );
}

#[test]
fn a_lost_answer_of_file_put_is_settled_by_asking_again() {
    let mut twin = twin("1");
    let (target, secrets) = &twin.targets()[0];
    let mut worker = worker();
    twin.fault("*", "cut_mid", None, Some(1));
    let params = json!({"path": "/etc/motd", "content": "hello\n", "mode": "0600"});
    let ended = worker.call(target, secrets, "file.put", params.clone(), LONG);
    let sengu_sdk::Outcome::Done(done) = &ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert!(done.changed);
    assert_eq!(done.after.as_ref().unwrap()["mode"], "0600");
    assert_eq!(
        twin.report()["h-1"].effects["file.put"],
        1,
        "it was put once"
    );
    let again = worker.call(target, secrets, "file.put", params.clone(), LONG);
    let sengu_sdk::Outcome::Done(done) = &again.outcome else {
        panic!("{:?}", again.outcome)
    };
    assert!(!done.changed && done.before == done.after);
    // Twice in a row it is not settled, and says so.
    twin.fault("*", "cut_mid", None, None);
    let ended = worker.call(target, secrets, "file.put", params, LONG);
    assert_eq!(word(&ended.outcome), "unknown");
    twin.clear();
    let ended = worker.call(
        target,
        secrets,
        "file.get",
        json!({"path": "/etc/motd"}),
        LONG,
    );
    assert_eq!(result(&ended.outcome)["content"], "hello\n");
}

#[test]
fn deadline_and_cancel_end_a_command_and_say_what_is_known() {
    let mut twin = twin("1");
    let (target, secrets) = &twin.targets()[0];
    let mut worker = worker();
    let sleep = json!({"command": "sleep 600"});
    // With this the login is done, and the deadline is the command's alone.
    let first = worker.call(target, secrets, "exec", json!({"command": "true"}), LONG);
    assert_eq!(word(&first.outcome), "done");
    let ended = worker.call(
        target,
        secrets,
        "exec",
        sleep.clone(),
        Duration::from_secs(3),
    );
    assert_eq!(word(&ended.outcome), "unknown");
    // Its end is waited for only a moment.
    let known = ["was killed", "KILL was sent"].map(|said| message(&ended.outcome).contains(said));
    assert!(known.contains(&true), "{:?}", ended.outcome);

    let task = worker.begin(target, secrets, "exec", sleep, LONG);
    wait_until(|| twin.report()["h-1"].effects["exec"] == 3);
    worker.cancel(task);
    let ended = worker.wait(task, Duration::from_secs(10));
    assert_eq!(word(&ended.outcome), "unknown");
    assert!(
        message(&ended.outcome).contains("cancelled"),
        "{:?}",
        ended.outcome
    );

    // A host that takes the command and says nothing more.
    twin.fault("*", "hang", None, None);
    let _ = worker.call(
        target,
        secrets,
        "exec",
        json!({"command": "true"}),
        Duration::from_secs(2),
    );
    twin.clear();
    // Cancelled before anything was sent.
    twin.fault("*", "hang", None, None);
    let task = worker.begin(target, secrets, "exec", json!({"command": "true"}), LONG);
    std::thread::sleep(Duration::from_millis(300));
    worker.cancel(task);
    let ended = worker.wait(task, Duration::from_secs(10));
    assert_eq!(word(&ended.outcome), "cancelled", "{:?}", ended.outcome);
}

#[test]
fn slow_hosts_are_waited_for_within_the_deadline() {
    let mut twin = twin("1");
    let (target, secrets) = &twin.targets()[0];
    let mut worker = worker();
    twin.fault("*", "slow", Some(700), None);
    let begun = Instant::now();
    let ended = worker.call(
        target,
        secrets,
        "exec",
        json!({"command": "echo late"}),
        LONG,
    );
    assert_eq!(word(&ended.outcome), "done");
    assert!(begun.elapsed() >= Duration::from_millis(700));
}

#[test]
fn many_tasks_with_a_wrong_password_offer_it_once() {
    let mut twin = twin("1");
    let (target, mut secrets) = twin.targets().remove(0);
    secrets.remove("privateKey");
    secrets.insert("password".to_owned(), "wrong".to_owned());
    let mut worker = worker();
    let tasks: Vec<u64> = (0..4)
        .map(|_| worker.begin(&target, &secrets, "exec", json!({"command": "true"}), LONG))
        .collect();
    for task in tasks {
        assert_eq!(word(&worker.wait(task, LONG).outcome), "auth_failed");
    }
    assert_eq!(twin.report()["h-1"].auth_failures, 1);
}

#[test]
fn a_host_without_a_pin_is_refused_unless_first_use_is_trusted() {
    let mut twin = twin("1");
    let (mut target, secrets) = twin.targets().remove(0);
    let key = target.identity.remove("hostKey").unwrap();
    let mut worker = worker();
    let ended = worker.call(&target, &secrets, "observe", json!({}), LONG);
    assert_eq!(word(&ended.outcome), "refused");
    let said = message(&ended.outcome);
    assert!(
        said.contains("SHA256:") && said.contains("identity.hostKey"),
        "{said}"
    );

    target.config = json!({"hostKeyPolicy": "trust-on-first-use"});
    let ended = worker.call(&target, &secrets, "observe", json!({}), LONG);
    assert_eq!(word(&ended.outcome), "done");
    let print = ended.facts["host_key"].as_str().unwrap().to_owned();
    assert!(said.contains(&print));
    twin.fault("*", "host_key", None, None);
    let ended = worker.call(&target, &secrets, "observe", json!({}), LONG);
    assert_eq!(
        word(&ended.outcome),
        "identity_mismatch",
        "{:?}",
        ended.outcome
    );
    twin.clear();

    // What was reported can be pinned, and so can the key.
    target.config = Value::Null;
    for pin in [print, key] {
        target.identity.insert("hostKey".to_owned(), pin);
        let ended = worker.call(&target, &secrets, "observe", json!({}), LONG);
        assert_eq!(word(&ended.outcome), "done");
    }
    assert_eq!(twin.report()["h-1"].auth_failures, 0);
}

#[test]
fn what_is_wrong_in_the_record_is_refused_before_anything_is_sent() {
    let mut twin = twin("1");
    let (target, secrets) = twin.targets().remove(0);
    let mut worker = worker();
    let with = |change: &dyn Fn(&mut support::Target, &mut support::Secrets)| {
        let (mut target, mut secrets) = (target.clone(), secrets.clone());
        change(&mut target, &mut secrets);
        (target, secrets)
    };
    let table: [(&str, (support::Target, support::Secrets)); 7] = [
        ("address", with(&|t, _| t.address = "nowhere:x".into())),
        (
            "hostKey",
            with(&|t, _| drop(t.identity.insert("hostKey".into(), "MD5:aa".into()))),
        ),
        ("username", with(&|_, s| drop(s.remove("username")))),
        ("neither", with(&|_, s| s.retain(|k, _| k == "username"))),
        (
            "privateKey cannot be read",
            with(&|_, s| drop(s.insert("privateKey".into(), "junk".into()))),
        ),
        (
            "target config",
            with(&|t, _| t.config = json!({"sodu": true})),
        ),
        (
            "config.shell is raw",
            with(&|t, _| t.config = json!({"shell": "raw"})),
        ),
    ];
    for (named, (target, secrets)) in table {
        let ended = worker.call(&target, &secrets, "observe", json!({}), LONG);
        assert_eq!(word(&ended.outcome), "refused", "{named}");
        assert!(
            message(&ended.outcome).contains(named),
            "{:?}",
            ended.outcome
        );
    }
    let digest = json!({"path": "/x", "content": "a", "sha256": "0".repeat(64)});
    let ended = worker.call(&target, &secrets, "file.put", digest, LONG);
    assert_eq!(word(&ended.outcome), "refused");
    assert_eq!(twin.report()["h-1"].requests, 0);
}

#[test]
fn services_and_packages_become_as_wanted_and_stay_so() {
    let mut twin = twin("1");
    let (target, secrets) = twin.targets().remove(0);
    let mut worker = worker();
    // (action, params, status, changed)
    let start = json!({"name": "nginx", "state": "started", "enabled": true});
    let table = [
        ("service.set", start.clone(), "done", true),
        ("service.set", start, "done", false),
        (
            "service.set",
            json!({"name": "nginx", "state": "stopped"}),
            "done",
            true,
        ),
        (
            "service.set",
            json!({"name": "nothing", "state": "stopped"}),
            "refused",
            false,
        ),
        (
            "package.set",
            json!({"name": "htop", "state": "present"}),
            "done",
            true,
        ),
        (
            "package.set",
            json!({"name": "htop", "state": "present"}),
            "done",
            false,
        ),
        (
            "package.set",
            json!({"name": "htop", "state": "present", "version": "2.0"}),
            "done",
            true,
        ),
        (
            "package.set",
            json!({"name": "htop", "state": "absent"}),
            "done",
            true,
        ),
        (
            "package.set",
            json!({"name": "htop", "state": "absent"}),
            "done",
            false,
        ),
        (
            "package.set",
            json!({"name": "no-such-thing", "state": "present"}),
            "refused",
            false,
        ),
    ];
    for (action, params, status, changed) in table {
        let ended = worker.call(&target, &secrets, action, params.clone(), LONG);
        assert_eq!(
            word(&ended.outcome),
            status,
            "{params}: {:?}",
            ended.outcome
        );
        if let sengu_sdk::Outcome::Done(done) = &ended.outcome {
            assert_eq!(done.changed, changed, "{params}");
        }
    }
    let effects = &twin.report()["h-1"].effects;
    assert_eq!(
        (effects["service.start"], effects["package.install"]),
        (1, 2)
    );
}

#[test]
fn kept_connections_are_closed_by_drain() {
    let mut twin = twin("3");
    let mut worker = worker();
    for (target, secrets) in twin.targets() {
        for _ in 0..3 {
            let ended = worker.call(&target, &secrets, "exec", json!({"command": "true"}), LONG);
            assert_eq!(word(&ended.outcome), "done");
        }
    }
    let report = twin.report();
    assert!(
        report
            .values()
            .all(|t| (t.sessions_open, t.sessions_max) == (1, 1))
    );
    worker.drain();
    wait_until(|| twin.report().values().all(|t| t.sessions_open == 0));
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "did not come about within {LONG:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
