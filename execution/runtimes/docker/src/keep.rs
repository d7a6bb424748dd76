//! The life of one container: made, attached, watched to its end, removed. Whatever happens to the engine meanwhile,
//! the end is told once and the container is removed in the end.

use crate::engine::{Engine, Fault, WORK_MAX};
use crate::streams::{self, Streams};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerState};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use sengu_execution::runtime::{Attached, Exit, Handle, RuntimeError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Exit status of what SIGKILL ended: the kernel's for want of memory, or anybody's.
const KILLED: i64 = 137;
/// How much later than the end an engine may say that memory was the reason. containerd tells both by ways of their own.
const REASON_MAX: Duration = Duration::from_secs(1);
const REASON_EVERY: Duration = Duration::from_millis(100);

/// One container of this life.
pub struct Running {
    pub attached: Option<Attached>,
    gone: watch::Receiver<bool>,
}

impl Running {
    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Turns true when the container is removed, or is to be once the engine is back.
    pub fn gone(&self) -> watch::Receiver<bool> {
        self.gone.clone()
    }
}

/// Removes a container that may have been made, unless its start is lifted out of doubt.
pub struct Doom {
    engine: Engine,
    name: Option<String>,
}

impl Doom {
    pub fn new(engine: Engine, name: String) -> Doom {
        let name = Some(name);
        Doom { engine, name }
    }

    pub fn lift(mut self) {
        self.name = None;
    }
}

impl Drop for Doom {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.engine.doom(name);
        }
    }
}

pub async fn create(engine: &Engine, name: &str, body: ContainerCreateBody) -> Result<(), Fault> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let create = |docker: Docker| async move { docker.create_container(Some(options), body).await };
    let created = engine.call(WORK_MAX, create).await?;
    for warning in created.warnings {
        tracing::debug!(container = name, warning, "the Docker Engine warns");
    }
    Ok(())
}

/// Before the start, so that nothing it says is lost.
pub async fn attach(engine: &Engine, name: &str) -> Result<Streams, Fault> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .build();
    let attach = |docker: Docker| async move { docker.attach_container(name, Some(options)).await };
    Ok(streams::take_apart(engine.call(WORK_MAX, attach).await?))
}

/// Kills a container of this life. Its keeper sees to the rest.
pub async fn kill(engine: &Engine, name: &str) -> Result<(), RuntimeError> {
    let options = KillContainerOptionsBuilder::default()
        .signal("KILL")
        .build();
    let kill = |docker: Docker| async move { docker.kill_container(name, Some(options)).await };
    match engine.call(WORK_MAX, kill).await {
        // 409: it does not run.
        Err(fault) if !fault.is(404) && !fault.is(409) => {
            Err(engine.error("kill a container", fault))
        }
        _ => Ok(()),
    }
}

/// Watches a started container to its end, in a task of its own.
pub fn keep(
    engine: Engine,
    handle: Handle,
    streams: Streams,
    memory_mb: u32,
    running: Arc<Mutex<HashMap<Handle, Running>>>,
) {
    let (exited, exit) = oneshot::channel();
    let (left, gone) = watch::channel(false);
    let unseen = || Exit {
        clean: false,
        why: "its end was not seen".to_owned(),
        left_behind: 0,
    };
    let attached = Attached {
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        exit: exit
            .map(move |exit| exit.unwrap_or_else(|_| unseen()))
            .boxed(),
    };
    let kept = Running {
        attached: Some(attached),
        gone,
    };
    running.lock().insert(handle.clone(), kept);
    tokio::spawn(async move {
        // If this task is dropped in between, the next round or the next life removes it.
        let doom = Doom::new(engine.clone(), handle.0.clone());
        let exit = end(&engine, &handle.0, memory_mb).await;
        let _ = exited.send(exit);
        match engine.remove(&handle.0).await {
            Ok(_) => doom.lift(),
            Err(_) => drop(doom),
        }
        let mut running = running.lock();
        // What it said last may still be wanted, so the streams of one that nobody has attached to stay.
        if running
            .get(&handle)
            .is_some_and(|kept| kept.attached.is_none())
        {
            running.remove(&handle);
        }
        let _ = left.send(true);
    });
}

/// Waits for the end of a started container and finds out why it ended.
async fn end(engine: &Engine, name: &str, memory_mb: u32) -> Exit {
    let exit = |clean: bool, why: String| Exit {
        clean,
        why,
        // Nothing in a container outlives its first process, and nobody counts what dies with it.
        left_behind: 0,
    };
    let status = match wait(engine, name).await {
        Ok(status) => status,
        Err(fault) if fault.is(404) => {
            return exit(
                false,
                "its container was removed by somebody else".to_owned(),
            );
        }
        Err(fault) => {
            let why = fault.text();
            let why = format!(
                "the Docker Engine went away while it ran ({why}); its container \
                               is removed when the engine is back"
            );
            return exit(false, why);
        }
    };
    let mut told = state(engine, name).await;
    // The engine may hear of the end before it hears that memory was the reason.
    let until = Instant::now() + REASON_MAX;
    while status == KILLED && !out_of_memory(told.as_ref()) && Instant::now() < until {
        tokio::time::sleep(REASON_EVERY).await;
        told = state(engine, name).await;
    }
    if out_of_memory(told.as_ref()) {
        let why = format!("killed by the kernel: over its memory limit of {memory_mb} MB");
        return exit(false, why);
    }
    let error = told
        .and_then(|state| state.error)
        .filter(|error| !error.is_empty());
    exit(status == 0 && error.is_none(), words(status, error))
}

async fn state(engine: &Engine, name: &str) -> Option<ContainerState> {
    let ask = |docker: Docker| async move { docker.inspect_container(name, None).await };
    engine.call(WORK_MAX, ask).await.ok()?.state
}

fn out_of_memory(state: Option<&ContainerState>) -> bool {
    state.and_then(|state| state.oom_killed) == Some(true)
}

async fn wait(engine: &Engine, name: &str) -> Result<i64, Fault> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    // Without a limit of its own: it lasts as long as the worker lives, and ends when the engine does.
    let docker = engine.client()?;
    let mut answers = Box::pin(docker.wait_container(name, Some(options)));
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(other)) => Err(other.into()),
        None => Err(Fault::Away("its connection ended".to_owned())),
    }
}

fn words(status: i64, error: Option<String>) -> String {
    let mut why = match status {
        // As shells and engines tell of signals.
        129..=192 => format!("killed by signal {} (exit status {status})", status - 128),
        _ => format!("exit status {status}"),
    };
    if let Some(error) = error {
        why = format!("{why}: {error}");
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_end_is_told_in_words() {
        assert_eq!(words(3, None), "exit status 3");
        assert_eq!(words(137, None), "killed by signal 9 (exit status 137)");
        assert_eq!(
            words(127, Some("no program".to_owned())),
            "exit status 127: no program"
        );
    }
}
