//! A worker instance with its twin, and short ways to say what is expected.

#![allow(dead_code)]

pub mod peers;

use sengu_sdk::testing::{Ended, Instance, TwinProcess};
use sengu_sdk::{FailureCode, Outcome, TargetFrame, TwinTarget};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sengu-worker-http");
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
/// Long enough on a busy machine; no test waits for it when all is well.
pub const LONG: Duration = Duration::from_secs(40);
/// For tests that wait for the end of it.
pub const SHORT: Duration = Duration::from_secs(4);

/// Targets by the way they are spoken to.
pub const BASIC: usize = 1;
pub const BEARER: usize = 2;
pub const OAUTH: usize = 3;
pub const HEADER: usize = 4;
pub const NONE: usize = 5;

pub type Secrets = BTreeMap<String, String>;

pub struct Bench {
    pub twin: TwinProcess,
    pub worker: Option<Instance>,
    pub targets: Vec<(TargetFrame, Secrets)>,
}

impl Bench {
    /// Target n (from 1) is spoken to by n % 5: 1 basic, 2 bearer, 3 oauth, 4 header, 0 none.
    pub fn start(count: u32) -> Bench {
        let twin = TwinProcess::start(
            PROGRAM,
            &["--count", &count.to_string(), "--prefix", "plant"],
        );
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
        let ended = self
            .worker()
            .call(&target, &secrets, action, params, within);
        self.no_secret_in(&ended);
        ended
    }

    pub fn observe(&mut self, n: usize) -> Ended {
        self.call(n, "observe", json!({}))
    }

    pub fn begin(&mut self, n: usize, action: &str, params: Value, within: Duration) -> u64 {
        let (target, secrets) = self.targets[n - 1].clone();
        self.worker()
            .begin(&target, &secrets, action, params, within)
    }

    /// The target's own config, to be changed.
    pub fn config(&mut self, n: usize) -> &mut Value {
        &mut self.targets[n - 1].0.config
    }

    pub fn report(&mut self, n: usize) -> TwinTarget {
        self.twin.report()[&format!("plant-{n}")].clone()
    }

    /// How often an effect took place on target `n`.
    pub fn effects(&mut self, n: usize, effect: &str) -> u64 {
        self.report(n).effects.get(effect).copied().unwrap_or(0)
    }

    pub fn fault(&mut self, n: usize, fault: &str, ms: Option<u64>, count: Option<u32>) {
        self.twin.fault(&format!("plant-{n}"), fault, ms, count);
    }

    pub fn drain(&mut self) {
        self.worker.take().expect("drained once").drain();
    }

    /// Whatever a worker says can end up in a log.
    fn no_secret_in(&self, ended: &Ended) {
        let said = format!("{ended:?}");
        for (_, secrets) in &self.targets {
            for (key, value) in secrets.iter().filter(|(_, v)| v.starts_with("twin-")) {
                assert!(!said.contains(value.as_str()), "{key} in {said}");
            }
        }
        assert!(!said.contains("twin-token-"), "a token in {said}");
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

pub fn retry_after(ended: &Ended) -> Option<u64> {
    match &ended.outcome {
        Outcome::Failed(failure) => failure.retry_after_ms,
        other => panic!("no failure: {other:?}"),
    }
}

pub fn message(ended: &Ended) -> &str {
    match &ended.outcome {
        Outcome::Failed(failure) => &failure.message,
        Outcome::Unknown { why } | Outcome::Cancelled { why } => why,
        other => panic!("no failure: {other:?}"),
    }
}

pub fn unknown(ended: &Ended) -> bool {
    matches!(ended.outcome, Outcome::Unknown { .. })
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
