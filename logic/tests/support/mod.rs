//! Logic on a real store and the embedded broker, with the test in the place of an execution environment.
//!
//! It exists so that what logic promises can be tested without workers: the test takes tasks from the queue, reports
//! what it likes, goes silent, or starts logic again on the same store. It must never look into logic.
#![allow(dead_code, clippy::unwrap_used)] // each test uses its part

use sengu_interconnect::{Broker, MemoryBroker, Message, Queue, Subscription};
use sengu_logic::{Follower, Logic, LogicConfig};
use sengu_model::seal::SealKey;
use sengu_model::task::{TaskState, TaskView};
use sengu_model::wire::envelope::{Event, TaskEnvelope, WeeAnnouncement, WeeCommand, WorkerOffer};
use sengu_model::{Class, Effect, Outcome, TaskId};
use sengu_store::Store;
use sengu_store_sqlite::SqliteStore;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest wait for anything that must happen.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long nothing must happen before it counts as not happening.
pub const QUIET: Duration = Duration::from_millis(300);

/// The execution environment that the test stands for, and its life.
pub const WEE: (&str, u64) = ("wee-default", 0);

pub mod fleet;
pub mod followers;
pub mod http;

pub struct Bench {
    pub logic: Arc<Logic>,
    pub broker: MemoryBroker,
    pub store: Arc<dyn Store>,
    pub directory: tempfile::TempDir,
    followers: Vec<Follower>,
    /// By zone, each says again and again what was announced last.
    announcers: Mutex<HashMap<String, JoinHandle<()>>>,
    control: Box<dyn Subscription>,
    observe: Box<dyn Subscription>,
}

/// A task as it came from the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub task: TaskId,
    pub epoch: u64,
    pub attempt: u32,
    pub action: String,
    pub effect: Effect,
    pub target: String,
    pub probe: bool,
    pub frames: bool,
    pub start_by: Option<sengu_model::Time>,
    /// Milliseconds since 1970.
    pub taken_at: i64,
}

/// The manifest of the made-up worker `toy` in some version.
pub fn toy(version: &str) -> Value {
    json!({
        "name": "toy", "version": version, "protocol": 1, "command": ["./toy"], "slots": 8,
        "limits": {"sessions": 4, "cooldown_ms": 50},
        "action": [
            {"name": "observe", "effect": "read"},
            {"name": "set", "effect": "idempotent"},
            {"name": "cycle", "effect": "probe", "probe": "cycled"},
            {"name": "cycled", "effect": "read", "internal": true},
            {"name": "fire", "effect": "once"},
        ],
    })
}

fn offer() -> WorkerOffer {
    let manifest = toy("1.0.0");
    WorkerOffer {
        v: 1,
        manifest: serde_json::from_value(manifest).unwrap(),
        digest: "sha256:0".to_owned(),
        bytes: 0,
        active: false,
        pool: sengu_model::manifest::PoolDecl::default(),
    }
}

/// Packs nothing: the images of these tests are made up.
struct NoBundles;

impl sengu_logic::workers::Bundles for NoBundles {
    fn pack(&self, digest: &str, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("no files for {digest}")))
    }
}

fn offers() -> Vec<WorkerOffer> {
    let toy = offer();
    let mut other = offer();
    "other".clone_into(&mut other.manifest.name);
    vec![toy, other]
}

async fn start(
    store: &Arc<dyn Store>,
    broker: &MemoryBroker,
    directory: &std::path::Path,
    followers: &[Follower],
) -> Arc<Logic> {
    let blobs = sengu_store_directory::DirectoryBlobs::open(&directory.join("blobs")).unwrap();
    let config = LogicConfig {
        seal_key: SealKey([7; 32]),
        tokens: sengu_logic::Tokens {
            operator: "token".to_owned(),
            viewer: "viewer".to_owned(),
        },
        bundled: offers(),
        bundles: Arc::new(NoBundles),
        blobs: Arc::new(blobs),
        sengu_version: "0".to_owned(),
        interconnect: "embedded".to_owned(),
        roles: Vec::new(),
        retention_ms: 86_400_000,
        audit_retention_ms: 86_400_000,
        followers: followers.to_vec(),
        moving: None,
    };
    Logic::start(config, store.clone(), Arc::new(broker.clone()))
        .await
        .unwrap()
}

impl Bench {
    /// Logic with a zone `default` that has `slots`, and targets `t0` ... `t<targets - 1>`.
    pub async fn new(slots: u32, targets: usize) -> Bench {
        Bench::followed(slots, targets, Vec::new()).await
    }

