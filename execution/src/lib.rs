//! The Worker Execution Environment: takes tasks, picks a worker, has it run, publishes the result.
//!
//! This crate exists so that execution sees nothing of logic, of any broker, or of any runtime: only envelopes and ports
//! pass. `choose`, `pool` and `lease` decide and are pure; `shell` is the one async loop. It must never repeat work by
//! itself, keep a task's state beyond its end, or let one worker harm another.

mod announce;
mod cache;
pub mod check;
pub mod choose;
mod claim;
pub mod clock;
mod commands;
mod complaints;
pub mod conformance;
mod directory;
mod epoch;
mod fetch;
mod frames;
mod hand;
mod hand_over;
mod images;
mod instance;
mod intake;
mod keep;
pub mod lease;
mod leave;
mod offer;
mod park;
pub mod pool;
mod pools;
mod ready;
mod redact;
mod report;
pub mod runtime;
mod shell;
mod speech;
mod standing;

pub use runtime::Runtime;

use sengu_interconnect::Broker;
use sengu_model::seal::SealKey;
use sengu_model::wire::envelope::WeeAnnouncement;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// What a WEE must be told.
#[derive(Debug, Clone)]
pub struct WeeConfig {
    /// Unique among all WEEs.
    pub name: String,
    /// It takes the tasks of this zone.
    pub zone: String,
    /// For people and for the choice of WEEs; told in the announcement.
    pub labels: BTreeMap<String, String>,
    /// Another one at each start, and greater than all before: microseconds since 1970 at its start. Of two WEEs of one
    /// name the one with the smaller life works, the other stays out.
    pub life: u64,
    /// It shares its process with logic, so it is not upgraded alone.
    pub embedded: bool,
    /// Of the binary, for the announcement.
    pub sengu_version: String,
    /// Folders of images that came with this program, by digest. They are used in place.
    pub bundled: HashMap<String, PathBuf>,
    /// Where images that came over the interconnect are unpacked. Made when absent; not shared with another WEE.
    pub cache: PathBuf,
    /// Opens the secrets of tasks. Without it, tasks with secrets are rejected.
    pub seal_key: Option<SealKey>,
}

/// A running WEE. Dropping it ends the loop at once, as a crash would.
pub struct WeeHandle {
    drain: Option<oneshot::Sender<()>>,
    status: watch::Receiver<Arc<WeeAnnouncement>>,
    task: tokio::task::JoinHandle<Ended>,
    ended: Option<Ended>,
}

/// Why a WEE has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, and left nothing behind.
    Drained,
    /// It was told to make room for the program that is installed now: start that one with the same arguments.
    Upgrade,
    /// Its loop is gone. The panic hook has told why; the process had better end.
    Died,
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
        task: clock::spawn(shell.run(asked)),
        ended: None,
    }
}

impl WeeHandle {
    /// What the WEE says of itself, as of at most half a second ago.
    pub fn status(&self) -> Arc<WeeAnnouncement> {
        self.status.borrow().clone()
    }

    /// Waits for the end of the WEE: it ends by itself when logic asks for an upgrade. Dropping the future loses nothing.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = (&mut self.task).await.unwrap_or(Ended::Died);
        self.ended = Some(ended);
        ended
    }

    /// Stops fetching, lets tasks in hand end within limits, drains all instances and takes the announcement back.
    /// Takes half a minute at most.
    pub async fn drain(mut self) -> Ended {
        if let Some(drain) = self.drain.take() {
            let _ = drain.send(());
        }
        self.ended().await
    }
}

impl Drop for WeeHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
