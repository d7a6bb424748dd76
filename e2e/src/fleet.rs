//! Work through the API on targets that twins play: apply, run, wait, count.

use crate::{Instance, TwinProcess, until, worker};
use sengu_sdk::Record;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Twins of several kinds.
#[derive(Default)]
pub struct Fleet {
    pub twins: BTreeMap<&'static str, TwinProcess>,
}

impl Fleet {
    pub fn new() -> Fleet {
        raise_open_files();
        Fleet::default()
    }

    /// Adds `count` twins of a kind, named `<kind>-<number>`.
    pub fn with(mut self, kind: &'static str, count: u32, more: &[&str]) -> Fleet {
        let count = count.to_string();
        let mut arguments = vec!["--count", &count, "--prefix", kind];
        arguments.extend_from_slice(more);
        let twin = TwinProcess::start(&worker(kind), &arguments);
        self.twins.insert(kind, twin);
        self
    }

    pub fn twin(&mut self, kind: &str) -> &mut TwinProcess {
        self.twins.get_mut(kind).expect("these twins were started")
    }

    pub fn records(&self) -> Vec<Record> {
        let all = self.twins.values().flat_map(|t| t.records.clone());
        all.collect()
    }

    /// All records as one set of documents.
    pub fn text(&self) -> String {
        documents(&self.records())
    }

    /// Declares them to an instance.
    pub fn apply(&self, instance: &Instance) {
        instance.api.yaml(&self.text()).expect(200);
    }

    /// How often each effect took place, by target.
    pub fn effects(&mut self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        for twin in self.twins.values_mut() {
            for (name, seen) in twin.report() {
                all.insert(name, seen.effects);
            }
        }
        all
    }
}

/// JSON is YAML.
pub fn documents(records: &[Record]) -> String {
    let texts = records.iter().map(|r| serde_json::to_string(r).unwrap());
    texts.collect::<Vec<_>>().join("\n---\n")
}

/// `echo` targets, which are no devices.
pub fn echo(count: u32) -> String {
    let one = |n| {
        format!(
            "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: echo-{n:04}, labels: {{row: r{}}}}}\n\
             spec: {{kind: echo, address: x}}\n---\n",
            n % 4
        )
    };
    (1..=count).map(one).collect()
}

/// A thousand listeners and their connections are more than the usual soft limit. Children inherit it.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

impl Instance {
    /// Creates a run and gives its name.
    pub fn run(&self, spec: &Value) -> String {
        let run = self.api.post("/v1/runs", spec).expect(202);
        run["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// Waits until a run is over; gives its record.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub fn over(&self, run: &str, limit: Duration) -> Value {
        let path = format!("/v1/runs/{run}?wait=2s");
        until(&format!("run {run} is over"), limit, || {
            let record = self.api.get(&path);
            let phase = record["status"]["phase"].as_str().unwrap_or_default();
            matches!(phase, "Succeeded" | "Failed" | "Cancelled").then_some(record)
        })
    }

    /// Where each target of a run stands.
    pub fn run_targets(&self, run: &str) -> Vec<Value> {
        self.pages(&format!("/v1/runs/{run}/targets?limit=100"))
    }

    /// All items of a list.
    pub fn pages(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.api.get(&format!("{path}{cursor}"));
            items.append(page["items"].as_array_mut().unwrap());
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Creates one task and waits for its end.
    pub fn task(&self, target: &str, action: &str, params: Value, limit: Duration) -> Value {
        let body = json!({"targets": [target], "action": action, "params": params});
        let made = self.api.post("/v1/tasks", &body).expect(202);
        let id = made["tasks"][0]["id"].as_str().unwrap().to_owned();
        self.ended(&id, limit)
    }

    /// Waits for the end of a task.
    pub fn ended(&self, task: &str, limit: Duration) -> Value {
        let path = format!("/v1/tasks/{task}?wait=2s");
        until(&format!("task {task} has ended"), limit, || {
            let view = self.api.get(&path);
            (view["state"] == "ended").then_some(view)
        })
    }

    /// A condition of a target, `Reachable` or `Quarantined`.
    pub fn condition(&self, target: &str, kind: &str) -> Value {
        let record = self.api.get(&format!("/v1/records/Target/{target}"));
        let conditions = record["status"]["conditions"].as_array().cloned();
        let mut found = conditions.unwrap_or_default().into_iter();
        found.find(|c| c["type"] == kind).unwrap_or(Value::Null)
    }
}
