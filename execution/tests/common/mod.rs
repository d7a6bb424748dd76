#![allow(dead_code)] // each test file uses its part
//! A WEE with an embedded broker, and a test in logic's place. Every wait has a limit.

use bytes::Bytes;
use sengu_execution::{Runtime, WeeConfig, WeeHandle};
use sengu_interconnect::{Broker, MemoryBroker, Message, Queue};
use sengu_model::manifest::Manifest;
use sengu_model::seal::{SealKey, seal};
use sengu_model::wire::envelope::{
    Event, Grant, LogLine, ReportEnvelope, SealedSecret, VERSION, WeeAnnouncement, WeeCommand,
    WeeSpec, WorkerOffer,
};
use sengu_model::{Effect, Outcome, TaskId, Time};
use sengu_runtime_process::ProcessRuntime;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

mod claims;

use claims::answer_claims;
pub use claims::{Answer, Claims};

pub const LIMIT: Duration = Duration::from_secs(40);
pub const KEY: SealKey = SealKey([9; 32]);

/// One report, owned.
#[derive(Debug, Clone)]
pub struct Said {
    pub wee: String,
    pub task: TaskId,
    pub fence: (u64, u32),
    pub event: Event,
    pub instance: Option<String>,
    pub outcome: Option<Outcome>,
    pub readings: Option<Value>,
    pub facts: Option<Value>,
    pub data: Option<Value>,
    pub why: Option<String>,
    /// The whole report as it went over the wire.
    pub text: String,
}

pub struct House {
    pub broker: Arc<MemoryBroker>,
    pub runtime: Arc<ProcessRuntime>,
    pub wee: Option<WeeHandle>,
    pub claims: Arc<Mutex<Claims>>,
    reports: mpsc::UnboundedReceiver<Bytes>,
    /// All but claims.
    pub said: Vec<Said>,
    pub state: tempfile::TempDir,
    next_task: u64,
}

/// A task for a test; change what matters.
pub struct Ask {
    pub task: TaskId,
    pub epoch: u64,
    pub attempt: u32,
    pub kind: String,
    pub version: String,
    pub action: String,
    pub effect: Effect,
    pub timeout_ms: u64,
    pub start_by: Option<Time>,
    pub sticky: u64,
    pub params: Value,
    pub secrets: Option<SealedSecret>,
    pub volatile: bool,
    pub frames: bool,
}

impl Ask {
    /// The envelope.
    pub fn body(&self) -> String {
        let mut body = json!({
            "v": VERSION, "task": self.task, "epoch": self.epoch, "attempt": self.attempt,
            "kind": self.kind, "version": self.version, "action": self.action,
            "effect": self.effect, "timeout_ms": self.timeout_ms, "sticky": self.sticky,
            "params": self.params, "target": {"name": "t-1", "address": "nowhere"},
            "volatile": self.volatile, "frames": self.frames,
        });
        if let Some(start_by) = self.start_by {
            body["start_by"] = json!(start_by);
        }
        if let Some(secrets) = &self.secrets {
            body["secrets"] = json!(secrets);
        }
        body.to_string()
    }
}

impl House {
    pub async fn new() -> House {
        House::open(Some(KEY)).await
    }

    pub async fn open(seal_key: Option<SealKey>) -> House {
        let broker = Arc::new(MemoryBroker::new());
        House::behind(broker.clone(), broker, |config| config.seal_key = seal_key).await
    }

    /// With changes to the WEE's configuration.
    pub async fn with(change: impl FnOnce(&mut WeeConfig)) -> House {
        let broker = Arc::new(MemoryBroker::new());
        House::behind(broker.clone(), broker, change).await
    }

    /// With a broker of the WEE's own before the one of the test.
    pub async fn behind(
        wees: Arc<dyn Broker>,
        broker: Arc<MemoryBroker>,
        change: impl FnOnce(&mut WeeConfig),
    ) -> House {
        let state = tempfile::tempdir().expect("a temporary directory");
        let claims = Arc::new(Mutex::new(Claims {
            answer: Answer::First,
            said: Vec::new(),
            granted: HashMap::new(),
        }));
        let (sender, reports) = mpsc::unbounded_channel();
        tokio::spawn(answer_claims(broker.clone(), claims.clone(), sender));
        let runtime = Arc::new(ProcessRuntime::new(state.path().to_owned()));
        let mut config = config("wee-1", state.path());
        change(&mut config);
        let runtimes: Vec<Arc<dyn Runtime>> = vec![runtime.clone()];
        let wee = sengu_execution::start(config, wees, runtimes);
        House {
            broker,
            runtime,
            wee: Some(wee),
            claims,
            reports,
            said: Vec::new(),
            state,
            next_task: 1,
        }
    }

