//! Releases as an operator moves them: by the command line, looked at as JSON.

use crate::{Image, Instance, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Options of a promotion whose windows are small enough for a test.
const QUICK: [[&str; 2]; 2] = [["--window", "10"], ["--hold", "200ms"]];

impl Instance {
    /// Pushes an image by the command line.
    ///
    /// # Panics
    /// When it is refused.
    pub fn push(&self, image: &Image) -> Value {
        let folder = image.folder.display().to_string();
        let ran = self.cli(&["worker", "push", &folder, "-o", "json"]);
        ran.expect(0).json()
    }

    /// Promotes with small windows and more words; gives the Release.
    ///
    /// # Panics
    /// When it is refused.
    pub fn promote(&self, name: &str, more: &[&str]) -> Value {
        let mut words = vec!["promote", name, "-o", "json"];
        for option in QUICK {
            if !more.contains(&"--no-guard") && !more.contains(&option[0]) {
                words.extend(option);
            }
        }
        words.extend(more);
        self.cli(&words).expect(0).json()
    }

    /// The Release of a kind, as `sengu rollout status` tells it.
    pub fn release(&self, kind: &str) -> Value {
        let ran = self.cli(&["rollout", "status", kind, "-o", "json"]);
        ran.expect(0).json()
    }

    /// Waits until the Release of a kind is as wanted, while `load` goes on.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub fn release_when(
        &self,
        kind: &str,
        what: &str,
        limit: Duration,
        mut load: impl FnMut(),
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("/v1/records/Release/{kind}");
        let mut last = Value::Null;
        let end = std::time::Instant::now() + limit;
        loop {
            load();
            let release = self.api.get(&path);
            if wanted(&release) {
                return release;
            }
            assert!(
                std::time::Instant::now() < end,
                "not within {limit:?}: {what}; last: {last:#}"
            );
            last = release;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Observes all targets of a kind once, and gives their tasks as they ended.
    pub fn observe_all(&self, kind: &str, limit: Duration) -> Vec<Value> {
        let selector = format!("kind={kind}");
        let spec = json!({"action": "observe", "selector": selector, "timeout": "10s"});
        let run = self.run(&spec);
        self.over(&run, limit);
        self.pages(&format!("/v1/tasks?run={run}&limit=500"))
    }

    /// One version of a worker, as `sengu get workers` tells it.
    pub fn version(&self, name: &str) -> Option<Value> {
        let all = self.api.get("/v1/workers");
        let mut all = all.as_array()?.iter();
        all.find(|w| w["name"] == name).cloned()
    }

    /// Waits until no instance of a version is left.
    pub fn reaped(&self, name: &str, limit: Duration) {
        until(&format!("{name} is reaped"), limit, || {
            (self.version(name)?["instances"] == 0).then_some(())
        });
    }
}

/// Words of the history of a Release, oldest first.
pub fn history(release: &Value) -> Vec<String> {
    let events = release["status"]["history"].as_array();
    let events = events.into_iter().flatten();
    events
        .map(|e| e["what"].as_str().unwrap().to_owned())
        .collect()
}

/// How many tasks each version ended in each way: `1.5.0 done`.
pub fn by_version(tasks: &[Value]) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for task in tasks {
        let status = task["ending"]["outcome"]["status"].as_str();
        let key = format!("{} {}", version_of(task), status.unwrap_or("open"));
        *all.entry(key).or_default() += 1;
    }
    all
}

/// The version that did a task, by the instance that its ending names; empty when none did.
pub fn version_of(task: &Value) -> String {
    let instance = task["ending"]["instance"].as_str().unwrap_or_default();
    let version = instance.split_once('@').map_or("", |(_, rest)| rest);
    version.split('/').next().unwrap_or_default().to_owned()
}
