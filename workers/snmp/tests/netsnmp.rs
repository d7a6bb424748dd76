//! The worker against net-snmp's snmpd, an agent that we did not write.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::{LONG, Server, impatient, program, secrets, wait_for, worker};
use sengu_sdk::testing::{Ended, Instance};
use sengu_sdk::{FailureCode, Outcome, TargetFrame};
use sengu_testing::free_port;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

const CONF: &str = r#"
rocommunity lab-community 127.0.0.1
engineID sengu-lab
createUser ops SHA-256 "ops-auth-password" AES "ops-priv-password"
rouser ops authpriv
createUser watcher SHA "watcher-auth-password"
rouser watcher authnopriv
createUser anyone
rouser anyone noauth
sysLocation hall 3
"#;
/// "sengu-lab" as net-snmp writes it.
const ENGINE_ID: &str = "80001f880473656e67752d6c6162";

struct Snmpd {
    dir: tempfile::TempDir,
    port: u16,
    server: Option<Server>,
}

impl Snmpd {
    fn start() -> Snmpd {
        // The port was free a moment ago; another process may have taken it since.
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let conf = format!("agentAddress udp:127.0.0.1:{port}\n{CONF}");
            std::fs::write(dir.path().join("snmpd.conf"), conf).unwrap();
            let mut snmpd = Snmpd {
                dir,
                port,
                server: None,
            };
            if snmpd.run() {
                return snmpd;
            }
        }
        panic!("snmpd did not start on a free port");
    }

    /// Runs it until it answers; its boots counter goes up each time.
    fn run(&mut self) -> bool {
        let mut command = Command::new(program("snmpd"));
        command
            .args(["-f", "-Lf", "log", "-C", "-c", "snmpd.conf", "-p", "pid"])
            .env("SNMP_PERSISTENT_DIR", self.dir.path().join("state"))
            .env("MIBS", "")
            .current_dir(self.dir.path());
        let mut server = Server::start(&mut command);
        let answers = wait_for("snmpd answers or ends", || {
            if server.has_ended() {
                return Some(false);
            }
            let quick = ["-t", "1", "-r", "0"];
            self.ask("snmpget", quick, "1.3.6.1.2.1.1.3.0")
                .map(|_| true)
        });
        self.server = answers.then_some(server);
        answers
    }

    fn restart(&mut self) {
        self.server = None;
        assert!(self.run(), "snmpd came back");
    }

    /// What net-snmp's own tools say.
    fn oracle(&self, tool: &str, oid: &str) -> Option<String> {
        self.ask(tool, ["-t", "5", "-r", "3"], oid)
    }

    fn ask(&self, tool: &str, patience: [&str; 4], oid: &str) -> Option<String> {
        let address = format!("127.0.0.1:{}", self.port);
        let out = Command::new(program(tool))
            .args(["-v2c", "-c", "lab-community", "-Oqv", "-m", ""])
            .args(patience)
            .args([&address, oid])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        (out.status.success() && !text.is_empty()).then_some(text)
    }

    fn target(&self, config: Value) -> TargetFrame {
        TargetFrame {
            name: format!("host-{}", self.port),
            address: format!("127.0.0.1:{}", self.port),
            config,
            identity: BTreeMap::new(),
        }
    }
}

fn observe(worker: &mut Instance, target: &TargetFrame, keys: &[(&str, &str)]) -> Ended {
    worker.call(target, &secrets(keys), "observe", json!({}), LONG)
}

const OPS: [(&str, &str); 3] = [
    ("username", "ops"),
    ("authPassword", "ops-auth-password"),
    ("privPassword", "ops-priv-password"),
];

fn v3() -> Value {
    json!({"version": "v3", "authProtocol": "SHA-256", "privProtocol": "AES"})
}

