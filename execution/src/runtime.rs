//! The Runtime port: how instances of a worker come to life. It knows images, instances and byte streams; frames,
//! tasks and pools are not its business, and nothing here may be true of processes only.

use futures::future::BoxFuture;
pub use sengu_model::manifest::{Manifest, Resources, RuntimeDecl};
use std::{fmt, path::PathBuf, pin::Pin};
use tokio::io::{AsyncRead, AsyncWrite};

/// What is to be run: one version of one worker kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub kind: String,
    pub version: String,
    /// `sha256:...`; what is told of who did a task.
    pub digest: String,
    /// Folder with worker.toml and the image's files.
    pub folder: PathBuf,
    /// Program and arguments; may be empty where the runtime knows the program from elsewhere.
    pub command: Vec<String>,
    /// How it can be run, best first.
    pub runtimes: Vec<RuntimeDecl>,
    /// What one instance may use.
    pub resources: Resources,
    /// Tasks one instance runs at once.
    pub slots: u32,
}

impl Image {
    /// The image that a manifest describes, with its files in `folder`.
    pub fn of(manifest: &Manifest, digest: String, folder: PathBuf) -> Image {
        Image {
            kind: manifest.name.clone(),
            version: manifest.version.clone(),
            digest,
            folder,
            command: manifest.command.clone(),
            runtimes: manifest.runtimes(),
            resources: manifest.resources,
            slots: manifest.slots,
        }
    }

    /// How the runtime of that name is to run it, if it may.
    pub fn declares(&self, runtime: &str) -> Option<&RuntimeDecl> {
        self.runtimes.iter().find(|r| r.name == runtime)
    }
}

/// Names one instance within its runtime. It stays valid over a restart of sengu, so that `list` can find what was
/// left behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub String);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub type Input = Pin<Box<dyn AsyncWrite + Send>>;
pub type Output = Pin<Box<dyn AsyncRead + Send>>;

/// The streams of a running instance.
pub struct Attached {
    /// Closing it asks the instance to leave.
    pub stdin: Input,
    pub stdout: Output,
    pub stderr: Output,
    /// Resolves when the instance is gone with all that it had started.
    pub exit: BoxFuture<'static, Exit>,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit status 0.
    pub clean: bool,
    /// For people: `exit status 3`, `killed by signal 9`.
    pub why: String,
    /// Processes that it had started and that had to be killed after it.
    pub left_behind: u32,
}

/// What one runtime can do. All calls may be made at once from many tasks.
pub trait Runtime: Send + Sync + 'static {
    /// `process`, `docker`, ...
    fn name(&self) -> &str;

    /// What it enforces on workers and what it does not, in words for people.
    fn isolation(&self) -> Vec<String>;

    /// Whether an image of this form can be run here: it declares this runtime, and the engine is there.
    fn fits(&self, image: &Image) -> bool {
        image.declares(self.name()).is_some()
    }

    /// Makes `image` ready, so that a start takes milliseconds. Called again after a failure; cheap when done already.
    fn prepare(&self, image: Image) -> BoxFuture<'_, Result<(), RuntimeError>>;

    /// Starts one instance. `label` (`kind@version/number`) is for people.
    fn start(&self, image: Image, label: String) -> BoxFuture<'_, Result<Handle, RuntimeError>>;

    /// The streams of an instance: once for an instance that `start` gave.
    fn attach(&self, handle: Handle) -> BoxFuture<'_, Result<Attached, RuntimeError>>;

    /// Kills an instance with all that it started and waits until it is gone. Done already is well done.
    fn stop(&self, handle: Handle) -> BoxFuture<'_, Result<(), RuntimeError>>;

    /// Instances of earlier lives of this runtime that still run or have left something behind.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Handle>, RuntimeError>>;
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The image cannot be run here, and trying again will not help until it is changed.
    #[error("worker {kind}: {why}")]
    Image { kind: String, why: String },
    #[error("{what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no instance {0} to attach to")]
    Unknown(Handle),
    /// The engine behind the runtime is away or refuses.
    #[error("{0}")]
    Engine(String),
}

impl RuntimeError {
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RuntimeError {
        let what = what.into();
        move |source| RuntimeError::Io { what, source }
    }

    /// The whole chain on one line.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        text
    }
}
