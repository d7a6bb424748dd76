//! The docker runtime: a worker is a container of a Docker Engine, spoken to over its attached streams.
//!
//! This crate exists because it carries the engine's client, and because only it may know of containers. It must never
//! touch a container or an image that it did not make: its own carry its labels and names.

mod archive;
mod bundle;
mod container;
mod engine;
mod images;
mod keep;
mod pack;
mod program;
mod streams;

use engine::{Engine, Fault, Owned, WORK_MAX};
use futures::future::{BoxFuture, FutureExt};
use images::{Images, Ready};
use keep::{Doom, Running};
use parking_lot::Mutex;
use sengu_execution::runtime::{Attached, Handle, Image, Runtime, RuntimeError};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NAME: &str = "docker";
/// Where engines listen unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The network that reaches the targets wherever the host does.
pub const DEFAULT_NETWORK: &str = "host";
/// A killed container is gone within a second, unless the kernel holds a process in a device wait.
const GONE_MAX: Duration = Duration::from_secs(20);

/// What a docker runtime must be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Unix socket of the engine; None for [`DEFAULT_SOCKET`].
    pub socket: Option<PathBuf>,
    /// Whose containers these are; stays the same over restarts and differs from all others that use this engine.
    pub owner: String,
    /// The engine's network that workers join: `host`, `none`, or one by name.
    pub network: String,
}

/// Runs workers as containers.
pub struct DockerRuntime {
    engine: Engine,
    images: Images,
    network: String,
    owned: Owned,
    running: Arc<Mutex<HashMap<Handle, Running>>>,
    next: AtomicU64,
    /// The engine has no program to be the first process of containers.
    no_init: AtomicBool,
}

impl DockerRuntime {
    /// Does not fail while the engine is away.
    pub fn new(settings: Settings) -> DockerRuntime {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanoseconds = unix.map_or(0, |d| d.as_nanos());
        // Two runtimes of one process may be made within one tick of the clock.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let engine = Engine::new(settings.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()));
        engine.watch();
        DockerRuntime {
            engine,
            images: Images::default(),
            network: settings.network,
            owned: Owned {
                owner: settings.owner,
                life: format!("{:x}-{nanoseconds:x}-{count:x}", std::process::id()),
            },
            running: Arc::default(),
            next: AtomicU64::new(1),
            no_init: AtomicBool::new(false),
        }
    }

    async fn start_one(&self, image: Image, label: String) -> Result<Handle, RuntimeError> {
        self.engine.watch();
        let mut ready = match self.images.brought(&image) {
            Some(ready) => ready,
            None => self.images.ready(&self.engine, &image).await?,
        };
        let mut again = true;
        loop {
            match self.try_start(&image, &ready, &label).await {
                Ok(handle) => return Ok(handle),
                // Somebody has removed the image.
                Err(fault) if again && fault.is(404) => {
                    ready = self.images.ready(&self.engine, &image).await?;
                }
                Err(fault)
                    if fault.text().contains("docker-init")
                        && !self.no_init.swap(true, Ordering::Relaxed) =>
                {
                    tracing::info!("the Docker Engine has no docker-init: workers reap themselves");
                    continue;
                }
                Err(fault) => return Err(self.not_started(&image, fault)),
            }
            again = false;
        }
    }