#[test]
fn standard_mibs_of_a_host_are_read() {
    let snmpd = Snmpd::start();
    let mut worker = worker();
    let target = snmpd.target(json!({}));
    let ended = observe(&mut worker, &target, &[("community", "lab-community")]);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    assert_eq!(ended.facts["profile"], "net-snmp");
    assert_eq!(ended.facts["sysLocation"], "hall 3");
    let names = snmpd.oracle("snmpwalk", "1.3.6.1.2.1.31.1.1.1.1").unwrap();
    let names: Vec<&str> = names.lines().map(|l| l.trim_matches('"')).collect();
    for name in &names {
        let up = ended
            .readings
            .iter()
            .find(|r| r.name == "interface_receive_bytes_total" && r.labels["interface"] == **name);
        assert!(up.is_some(), "{name} of {names:?}");
    }
    let up = ended
        .readings
        .iter()
        .find(|r| r.name == "interface_up" && r.labels["interface"] == "lo");
    assert_eq!(up.map(|r| r.value), Some(1.0));
    // snmpd gives kibibytes; the reading is in bytes.
    let kib: f64 = snmpd
        .oracle("snmpget", "1.3.6.1.2.1.25.2.2.0")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(ended.reading("host_memory_bytes"), Some(kib * 1024.0));
    let load = ended.reading("host_load1");
    assert!(load.is_some_and(|l| l >= 0.0), "{load:?}");
    let storage: Vec<_> = ended
        .readings
        .iter()
        .filter(|r| r.name == "host_storage_size_bytes")
        .collect();
    assert!(
        storage
            .iter()
            .any(|r| r.labels["storage"] == "Physical memory")
    );
    let uptime = ended.reading("snmp_uptime_seconds").unwrap();
    assert!((0.0..600.0).contains(&uptime), "{uptime}");
    worker.drain();
}

#[test]
fn all_security_levels_of_v3_work() {
    let snmpd = Snmpd::start();
    let mut worker = worker();
    let table: [(Value, &[(&str, &str)]); 4] = [
        (v3(), &OPS),
        (
            json!({"version": "v3", "authProtocol": "SHA"}),
            &[
                ("username", "watcher"),
                ("authPassword", "watcher-auth-password"),
            ],
        ),
        (json!({"version": "v3"}), &[("username", "anyone")]),
        // SHA-256 and AES are what is meant when nothing is said.
        (json!({"version": "v3"}), &OPS),
    ];
    for (config, keys) in table {
        let shown = config.to_string();
        let ended = observe(&mut worker, &snmpd.target(config), keys);
        assert!(
            matches!(ended.outcome, Outcome::Done(_)),
            "{shown}: {ended:?}"
        );
        assert_eq!(ended.facts["sysLocation"], "hall 3");
    }
}

#[test]
fn wrong_user_or_password_is_auth_failed_and_asked_only_once() {
    let snmpd = Snmpd::start();
    let mut worker = worker();
    let table: [(Value, &[(&str, &str)]); 4] = [
        (
            v3(),
            &[OPS[0], ("authPassword", "not-the-password"), OPS[2]],
        ),
        (v3(), &[("username", "nobody"), OPS[1], OPS[2]]),
        (
            json!({"version": "v3", "authProtocol": "SHA-512", "privProtocol": "AES"}),
            &OPS,
        ),
        // More than this user may: the agent knows no privacy key of his.
        (
            json!({"version": "v3", "authProtocol": "SHA", "privProtocol": "AES"}),
            &[
                ("username", "watcher"),
                ("authPassword", "watcher-auth-password"),
                OPS[2],
            ],
        ),
    ];
    for (config, keys) in table {
        let shown = format!("{config} {keys:?}");
        let ended = observe(&mut worker, &snmpd.target(config), keys);
        assert_eq!(
            ended.outcome.code(),
            Some(FailureCode::AuthFailed),
            "{shown}: {ended:?}"
        );
        assert!(!format!("{ended:?}").contains("not-the-password"));
    }
    // A wrong community and a wrong privPassword are answered by silence.
    let target = impatient(&snmpd.target(json!({})));
    let ended = observe(&mut worker, &target, &[("community", "wrong")]);
    assert_eq!(
        ended.outcome.code(),
        Some(FailureCode::Unreachable),
        "{ended:?}"
    );
    let target = impatient(&snmpd.target(v3()));
    let ended = observe(
        &mut worker,
        &target,
        &[OPS[0], OPS[1], ("privPassword", "not-the-password")],
    );
    let code = ended.outcome.code();
    let either = [
        Some(FailureCode::Unreachable),
        Some(FailureCode::AuthFailed),
    ];
    assert!(either.contains(&code), "{ended:?}");
}

