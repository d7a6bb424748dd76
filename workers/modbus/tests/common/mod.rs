//! What the tests of this kind share: the built worker, its twin, foreign servers.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use sengu_sdk::testing::{Ended, Instance, TwinProcess};
use sengu_sdk::{FailureCode, TargetFrame};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub const WORKER: &str = env!("CARGO_BIN_EXE_sengu-worker-modbus");
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
pub const LONG: Duration = Duration::from_secs(30);

pub fn worker() -> Instance {
    Instance::start(WORKER, FOLDER)
}

pub fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

/// Eight devices behind one gateway: two cooling units, a meter of each make, and so on.
pub fn fleet() -> (TwinProcess, Vec<TargetFrame>) {
    fleet_of("8")
}

/// Impatient, for tests of silence.
pub fn fleet_of(count: &str) -> (TwinProcess, Vec<TargetFrame>) {
    let twin = TwinProcess::start(WORKER, &["--count", count, "--prefix", "dev"]);
    let targets = twin.targets();
    let impatient = |(mut target, _): (TargetFrame, _)| {
        target.config["requestTimeoutMs"] = json!(2_000);
        target.config["reconnectMs"] = json!(50);
        target
    };
    let targets = targets.into_iter().map(impatient).collect();
    (twin, targets)
}

pub fn observe(worker: &mut Instance, target: &TargetFrame) -> Ended {
    worker.call(target, &none(), "observe", json!({}), LONG)
}

pub fn set(worker: &mut Instance, target: &TargetFrame, point: &str, value: Value) -> Ended {
    let params = json!({"point": point, "value": value});
    worker.call(target, &none(), "point.set", params, LONG)
}

pub fn set_within(
    worker: &mut Instance,
    target: &TargetFrame,
    point: &str,
    value: Value,
    limit: Duration,
) -> Ended {
    let params = json!({"point": point, "value": value});
    worker.call(target, &none(), "point.set", params, limit)
}

pub fn code(ended: &Ended) -> Option<FailureCode> {
    ended.outcome.code()
}

/// How often the device was really written.
pub fn writes(twin: &mut TwinProcess, target: &TargetFrame) -> u64 {
    let report = twin.report();
    let effects = &report[&target.name].effects;
    effects.get("point.set").copied().unwrap_or_default()
}

pub fn target(name: &str, address: &str, config: Value) -> TargetFrame {
    TargetFrame {
        name: name.to_owned(),
        address: address.to_owned(),
        config,
        identity: BTreeMap::new(),
    }
}

/// A server written in Python, from the tests' environment. Its first line says where it listens.
pub struct Server {
    child: Child,
    pub address: String,
    lines: Receiver<String>,
}

impl Server {
    pub fn start(script: &str) -> Server {
        // A port that was free a moment ago may be taken by then: another is tried.
        let tries = (0..5).find_map(|_| Server::listening(script, 0));
        tries.unwrap_or_else(|| panic!("pymodbus does not start: run `cargo xtask test`"))
    }

    /// Ends it, and starts it again on the same port.
    pub fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (_, port) = self.address.rsplit_once(':').unwrap();
        let port = port.parse().unwrap();
        *self = Server::listening("pymodbus_server.py", port).expect("its port is free again");
    }

    fn listening(script: &str, port: u16) -> Option<Server> {
        let python = Path::new(FOLDER).join("../../target/test-venv/bin/python");
        assert!(python.exists(), "no {python:?}: run `cargo xtask test`");
        let script: PathBuf = Path::new(FOLDER).join("tests").join(script);
        let mut child = Command::new(python)
            .arg(script)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Server {
            child,
            address: String::new(),
            lines,
        };
        let first = server.lines.recv_timeout(Duration::from_secs(60)).ok()?;
        first
            .strip_prefix("listening ")?
            .clone_into(&mut server.address);
        Some(server)
    }

    /// What it has said since it was asked last.
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Waits until it has said `count` lines with `what` in them.
    pub fn wait_for(&self, what: &str, count: usize) -> Vec<String> {
        let end = Instant::now() + LONG;
        let mut seen = Vec::new();
        while seen.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("{count} times {what}: {seen:?}"));
            if line.contains(what) {
                seen.push(line);
            }
        }
        seen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
