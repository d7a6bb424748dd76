//! From the file of an image to something that can be called: compiled once, held as long as it is used, and looked
//! through for what it wants to reach.

use crate::cache::Cache;
use crate::compile;
use crate::engine::Machine;
use crate::guest::{Host, Worker, WorkerPre};
use crate::limits;
use parking_lot::Mutex;
use sengu_execution::runtime::{Image, Manifest, RuntimeError};
use sengu_model::Effect;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::block_in_place;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

/// What guests may import. Of WASI nothing is offered; but what was made for it may still run as long as it calls none
/// of it, so such imports are let in and trap when called.
const OFFERED: &str = "sengu:worker/";
const TRAPPED: &str = "wasi:";

/// A worker that can be started at once.
pub struct Ready {
    pub kind: String,
    pub version: String,
    pub slots: u32,
    pub memory_mb: u32,
    pub cpus: f32,
    pub pre: WorkerPre<Host>,
    effects: HashMap<String, Effect>,
}

impl Ready {
    /// Of an action that is not declared, the worst is taken to be true.
    pub fn effect(&self, action: &str) -> Effect {
        self.effects.get(action).copied().unwrap_or(Effect::Once)
    }
}

/// All components of this life.
pub struct Components {
    machine: Arc<Machine>,
    cache: Cache,
    compiler: Vec<OsString>,
    linker: Linker<Host>,
    /// By digest of the component.
    loaded: Mutex<Vec<(String, Arc<InstancePre<Host>>)>>,
    /// Digests of files, as long as they are the same files.
    digests: Mutex<HashMap<PathBuf, (Stamp, String)>>,
    /// One at a time is loaded or compiled.
    turn: tokio::sync::Mutex<()>,
}

/// Changes when the file does.
type Stamp = (u64, u64, i64, i64);

impl Components {
    pub fn new(
        machine: Arc<Machine>,
        state_dir: &Path,
        compiler: Vec<OsString>,
    ) -> Result<Components, RuntimeError> {
        let mut linker = Linker::new(&machine.engine);
        Worker::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host)
            .map_err(|e| RuntimeError::Engine(format!("the WASM engine: {e:#}")))?;
        Ok(Components {
            cache: Cache::open(state_dir)?,
            machine,
            compiler,
            linker,
            loaded: Mutex::default(),
            digests: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Makes an image startable. To be called on threads that may be held for a moment. Milliseconds when its component was compiled before, next to nothing when it is loaded.
    ///
    /// # Errors
    /// `Image` when the component is not one, or wants what is not offered.
    pub async fn ready(&self, image: &Image) -> Result<Arc<Ready>, RuntimeError> {
        let refused = |why: String| RuntimeError::Image {
            kind: image.kind.clone(),
            why,
        };
        let file = image
            .declares("wasm")
            .and_then(|wasm| wasm.component.as_deref())
            .ok_or_else(|| refused("worker.toml names no component".to_owned()))?;
        let path = image.folder.join(file);
        let pre = match self.known(&path) {
            Some(pre) => pre,
            None => {
                let _turn = self.turn.lock().await;
                match self.known(&path) {
                    Some(pre) => pre,
                    None => self.load(image, &path).await?,
                }
            }
        };
        let pre = WorkerPre::new((*pre).clone())
            .map_err(|e| refused(format!("{file}: {}", compile::one_line(&format!("{e:#}")))))?;
        Ok(Arc::new(Ready {
            kind: image.kind.clone(),
            version: image.version.clone(),
            slots: image.slots,
            memory_mb: image.resources.memory_mb,
            cpus: image.resources.cpus,
            pre,
            effects: effects(&image.folder),
        }))
    }

    fn known(&self, path: &Path) -> Option<Arc<InstancePre<Host>>> {
        let stamp = stamp(path)?;
        let digests = self.digests.lock();
        let (known, digest) = digests.get(path)?;
        (*known == stamp).then(|| self.loaded(digest)).flatten()
    }

    fn loaded(&self, digest: &str) -> Option<Arc<InstancePre<Host>>> {
        let loaded = self.loaded.lock();
        let found = loaded.iter().find(|(of, _)| of == digest);
        found.map(|(_, pre)| pre.clone())
    }

    async fn load(
        &self,
        image: &Image,
        path: &Path,
    ) -> Result<Arc<InstancePre<Host>>, RuntimeError> {
        let refused = |why: String| RuntimeError::Image {
            kind: image.kind.clone(),
            why,
        };
        let stamp = stamp(path);
        let (bytes, digest) = block_in_place(|| {
            let bytes = compile::read(path, limits::COMPONENT_BYTES_MAX)
                .map_err(|e| refused(format!("its component: {}", e.text())))?;
            if !bytes.starts_with(b"\0asm") {
                return Err(refused(format!("{} is no WASM component", path.display())));
            }
            let digest = crate::tls::hex(&Sha256::digest(&bytes));
            Ok((bytes, digest))
        })?;
        let pre = match self.loaded(&digest) {
            Some(pre) => pre,
            None => {
                let component = self.component(image, &bytes, &digest).await?;
                let pre = Arc::new(self.link(&component).map_err(refused)?);
                let mut loaded = self.loaded.lock();
                forget(&mut loaded);
                loaded.push((digest.clone(), pre.clone()));
                pre
            }
        };
        if let Some(stamp) = stamp {
            let mut digests = self.digests.lock();
            digests.retain(|path, _| path.exists());
            digests.insert(path.to_owned(), (stamp, digest));
        }
        Ok(pre)
    }

    async fn component(
        &self,
        image: &Image,
        bytes: &[u8],
        digest: &str,
    ) -> Result<Component, RuntimeError> {
        let engine = &self.machine.engine;
        if let Some(component) = block_in_place(|| self.cache.load(engine, digest)) {
            return Ok(component);
        }
        let scratch = self.cache.scratch()?;
        let compiled = compile::compile(&self.compiler, &image.kind, bytes, &scratch).await?;
        let loaded = block_in_place(|| {
            self.cache.store(engine, digest, &compiled)?;
            Ok(self.cache.load(engine, digest))
        })?;
        loaded.ok_or_else(|| {
            // Only a compiler of another build makes what this engine does not take.
            RuntimeError::Engine("the compiled component cannot be loaded".to_owned())
        })
    }

    fn link(&self, component: &Component) -> Result<InstancePre<Host>, String> {
        let engine = &self.machine.engine;
        let kind = component.component_type();
        for (name, _) in kind.imports(engine) {
            if !name.starts_with(OFFERED) && !name.starts_with(TRAPPED) {
                return Err(format!("its component wants {name}, which is not offered"));
            }
        }
        let mut linker = self.linker.clone();
        linker
            .define_unknown_imports_as_traps(component)
            .and_then(|()| linker.instantiate_pre(component))
            .map_err(|e| compile::one_line(&format!("its component does not fit: {e:#}")))
    }
}

/// Lets go of components that nothing runs, the oldest first.
fn forget(loaded: &mut Vec<(String, Arc<InstancePre<Host>>)>) {
    while loaded.len() >= limits::LOADED_MAX {
        loaded.remove(0);
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn effects(folder: &Path) -> HashMap<String, Effect> {
    let text = std::fs::read_to_string(folder.join("worker.toml")).unwrap_or_default();
    let Ok(manifest) = Manifest::parse(&text) else {
        return HashMap::new();
    };
    let actions = manifest.actions.into_iter();
    actions.map(|action| (action.name, action.effect)).collect()
}