#[test]
fn the_pinned_engine_id_must_be_the_agents() {
    let snmpd = Snmpd::start();
    let mut worker = worker();
    let community: [(&str, &str); 1] = [("community", "lab-community")];
    for (config, keys) in [(v3(), OPS.as_slice()), (json!({}), community.as_slice())] {
        let mut target = snmpd.target(config);
        target
            .identity
            .insert("engineId".to_owned(), ENGINE_ID.to_owned());
        let ended = observe(&mut worker, &target, keys);
        assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
        target
            .identity
            .insert("engineId".to_owned(), "80001f880473656e6775".to_owned());
        let ended = observe(&mut worker, &target, keys);
        assert_eq!(
            ended.outcome.code(),
            Some(FailureCode::IdentityMismatch),
            "{ended:?}"
        );
    }
}

#[test]
fn a_restarted_agent_and_a_second_one_with_the_same_engine_id_are_no_trouble() {
    let (mut first, second) = (Snmpd::start(), Snmpd::start());
    // Boots differ from here on, with one and the same engine id.
    first.restart();
    first.restart();
    let mut worker = worker();
    let targets = [first.target(v3()), second.target(v3())];
    for _ in 0..3 {
        for target in &targets {
            let ended = observe(&mut worker, target, &OPS);
            assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
        }
    }
    // The session of the worker still believes in the old boots and time.
    first.restart();
    let ended = observe(&mut worker, &targets[0], &OPS);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
    let ended = observe(&mut worker, &targets[1], &OPS);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
}

#[test]
fn an_agent_that_dies_is_unreachable_and_noticed_when_it_is_back() {
    let mut snmpd = Snmpd::start();
    let mut worker = worker();
    let target = snmpd.target(v3());
    assert!(matches!(
        observe(&mut worker, &target, &OPS).outcome,
        Outcome::Done(_)
    ));
    snmpd.server = None;
    let ended = observe(&mut worker, &target, &OPS);
    assert_eq!(
        ended.outcome.code(),
        Some(FailureCode::Unreachable),
        "{ended:?}"
    );
    snmpd.restart();
    let ended = observe(&mut worker, &target, &OPS);
    assert!(matches!(ended.outcome, Outcome::Done(_)), "{ended:?}");
}

#[test]
fn a_host_has_no_outlets_to_switch() {
    let snmpd = Snmpd::start();
    let mut worker = worker();
    let keys = secrets(&[("community", "lab-community")]);
    let params = json!({"outlet": 1, "state": "off"});
    let ended = worker.call(&snmpd.target(json!({})), &keys, "outlet.set", params, LONG);
    assert_eq!(
        ended.outcome.code(),
        Some(FailureCode::Refused),
        "{ended:?}"
    );
}

#[test]
fn the_twin_is_understood_by_net_snmps_own_tools() {
    let twin = common::twin(&["--count", "4", "--prefix", "pdu"]);
    for (target, keys) in twin.targets() {
        let mut command = Command::new(program("snmpbulkwalk"));
        if target.config["version"] == "v3" {
            command.args(["-v3", "-l", "authPriv", "-u", &keys["username"]]);
            command.args(["-a", "SHA-256", "-A", &keys["authPassword"]]);
            command.args(["-x", "AES", "-X", &keys["privPassword"]]);
        } else {
            command.args(["-v2c", "-c", &keys["community"]]);
        }
        command.args(["-Oqn", "-m", "", "-t", "3", &target.address, "1.3.6.1"]);
        let out = command.output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{}: {out:?}", target.name);
        assert!(text.lines().count() > 40, "{}: {text}", target.name);
        assert!(text.contains(&target.name), "sysName is there");
    }
}
