//! Harness of the end-to-end tests: the built program, its API and its twins, as a user has them.
//!
//! It must never link sengu: what is tested is the program on disk with its staged workers.
#![allow(clippy::unwrap_used)] // all of this is test code, in a library so that clippy does not see it as such

pub mod engine;
pub mod fleet;
pub mod http;
pub mod image;
pub mod instance;
pub mod process;
pub mod release;
pub mod servers;
pub mod wee;
pub mod wire;

pub use engine::Engine;
pub use fleet::Fleet;
pub use http::{Api, Reply};
pub use image::Image;
pub use instance::{Instance, Ran};
pub use sengu_sdk::testing::TwinProcess;
pub use serde_json::{Value, json};
pub use wee::Wee;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HINT: &str = "run `cargo xtask test`, which builds and stages it";

/// Folder of the program under test: beside the tests, or the one that `SENGU_E2E_FOLDER` names.
///
/// # Panics
/// When the program or its workers are not there.
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("SENGU_E2E_FOLDER").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| {
        // target/<profile>/deps/<test>
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test.parent().and_then(|deps| deps.parent());
        profile
            .expect("tests lie below target/<profile>")
            .to_owned()
    });
    for part in ["sengu", "workers/redfish/worker.toml"] {
        let path = folder.join(part);
        assert!(path.is_file(), "{} is missing: {HINT}", path.display());
    }
    folder
}

/// The program of a staged worker.
///
/// # Panics
/// When it is not there.
pub fn worker(kind: &str) -> String {
    let path = folder().join(format!("workers/{kind}/sengu-worker-{kind}"));
    assert!(path.is_file(), "{} is missing: {HINT}", path.display());
    path.display().to_string()
}

/// Waits until `look` gives something.
///
/// # Panics
/// When it has not within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Does `work` while `load` goes on in another thread, which is told to stop also when `work` panics.
pub fn under<L: Send, T>(
    load: impl FnOnce(&AtomicBool) -> L + Send,
    work: impl FnOnce() -> T,
) -> (L, T) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&over));
        let stop = Stop(&over);
        let done = work();
        drop(stop);
        let load = load.join();
        (load.unwrap_or_else(|e| std::panic::resume_unwind(e)), done)
    })
}

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Numbers that differ from run to run, from a seed that is printed and can be given by `SENGU_E2E_SEED`.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Dice {
        let given = std::env::var("SENGU_E2E_SEED").ok();
        let seed = given.and_then(|t| t.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
            u64::from(now.map_or(0, |t| t.subsec_nanos())) ^ u64::from(std::process::id())
        });
        println!("seed: SENGU_E2E_SEED={seed}");
        Dice(seed)
    }

    /// Evenly spread over `0..below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
