//! What the tests of this kind share: the built worker, its folder, free ports, programs that must be there.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use sengu_sdk::testing::{Ended, Instance, TwinProcess};
use sengu_sdk::{FailureCode, TargetFrame};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const WORKER: &str = env!("CARGO_BIN_EXE_sengu-worker-snmp");
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
pub const LONG: Duration = Duration::from_secs(30);

pub fn worker() -> Instance {
    Instance::start(WORKER, FOLDER)
}

pub fn twin(arguments: &[&str]) -> TwinProcess {
    TwinProcess::start(WORKER, arguments)
}

/// Asks little and gives up soon, for tests of silence.
pub fn impatient(target: &TargetFrame) -> TargetFrame {
    let mut target = target.clone();
    target.config["requestTimeoutMs"] = serde_json::json!(600);
    target.config["retries"] = serde_json::json!(1);
    target
}

pub fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// A program at its system path, or in the tests' Python environment.
pub fn program(name: &str) -> PathBuf {
    let venv = Path::new(FOLDER).join("../../target/test-venv/bin");
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    places
        .into_iter()
        .chain([venv])
        .map(|place| place.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing: run `cargo xtask test`"))
}

/// A server that ends with the test.
pub struct Server(Child);

impl Server {
    pub fn start(command: &mut Command) -> Server {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        Server(child)
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `check` gives something.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub type Target = (TargetFrame, BTreeMap<String, String>);

/// One APC and one Eaton over v2c, one of any family over v3.
pub fn fleet() -> (TwinProcess, BTreeMap<&'static str, Target>) {
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

pub fn set(worker: &mut Instance, target: &Target, outlet: u32, state: &str) -> Ended {
    let params = json!({"outlet": outlet, "state": state});
    worker.call(&target.0, &target.1, "outlet.set", params, LONG)
}

pub fn observe(worker: &mut Instance, target: &Target) -> Ended {
    worker.call(&target.0, &target.1, "observe", json!({}), LONG)
}

pub fn code(ended: &Ended) -> Option<FailureCode> {
    ended.outcome.code()
}

/// The reading of one outlet.
pub fn outlet_on(ended: &Ended, outlet: u32) -> Option<f64> {
    let found = ended
        .readings
        .iter()
        .find(|r| r.name == "pdu_outlet_on" && r.labels.get("outlet") == Some(&outlet.to_string()));
    found.map(|r| r.value)
}
