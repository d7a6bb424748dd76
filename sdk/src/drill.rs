//! A worker that is bad on purpose, to rehearse what a release does about it: `drill --version 1.5.0 --fail
//! firmware=2.9.1 --slow 300` serves tasks as that version and reports as failed what it reads of targets with that fact.
//! It must never change a target that it is to fail on.

use sengu_model::{Effect, FailureCode, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Targets remembered to be failed on.
const TARGETS_MAX: usize = 100_000;
/// Made slower by at most this, in milliseconds.
const SLOW_MAX_MS: u64 = 600_000;

/// How it is bad.
#[derive(Debug, Default)]
pub struct Drill {
    pub version: String,
    /// Fact and value of the targets that it fails on.
    fail: Option<(String, String)>,
    slow: Duration,
    /// Names of targets that were seen to have that fact.
    found: Mutex<HashSet<String>>,
}

impl Drill {
    /// # Errors
    /// What is wrong with the arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Drill, String> {
        let mut drill = Drill::default();
        while let Some(flag) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--version" => drill.version = value,
                "--fail" => {
                    let (key, value) = value
                        .split_once('=')
                        .ok_or("--fail FACT=VALUE, such as firmware=2.9.1")?;
                    drill.fail = Some((key.to_owned(), value.to_owned()));
                }
                "--slow" => {
                    let ms: u64 = value.parse().map_err(|_| "--slow MILLISECONDS")?;
                    drill.slow = Duration::from_millis(ms.min(SLOW_MAX_MS));
                }
                other => return Err(format!("unknown flag {other:?} of drill")),
            }
        }
        if drill.version.is_empty() {
            return Err("drill needs --version".to_owned());
        }
        Ok(drill)
    }

    /// Facts of a target were read.
    pub(crate) fn saw(&self, target: &str, facts: &BTreeMap<String, Value>) {
        let Some((key, wanted)) = &self.fail else {
            return;
        };
        let text = match facts.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => return,
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if text != *wanted {
            found.remove(target);
        } else if found.len() < TARGETS_MAX {
            found.insert(target.to_owned());
        }
    }

    fn fails_on(&self, target: &str) -> bool {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.contains(target)
    }

    /// How a task ends before it is begun, if so: what changes something is not even tried.
    pub(crate) async fn before(&self, target: &str, effect: Effect) -> Option<Outcome> {
        if !self.slow.is_zero() {
            tokio::time::sleep(self.slow).await;
        }
        (effect.changes() && self.fails_on(target)).then(|| self.failed())
    }

    /// What is said of a task that has ended.
    pub(crate) fn after(&self, target: &str, outcome: Outcome) -> Outcome {
        if matches!(outcome, Outcome::Done(_)) && self.fails_on(target) {
            return self.failed();
        }
        outcome
    }

    fn failed(&self) -> Outcome {
        let (key, value) = self.fail.as_ref().map_or(("", ""), |(k, v)| (k, v));
        let message = format!("made to fail where {key} is {value}, as a drill");
        Outcome::failed(FailureCode::BadReply, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(arguments: &[&str]) -> Result<Drill, String> {
        Drill::parse(arguments.iter().map(|a| (*a).to_owned()))
    }

    #[tokio::test]
    async fn it_fails_on_targets_with_the_fact_and_changes_none_of_them() {
        let drill = drill(&["--version", "1.5.0", "--fail", "firmware=1.9"]).unwrap();
        let done = || Outcome::Done(sengu_model::Done::default());
        for (target, firmware) in [("old", "1.9"), ("new", "2.0")] {
            let facts = BTreeMap::from([("firmware".to_owned(), Value::from(firmware))]);
            drill.saw(target, &facts);
        }
        assert!(drill.after("old", done()).code().is_some());
        assert_eq!(drill.after("new", done()), done());
        assert!(drill.before("old", Effect::Idempotent).await.is_some());
        assert!(drill.before("old", Effect::Read).await.is_none());
        assert!(drill.before("new", Effect::Once).await.is_none());
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, part) in [
            (&["--version"][..], "needs a value"),
            (&["--fail", "x", "--version", "1.0.0"], "FACT=VALUE"),
            (&["--slow", "1"], "needs --version"),
            (&["--fast", "1"], "--fast"),
        ] {
            let error = drill(arguments).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
