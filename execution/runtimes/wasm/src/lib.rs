//! The WASM runtime: a worker is a component, and each task gets a fresh instance of it in this process.
//!
//! This crate exists because only it may carry the engine and its compiler. It must never run a guest on the threads of
//! sengu, give it anything but its task and its target, compile in this process, or load machine code that it did not
//! have made itself.

mod address;
mod budget;
mod cache;
mod compile;
mod component;
mod engine;
mod guest;
mod http;
mod instance;
mod keep;
mod limits;
mod out;
mod task;
mod tcp;
mod tls;

pub use compile::compile_main;

use budget::{Budget, Share};
use component::{Components, Ready};
use engine::Machine;
use futures::future::{BoxFuture, FutureExt};
use out::Out;
use parking_lot::Mutex;
use sengu_execution::runtime::{Attached, Exit, Handle, Image, Runtime, RuntimeError};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use task::Shared;
use tokio::io::DuplexStream;
use tokio::sync::{OnceCell, oneshot, watch};

/// Runs workers as WASM components within this process.
pub struct WasmRuntime {
    state_dir: PathBuf,
    compiler: Vec<OsString>,
    /// Made when the first component comes: an engine without work costs nothing.
    begun: OnceCell<Arc<Begun>>,
    running: Arc<Mutex<HashMap<Handle, Running>>>,
    /// Tells the instances of this life from those of earlier ones, which are gone.
    life: String,
    next: AtomicU64,
}

struct Begun {
    machine: Arc<Machine>,
    components: Components,
}

/// One instance of this life.
struct Running {
    streams: Option<(DuplexStream, DuplexStream)>,
    exit: Option<oneshot::Receiver<Exit>>,
    stop: Option<oneshot::Sender<()>>,
    gone: watch::Receiver<bool>,
}

impl WasmRuntime {
    /// Keeps compiled components below `state_dir`. `compiler` is a program with its first arguments that ends up in
    /// [`compile_main`] of this very build.
    pub fn new(state_dir: PathBuf, compiler: Vec<OsString>) -> WasmRuntime {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        WasmRuntime {
            state_dir,
            compiler,
            begun: OnceCell::new(),
            running: Arc::default(),
            life: format!(
                "wasm-{:x}-{:x}",
                std::process::id(),
                unix.map_or(0, |d| d.as_nanos())
            ),
            next: AtomicU64::new(1),
        }
    }

    async fn begun(&self) -> Result<&Arc<Begun>, RuntimeError> {
        let begin = || async {
            let machine = Arc::new(Machine::new()?);
            let components =
                Components::new(machine.clone(), &self.state_dir, self.compiler.clone())?;
            Ok(Arc::new(Begun {
                machine,
                components,
            }))
        };
        self.begun.get_or_try_init(begin).await
    }

    /// Makes an image startable, on the engine's threads: a large component is long to read and to check.
    async fn ready(&self, image: Image) -> Result<Arc<Ready>, RuntimeError> {
        let begun = self.begun().await?.clone();
        let threads = begun.machine.threads().clone();
        let ready = threads.spawn(async move { begun.components.ready(&image).await });
        let ready = ready.await;
        ready.map_err(|e| RuntimeError::Engine(format!("the WASM engine: {e}")))?
    }