    pub async fn offer(&self, manifest: &Manifest, folder: &Path, digest: &str) {
        let known = bundled();
        assert_eq!(
            known.get(digest).map(PathBuf::as_path),
            Some(folder),
            "{digest}"
        );
        self.offer_as(&offer(manifest, digest)).await;
    }

    pub async fn offer_as(&self, offer: &WorkerOffer) {
        let body = serde_json::to_vec(&offer).expect("an offer is JSON");
        let key = format!("worker/{}/{}", offer.manifest.name, offer.manifest.version);
        self.retain(&key, Some(body)).await;
    }

    pub async fn withdraw(&self, kind: &str, version: &str) {
        self.retain(&format!("worker/{kind}/{version}"), None).await;
    }

    pub async fn retain(&self, key: &str, value: Option<Vec<u8>>) {
        let value = value.map(Bytes::from);
        let retained = self.broker.retain(key.to_owned(), value).await;
        retained.expect("retain");
    }

    pub async fn wish(&self, cordoned: bool, drained: bool) {
        let body = serde_json::to_vec(&WeeSpec { cordoned, drained }).expect("JSON");
        self.retain("wee-spec/wee-1", Some(body)).await;
    }

    /// A task of the kind, with a fresh id.
    pub fn ask(&mut self, kind: &str, action: &str, effect: Effect) -> Ask {
        let task = TaskId((1_790_000_000_000 << 20) + self.next_task);
        self.next_task += 1;
        Ask {
            task,
            epoch: 1,
            attempt: 1,
            kind: kind.to_owned(),
            version: "1.0.0".to_owned(),
            action: action.to_owned(),
            effect,
            timeout_ms: 30_000,
            start_by: None,
            sticky: task.0,
            params: json!({}),
            secrets: None,
            volatile: false,
            frames: false,
        }
    }

    pub async fn send(&self, ask: &Ask) {
        let queue = Queue::tasks("default", &ask.kind, &ask.version, ask.effect.class());
        self.send_raw(queue, ask.body()).await;
    }

    pub async fn send_raw(&self, queue: Queue, body: String) {
        let message = Message {
            queue,
            body: Bytes::from(body),
        };
        self.broker.publish(vec![message]).await.expect("publish");
    }

    pub async fn cancel(&self, ask: &Ask) {
        self.command(&WeeCommand::Cancel {
            task: ask.task,
            epoch: ask.epoch,
            attempt: ask.attempt,
        })
        .await;
    }

    pub async fn command(&self, command: &WeeCommand) {
        let message = Message {
            queue: Queue::wee("wee-1"),
            body: serde_json::to_vec(command)
                .expect("a command is JSON")
                .into(),
        };
        self.broker.publish(vec![message]).await.expect("publish");
    }

