//! The process runtime: a worker is a child process within limits, a fence, and groups of its own.
//!
//! This crate exists because only it may know of process ids, groups and `/proc`. Linux only. It must never signal a
//! process that it did not start: a process is known by its id *and* its start time.

mod cgroup;
mod fence;
mod gate;
mod group;
mod isolation;
mod keeper;
mod life;
mod locate;
mod remember;
mod stray;

use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use remember::{Memory, Remembered};
use sengu_execution::runtime::{Attached, Exit, Handle, Image, Runtime, RuntimeError};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A killed process group is gone within milliseconds, unless the kernel holds a process in a device wait.
const GONE_MAX: Duration = Duration::from_secs(5);

/// Runs workers as child processes. Keeps the ids of running ones in files below its state directory.
pub struct ProcessRuntime {
    memory: Arc<Memory>,
    isolation: Arc<isolation::Isolation>,
    running: Arc<Mutex<HashMap<Handle, Running>>>,
    /// Tells the instances of this life from those of earlier ones.
    life: String,
    next: AtomicU64,
}

/// One child of this life.
struct Running {
    pipes: Option<keeper::Pipes>,
    exit: Option<oneshot::Receiver<Exit>>,
    gone: watch::Receiver<bool>,
    leader: Arc<group::Leader>,
}

impl ProcessRuntime {
    /// Keeps its files in `state_dir`, which is made when absent. Two runtimes must not share one at a time: each takes
    /// the other's instances for left-overs.
    pub fn new(state_dir: PathBuf) -> ProcessRuntime {
        let memory = Memory::new(state_dir);
        let life = life::Life::new();
        let isolation = isolation::Isolation::find(&life, |name| memory.is_known(name));
        ProcessRuntime {
            memory: Arc::new(memory),
            isolation: Arc::new(isolation),
            running: Arc::default(),
            life: life.prefix(),
            next: AtomicU64::new(1),
        }
    }

    async fn start_one(&self, image: Image, label: String) -> Result<Handle, RuntimeError> {
        let located = locate::find(&image)?;
        let name = format!(
            "{}-{}",
            self.life,
            self.next.fetch_add(1, Ordering::Relaxed)
        );
        let handle = Handle(name.clone());
        let directory = self.memory.make_directory(&name)?;
        let (started, begun) = oneshot::channel();
        let (exited, exit) = oneshot::channel();
        let (left, gone) = watch::channel(false);
        let plan = keeper::Plan {
            located,
            arguments: image.command[1..].to_vec(),
            folder: image.folder.clone(),
            directory,
            name: name.clone(),
            label,
            resources: image.resources,
            isolation: self.isolation.clone(),
        };
        let (memory, running, own) = (self.memory.clone(), self.running.clone(), handle.clone());
        let keep = move || {
            let exit = keeper::keep(plan, &memory, started);
            memory.forget(&name);
            if let Some(exit) = exit {
                let _ = exited.send(exit);
            }
            let mut running = running.lock();
            // What it said last may still be wanted, so the pipes of one that nobody has attached to stay.
            if running.get(&own).is_some_and(|child| child.pipes.is_none()) {
                running.remove(&own);
            }
            let _ = left.send(true);
        };
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .stack_size(keeper::STACK_BYTES)
            .spawn(keep)
            .map_err(RuntimeError::io("start a thread"))?;
        let begun = begun
            .await
            .map_err(|_| RuntimeError::Engine("the keeper thread is gone".to_owned()))??;
        let running = Running {
            pipes: Some(begun.pipes),
            exit: Some(exit),
            gone,
            leader: begun.leader,
        };
        self.running.lock().insert(handle.clone(), running);
        Ok(handle)
    }

    fn attach_one(&self, handle: &Handle) -> Result<Attached, RuntimeError> {
        let mut running = self.running.lock();
        let unknown = || RuntimeError::Unknown(handle.clone());
        let child = running.get_mut(handle).ok_or_else(unknown)?;
        let pipes = child.pipes.take().ok_or_else(unknown)?;
        let exit = child.exit.take().ok_or_else(unknown)?;
        if *child.gone.borrow() {
            running.remove(handle);
        }
        drop(running);
        let exit = async move {
            exit.await.unwrap_or_else(|_| Exit {
                clean: false,
                why: "its end was not seen".to_owned(),
                left_behind: 0,
            })
        };
        let io = RuntimeError::io("open the pipes of a worker");
        pipes.attach(exit.boxed()).map_err(io)
    }

    async fn stop_one(&self, handle: &Handle) -> Result<(), RuntimeError> {
        let found = {
            let running = self.running.lock();
            running
                .get(handle)
                .map(|child| (child.leader.clone(), child.gone.clone()))
        };
        let Some((leader, mut gone)) = found else {
            return self.stop_leftover(handle).await;
        };
        leader.kill_group();
        let over = tokio::time::timeout(GONE_MAX, gone.wait_for(|gone| *gone)).await;
        match over {
            Ok(_) => {
                self.running.lock().remove(handle);
                Ok(())
            }
            Err(_) => Err(RuntimeError::Engine(format!(
                "instance {handle} does not die"
            ))),
        }
    }

    /// Kills what an earlier life of sengu left behind.
    async fn stop_leftover(&self, handle: &Handle) -> Result<(), RuntimeError> {
        let Some(remembered) = self.memory.read(&handle.0) else {
            return Ok(());
        };
        let steps = GONE_MAX.as_millis() / 10;
        for _ in 0..steps {
            if !remembered.kill() {
                remembered.control_group().remove();
                self.memory.forget(&handle.0);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(RuntimeError::Engine(format!(
            "instance {handle} does not die"
        )))
    }

    fn list_all(&self) -> Result<Vec<Handle>, RuntimeError> {
        let mut all = Vec::new();
        for (name, remembered) in self.memory.all()? {
            if name.starts_with(&self.life) {
                continue;
            }
            if remembered.as_ref().is_some_and(Remembered::lives) {
                all.push(Handle(name));
            } else {
                if let Some(remembered) = remembered {
                    remembered.control_group().remove();
                }
                self.memory.forget(&name);
            }
        }
        all.sort();
        Ok(all)
    }
}

impl Runtime for ProcessRuntime {
    fn name(&self) -> &str {
        "process"
    }

    fn isolation(&self) -> Vec<String> {
        self.isolation.words()
    }

    fn prepare(&self, image: Image) -> BoxFuture<'_, Result<(), RuntimeError>> {
        std::future::ready(locate::find(&image).map(|_| ())).boxed()
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
        std::future::ready(self.list_all()).boxed()
    }
}
