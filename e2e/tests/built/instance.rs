//! One instance as an operator has it: who may listen, who may read, how it ends.

use sengu_e2e::{Fleet, Instance, folder, json, s, until};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_it_writes_is_for_its_owner_only() {
    let sengu = Instance::start();
    assert_eq!(mode(&sengu.data), 0o700);
    for file in ["token", "seal.key"] {
        assert_eq!(mode(&sengu.data.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_second_one_on_the_same_directory_refuses_and_the_first_goes_on() {
    let mut sengu = Instance::start();
    let data = sengu.data.display().to_string();
    let endpoint = std::fs::read(sengu.data.join("endpoint")).unwrap();
    let second = sengu.cli(&["up", "--listen", "127.0.0.1:0", "--data", &data]);
    assert_ne!(second.code, 0);
    assert!(
        second.stderr.contains("another sengu runs on"),
        "{}",
        second.stderr
    );
    assert!(second.stderr.contains("--data"), "{}", second.stderr);
    assert!(sengu.alive());
    assert_eq!(
        std::fs::read(sengu.data.join("endpoint")).unwrap(),
        endpoint
    );
    sengu.cli(&["version"]).expect(0);
}

#[test]
fn off_loopback_without_tls_is_refused() {
    let place = Instance::prepare();
    let data = place.data.display().to_string();
    let refused = place.cli(&["up", "--listen", "0.0.0.0:0", "--data", &data]);
    assert_ne!(refused.code, 0);
    for word in ["0.0.0.0", "loopback", "tls"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    assert!(!place.data.join("endpoint").exists());
}

#[test]
fn sigterm_with_tasks_in_hand_ends_cleanly_and_leaves_no_process() {
    let mut sengu = Instance::start();
    let fleet = Fleet::new().with("ssh", 10, &[]);
    fleet.apply(&sengu);
    let spec = json!({"action": "exec", "params": {"command": "sleep 3"}, "selector": "kind=ssh"});
    let run = sengu.run(&spec);
    let workers = until("a worker has tasks in hand", s(10), || {
        let started = sengu.api.get("/v1/top")["tasks"]["started"].as_u64()?;
        let workers = sengu.workers("ssh");
        (started > 0 && !workers.is_empty()).then_some(workers)
    });
    assert_eq!(
        sengu.api.get(&format!("/v1/runs/{run}"))["status"]["phase"],
        "Running"
    );
    let status = sengu.terminate();
    assert!(status.success(), "{status}\n{}", sengu.tail());
    for worker in &workers {
        assert!(!worker.lives(), "{worker:?} outlived sengu");
    }
    // What was in hand has been told as it was; what was not goes on.
    sengu.up();
    let over = sengu.over(&run, s(40));
    let counts = &over["status"]["counts"];
    let known = |what: &str| counts[what].as_u64().unwrap();
    assert_eq!(known("done") + known("unknown"), 10, "{over}");
}

#[test]
fn kill_9_leaves_no_worker_process() {
    let mut sengu = Instance::start();
    let fleet = Fleet::new().with("ssh", 4, &[]);
    fleet.apply(&sengu);
    sengu
        .run(&json!({"action": "exec", "params": {"command": "sleep 20"}, "selector": "kind=ssh"}));
    let workers = until("a worker runs", s(10), || {
        let workers = sengu.workers("ssh");
        (!workers.is_empty()).then_some(workers)
    });
    sengu.kill();
    until("the workers are gone", s(5), || {
        (!workers.iter().any(|w| w.lives())).then_some(())
    });
}

#[test]
fn without_a_server_the_exit_code_says_so() {
    let place = Instance::prepare();
    let ran = place.cli(&["get", "targets"]).expect(4);
    assert!(ran.stderr.contains("sengu up"), "{}", ran.stderr);
    let version = Command::new(folder().join("sengu"))
        .arg("--version")
        .output();
    assert!(version.unwrap().status.success());
}