    /// Takes in reports until `found` gives something.
    ///
    /// # Panics
    /// When that does not happen within `LIMIT`.
    pub async fn until<T>(&mut self, what: &str, found: impl Fn(&[Said]) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(found) = found(&self.said) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.reports.recv()).await {
                Ok(body) => self.take(&body.expect("reports are followed")),
                Err(_) => panic!("{what} within {LIMIT:?}; {}", self.story()),
            }
        }
    }

    fn take(&mut self, body: &[u8]) {
        let envelope: ReportEnvelope = serde_json::from_slice(body).expect("a report envelope");
        let others = |item: &sengu_model::wire::envelope::Report| item.event != Event::Claim;
        for item in envelope.items.into_iter().filter(others) {
            let value = |raw: Option<&serde_json::value::RawValue>| {
                raw.map(|raw| serde_json::from_str(raw.get()).expect("JSON"))
            };
            self.said.push(Said {
                wee: envelope.wee.to_string(),
                task: item.task,
                fence: (item.epoch, item.attempt),
                event: item.event,
                outcome: item
                    .outcome
                    .map(|raw| serde_json::from_str(raw.get()).expect("an outcome")),
                readings: value(item.readings),
                facts: value(item.facts),
                data: value(item.data),
                why: item.why.as_deref().map(str::to_owned),
                instance: item.instance.as_deref().map(str::to_owned),
                text: serde_json::to_string(&item).expect("a report is JSON"),
            });
        }
    }

    /// How claims are answered from now on; those that were not are said again.
    pub fn answer(&self, answer: Answer) {
        self.claims.lock().expect("not poisoned").answer = answer;
    }

    /// Who has asked for this attempt so far.
    pub fn claimed(&self, ask: &Ask) -> Vec<String> {
        self.claims.lock().expect("not poisoned").of(ask)
    }

    /// Waits until the attempt was claimed so many times; gives who did.
    pub async fn claimed_times(&self, ask: &Ask, times: usize) -> Vec<String> {
        let end = Instant::now() + LIMIT;
        loop {
            let claimed = self.claimed(ask);
            if claimed.len() >= times {
                return claimed;
            }
            assert!(Instant::now() < end, "{times} claims; {}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Answers a claim of the WEE by hand.
    pub async fn grant(&self, ask: &Ask, may: bool) {
        let items = vec![Grant {
            task: ask.task,
            epoch: ask.epoch,
            attempt: ask.attempt,
            may,
        }];
        self.command(&WeeCommand::Begin { life: 1, items }).await;
    }

    /// Waits for the one end of a task: `Ended`, `Lost` or `Rejected`.
    pub async fn end(&mut self, ask: &Ask) -> Said {
        let (task, fence) = (ask.task, (ask.epoch, ask.attempt));
        let end = move |said: &[Said]| {
            let over = [Event::Ended, Event::Lost, Event::Rejected];
            said.iter()
                .find(|s| s.task == task && s.fence == fence && over.contains(&s.event))
                .cloned()
        };
        self.until(&format!("an end of {task}"), end).await
    }

    pub async fn run(&mut self, ask: &Ask) -> Said {
        self.send(ask).await;
        self.end(ask).await
    }

    pub fn logs(&self, task: TaskId) -> Vec<LogLine> {
        let logs = self
            .said
            .iter()
            .filter(|s| s.task == task && s.event == Event::Logs);
        logs.flat_map(|s| {
            let data = s.data.clone().expect("lines");
            serde_json::from_value::<Vec<LogLine>>(data).expect("log lines")
        })
        .collect()
    }

    pub fn status(&self) -> Arc<sengu_model::wire::envelope::WeeAnnouncement> {
        self.wee.as_ref().expect("not drained").status()
    }

    /// Waits until what the WEE says of the pool fits.
    pub async fn pool_until(
        &self,
        kind: &str,
        fits: impl Fn(&sengu_model::wire::envelope::PoolAnnouncement) -> bool,
    ) -> sengu_model::wire::envelope::PoolAnnouncement {
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.status();
            if let Some(pool) = status.pools.iter().find(|p| p.kind == kind && fits(p)) {
                return pool.clone();
            }
            assert!(Instant::now() < end, "{}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until what the WEE says of itself fits.
    pub async fn wait_for(&self, what: &str, fits: impl Fn(&WeeAnnouncement) -> bool) {
        let end = Instant::now() + LIMIT;
        while !fits(&self.status()) {
            assert!(Instant::now() < end, "{what}; {}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn gone(&self, kind: &str) {
        self.wait_for("the kind to go", |s| {
            !s.pools.iter().any(|p| p.kind == kind)
        })
        .await;
    }

    /// Takes in the reports of the next while.
    pub async fn hear(&mut self, wait: Duration) {
        if let Ok(body) = tokio::time::timeout(wait, self.reports.recv()).await {
            self.take(&body.expect("reports are followed"));
        }
    }

    /// Waits until the WEE has taken all commands.
    pub async fn wait_for_commands(&self) {
        let end = Instant::now() + LIMIT;
        while self.broker.depth(Queue::wee("wee-1")).await.expect("depth") > 0 {
            assert!(Instant::now() < end, "{}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn complaint(&self, kind: &str, part: &str) -> String {
        let has = |line: &&String| line.contains(part);
        let pool = self
            .pool_until(kind, |p| p.complaints.iter().any(|c| has(&c)))
            .await;
        pool.complaints
            .iter()
            .find(has)
            .cloned()
            .expect("found above")
    }

    pub fn story(&self) -> String {
        let last = &self.said[self.said.len().saturating_sub(20)..];
        let pools = self.wee.as_ref().map(|wee| wee.status().pools.clone());
        format!("said {last:#?}\nstatus {pools:#?}")
    }

    /// One more WEE on the same broker.
    pub fn another(&self, name: &str) -> WeeHandle {
        self.another_behind(name, self.broker.clone())
    }

    pub fn another_behind(&self, name: &str, broker: Arc<dyn Broker>) -> WeeHandle {
        let home = self.state.path().join(name);
        let runtime: Arc<dyn Runtime> = Arc::new(ProcessRuntime::new(home.clone()));
        sengu_execution::start(config(name, &home), broker, vec![runtime])
    }

    /// Drains and checks that no process is left.
    pub async fn close(mut self) {
        if let Some(wee) = self.wee.take() {
            let drained = tokio::time::timeout(LIMIT, wee.drain()).await;
            assert!(drained.is_ok(), "drained within {LIMIT:?}");
        }
        let instances = self.state.path().join("instances");
        let left = std::fs::read_dir(instances).map_or(0, Iterator::count);
        assert_eq!(left, 0, "no instance is left");
    }
}

/// Waits until that holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    until_some(what, || holds().then_some(())).await;
}

/// Waits until that gives something.
pub async fn until_some<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "{what} within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A WEE as the tests have it; its files are below `home`.
pub fn config(name: &str, home: &Path) -> WeeConfig {
    WeeConfig {
        name: name.to_owned(),
        zone: "default".to_owned(),
        labels: BTreeMap::new(),
        life: 1,
        embedded: false,
        sengu_version: "0.0.0".to_owned(),
        bundled: bundled(),
        cache: home.join("images"),
        seal_key: Some(KEY),
    }
}

/// Digests that tests offer, with the folders they stand for.
pub fn bundled() -> HashMap<String, PathBuf> {
    let echo = workspace().join("workers/echo");
    let bad = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let one = |(digest, folder): (&str, &PathBuf)| (format!("sha256:{digest}"), folder.clone());
    let echos = ["1", "2", "echo"].map(|digest| (digest, &echo));
    let bads = ["bad", "good", "v1", "v2"].map(|digest| (digest, &bad));
    echos.into_iter().chain(bads).map(one).collect()
}

/// An active offer, with the pool that the manifest declares.
pub fn offer(manifest: &Manifest, digest: &str) -> WorkerOffer {
    WorkerOffer {
        v: VERSION,
        manifest: manifest.clone(),
        digest: digest.to_owned(),
        bytes: 1,
        active: true,
        pool: manifest.pool,
    }
}

/// A secret as logic sends it.
pub fn sealed(values: &[(&str, &str)]) -> SealedSecret {
    let name = "lab";
    let seal_one = |(n, (key, value)): (u8, &(&str, &str))| {
        let place = format!("{name}/{key}");
        (key.to_string(), seal(&KEY, [n; 24], &place, value))
    };
    SealedSecret {
        name: name.to_owned(),
        data: (0u8..)
            .zip(values)
            .map(seal_one)
            .collect::<BTreeMap<_, _>>(),
    }
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

/// The echo worker: its manifest with an absolute command, and its folder. Built once when missing.
pub fn echo() -> (Manifest, PathBuf) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let own = std::env::current_exe().expect("this test's path");
        let profile = own
            .ancestors()
            .nth(2)
            .expect("target/<profile>/deps/<test>");
        let program = profile.join("sengu-worker-echo");
        if !program.is_file() {
            let mut build = std::process::Command::new(env!("CARGO"));
            build.args(["build", "-p", "sengu-worker-echo"]);
            if profile.ends_with("release") {
                build.arg("--release");
            }
            let status = build.current_dir(workspace()).status().expect("run cargo");
            assert!(status.success(), "build the echo worker");
        }
        program
    });
    let folder = workspace().join("workers/echo");
    let text = std::fs::read_to_string(folder.join("worker.toml")).expect("worker.toml");
    let mut manifest = Manifest::parse(&text).expect("a manifest");
    manifest.command = vec![program.display().to_string()];
    (manifest, folder)
}

/// A worker that behaves well, and says which version it is: with `sleep_ms` it takes its time, and
/// `note` it says in its log.
pub fn well(name: &str, version: &str) -> Manifest {
    let (mut manifest, _) = bad("well");
    manifest.name = name.to_owned();
    manifest.version = version.to_owned();
    manifest
        .command
        .extend([name.to_owned(), version.to_owned()]);
    manifest
}

/// A worker made to behave badly in the way its name says: `tests/bad/<name>`.
pub fn bad(name: &str) -> (Manifest, PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let text = format!(
        "name = \"{name}\"\nversion = \"1.0.0\"\nprotocol = 1\ncommand = [\"python3\", \"-u\", \
         \"{}/bad.py\", \"{name}\"]\nslots = 4\n[pool]\nmax = 1\n[[action]]\nname = \"go\"\n\
         effect = \"once\"\n",
        folder.display()
    );
    (Manifest::parse(&text).expect("a manifest"), folder)
}
