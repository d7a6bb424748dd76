//! What the tests of this kind share: the built worker, its folder, free ports, programs that must be there.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use sengu_sdk::TargetFrame;
use sengu_sdk::testing::{Instance, TwinProcess};
use std::collections::BTreeMap;
use std::net::UdpSocket;
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
    target.config["requestTimeoutMs"] = serde_json::json!(300);
    target.config["retries"] = serde_json::json!(1);
    target
}

pub fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
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
