//! A made-up execution environment that answers by itself: every task of every version ends as a function of it says.
//! It counts what came to which version, so that tests can say what a version met.

use super::{Bench, LIMIT, toy};
use bytes::Bytes;
use parking_lot::Mutex;
use sengu_interconnect::{Broker, Delivery, MemoryBroker, Message, Queue};
use sengu_model::image::Packer;
use sengu_model::problem::Problem;
use sengu_model::wire::envelope::{TaskEnvelope, WeeCommand};
use sengu_model::{Class, Outcome, TaskId};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// A task as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Came {
    pub task: TaskId,
    pub version: String,
    pub action: String,
    pub target: String,
}

/// How a task ends: outcome and facts.
pub type Answer = dyn Fn(&Came) -> (Outcome, Value) + Send + Sync;

#[derive(Clone)]
pub struct Fleet {
    broker: MemoryBroker,
    pub came: Arc<Mutex<Vec<Came>>>,
}

impl Fleet {
    /// Serves these versions of `toy` in zone `default`, with some time per task.
    pub async fn serve(bench: &Bench, versions: &[&str], ms: u64, answer: Arc<Answer>) -> Fleet {
        let fleet = Fleet {
            broker: bench.broker.clone(),
            came: Arc::default(),
        };
        for version in versions {
            for class in Class::ALL {
                fleet.follow(version, class, ms, answer.clone()).await;
            }
        }
        announce(bench, versions).await;
        fleet
    }

