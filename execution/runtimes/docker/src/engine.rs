//! The one way to the Docker Engine: whether it is there, what it can do, and what is still to be removed from it.
//!
//! The engine may go and come at any time. Calls fail with a clear text while it is away and work again by themselves
//! when it is back; nothing here may wait without a limit or give up for good.

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{EventsOptionsBuilder, RemoveContainerOptionsBuilder};
use futures::StreamExt;
use parking_lot::Mutex;
use sengu_execution::runtime::RuntimeError;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// For questions that a well engine answers at once.
const ASK_MAX: Duration = Duration::from_secs(10);
/// For work on one container: a start takes 0.3 s, many at once on a busy machine take many times that.
pub const WORK_MAX: Duration = Duration::from_secs(60);
/// The client's own limit must never be the one that is met; each call has its own.
const CLIENT_LIMIT_S: u64 = 3_600;
/// Between two looks for an engine that is away: at first, and at most.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Between two looks at an engine that is there: one that hangs closes no connection.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two tries to remove what is to be removed.
const REMOVE_EVERY: Duration = Duration::from_secs(1);
/// A request to make a container that nobody waits for any more may still be carried out. So long is it looked for.
const SURELY_ABSENT: Duration = WORK_MAX;

/// A limit that the kernel may be unable to hold.
pub const CPU: &str = "CPU";

/// What the engine told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// In the words of image configurations: `amd64`, `arm64`.
    pub architecture: String,
    pub cpus: i64,
    pub version: String,
    /// Images are named by the digest of their manifest, not by that of their configuration.
    pub containerd_store: bool,
    pub seccomp: bool,
    /// Limits that the kernel of the engine cannot hold.
    pub cannot: Vec<&'static str>,
}

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not reached, or no answer.
    Away(String),
    /// The engine answered with this status and text.
    Refused(u16, String),
}

impl Fault {
    pub fn is(&self, wanted: u16) -> bool {
        matches!(self, Fault::Refused(status, _) if *status == wanted)
    }

    pub fn text(&self) -> &str {
        match self {
            Fault::Away(text) | Fault::Refused(_, text) => text,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Fault::Refused(status_code, message),
            Error::DockerStreamError { error } => Fault::Refused(500, error),
            Error::RequestTimeoutError => Fault::Away("no answer in time".to_owned()),
            other => Fault::Away(chain(&other)),
        }
    }
}

/// An error with its sources on one line, each text once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

enum State {
    Unknown,
    Here(Arc<Facts>),
    Away(String),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Link>);

struct Link {
    socket: PathBuf,
    state: Mutex<State>,
    /// It has answered in this life, so it belongs to this machine and will come back.
    answered: AtomicBool,
    watched: AtomicBool,
    /// Containers of this life that are to be removed once the engine can.
    doomed: Mutex<BTreeMap<String, Doomed>>,
    /// Containers of earlier lives are to be removed, because nobody could list them.
    sweep: Mutex<Option<Owned>>,
    news: Notify,
}

/// A container that is to be removed.
struct Doomed {
    since: Instant,
    /// It was said that the engine does not remove it.
    told: bool,
}

/// Whose containers: those of `owner` that are not of `life`.
#[derive(Debug, Clone)]
pub struct Owned {
    pub owner: String,
    pub life: String,
}

impl Engine {
    pub fn new(socket: PathBuf) -> Engine {
        Engine(Arc::new(Link {
            socket,
            state: Mutex::new(State::Unknown),
            answered: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            doomed: Mutex::default(),
            sweep: Mutex::default(),
            news: Notify::new(),
        }))
    }