    /// The same, with others who follow what happens.
    pub async fn followed(slots: u32, targets: usize, followers: Vec<Follower>) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let broker = MemoryBroker::new();
        let logic = start(&store, &broker, directory.path(), &followers).await;
        let bench = Bench {
            logic,
            control: subscribe(&broker, "default", Class::Control).await,
            observe: subscribe(&broker, "default", Class::Observe).await,
            broker,
            store,
            directory,
            followers,
            announcers: Mutex::default(),
        };
        let text: Vec<String> = (0..targets)
            .map(|n| target(&format!("t{n}"), "default", "toy"))
            .collect();
        bench.apply(&text.join("---\n")).await;
        bench.announce("default", slots).await;
        bench
    }

    /// Logic ends in order and begins anew on the same store; what was in the broker is gone.
    pub async fn restart(self) -> Bench {
        let followers = self.followers.clone();
        self.restart_with(followers).await
    }

    /// The same, and others follow from now on.
    pub async fn restart_with(self, followers: Vec<Follower>) -> Bench {
        self.logic.stop().await;
        let Bench { directory, .. } = self;
        let store: Arc<dyn Store> = Arc::new(open(directory.path()).await);
        let broker = MemoryBroker::new();
        let logic = start(&store, &broker, directory.path(), &followers).await;
        Bench {
            logic,
            control: subscribe(&broker, "default", Class::Control).await,
            observe: subscribe(&broker, "default", Class::Observe).await,
            broker,
            store,
            directory,
            followers,
            announcers: Mutex::default(),
        }
    }

    pub async fn apply(&self, text: &str) {
        let source = sengu_logic::documents::Source {
            name: "test".to_owned(),
            text: text.to_owned(),
        };
        let documents = sengu_logic::documents::read(&[source]).unwrap();
        self.logic.apply(documents, false).await.unwrap();
    }

    /// Says what the execution environment of a zone can do, and waits until logic knows.
    pub async fn announce(&self, zone: &str, slots: u32) {
        let pool = |kind: &str| {
            json!({"kind": kind, "version": "1.0.0", "digest": "", "slots_max": slots, "slots_busy": 0,
                "instances": 1, "restarts": 0, "ended": 0, "failed": 0, "complaints": []})
        };
        self.announce_pools(zone, &[pool("toy"), pool("other")])
            .await;
    }

    /// Says which pools the execution environment of a zone has, and waits until logic knows.
    pub async fn announce_pools(&self, zone: &str, pools: &[Value]) {
        let wee = json!({"v": 1, "name": format!("wee-{zone}"), "zone": zone, "sengu_version": "0", "runtimes": [],
            "isolation": [], "pools": pools, "at": "2026-01-01T00:00:00Z"});
        let announced: WeeAnnouncement = serde_json::from_value(wee).unwrap();
        let body = serde_json::to_vec(&announced).unwrap();
        let key = format!("wee/wee-{zone}");
        // It says so again and again, as one that lives does. What was said before must not come after it.
        let (broker, said) = (self.broker.clone(), bytes::Bytes::from(body));
        let announcers = || self.announcers.lock().unwrap();
        let before = announcers().remove(zone);
        if let Some(before) = before {
            before.abort();
            let _ = before.await;
        }
        let retain = async move || {
            let retained = broker.retain(key.clone(), Some(said.clone())).await;
            retained.unwrap();
        };
        retain().await;
        let announcer = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(4)).await;
                retain().await;
            }
        });
        announcers().insert(zone.to_owned(), announcer);
        until("the announcement is known", async || {
            let wees = self.logic.shared.wees.read();
            wees.get(&announced.name) == Some(&announced)
        })
        .await;
    }

    /// Nothing is sent in the zone `default` until it is announced again.
    pub async fn nothing_goes_out(&self) {
        self.announce("default", 0).await;
        until("the windows are shut", async || {
            let ask = |reply| sengu_logic::dispatch::Input::Overview(reply);
            let overview = self.logic.dispatch.ask(ask).await.unwrap();
            overview.queues.iter().all(|queue| queue.window == 0)
        })
        .await;
    }

    pub async fn create(&self, action: &str, targets: &[&str]) -> Vec<TaskId> {
        self.create_with(json!({"action": action, "targets": targets}))
            .await
    }

    pub async fn create_with(&self, request: Value) -> Vec<TaskId> {
        let request = serde_json::from_value(request).unwrap();
        let created = self.logic.create_tasks(request).await.unwrap();
        created.into_iter().map(|c| c.id).collect()
    }

    /// The next task that was sent to zone `default`.
    pub async fn take(&mut self, class: Class) -> Sent {
        let taken = self.take_within(class, LIMIT).await;
        taken.expect("a task is sent")
    }

    /// Nothing is sent for a while.
    pub async fn takes_nothing(&mut self, class: Class) {
        assert_eq!(self.take_within(class, QUIET).await, None);
    }

    /// With leave to begin, where that is needed.
    pub async fn take_within(&mut self, class: Class, limit: Duration) -> Option<Sent> {
        let sent = self.take_unclaimed(class, limit).await?;
        let may = sent.effect.repeatable() || self.claim_as(WEE, &sent).await;
        assert!(may, "it may be begun: {sent:?}");
        Some(sent)
    }

    pub async fn take_unclaimed(&mut self, class: Class, limit: Duration) -> Option<Sent> {
        let from = match class {
            Class::Control => &mut self.control,
            Class::Observe => &mut self.observe,
        };
        let taken = tokio::time::timeout(limit, from.receive(1)).await.ok()?;
        let delivery = taken.unwrap().remove(0);
        from.ack(&[delivery.tag]).unwrap();
        Some(sent(&delivery.body))
    }

    /// Asks in the name of an execution environment and of one of its lives whether it may begin the task.
    pub async fn claim_as(&self, wee: (&str, u64), sent: &Sent) -> bool {
        let queue = Queue::wee(wee.0);
        let mut commands = self.broker.subscribe(queue, 1_000).await.unwrap();
        self.report_as(wee, sent, Event::Claim, json!({})).await;
        loop {
            let received = tokio::time::timeout(LIMIT, commands.receive(1)).await;
            let delivery = received.expect("an answer").unwrap().remove(0);
            commands.ack(&[delivery.tag]).unwrap();
            let WeeCommand::Begin { life, items } = serde_json::from_slice(&delivery.body).unwrap()
            else {
                continue;
            };
            assert_eq!(life, wee.1);
            let fence = (sent.task, sent.epoch, sent.attempt);
            let mut answers = items.iter();
            if let Some(answer) = answers.find(|i| (i.task, i.epoch, i.attempt) == fence) {
                return answer.may;
            }
        }
    }

    pub async fn report(&self, sent: &Sent, event: Event, more: Value) {
        self.report_as(WEE, sent, event, more).await;
    }

    pub async fn report_as(&self, wee: (&str, u64), sent: &Sent, event: Event, more: Value) {
        let mut item = json!({"task": sent.task, "epoch": sent.epoch, "attempt": sent.attempt,
            "at": "2026-01-01T00:00:00Z", "event": event});
        if let (Value::Object(item), Value::Object(more)) = (&mut item, more) {
            item.extend(more);
        }
        let envelope = json!({"v": 1, "wee": wee.0, "life": wee.1, "items": [item]});
        let message = Message {
            queue: Queue::reports(),
            body: serde_json::to_vec(&envelope).unwrap().into(),
        };
        self.broker.publish(vec![message]).await.unwrap();
    }

    pub async fn end(&self, sent: &Sent, outcome: &Outcome) {
        let more = json!({"outcome": outcome, "started_at": "2026-01-01T00:00:00Z"});
        self.report(sent, Event::Ended, more).await;
    }

    pub async fn lose(&self, sent: &Sent) {
        self.report(sent, Event::Lost, json!({"why": "the worker died"}))
            .await;
    }

    pub async fn reject(&self, sent: &Sent) {
        self.report(sent, Event::Rejected, json!({"why": "no slot became free"}))
            .await;
    }

    /// The task once it is as wanted.
    pub async fn task_when(&self, id: TaskId, wanted: impl Fn(&TaskView) -> bool) -> TaskView {
        let mut last = None;
        let end = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < end {
            let task = self.logic.task(id).await.unwrap();
            if wanted(&task) {
                return task;
            }
            last = Some(task);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not as wanted: {last:?}");
    }

    /// The outcome of the task, as a word.
    pub async fn ended(&self, id: TaskId) -> String {
        let task = self.task_when(id, |t| t.state == TaskState::Ended).await;
        let outcome = task.ending.unwrap().outcome;
        match outcome.code() {
            Some(code) => format!("failed {code}"),
            None => outcome.status().as_str().to_owned(),
        }
    }

    /// The run's status once its phase is one of `phases`.
    pub async fn run_when(&self, name: &str, phases: &[&str]) -> Value {
        let mut last = Value::Null;
        let end = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < end {
            last = self.logic.run(name).await.unwrap().status;
            if phases.iter().any(|p| last["phase"] == *p) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not {phases:?}: {last}");
    }
}

/// A Target document.
pub fn target(name: &str, zone: &str, kind: &str) -> String {
    format!(
        "apiVersion: sengu/v1\nkind: Target\nmetadata: {{name: {name}}}\nspec: {{kind: {kind}, zone: {zone}, address: a}}\n"
    )
}

pub fn done() -> Outcome {
    Outcome::already(json!(null))
}

fn sent(body: &[u8]) -> Sent {
    let envelope: TaskEnvelope = serde_json::from_slice(body).unwrap();
    let target: Value = serde_json::from_str(envelope.target.get()).unwrap();
    Sent {
        task: envelope.task,
        epoch: envelope.epoch,
        attempt: envelope.attempt,
        action: envelope.action.into_owned(),
        effect: envelope.effect,
        target: target["name"].as_str().unwrap_or_default().to_owned(),
        probe: envelope.probe.is_some(),
        frames: envelope.frames,
        start_by: envelope.start_by,
        taken_at: std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64,
    }
}

pub async fn subscribe(broker: &MemoryBroker, zone: &str, class: Class) -> Box<dyn Subscription> {
    let queue = Queue::tasks(zone, "toy", "1.0.0", class);
    broker.subscribe(queue, 10_000).await.unwrap()
}

/// The directory is free once the last holder of the old store is gone.
async fn open(directory: &std::path::Path) -> SqliteStore {
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        match SqliteStore::open(directory) {
            Ok(store) => return store,
            Err(error) if tokio::time::Instant::now() > end => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + LIMIT;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
