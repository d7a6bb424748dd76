//! The worker against snmpsim, a simulator that we did not write, with a device of another maker's habits.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{LONG, Server, impatient, program, secrets, wait_for};
use sengu_sdk::testing::{Ended, Instance};
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use sengu_testing::free_port;
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Simulator {
    _dir: tempfile::TempDir,
    _server: Server,
    target: TargetFrame,
}

fn data() -> PathBuf {
    Path::new(common::FOLDER).join("tests/data")
}

fn start() -> (Simulator, Instance) {
    let mut worker = Instance::start(common::WORKER, data().to_str().unwrap());
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        for name in ["data", "cache"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::copy(
            data().join("rack.snmprec"),
            dir.path().join("data/lab.snmprec"),
        )
        .unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(program("snmpsim-command-responder"));
        command
            .arg(format!("--data-dir={}", dir.path().join("data").display()))
            .arg(format!(
                "--cache-dir={}",
                dir.path().join("cache").display()
            ))
            .arg(format!("--agent-udpv4-endpoint={address}"))
            .args(["--logging-method=null", "--quiet"])
            .current_dir(dir.path())
            .stderr(Stdio::null());
        // As root it wants to be told whom to be, and cannot load its modules as anyone else.
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.args(["--process-user=root", "--process-group=root"]);
        }
        let mut server = Server::start(&mut command);
        let target = TargetFrame {
            name: "rack-1".to_owned(),
            address,
            config: json!({}),
            identity: BTreeMap::new(),
        };
        let ready = wait_for("snmpsim answers or ends", || {
            if server.has_ended() {
                return Some(false);
            }
            let ended = observe(&mut worker, &impatient(&target));
            matches!(ended.outcome, Outcome::Done(_)).then_some(true)
        });
        if ready {
            let simulator = Simulator {
                _dir: dir,
                _server: server,
                target,
            };
            return (simulator, worker);
        }
    }
    panic!("snmpsim did not start on a free port");
}

fn keys() -> BTreeMap<String, String> {
    secrets(&[("community", "lab")])
}

fn observe(worker: &mut Instance, target: &TargetFrame) -> Ended {
    worker.call(target, &keys(), "observe", json!({}), LONG)
}

#[test]
fn a_foreign_device_is_read_by_a_profile_of_its_own() {
    let (simulator, mut worker) = start();
    let ended = observe(&mut worker, &simulator.target);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    assert_eq!(ended.facts["profile"], "rack");
    let probes: Vec<_> = ended
        .readings
        .iter()
        .filter(|r| r.name == "probe_celsius")
        .map(|r| (r.labels["probe"].as_str(), r.value))
        .collect();
    assert_eq!(
        probes,
        [("supply", 18.5), ("return", 31.2)],
        "the broken one is left out"
    );
    // A number that comes as text.
    assert_eq!(ended.reading("power_kilowatts"), Some(41.75));
    assert!(
        ended
            .reading("energy_joules_total")
            .is_some_and(|v| v >= 5_000_000.0 * 3600.0)
    );
    assert_eq!(ended.reading("not_there"), None);
    assert!(
        ended
            .reading("snmp_uptime_seconds")
            .is_some_and(|v| v >= 42_000.0)
    );
}

#[test]
fn outlets_whose_status_is_the_command_column_are_switched() {
    let (simulator, mut worker) = start();
    let set = |worker: &mut Instance, outlet: u32, state: &str| {
        let params = json!({"outlet": outlet, "state": state});
        worker.call(&simulator.target, &keys(), "outlet.set", params, LONG)
    };
    let ended = set(&mut worker, 2, "off");
    assert_eq!(
        ended.outcome,
        Outcome::changed(json!("on"), json!("off")),
        "{ended:?}"
    );
    assert_eq!(
        set(&mut worker, 2, "off").outcome,
        Outcome::already(json!("off"))
    );
    let ended = set(&mut worker, 9, "off");
    assert_eq!(
        ended.outcome.code(),
        Some(FailureCode::Refused),
        "{ended:?}"
    );
    // Its profile has no command to cycle.
    let cycle = json!({"outlet": 1});
    let ended = worker.call(&simulator.target, &keys(), "outlet.cycle", cycle, LONG);
    assert_eq!(
        ended.outcome.code(),
        Some(FailureCode::Refused),
        "{ended:?}"
    );
}