    /// Follows the engine in the background from now on. Without a tokio runtime it is tried again with the next call.
    pub fn watch(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.0.watched.swap(true, Ordering::Relaxed) {
            let link = Arc::downgrade(&self.0);
            runtime.spawn(async move {
                let mut wait = BACK_OFF_MIN;
                // Ends with the runtime that it serves: between two rounds nothing here keeps the link.
                while let Some(link) = link.upgrade() {
                    let engine = Engine(link);
                    if engine.follow_once().await {
                        wait = BACK_OFF_MIN;
                    }
                    drop(engine);
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACK_OFF_MAX);
                }
            });
        }
    }

    /// Whether there is an engine on this machine: it answers, it has answered before, or it listens.
    pub fn is_there(&self) -> bool {
        self.watch();
        let known = matches!(*self.0.state.lock(), State::Here(_));
        known
            || self.0.answered.load(Ordering::Relaxed)
            || std::os::unix::net::UnixStream::connect(&self.0.socket).is_ok()
    }

    /// What it is, as of the last look; the error says why it is not known.
    pub fn known(&self) -> Result<Arc<Facts>, String> {
        match &*self.0.state.lock() {
            State::Here(facts) => Ok(facts.clone()),
            State::Away(why) => Err(self.away(why)),
            State::Unknown => Err(self.away("not asked yet")),
        }
    }

    /// What it is; asked now if the last look did not find it.
    pub async fn facts(&self) -> Result<Arc<Facts>, RuntimeError> {
        self.watch();
        if let Ok(facts) = self.known() {
            return Ok(facts);
        }
        self.look().await.map_err(|fault| self.error("ask", fault))
    }

    pub fn client(&self) -> Result<Docker, Fault> {
        let socket = self.0.socket.to_string_lossy();
        // Costs nothing worth keeping it for: it opens a connection for each request.
        Docker::connect_with_unix(&socket, CLIENT_LIMIT_S, bollard::API_DEFAULT_VERSION).map_err(
            |e| match e {
                Error::SocketNotFoundError(_) => Fault::Away("there is no such socket".to_owned()),
                other => other.into(),
            },
        )
    }

    /// One call with a limit.
    pub async fn call<T, F>(
        &self,
        limit: Duration,
        call: impl FnOnce(Docker) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client()?;
        match tokio::time::timeout(limit, call(client)).await {
            Ok(answer) => answer.map_err(Fault::from),
            Err(_) => Err(Fault::Away(format!("no answer within {limit:?}"))),
        }
    }

    fn away(&self, why: &str) -> String {
        let socket = self.0.socket.display();
        format!("the Docker Engine at {socket} does not answer: {why}")
    }

    /// The fault in the words of the port.
    pub fn error(&self, what: &str, fault: Fault) -> RuntimeError {
        RuntimeError::Engine(match fault {
            Fault::Away(why) => self.away(&why),
            Fault::Refused(_, why) => format!("the Docker Engine refuses to {what}: {why}"),
        })
    }

    /// Removes the container with all that runs in it. True when it was there; gone already is well.
    pub async fn remove(&self, name: &str) -> Result<bool, Fault> {
        let options = || {
            let options = RemoveContainerOptionsBuilder::default();
            options.force(true).v(true).build()
        };
        let remove = |docker: Docker| async move {
            let removed = docker.remove_container(name, Some(options())).await;
            match removed.map_err(Fault::from) {
                Err(fault) if fault.is(404) => Ok(Ok(false)),
                other => Ok(other.map(|()| true)),
            }
        };
        // 409: somebody else is just removing it.
        let until = Instant::now() + ASK_MAX;
        loop {
            match self.call(WORK_MAX, remove).await? {
                Err(fault) if fault.is(409) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }

    /// Has the container removed as soon as the engine can, however long that takes.
    pub fn doom(&self, name: String) {
        let doomed = Doomed {
            since: Instant::now(),
            told: false,
        };
        self.0.doomed.lock().insert(name, doomed);
        self.0.news.notify_one();
        self.watch();
    }

    /// Has what earlier lives left behind removed once the engine is back.
    pub fn sweep_later(&self, owned: Owned) {
        *self.0.sweep.lock() = Some(owned);
    }

    /// Names of the containers that earlier lives left behind, running or not.
    pub async fn left_behind(&self, owned: &Owned) -> Result<Vec<String>, Fault> {
        let filters = HashMap::from([("label", vec![format!("sengu.owner={}", owned.owner)])]);
        let options = bollard::query_parameters::ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let list = |docker: Docker| async move { docker.list_containers(Some(options)).await };
        let all = self.call(WORK_MAX, list).await?;
        let of_another = all.into_iter().filter(|container| {
            let labels = container.labels.as_ref();
            labels.and_then(|l| l.get("sengu.life")) != Some(&owned.life)
        });
        let name = |container: bollard::models::ContainerSummary| {
            let name = container.names?.into_iter().next()?;
            Some(name.trim_start_matches('/').to_owned())
        };
        let mut names: Vec<String> = of_another.filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    async fn look(&self) -> Result<Arc<Facts>, Fault> {
        let ask = |docker: Docker| async move {
            let version = docker.version().await?;
            Ok((version, docker.info().await?))
        };
        let told = self.call(ASK_MAX, ask).await;
        let mut state = self.0.state.lock();
        match told {
            Ok((version, info)) => {
                let facts = Arc::new(facts(version, info));
                *state = State::Here(facts.clone());
                self.0.answered.store(true, Ordering::Relaxed);
                Ok(facts)
            }
            Err(fault) => {
                *state = State::Away(fault.text().to_owned());
                Err(fault)
            }
        }
    }

    /// Looks for the engine and stays with it while it is there. False when it was not.
    async fn follow_once(&self) -> bool {
        let Ok(facts) = self.look().await else {
            return false;
        };
        tracing::debug!(version = facts.version, "the Docker Engine answers");
        let Ok(docker) = self.client() else {
            return false;
        };
        // Almost nothing is told of the daemon itself; what counts is that the connection ends when the engine does.
        let filters = HashMap::from([("type", vec!["daemon"])]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let mut events = Box::pin(docker.events(Some(options)));
        let mut looked = Instant::now();
        loop {
            let all_removed = self.clear().await;
            let wait = if all_removed {
                LOOK_EVERY
            } else {
                REMOVE_EVERY
            };
            tokio::select! {
                event = events.next() => if !matches!(event, Some(Ok(_))) { break },
                () = self.0.news.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            if looked.elapsed() >= LOOK_EVERY {
                // Only this task is left, and nothing to do for it.
                if all_removed && Arc::strong_count(&self.0) == 1 {
                    return true;
                }
                if self.look().await.is_err() {
                    break;
                }
                looked = Instant::now();
            }
        }
        let why = "its connection ended";
        *self.0.state.lock() = State::Away(why.to_owned());
        tracing::warn!(socket = %self.0.socket.display(), "the Docker Engine went away");
        true
    }

    /// Removes what is to be removed; true when nothing is left of it.
    async fn clear(&self) -> bool {
        let doomed: Vec<String> = self.0.doomed.lock().keys().cloned().collect();
        for name in doomed {
            let removed = self.remove(&name).await;
            let mut all = self.0.doomed.lock();
            let Some(doomed) = all.get_mut(&name) else {
                continue;
            };
            match removed {
                Ok(false) if doomed.since.elapsed() < SURELY_ABSENT => {}
                Ok(was_there) => {
                    tracing::debug!(container = name, was_there, "removed late");
                    all.remove(&name);
                }
                Err(fault) => {
                    if !std::mem::replace(&mut doomed.told, true) {
                        tracing::warn!(container = name, error = fault.text(), "not removed yet");
                    }
                }
            }
        }
        let sweep = self.0.sweep.lock().take();
        if let Some(owned) = sweep {
            match self.left_behind(&owned).await {
                Ok(names) => names.into_iter().for_each(|name| self.doom(name)),
                Err(_) => *self.0.sweep.lock() = Some(owned),
            }
        }
        self.0.doomed.lock().is_empty()
    }
}

fn facts(version: bollard::models::SystemVersion, info: bollard::models::SystemInfo) -> Facts {
    let limits = [
        ("memory", info.memory_limit),
        ("swap", info.swap_limit),
        (CPU, info.cpu_cfs_quota),
        ("number of processes", info.pids_limit),
    ];
    let snapshotter = |pair: &Vec<String>| {
        pair.first().is_some_and(|key| key == "driver-type")
            && pair.iter().any(|word| word.starts_with("io.containerd."))
    };
    let options = info.security_options.unwrap_or_default();
    Facts {
        architecture: version.arch.unwrap_or_default(),
        cpus: info.ncpu.unwrap_or(1).max(1),
        version: version.version.unwrap_or_default(),
        containerd_store: info.driver_status.iter().flatten().any(snapshotter),
        seccomp: options.iter().any(|option| option.contains("name=seccomp")),
        cannot: limits
            .into_iter()
            .filter_map(|(name, can)| (can == Some(false)).then_some(name))
            .collect(),
    }
}