    async fn try_start(&self, image: &Image, ready: &Ready, label: &str) -> Result<Handle, Fault> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("sengu-{}-{number}", self.owned.life);
        let facts = self.engine.facts().await;
        let facts = facts.map_err(|e| Fault::Away(e.text()))?;
        let description = container::describe(&container::Plan {
            image,
            image_id: &ready.id,
            defaults: &ready.defaults,
            facts: &facts,
            network: &self.network,
            owner: &self.owned.owner,
            life: &self.owned.life,
            label,
            init: !self.no_init.load(Ordering::Relaxed),
        });
        // From here on it may exist, whatever is answered and whoever still waits for this.
        let doom = Doom::new(self.engine.clone(), name.clone());
        if let Err(fault) = keep::create(&self.engine, &name, description).await {
            if matches!(fault, Fault::Refused(..)) {
                doom.lift();
            }
            return Err(fault);
        }
        let streams = keep::attach(&self.engine, &name).await?;
        let start = |docker: bollard::Docker| {
            let name = name.clone();
            async move { docker.start_container(&name, None).await }
        };
        self.engine.call(WORK_MAX, start).await?;
        doom.lift();
        let handle = Handle(name);
        let memory_mb = image.resources.memory_mb;
        let running = self.running.clone();
        keep::keep(
            self.engine.clone(),
            handle.clone(),
            streams,
            memory_mb,
            running,
        );
        Ok(handle)
    }

    fn not_started(&self, image: &Image, fault: Fault) -> RuntimeError {
        // What the kernel says of a program that it cannot run.
        const HOPELESS: [&str; 4] = [
            "executable file not found",
            "no such file or directory",
            "exec format error",
            "permission denied",
        ];
        match fault {
            Fault::Refused(_, why) if HOPELESS.iter().any(|hopeless| why.contains(hopeless)) => {
                RuntimeError::Image {
                    kind: image.kind.clone(),
                    why: format!("its program does not start in a container: {why}"),
                }
            }
            other => self.engine.error("start a container", other),
        }
    }

    fn attach_one(&self, handle: &Handle) -> Result<Attached, RuntimeError> {
        let mut running = self.running.lock();
        let unknown = || RuntimeError::Unknown(handle.clone());
        let attached = running.get_mut(handle).ok_or_else(unknown)?.attached.take();
        if running.get(handle).is_some_and(Running::is_gone) {
            running.remove(handle);
        }
        attached.ok_or_else(unknown)
    }

    async fn stop_one(&self, handle: &Handle) -> Result<(), RuntimeError> {
        let gone = self.running.lock().get(handle).map(Running::gone);
        let Some(mut gone) = gone else {
            // Of an earlier life, or gone already.
            let removed = self.engine.remove(&handle.0).await.map(|_| ());
            return removed.map_err(|fault| self.engine.error("remove a container", fault));
        };
        keep::kill(&self.engine, &handle.0).await?;
        match tokio::time::timeout(GONE_MAX, gone.wait_for(|gone| *gone)).await {
            Ok(_) => {
                self.running.lock().remove(handle);
                Ok(())
            }
            Err(_) => Err(RuntimeError::Engine(format!(
                "container {handle} does not die"
            ))),
        }
    }

    async fn list_all(&self) -> Result<Vec<Handle>, RuntimeError> {
        self.engine.watch();
        match self.engine.left_behind(&self.owned).await {
            Ok(names) => Ok(names.into_iter().map(Handle).collect()),
            Err(fault) => {
                // Nobody may ask again.
                self.engine.sweep_later(self.owned.clone());
                Err(self.engine.error("list containers", fault))
            }
        }
    }
}

impl Runtime for DockerRuntime {
    fn name(&self) -> &str {
        NAME
    }

    fn isolation(&self) -> Vec<String> {
        let facts = self.engine.known();
        let facts = facts.as_ref().map(|facts| &**facts).map_err(String::as_str);
        container::isolation(facts, &self.network)
    }

    /// True once the engine was seen on this machine: while it is away, the calls say so, and it comes back.
    fn fits(&self, image: &Image) -> bool {
        image.declares(NAME).is_some() && self.engine.is_there()
    }

    fn prepare(&self, image: Image) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async move {
            self.engine.watch();
            self.images.ready(&self.engine, &image).await.map(|_| ())
        }
        .boxed()
    }

    fn start(&self, image: Image, label: String) -> BoxFuture<'_, Result<Handle, RuntimeError>> {
        self.start_one(image, label).boxed()
    }

    fn attach(&self, handle: Handle) -> BoxFuture<'_, Result<Attached, RuntimeError>> {
        async move { self.attach_one(&handle) }.boxed()
    }

    fn stop(&self, handle: Handle) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async move { self.stop_one(&handle).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Handle>, RuntimeError>> {
        self.list_all().boxed()
    }
}
