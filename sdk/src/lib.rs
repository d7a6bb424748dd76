//! All that a worker may see: the protocol loop, twins, and the model's frames.
//!
//! This crate exists so that a worker can be written without seeing any other part of sengu. A worker is a type with one
//! async function from a task to an outcome; `run` does the rest: hello, beats, deadlines, cancel, drain, panics.
//!
//! ```no_run
//! use sengu_sdk::{Context, NoTwin, Outcome, Start, Worker};
//!
//! struct Lamp;
//! impl Worker for Lamp {
//!     async fn run(&self, task: Context) -> Outcome {
//!         task.reading("lamp_on", 1.0, "1");
//!         Outcome::Done(Default::default())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     sengu_sdk::run::<_, NoTwin>("name = \"lamp\" ...", |_: &Start| Ok(Lamp))
//! }
//! ```

mod context;
mod drill;
mod serve;
mod stdio;
#[cfg(feature = "testing")]
pub mod testing;
pub mod twin;

pub use context::{Context, Secret};
pub use sengu_model::manifest::Manifest;
pub use sengu_model::record::{API_VERSION, Metadata, Record};
pub use sengu_model::wire::worker::{Level, ProbeFrame, Reading, TargetFrame};
pub use sengu_model::{Done, Effect, Failure, FailureCode, Outcome, TaskId, Time, limits};
pub use twin::{Fault, NoTwin, Twin, TwinOptions, TwinTarget};

use std::{future::Future, path::PathBuf, process::ExitCode};

/// One worker kind. One value serves all tasks of an instance, many at once: keep device sessions and caches in it.
pub trait Worker: Send + Sync + 'static {
    /// Does one task. Return what is known: `Unknown` when the effect may have begun and no answer came.
    /// The future is dropped when the task's deadline passes; on cancel, `task.cancelled()` resolves.
    fn run(&self, task: Context) -> impl Future<Output = Outcome> + Send;

    /// Called once, after the last task and before exit: close device sessions. At most 5 s are given.
    fn drain(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What an instance knows of itself when it starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// The folder with worker.toml: data files of the kind (profiles, maps) are below it.
    pub folder: PathBuf,
    pub manifest: Manifest,
}

/// The whole `main` of a worker: without arguments it serves tasks on stdin and stdout; `twin ...` plays its targets;
/// `manifest` prints the worker.toml it was built with.
pub fn run<W: Worker, T: Twin>(
    manifest: &'static str,
    make: impl FnOnce(&Start) -> Result<W, String>,
) -> ExitCode {
    let parsed = match Manifest::parse(manifest) {
        Ok(parsed) => parsed,
        Err(e) => return fail(&e.to_string()),
    };
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => {
            let folder = std::env::var_os("SENGU_WORKER_FOLDER")
                .map_or_else(|| PathBuf::from("."), PathBuf::from);
            let start = Start {
                folder,
                manifest: parsed,
            };
            match make(&start) {
                Ok(worker) => serve::serve(worker, start.manifest, None),
                Err(e) => fail(&e),
            }
        }
        // As another version that is bad on purpose, to rehearse what a release does about it.
        Some("drill") => match drill::Drill::parse(arguments) {
            Ok(drill) => {
                let folder = std::env::var_os("SENGU_WORKER_FOLDER")
                    .map_or_else(|| PathBuf::from("."), PathBuf::from);
                let mut manifest = parsed;
                manifest.version.clone_from(&drill.version);
                let start = Start { folder, manifest };
                match make(&start) {
                    Ok(worker) => serve::serve(worker, start.manifest, Some(drill)),
                    Err(e) => fail(&e),
                }
            }
            Err(e) => fail(&e),
        },
        Some("twin") => match TwinOptions::parse(arguments) {
            Ok(options) => twin::serve::<T>(options),
            Err(e) => fail(&e),
        },
        Some("manifest") => {
            use std::io::Write as _;
            let _ = std::io::stdout().write_all(manifest.as_bytes());
            ExitCode::SUCCESS
        }
        Some(other) => fail(&format!(
            "unknown argument {other:?}: without arguments it speaks worker protocol v1 on stdin and stdout; \
             or `twin --count N`, or `drill --version V --fail FACT=VALUE`, or `manifest`"
        )),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
