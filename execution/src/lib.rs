//! The Worker Execution Environment: takes tasks, picks a worker, has it run, publishes the result.
//!
//! This crate exists so that execution sees nothing of logic, of any broker, or of any runtime: only envelopes and ports
//! pass. `choose`, `pool` and `lease` decide and are pure; `shell` is the one async loop. It must never repeat work by
//! itself, keep a task's state beyond its end, or let one worker harm another.

mod announce;
pub mod check;
pub mod choose;
mod complaints;
pub mod conformance;
mod frames;
mod hand;
mod instance;
mod intake;
mod keep;
pub mod lease;
mod offer;
pub mod pool;
mod redact;
mod report;
pub mod runtime;
mod shell;
mod speech;

pub use runtime::Runtime;

use sengu_interconnect::Broker;
use sengu_model::seal::SealKey;
use sengu_model::wire::envelope::WeeAnnouncement;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// What a WEE must be told.
#[derive(Debug, Clone)]
pub struct WeeConfig {
    /// Unique among all WEEs.
    pub name: String,
    /// It takes the tasks of this zone.
    pub zone: String,
    /// Of the binary, for the announcement.
    pub sengu_version: String,
    /// Opens the secrets of tasks. Without it, tasks with secrets are rejected.
    pub seal_key: Option<SealKey>,
}

/// A running WEE. Dropping it ends the loop at once, as a crash would.
pub struct WeeHandle {
    drain: Option<oneshot::Sender<()>>,
    status: watch::Receiver<Arc<WeeAnnouncement>>,
    task: tokio::task::JoinHandle<()>,
}

/// Starts a WEE on the current tokio runtime.
pub fn start(
    config: WeeConfig,
    broker: Arc<dyn Broker>,
    runtimes: Vec<Arc<dyn Runtime>>,
) -> WeeHandle {
    let (drain, asked) = oneshot::channel();
    let (shell, status) = shell::Shell::new(config, broker, runtimes);
    WeeHandle {
        drain: Some(drain),
        status,
        task: tokio::spawn(shell.run(asked)),
    }
}

impl WeeHandle {
    /// What the WEE says of itself, as of at most half a second ago.
    pub fn status(&self) -> Arc<WeeAnnouncement> {
        self.status.borrow().clone()
    }

    /// Stops fetching, lets tasks in hand end within limits, drains all instances and takes the announcement back.
    /// Takes half a minute at most.
    pub async fn drain(mut self) {
        if let Some(drain) = self.drain.take() {
            let _ = drain.send(());
        }
        // A panic in the loop has been reported by the panic hook; there is nothing left to drain then.
        let _ = (&mut self.task).await;
    }
}

impl Drop for WeeHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