    async fn start_one(&self, image: Image) -> Result<Handle, RuntimeError> {
        let ready = self.ready(image).await?;
        let begun = self.begun().await?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let handle = Handle(format!("{}-{number}", self.life));
        let (out, lines) = Out::new();
        let shared = Shared {
            machine: begun.machine.clone(),
            budget: Arc::new(Budget::new(ready.memory_mb)),
            share: Arc::new(Share::new(ready.cpus)),
            keep: Arc::default(),
            wires: Arc::default(),
            ready,
            out,
        };
        let (near_in, far_in) = tokio::io::duplex(limits::PIPE_BYTES);
        let (near_out, far_out) = tokio::io::duplex(limits::PIPE_BYTES);
        let (stop, stopped) = oneshot::channel();
        let (exited, exit) = oneshot::channel();
        let (left, gone) = watch::channel(false);
        let running = Running {
            streams: Some((near_in, near_out)),
            exit: Some(exit),
            stop: Some(stop),
            gone,
        };
        self.running.lock().insert(handle.clone(), running);
        let (all, own) = (self.running.clone(), handle.clone());
        begun.machine.threads().spawn(async move {
            let exit = instance::serve(shared, lines, (far_in, far_out), stopped).await;
            let _ = exited.send(exit);
            let mut all = all.lock();
            // What it said last may still be wanted, so the streams of one that nobody has attached to stay.
            if all.get(&own).is_some_and(|one| one.streams.is_none()) {
                all.remove(&own);
            }
            let _ = left.send(true);
        });
        Ok(handle)
    }

    fn attach_one(&self, handle: &Handle) -> Result<Attached, RuntimeError> {
        let mut running = self.running.lock();
        let unknown = || RuntimeError::Unknown(handle.clone());
        let one = running.get_mut(handle).ok_or_else(unknown)?;
        let (stdin, stdout) = one.streams.take().ok_or_else(unknown)?;
        let exit = one.exit.take().ok_or_else(unknown)?;
        if *one.gone.borrow() {
            running.remove(handle);
        }
        let exit = async move {
            exit.await.unwrap_or_else(|_| Exit {
                clean: false,
                why: "its end was not seen".to_owned(),
                left_behind: 0,
            })
        };
        Ok(Attached {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            // What goes wrong in a guest is said in its task's log and outcome.
            stderr: Box::pin(tokio::io::empty()),
            exit: exit.boxed(),
        })
    }

    async fn stop_one(&self, handle: &Handle) -> Result<(), RuntimeError> {
        let found = self
            .running
            .lock()
            .get_mut(handle)
            .map(|one| (one.stop.take(), one.gone.clone()));
        let Some((stop, mut gone)) = found else {
            return Ok(());
        };
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
        let over = tokio::time::timeout(limits::GONE_MAX, gone.wait_for(|gone| *gone)).await;
        match over {
            Ok(_) => {
                self.running.lock().remove(handle);
                Ok(())
            }
            Err(_) => Err(RuntimeError::Engine(format!(
                "instance {handle} does not end"
            ))),
        }
    }
}

impl Drop for WasmRuntime {
    fn drop(&mut self) {
        // They hold on to the engine, and nobody else could end them.
        for (_, mut one) in self.running.lock().drain() {
            if let Some(stop) = one.stop.take() {
                let _ = stop.send(());
            }
        }
    }
}

impl Runtime for WasmRuntime {
    fn name(&self) -> &str {
        "wasm"
    }

    fn isolation(&self) -> Vec<String> {
        vec![
            "each task in a fresh instance with memory of its own".to_owned(),
            "no files, no environment, no programs, no sockets".to_owned(),
            "network: the task's target only, through sengu, which also speaks its TLS".to_owned(),
            "resources: memory per instance, and its share of CPU time".to_owned(),
            "not enforced: not a process of its own; a defect of the engine would be one of sengu"
                .to_owned(),
        ]
    }

    fn prepare(&self, image: Image) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async move { self.ready(image).await.map(|_| ()) }.boxed()
    }

    fn start(&self, image: Image, _label: String) -> BoxFuture<'_, Result<Handle, RuntimeError>> {
        self.start_one(image).boxed()
    }

    fn attach(&self, handle: Handle) -> BoxFuture<'_, Result<Attached, RuntimeError>> {
        async move { self.attach_one(&handle) }.boxed()
    }

    fn stop(&self, handle: Handle) -> BoxFuture<'_, Result<(), RuntimeError>> {
        async move { self.stop_one(&handle).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Handle>, RuntimeError>> {
        // Nothing outlives the process.
        std::future::ready(Ok(Vec::new())).boxed()
    }
}