    async fn follow(&self, version: &str, class: Class, ms: u64, answer: Arc<Answer>) {
        let queue = Queue::tasks("default", "toy", version, class);
        // Each has an inbox of its own for the answers to its claims.
        let wee = format!("wee-{version}-{}", class.as_str());
        let mut tasks = self.broker.subscribe(queue, 1_000).await.unwrap();
        let (broker, all) = (self.broker.clone(), self.came.clone());
        tokio::spawn(async move {
            loop {
                let deliveries = tasks.receive(100).await.unwrap();
                if ms > 0 {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                let granted = claim(&broker, &wee, &deliveries).await;
                let mut items = Vec::new();
                for delivery in deliveries {
                    tasks.ack(&[delivery.tag]).unwrap();
                    let envelope: TaskEnvelope = serde_json::from_slice(&delivery.body).unwrap();
                    if !envelope.effect.repeatable() && !granted.contains(&envelope.task) {
                        continue;
                    }
                    let target: Value = serde_json::from_str(envelope.target.get()).unwrap();
                    let came = Came {
                        task: envelope.task,
                        version: envelope.version.to_string(),
                        action: envelope.action.to_string(),
                        target: target["name"].as_str().unwrap().to_owned(),
                    };
                    let (outcome, facts) = answer(&came);
                    items.push(json!({"task": envelope.task, "epoch": envelope.epoch,
                        "attempt": envelope.attempt, "event": "ended",
                        "started_at": "2026-01-01T00:00:00Z", "at": "2026-01-01T00:00:00.005Z",
                        "instance": format!("toy@{}/1", came.version), "digest": "sha256:1",
                        "outcome": outcome, "facts": facts}));
                    all.lock().push(came);
                }
                report(&broker, &wee, items).await;
            }
        });
    }

    /// How many different targets each version met.
    pub fn targets_of(&self, version: &str) -> usize {
        let came = self.came.lock();
        let mut names: Vec<&str> = came
            .iter()
            .filter(|c| c.version == version)
            .map(|c| c.target.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    /// How often each task came.
    pub fn times(&self) -> HashMap<TaskId, u32> {
        let mut times = HashMap::new();
        for came in self.came.lock().iter() {
            *times.entry(came.task).or_default() += 1;
        }
        times
    }
}

async fn report(broker: &MemoryBroker, wee: &str, items: Vec<Value>) {
    let envelope = json!({"v": 1, "wee": wee, "items": items});
    let message = Message {
        queue: Queue::reports(),
        body: serde_json::to_vec(&envelope).unwrap().into(),
    };
    broker.publish(vec![message]).await.unwrap();
}

/// Those that may be begun, of those that may not be repeated.
async fn claim(broker: &MemoryBroker, wee: &str, deliveries: &[Delivery]) -> HashSet<TaskId> {
    let mut items = Vec::new();
    for delivery in deliveries {
        let envelope: TaskEnvelope = serde_json::from_slice(&delivery.body).unwrap();
        if !envelope.effect.repeatable() {
            items.push(json!({"task": envelope.task, "epoch": envelope.epoch,
                "attempt": envelope.attempt, "event": "claim", "at": "2026-01-01T00:00:00Z"}));
        }
    }
    let mut open = items.len();
    let mut granted = HashSet::new();
    if open == 0 {
        return granted;
    }
    let queue = Queue::wee(wee);
    let mut commands = broker.subscribe(queue, 1_000).await.unwrap();
    report(broker, wee, items).await;
    while open > 0 {
        let received = tokio::time::timeout(LIMIT, commands.receive(1)).await;
        let delivery = received.expect("answers").unwrap().remove(0);
        commands.ack(&[delivery.tag]).unwrap();
        if let WeeCommand::Begin { items, .. } = serde_json::from_slice(&delivery.body).unwrap() {
            open -= items.len();
            granted.extend(items.iter().filter(|i| i.may).map(|i| i.task));
        }
    }
    granted
}

/// Says that an execution environment has these versions of `toy`.
pub async fn announce(bench: &Bench, versions: &[&str]) {
    let pools: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({"kind": "toy", "version": version, "digest": "", "slots_max": 64, "slots_busy": 0,
                "instances": 1, "restarts": 0, "ended": 0, "failed": 0, "complaints": []})
        })
        .collect();
    bench.announce_pools("default", &pools).await;
}

/// An image of `toy` in some version.
pub fn image(version: &str, more: &str) -> (Bytes, String) {
    let manifest: sengu_model::manifest::Manifest = serde_json::from_value(toy(version)).unwrap();
    let text = toml_of(&manifest);
    let mut packer = Packer::new(Vec::new());
    for (name, content) in [("toy", more), ("worker.toml", &*text)] {
        packer
            .file(name, true, content.len() as u64, content.as_bytes())
            .unwrap();
    }
    let (tar, _, digest) = packer.finish().unwrap();
    (tar.into(), digest)
}

fn toml_of(manifest: &sengu_model::manifest::Manifest) -> String {
    let mut text = format!(
        "name = {:?}\nversion = {:?}\nprotocol = 1\ncommand = [\"./toy\"]\nslots = 8\n",
        manifest.name, manifest.version
    );
    for action in &manifest.actions {
        text += &format!(
            "[[action]]\nname = {:?}\neffect = {:?}\n",
            action.name,
            action.effect.as_str()
        );
        if let Some(probe) = &action.probe {
            text += &format!("probe = {probe:?}\n");
        }
        if action.internal {
            text += "internal = true\n";
        }
    }
    text
}

/// Pushes an image.
pub async fn push(
    bench: &Bench,
    (tar, digest): (Bytes, String),
) -> Result<sengu_logic::workers::Pushed, Problem> {
    let mut writer = bench.logic.begin_push().await.unwrap();
    writer.write(tar).await.unwrap();
    bench.logic.end_push(writer, digest).await
}

/// The Release once it is as wanted.
pub async fn release_when(
    bench: &Bench,
    wanted: impl Fn(&Value, &Value) -> bool,
) -> (Value, Value) {
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        let record = bench.logic.record("Release", "toy").unwrap();
        if wanted(&record.spec, &record.status) {
            return (record.spec, record.status);
        }
        assert!(
            tokio::time::Instant::now() < end,
            "not as wanted: {}",
            serde_json::to_string_pretty(&json!([record.spec, record.status])).unwrap()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
