//! A worker instance with its twin, and short ways to say what is expected.

#![allow(dead_code)]

pub mod peers;

use sengu_sdk::testing::{Ended, Instance, TwinProcess};
use sengu_sdk::{FailureCode, Outcome, TargetFrame, TwinTarget};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sengu-worker-redfish");
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
/// Long enough on a busy machine; no test waits for it when all is well.
pub const LONG: Duration = Duration::from_secs(40);

pub type Secrets = BTreeMap<String, String>;

pub struct Bench {
    pub twin: TwinProcess,
    pub worker: Option<Instance>,
    pub targets: Vec<(TargetFrame, Secrets)>,
}

impl Bench {
    /// Target n (from 1) is of family n % 3: 0 Contoso, 1 Northwind, 2 Fabrikam.
    pub fn start(count: u32) -> Bench {
        let twin = TwinProcess::start(PROGRAM, &["--count", &count.to_string(), "--prefix", "bmc"]);
        let targets = twin.targets();
        assert_eq!(targets.len(), count as usize);
        Bench {
            twin,
            worker: Some(worker()),
            targets,
        }
    }

    pub fn worker(&mut self) -> &mut Instance {
        self.worker.as_mut().expect("not drained yet")
    }

    /// Runs an action on target `n`, counted from 1.
    pub fn call(&mut self, n: usize, action: &str, params: Value) -> Ended {
        self.call_within(n, action, params, LONG)
    }

    pub fn call_within(
        &mut self,
        n: usize,
        action: &str,
        params: Value,
        within: Duration,
    ) -> Ended {
        let (target, secrets) = self.targets[n - 1].clone();
        self.worker()
            .call(&target, &secrets, action, params, within)
    }

    pub fn begin(&mut self, n: usize, action: &str, params: Value, within: Duration) -> u64 {
        let (target, secrets) = self.targets[n - 1].clone();
        self.worker()
            .begin(&target, &secrets, action, params, within)
    }

    pub fn report(&mut self, n: usize) -> TwinTarget {
        self.twin.report()[&format!("bmc-{n}")].clone()
    }

    /// How often an effect took place on target `n`.
    pub fn effects(&mut self, n: usize, effect: &str) -> u64 {
        self.report(n).effects.get(effect).copied().unwrap_or(0)
    }

    /// Ends the worker properly; no session may be left anywhere.
    pub fn drain(&mut self) {
        self.worker.take().expect("drained once").drain();
        for (name, target) in self.twin.report() {
            assert_eq!(target.sessions_open, 0, "{name} still has sessions");
            assert!(
                target.sessions_max <= 1,
                "{name} had {} sessions",
                target.sessions_max
            );
        }
    }
}

pub fn worker() -> Instance {
    Instance::start(PROGRAM, FOLDER)
}

/// The failure code, or a panic that shows what came instead.
pub fn code(ended: &Ended) -> FailureCode {
    ended
        .outcome
        .code()
        .unwrap_or_else(|| panic!("no failure: {ended:?}"))
}

pub fn message(ended: &Ended) -> &str {
    match &ended.outcome {
        Outcome::Failed(failure) => &failure.message,
        Outcome::Unknown { why } => why,
        other => panic!("no failure: {other:?}"),
    }
}

/// Whether it changed something; a panic when it is not done.
pub fn changed(ended: &Ended) -> bool {
    match &ended.outcome {
        Outcome::Done(done) => done.changed,
        other => panic!("not done: {other:?}"),
    }
}

pub fn result(ended: &Ended) -> Value {
    match &ended.outcome {
        Outcome::Done(done) => done.result.clone().unwrap_or_default(),
        other => panic!("not done: {other:?}"),
    }
}

pub fn power() -> Value {
    json!({"depth": "power"})
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
