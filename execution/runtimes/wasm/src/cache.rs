//! Compiled components on disk, so that a start costs milliseconds.
//!
//! A compiled component is machine code: whoever can write one here runs in this process. So the folder is private, each
//! entry carries a proof that this cache wrote it under this name, and nothing that came with an image is ever loaded.

use crate::limits;
use ring::hmac;
use sengu_execution::runtime::RuntimeError;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

const KEY_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

pub struct Cache {
    folder: PathBuf,
    key: hmac::Key,
}

impl Cache {
    /// # Errors
    /// When the folder cannot be had as a private one.
    pub fn open(state_dir: &Path) -> Result<Cache, RuntimeError> {
        let folder = state_dir.join("compiled");
        let io = |what: &str| RuntimeError::io(format!("{what} {}", folder.display()));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(io("create"))?;
        let found = fs::symlink_metadata(&folder).map_err(io("read"))?;
        let own = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != own {
            return Err(RuntimeError::Engine(format!(
                "{} must be a folder that belongs to the user who runs sengu",
                folder.display()
            )));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
                .map_err(io("make private"))?;
        }
        let key = key(&folder.join("key"))?;
        Ok(Cache {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            folder,
        })
    }

    /// Where the compiler is to write: private, and gone when dropped.
    pub fn scratch(&self) -> Result<Scratch, RuntimeError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|e| RuntimeError::Engine(e.to_string()))?;
        let name = format!(".{:016x}", u64::from_ne_bytes(random));
        Ok(Scratch {
            component: self.folder.join(format!("{name}.wasm")),
            compiled: self.folder.join(format!("{name}.cwasm")),
        })
    }

    /// The compiled form of the component with that SHA-256, if it is here and whole.
    pub fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = name(engine, digest);
        let path = self.folder.join(&name);
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).ok()?;
        let read = (&file)
            .take(limits::COMPILED_BYTES_MAX + 1)
            .read_to_end(&mut bytes);
        if read.is_err() || bytes.len() <= PROOF_BYTES {
            return None;
        }
        let (proof, compiled) = bytes.split_at(PROOF_BYTES);
        let loaded = Proven::check(&self.key_of(&name), proof, compiled)
            .and_then(|proven| proven.component(engine));
        match loaded {
            Ok(component) => {
                // For `tidy`, which keeps what was used last.
                let _ = file.set_modified(SystemTime::now());
                Some(component)
            }
            Err(why) => {
                tracing::warn!(file = %path.display(), why, "compiled component not used");
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Takes what the compiler wrote.
    ///
    /// # Errors
    /// When the disk is full, or there is nothing.
    pub fn store(
        &self,
        engine: &Engine,
        digest: &str,
        compiled: &[u8],
    ) -> Result<(), RuntimeError> {
        let name = name(engine, digest);
        let fresh = self.scratch()?;
        let io = |path: &Path| RuntimeError::io(format!("write {}", path.display()));
        let mut file = private(&fresh.compiled).map_err(io(&fresh.compiled))?;
        let proof = hmac::sign(&self.key_of(&name), compiled);
        file.write_all(proof.as_ref())
            .and_then(|()| file.write_all(compiled))
            .map_err(io(&fresh.compiled))?;
        let path = self.folder.join(&name);
        fs::rename(&fresh.compiled, &path).map_err(io(&path))?;
        self.tidy();
        Ok(())
    }

    /// A key of its own for each name, so that one entry cannot stand in for another.
    fn key_of(&self, name: &str) -> hmac::Key {
        let tag = hmac::sign(&self.key, name.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
    }

    /// Removes the entries that were used longest ago, beyond the limit.
    fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut found: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "cwasm"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        found.sort();
        let over = found.len().saturating_sub(limits::CACHE_FILES_MAX);
        for (_, path) in &found[..over] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Bytes that this cache wrote itself, as they were when it wrote them.
struct Proven<'a>(&'a [u8]);

impl<'a> Proven<'a> {
    fn check(key: &hmac::Key, proof: &[u8], compiled: &'a [u8]) -> Result<Proven<'a>, String> {
        match hmac::verify(key, compiled, proof) {
            Ok(()) => Ok(Proven(compiled)),
            Err(_) => Err("it is not as it was written".to_owned()),
        }
    }

    #[allow(unsafe_code)]
    fn component(&self, engine: &Engine) -> Result<Component, String> {
        // SAFETY: `deserialize` asks for bytes that `Engine::precompile_component` made, unchanged since. `Proven` is
        // made by `check` alone, which has found an HMAC-SHA-256 over exactly these bytes by a key that only this user
        // can read; it was written by `Cache::store` alone, which is given nothing but what our own compiler made in a
        // folder that only this user can enter. The bytes are in our memory, so nobody can exchange them after the
        // check. That they fit this engine's version and settings is checked by `deserialize` itself, and is part of
        // the name that the key is made of.
        let component = unsafe { Component::deserialize(engine, self.0) };
        component.map_err(|e| format!("{e:#}"))
    }
}

/// Paths for one run of the compiler.
pub struct Scratch {
    pub component: PathBuf,
    pub compiled: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.component);
        let _ = fs::remove_file(&self.compiled);
    }
}

/// Creates a file that nobody else may read.
pub fn private(path: &Path) -> std::io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Names the component and all of the engine that matters to its compiled form.
fn name(engine: &Engine, digest: &str) -> String {
    // Made with fixed keys: the same in every life of one build, and that is all that is needed.
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{digest}-{:016x}.cwasm", hasher.finish())
}

/// The key of this cache, drawn at its first use.
fn key(path: &Path) -> Result<[u8; KEY_BYTES], RuntimeError> {
    let io = |what: &str| RuntimeError::io(format!("{what} {}", path.display()));
    let mut key = [0u8; KEY_BYTES];
    match fs::read(path) {
        Ok(found) if found.len() == KEY_BYTES => {
            key.copy_from_slice(&found);
            return Ok(key);
        }
        // Cut short by a full disk: what it proved is compiled again.
        Ok(_) => fs::remove_file(path).map_err(io("replace"))?,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(io("read")(e)),
    }
    getrandom::fill(&mut key).map_err(|e| RuntimeError::Engine(e.to_string()))?;
    let written = private(path).and_then(|mut file| file.write_all(&key));
    match written {
        Ok(()) => Ok(key),
        // Another process was first.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => match fs::read(path) {
            Ok(found) if found.len() == KEY_BYTES => {
                key.copy_from_slice(&found);
                Ok(key)
            }
            Ok(_) => Err(RuntimeError::Engine(format!(
                "{} is cut short",
                path.display()
            ))),
            Err(e) => Err(io("read")(e)),
        },
        Err(e) => Err(io("write")(e)),
    }
}
